"""The series that Prometheus is told: what each is called, what it says, and which counter it is.

Names follow https://prometheus.io/docs/practices/naming/. A test finds counters that are not here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from mizan_core.store.replies import StoreReply
from mizan_edge.purging.hold import NO_LEASE, Reason
from mizan_edge.purging.invalidation import Source
from mizan_edge.system.counters import Counted
from mizan_edge.system.histograms import BOUNDS_S, TOTAL

UNCONFIRMED, UNDER_WAY = "unconfirmed", "under way"


@dataclass(frozen=True, slots=True)
class Series:
    """One family of series, of a number by its labels."""

    name: str
    counted: str
    """The name under which it is counted."""
    help: str
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    """Values of the only label that are told from the start, as 0."""


COUNTERS = (
    Series(
        "mizan_edge_requests",
        "requests",
        "Requests that were answered: each once, when its answer began. Status 499: the client had left before.",
        ("context", "outcome", "detail", "status"),
    ),
    Series(
        "mizan_edge_purges",
        "purges",
        "Purges that Redis has confirmed and every edge has acknowledged, by what asked for them.",
        ("source",),
        get_args(Source),
    ),
    Series("mizan_edge_purged_entries", "purged_entries", "Entries that these purges removed at once."),
    Series(
        "mizan_edge_purges_unconfirmed",
        "purges_unconfirmed",
        "Purges that Redis had not confirmed when their answers could wait no longer. They are repeated until it has.",
    ),
    Series(
        "mizan_edge_invalidation_faults",
        "invalidation_faults",
        "Faults in X-Mizan-Invalidate, for each of which more was purged than was said.",
    ),
    Series(
        "mizan_edge_fills_refused",
        "store_refused",
        "Responses that the store did not take. overtaken: a purge had come between.",
        ("reason",),
        tuple(reply for reply in get_args(StoreReply) if reply != "stored"),
    ),
    Series(
        "mizan_edge_redis_errors",
        "store_errors",
        "Look-ups and fills that Redis did not answer, or refused.",
        ("operation",),
        ("read", "store"),
    ),
    Series(
        "mizan_edge_seal_failures",
        "corrupt_entries",
        "Entries whose seal did not hold: something else wrote to them. They were not used.",
    ),
    Series(
        "mizan_edge_origin_errors",
        "origin_errors",
        "Requests to which the origin gave no usable answer, by the status that its client gets.",
        ("status",),
        ("502", "504"),
    ),
    Series("mizan_edge_near_evictions", "near_evictions", "Responses that had to make room in the workers' memory."),
    Series(
        "mizan_edge_compressed", "compressed", "Responses of which copies with content codings were made.", ("context",)
    ),
    Series(
        "mizan_edge_shadow",
        "shadow",
        "Hits that were compared with what the origin says. inconclusive: a purge came between, or the origin failed; "
        "skipped: too many at once.",
        ("context", "verdict"),
    ),
    Series("mizan_edge_swept_entries", "swept_entries", "Entries deleted that wide purges had made dead."),
    Series("mizan_edge_collected_entries", "collected_entries", "Expired entries that were taken out of indexes."),
)

HISTOGRAMS = (
    Series(
        "mizan_edge_hit_duration_seconds",
        "hit_seconds",
        "From when a request was read until its answer was written, where the cache had it. Of the answers that are "
        "repeated as they are, one of 16 is timed, and counts for 16.",
        ("context",),
    ),
    Series(
        "mizan_edge_miss_duration_seconds",
        "miss_seconds",
        "The same where it had to be fetched, or another request's fetch was waited for.",
        ("context",),
    ),
    Series(
        "mizan_edge_origin_duration_seconds",
        "origin_seconds",
        "From when the origin was asked until the head of its answer was here.",
    ),
    Series(
        "mizan_edge_redis_duration_seconds",
        "redis_seconds",
        "What workers waited for Redis: each batch of look-ups, each fill.",
    ),
    Series(
        "mizan_edge_purge_acknowledgement_seconds",
        "acknowledgement_seconds",
        "From when a purge was asked for until no edge could serve any more what it has purged.",
    ),
)

GAUGES = (
    Series("mizan_edge_connections", "connections", "Connections of clients that are open."),
    Series("mizan_edge_workers", "workers", "Worker processes; 0 where the keeper itself serves."),
    Series("mizan_edge_near_bytes", "near_bytes", "What the workers' memory holds."),
    Series("mizan_edge_near_entries", "near_entries", "Responses in the workers' memory."),
    Series(
        "mizan_edge_journal_purges",
        "journal",
        "Purges in the journal: unconfirmed by Redis, or of a mutation under way, in case nobody hears how it ended.",
        ("kind",),
        (UNCONFIRMED, UNDER_WAY),
    ),
    Series("mizan_edge_lease", "lease", "1: Redis has granted a lease, so that the cache may be used."),
    Series(
        "mizan_edge_cache_held",
        "held",
        "1: for this reason nothing is served from the cache, or stored.",
        ("reason",),
        (*get_args(Reason), NO_LEASE),
    ),
)


def families(counted: Counted) -> Iterator[Metric]:
    """All of them, with the numbers of now."""
    so_far, now = _by_name(counted.so_far), _by_name(counted.now)
    for series in COUNTERS:
        counter = CounterMetricFamily(series.name, series.help, labels=series.labels)
        for labels, number in _numbers(series, so_far):
            counter.add_metric(labels, number)
        yield counter
    for series in GAUGES:
        gauge = GaugeMetricFamily(series.name, series.help, labels=series.labels)
        for labels, number in _numbers(series, now):
            gauge.add_metric(labels, number)
        yield gauge
    for series in HISTOGRAMS:
        yield _histogram(series, so_far)


def by_outcome(so_far: Mapping[str, int]) -> dict[str, int]:
    """The counters for people: requests by context and outcome alone, and none of what the buckets of histograms hold.

    `requests.user.miss.unstored.200` becomes `requests.user.miss-unstored`.
    """
    found: dict[str, int] = {}
    for name, number in so_far.items():
        first, *labels = name.split(".")
        if first in BOUNDS_S:
            continue
        if first == "requests":
            context, outcome, detail, _status = labels
            name = ".".join((first, context, f"{outcome}-{detail}" if detail else outcome))
        found[name] = found.get(name, 0) + number
    return found


_Numbers = Mapping[str, Mapping[tuple[str, ...], int]]


def _by_name(numbers: Mapping[str, int]) -> _Numbers:
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for text, number in numbers.items():
        # No label has a dot: contexts are identifiers, and all else is ours.
        name, *labels = text.split(".")
        found.setdefault(name, {})[tuple(labels)] = number
    return found


def _numbers(series: Series, numbers: _Numbers) -> Iterator[tuple[Sequence[str], int]]:
    # What has not happened yet is told as well: else nobody could tell the first time from none.
    known = {(value,): 0 for value in series.known} if series.labels else {(): 0}
    yield from sorted((known | dict(numbers.get(series.counted, {}))).items())


def _histogram(series: Series, numbers: _Numbers) -> HistogramMetricFamily:
    family = HistogramMetricFamily(series.name, series.help, labels=series.labels)
    bounds = [*map(str, BOUNDS_S[series.counted]), "+Inf"]
    found: dict[tuple[str, ...], dict[str, int]] = {} if series.labels else {(): {}}
    for name, number in numbers.get(series.counted, {}).items():
        found.setdefault(name[:-1], {})[name[-1]] = number
    for labels, held in sorted(found.items()):
        counts = accumulate(held.get(str(i), 0) for i in range(len(bounds)))
        family.add_metric(labels, list(zip(bounds, counts, strict=True)), held.get(TOTAL, 0) / 1e6)
    return family
