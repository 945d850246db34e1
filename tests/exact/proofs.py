"""Longer proofs, which take their time: `python -m pytest tests/exact/proofs.py`."""

import os

import pytest

from tests.exact.checker import Workload, check
from tests.exact.directed import BY_MECHANISM, prove
from tests.exact.faults import Planned


@pytest.mark.parametrize("mechanism", BY_MECHANISM)
async def test_without_a_mechanism_it_finds_what_is_stale(mechanism: str):
    tally = await prove(mechanism, seed=1, without=True)
    assert tally["faults"] and tally["stale"], str(tally)


@pytest.mark.parametrize("mechanism", BY_MECHANISM)
async def test_with_all_mechanisms_the_same_run_finds_nothing(mechanism: str):
    tally = await prove(mechanism, seed=1, without=False)
    assert not tally.found, "\n".join(tally.found)
    assert all(tally[name] for name in ("reads", "hits", "writes", "faults")), str(tally)


async def test_what_the_partition_excuses_is_counted_apart():
    tally = await check(seed=1, seconds=6, lanes=[[Planned(0.5, "mute_edge", 0, 5)]])
    assert tally["excused"] and not tally["stale"], str(tally)


async def test_edges_that_are_both_cut_have_no_excuse():
    lanes = [[Planned(0.5, "mute_edge", edge, 6)] for edge in range(2)]
    tally = await check(seed=1, seconds=6, lanes=lanes, workload=Workload(writers=8))
    assert not tally.found, "\n".join(tally.found)
    assert tally["writes"], str(tally)


async def test_over_a_cluster_whose_slot_moves_and_whose_primaries_are_lost_nothing_is_stale():
    names = ("move_slot", "kill_primary", "lose_tail", "freeze_primary")
    lanes = [[Planned(2, name, 0, 0.5) for name in names]]
    tally = await check(seed=1, seconds=25, lanes=lanes, clustered=True)
    assert not tally.found, "\n".join(tally.found)
    assert all(tally[name] for name in ("reads", "hits", "writes", "faults")), str(tally)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")
@pytest.mark.parametrize("clustered", [False, True])
async def test_on_hosts_that_are_milliseconds_apart_nothing_is_stale(clustered: bool):
    tally = await check(seed=2, seconds=15, clustered=clustered, apart_s=0.003)
    assert not tally.found, "\n".join(tally.found)
    assert all(tally[name] for name in ("reads", "hits", "writes", "faults")), str(tally)
