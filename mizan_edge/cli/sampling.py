"""What `mizan-edge top` shows, worked out of what an edge tells Prometheus. Pure: the time is an argument."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mizan_edge.system.histograms import quantile

Labels = tuple[tuple[str, str], ...]
Numbers = Mapping[tuple[str, Labels], float]

_FROM_CACHE = ("hit", "stale", "collapsed")
"""Outcomes that cost the origin nothing."""
_FETCHED = ("miss", "unstorable")


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape of `/metrics`."""

    at_s: float
    """When, in seconds since the epoch."""
    started_s: float
    """When the edge was started: its counters begin with 0 then."""
    counters: Numbers
    """With the buckets of histograms."""
    gauges: Numbers

    @classmethod
    def parse(cls, text: str, at_s: float) -> "Scrape":
        """The scrape in the text format of Prometheus."""
        counters: dict[tuple[str, Labels], float] = {}
        gauges: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            numbers = counters if family.type in ("counter", "histogram") else gauges
            for sample in family.samples:
                numbers[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        return cls(at_s, gauges.get(("process_start_time_seconds", ()), at_s), counters, gauges)


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, in seconds; None where it has not happened."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """The requests of one context, or all of them."""

    requests: int
    per_second: float
    hit_ratio: float | None
    """The share of those that the cache could have answered; None where there were none."""
    outcomes: dict[str, int]
    hit: Times
    miss: Times


@dataclass(frozen=True, slots=True)
class View:
    """What happened between two moments, and how things stand at the second."""

    seconds: float
    contexts: dict[str, Row]
    """By name; `-` has the requests for what is not declared."""
    total: Row
    origin: Times
    origin_errors: int
    redis: Times
    purges: dict[str, int]
    """By what asked for them."""
    purged_entries: int
    acknowledgement: Times
    workers: int
    connections: int
    near_bytes: int
    near_entries: int
    journal: int
    """Purges that Redis has not confirmed, and mutations under way."""
    lease: bool
    held: list[str]
    """Why nothing is served from the cache now."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def view(before: Scrape | None, now: Scrape) -> View:
    """What happened since `before`; since the edge was started, where that is None or from before the start."""
    began_s, earlier = now.started_s, {}
    if before is not None and before.started_s == now.started_s:
        began_s, earlier = before.at_s, dict(before.counters)
    seconds = max(now.at_s - began_s, 1e-9)
    counted = {key: value - earlier.get(key, 0) for key, value in now.counters.items()}
    outcomes: dict[str, Counter[str]] = {}
    for labels, number in _of("mizan_edge_requests_total", counted):
        outcomes.setdefault(labels["context"], Counter())[labels["outcome"]] += int(number)
    purges = {labels["source"]: int(number) for labels, number in _of("mizan_edge_purges_total", counted)}
    held = [labels["reason"] for labels, number in _of("mizan_edge_cache_held", now.gauges) if number]
    return View(
        seconds=seconds,
        contexts={name: _row(name, found, counted, seconds) for name, found in sorted(outcomes.items())},
        total=_row(None, sum(outcomes.values(), Counter()), counted, seconds),
        origin=_times("mizan_edge_origin_duration_seconds", counted),
        origin_errors=_sum("mizan_edge_origin_errors_total", counted),
        redis=_times("mizan_edge_redis_duration_seconds", counted),
        purges={source: number for source, number in sorted(purges.items()) if number},
        purged_entries=_sum("mizan_edge_purged_entries_total", counted),
        acknowledgement=_times("mizan_edge_purge_acknowledgement_seconds", counted),
        workers=_sum("mizan_edge_workers", now.gauges),
        connections=_sum("mizan_edge_connections", now.gauges),
        near_bytes=_sum("mizan_edge_near_bytes", now.gauges),
        near_entries=_sum("mizan_edge_near_entries", now.gauges),
        journal=_sum("mizan_edge_journal_purges", now.gauges),
        lease=bool(_sum("mizan_edge_lease", now.gauges)),
        held=sorted(held),
    )


def _of(name: str, numbers: Numbers) -> Iterable[tuple[dict[str, str], float]]:
    return ((dict(labels), number) for (found, labels), number in numbers.items() if found == name)


def _sum(name: str, numbers: Numbers) -> int:
    return int(sum(number for _, number in _of(name, numbers)))


def _times(name: str, numbers: Numbers, context: str | None = None) -> Times:
    """Of one context, or of all."""
    buckets: defaultdict[float, float] = defaultdict(float)
    for labels, number in _of(f"{name}_bucket", numbers):
        if context is None or labels["context"] == context:
            buckets[float(labels["le"])] += number
    ordered = sorted(buckets.items())
    return Times(quantile(0.5, ordered), quantile(0.99, ordered))


def _row(context: str | None, outcomes: Counter[str], counted: Numbers, seconds: float) -> Row:
    requests = outcomes.total()
    cached = sum(outcomes[name] for name in _FROM_CACHE)
    looked_up = cached + sum(outcomes[name] for name in _FETCHED)
    return Row(
        requests,
        round(requests / seconds, 3),
        round(cached / looked_up, 4) if looked_up else None,
        {name: number for name, number in sorted(outcomes.items()) if number},
        _times("mizan_edge_hit_duration_seconds", counted, context),
        _times("mizan_edge_miss_duration_seconds", counted, context),
    )
