"""The benchmark of purges among several edges: each hears of every purge, or it would take a lease's time."""

from bench.fleets import measure
from bench.processes import Processors


def test_a_purge_among_three_edges_waits_for_acknowledgements_and_for_no_lease():
    alone, three = measure(Processors(), sizes=(1, 3), purges=5, idle_s=0.1)
    assert (alone.edges, three.edges) == (1, 3)
    for taken in (alone, three):
        assert len(taken.times_s) == 5
        assert 0 < min(taken.times_s) < 1
        assert taken.keepers_s > 0
