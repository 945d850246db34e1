"""The last quarter of an hour, in samples: so that whoever opens the dashboard now sees how it came to this."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, NamedTuple

from mizan_edge.serving.requests import NOWHERE
from mizan_edge.system.counters import Counted
from mizan_edge.system.histograms import BOUNDS_S, TOTAL, quantile

EVERY_S = 5.0
_SAMPLES = 180
# Every sample tells of as much time as these: of less, quantiles of what is seldom asked for would jump about.
_SPANNED = 6
ALL = "*"
"""In place of a context: all of them, without what the manifest does not declare."""

_QUANTILES = {"p50": 0.5, "p95": 0.95}
_BY_CONTEXT = {"hit_seconds": "hits", "miss_seconds": "misses"}


class _Reading(NamedTuple):
    """The counters at one moment."""

    at_s: float
    so_far: Mapping[str, int]


class History:
    """The latest samples.

    # mutable state: the samples as they are told, the number of the next one, and the readings of which it is made.
    """

    def __init__(self) -> None:
        self._samples: deque[dict[str, Any]] = deque(maxlen=_SAMPLES)
        self._next = 1
        self._readings: deque[_Reading] = deque(maxlen=_SPANNED)

    def take(self, so_far: Mapping[str, int], at_ms: int, at_s: float) -> None:
        """Takes a sample. `so_far`: every counter; `at_ms`: since the epoch; `at_s`: by a monotonic clock."""
        if self._readings:
            since = self._readings[0]
            self._samples.append(
                {
                    "number": self._next,
                    "at_ms": at_ms,
                    "seconds": round(at_s - since.at_s, 3),
                    **between(since.so_far, so_far),
                    "purges": sum(number for name, number in so_far.items() if name.startswith("purges.")),
                    "purged_entries": so_far.get("purged_entries", 0),
                }
            )
            self._next += 1
        self._readings.append(_Reading(at_s, so_far))

    async def keep(self, counted: Callable[[], Awaitable[Counted]]) -> None:
        """Takes a sample every so often, for as long as it runs."""
        while True:
            self.take((await counted()).so_far, int(time.time() * 1000), time.monotonic())
            await asyncio.sleep(EVERY_S)

    def after(self, number: int) -> list[dict[str, Any]]:
        """The samples after that with a number, oldest first, as JSON.

        Each has its `number`, the time at which it ends (`at_ms`), how many `seconds` it tells of, what `between` says,
        and how many `purges` of how many `purged_entries` there were since the start.
        """
        return [sample for sample in self._samples if sample["number"] > number]


def between(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, Any]:
    """What was counted between two readings of the counters, as JSON.

    `contexts` has the requests of each by their outcomes, and how long hits and misses took, `origin` how long the
    origin did, all in seconds. What did not happen is left out.
    """
    contexts: dict[str, dict[str, Any]] = {}
    buckets: dict[tuple[str, str], dict[int, int]] = {}
    for name, number in after.items():
        more = number - before.get(name, 0)
        if more <= 0:
            continue
        labels = name.split(".")
        first = labels[0]
        match labels:
            case ["requests", context, outcome, *_]:
                for place in (context,) if context == NOWHERE else (context, ALL):
                    outcomes = contexts.setdefault(place, {}).setdefault("outcomes", {})
                    outcomes[outcome] = outcomes.get(outcome, 0) + more
            case [("hit_seconds" | "miss_seconds"), context, bucket] if bucket != TOTAL:
                for place in (context, ALL):
                    counts = buckets.setdefault((first, place), {})
                    counts[int(bucket)] = counts.get(int(bucket), 0) + more
            case ["origin_seconds", bucket] if bucket != TOTAL:
                buckets.setdefault((first, ALL), {})[int(bucket)] = more
    for (kind, place), counts in buckets.items():
        if kind in _BY_CONTEXT:
            contexts.setdefault(place, {})[_BY_CONTEXT[kind]] = _quantiles(BOUNDS_S[kind], counts)
    origin = buckets.get(("origin_seconds", ALL))
    return {"contexts": contexts, "origin": _quantiles(BOUNDS_S["origin_seconds"], origin) if origin else None}


def _quantiles(bounds_s: Sequence[float], counts: Mapping[int, int]) -> dict[str, float | None]:
    """In seconds. `counts`: by the number of the bucket."""
    up_to = accumulate(counts.get(number, 0) for number in range(len(bounds_s) + 1))
    buckets = list(zip([*bounds_s, inf], up_to, strict=True))
    return {name: quantile(q, buckets) for name, q in _QUANTILES.items()}
