"""Which URLs are asked for most, as one process sees it: an estimate, since counting each would cost every hit.

Of the hits that are repeated as they are, one of 64 is taken, and stands for as many; of all other requests, which are
slow enough, each.

    # mutable state: what came in this turn and in the one before, and when each began.
"""

from typing import NamedTuple

from mizan_edge.system.frequent import Frequent

TURN_S = 120.0
_MOST = 1000
_TOLD = 50
_LONGEST_CHARACTERS = 200


class Asked(NamedTuple):
    """How often a URL is asked for."""

    url: str
    per_minute: float
    hits_per_minute: float


class Popular:
    """The requests of the last two to four minutes, by URL."""

    def __init__(self, now_s: float) -> None:
        """Times are by a monotonic clock."""
        self._turn: Frequent[tuple[str, bool]] = Frequent(_MOST)
        self._before: Frequent[tuple[str, bool]] = Frequent(_MOST)
        self._turn_began_s = self._before_began_s = now_s

    def asked(self, target: str, now_s: float, *, hit: bool, times: int = 1) -> None:
        """A URL was asked for; `hit`: and the cache had it."""
        if now_s - self._turn_began_s >= TURN_S:
            self._before, self._before_began_s = self._turn, self._turn_began_s
            self._turn, self._turn_began_s = Frequent(_MOST), now_s
        self._turn.add((target[:_LONGEST_CHARACTERS], hit), times)

    def most(self, now_s: float) -> list[Asked]:
        """Those that are asked for most, the first first."""
        sums: dict[str, list[int]] = {}
        for turn in (self._before, self._turn):
            for (url, hit), times in turn.weights().items():
                counts = sums.setdefault(url, [0, 0])
                counts[0] += times
                counts[1] += times if hit else 0
        minutes = max(now_s - self._before_began_s, 1.0) / 60
        return first([Asked(url, both / minutes, hits / minutes) for url, (both, hits) in sums.items()])


def together(of: list[list[Asked]]) -> list[Asked]:
    """What several processes see, as one."""
    sums: dict[str, Asked] = {}
    for url, both, hits in (asked for told in of for asked in told):
        _, before, hits_before = sums.get(url, (url, 0.0, 0.0))
        sums[url] = Asked(url, before + both, hits_before + hits)
    return first(list(sums.values()))


def first(asked: list[Asked]) -> list[Asked]:
    """The first of them, by how often they are asked for."""
    return sorted(asked, key=lambda one: (-one.per_minute, one.url))[:_TOLD]
