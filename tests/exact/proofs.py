"""Longer proofs, which take their time: `python -m pytest tests/exact/proofs.py`."""

import asyncio

import pytest

from tests.exact import faults
from tests.exact.checker import check
from tests.exact.faults import Planned
from tests.exact.fleet import Edge, Fleet


async def test_under_faults_nothing_is_stale_and_nothing_fails():
    tally = await check(seed=3, seconds=8)
    assert not tally.found
    assert all(tally[name] for name in ("reads", "hits", "writes", "faults")), str(tally)


async def test_what_the_partition_excuses_is_counted_apart():
    tally = await check(seed=1, seconds=6, lanes=[[Planned(0.5, "mute_edge", 0, 5)]])
    assert tally["excused"] and not tally["stale"], str(tally)


@pytest.mark.parametrize("journal", ["kept", "lost"])
async def test_without_the_journal_of_an_edge_that_was_cut_and_killed_it_finds_what_is_stale(
    monkeypatch: pytest.MonkeyPatch, journal: str
):
    async def kill_and_maybe_lose_the_journal(fleet: Fleet, edge: Edge, lasts_s: float) -> None:
        edge.cut = True
        edge.link.cut()
        await asyncio.sleep(lasts_s)
        await edge.kill()
        if journal == "lost":
            (edge.state / "journal").unlink()
        edge.link.mend()
        await edge.start()
        await edge.settled()
        edge.cut = False
        fleet.histories.settled(edge.number)

    monkeypatch.setitem(faults.BY_NAME, "planted", kill_and_maybe_lose_the_journal)
    tally = await check(seed=1, seconds=8, lanes=[[Planned(1, "planted", 0, 4)]], writing_s=2)
    assert tally["faults"] == 1
    assert bool(tally["stale"]) == (journal == "lost"), str(tally)
