"""How long things take: how often it was how long, in fixed buckets. The numbers are counters like any other."""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf

from mizan_edge.system.counters import Counters

BOUNDS_S: dict[str, tuple[float, ...]] = {
    # From memory it is some 10 us, from Redis a millisecond, and whatever is more was waiting for something else.
    "hit_seconds": (1e-05, 2.5e-05, 5e-05, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    "miss_seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    "origin_seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    "redis_seconds": (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
    # Beyond the 2 s of a lease, nobody is waited for.
    "acknowledgement_seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
}
"""The upper bounds of each histogram's buckets, which include them; a last bucket has the rest."""
TOTAL = "us"
"""The name of the counter of the whole time, in microseconds; those of the buckets are called by their numbers."""


class Histogram:
    """One histogram, of the labels that it was made with."""

    __slots__ = ("_bounds_s", "_buckets", "_total_us")

    def __init__(self, counters: Counters, name: str, *labels: str) -> None:
        """`name` is one of those in `BOUNDS_S`."""
        self._bounds_s = BOUNDS_S[name]
        self._buckets = [counters.cell(name, *labels, str(i)) for i in range(len(self._bounds_s) + 1)]
        self._total_us = counters.cell(name, *labels, TOTAL)

    def took(self, seconds: float, times: int = 1) -> None:
        """Something took so long; `times`: and stands for so many that did."""
        self._buckets[bisect_left(self._bounds_s, seconds)][0] += times
        self._total_us[0] += int(seconds * 1e6) * times


class Tally:
    """What happened of one kind: how often, and how long each took, if that is of interest."""

    __slots__ = ("count", "took")

    def __init__(self, count: list[int], took: Histogram | None) -> None:
        self.count = count
        """The number of a counter."""
        self.took = took


def quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """A quantile of a histogram, of which `buckets` has in order each upper bound, and how many are up to that.

    As Prometheus works it out: what lies in one bucket is spread evenly, and what is above all bounds is at the last.
    None where there is nothing.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank, low, below = q * buckets[-1][1], 0.0, 0.0
    for bound, up_to in buckets:
        if up_to >= rank and up_to > below:
            return low if bound == inf else low + (bound - low) * (rank - below) / (up_to - below)
        low, below = bound, up_to
    return None
