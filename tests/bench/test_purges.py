"""The benchmark of purges in the store, with few entries: it purges what it says, all that there is at the end."""

from bench.processes import Processors
from bench.purges import measure


def test_ten_entries_are_purged_a_few_times_and_the_whole_context_is_swept():
    result = measure(Processors(), sizes=(200, 2000), rounds=3)
    assert [(taken.what, len(taken.times_s)) for taken in result.scoped] == [
        ("10 entries of 200", 3),
        ("10 entries of 2,000", 3),
    ]
    assert all(time_s > 0 for taken in [*result.scoped, *result.large] for time_s in taken.times_s)
    assert result.swept == 2000
    assert 0 < result.slice_s < result.sweep_s
