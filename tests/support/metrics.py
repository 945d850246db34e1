"""What `GET /metrics` tells, as Prometheus reads it."""

from collections import Counter

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.edge import RunningEdge

Key = tuple[str, frozenset[tuple[str, str]]]
"""A sample's name and labels."""


async def families(edge: RunningEdge) -> dict[str, Metric]:
    """The families of one scrape, by name."""
    reply = await edge.admin_request("GET", "/metrics", token=None)
    assert reply.status == 200, reply.body
    return {family.name: family for family in text_string_to_metric_families(reply.body.decode())}


async def scrape(edge: RunningEdge) -> dict[Key, float]:
    """The samples of one scrape that only go up."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in (await families(edge)).values()
        if family.type in ("counter", "histogram") and family.name.startswith("mizan_edge_")
        for sample in family.samples
    }


def summed(samples: dict[Key, float], name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """The samples of a name, those that are not 0, summed by some of its labels."""
    found: Counter[tuple[str, ...]] = Counter()
    for (sample, given), value in samples.items():
        if sample == name and value:
            found[tuple(dict(given)[label] for label in labels)] += int(value)
    return found


def requests(samples: dict[Key, float]) -> Counter[tuple[str, ...]]:
    """How many requests were answered, by context, outcome, detail and status."""
    return summed(samples, "mizan_edge_requests_total", "context", "outcome", "detail", "status")
