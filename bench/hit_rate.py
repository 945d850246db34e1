"""What share of requests finds its response in a memory that is too small for all: `make bench ARGS="--only hit-rate"`.

A trace of popular pages (Zipf), and the same while a crawler asks for every page of a site, once.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from bench.policies import Lru, Policy, Sieve, TinyLfu
from bench.report import table
from bench.requests import zipf
from mizan_edge.memory.near import OVERHEAD_BYTES, Item, Near

PAGES = 20_000
REQUESTS = 200_000
SHARES = (0.01, 0.05, 0.1, 0.25)
_VALUE_BYTES = 1024
_CRAWLED = "crawled "


class Value(Item):
    """A value of the one size."""

    __slots__ = ()

    @property
    def size(self) -> int:
        return _VALUE_BYTES


class NearPolicy:
    """The edge's memory; all values have one size."""

    def __init__(self, size: int) -> None:
        self._near: Near[Value] = Near(size * (_VALUE_BYTES + OVERHEAD_BYTES))

    def asked(self, key: str) -> bool:
        if self._near.get(hash(key)):
            return True
        self._near.put(Value(hash(key)))
        return False


POLICIES: Mapping[str, Callable[[int], Policy]] = {
    "near (S3-FIFO)": NearPolicy,
    "SIEVE": Sieve,
    "W-TinyLFU": TinyLfu,
    "LRU": Lru,
}


def popular(pages: int, requests: int) -> list[str]:
    """A trace of visitors."""
    return [str(page) for page in zipf(pages, requests)]


def crawled(trace: list[str]) -> list[str]:
    """The same trace while, for its middle fifth, a crawler asks as often as all visitors, each time for a new page."""
    begin, end = len(trace) * 2 // 5, len(trace) * 3 // 5
    mixed = ((page, f"{_CRAWLED}{number}") for number, page in enumerate(trace[begin:end]))
    return [*trace[:begin], *chain.from_iterable(mixed), *trace[end:]]


def hit_rate(policy: Policy, trace: Iterable[str]) -> float:
    """The share of the visitors' requests that were hits; what the crawler gets is no matter."""
    hits = asked = 0
    for key in trace:
        hit = policy.asked(key)
        if not key.startswith(_CRAWLED):
            asked += 1
            hits += hit
    return hits / asked


def measure(pages: int = PAGES, requests: int = REQUESTS) -> dict[str, dict[str, list[float]]]:
    """Trace -> policy -> the hit rate for each of SHARES, the shares of all pages that there is room for."""
    trace = popular(pages, requests)
    return {
        name: {
            policy: [hit_rate(make(int(pages * share)), one) for share in SHARES] for policy, make in POLICIES.items()
        }
        for name, one in (("Zipf", trace), ("Zipf, with a scan", crawled(trace)))
    }


def markdown(rates: Mapping[str, Mapping[str, Iterable[float]]]) -> str:
    """The table."""
    rows = [
        [name, policy, *(f"{rate:.1%}" for rate in values)]
        for name, of_policies in rates.items()
        for policy, values in of_policies.items()
    ]
    return table(["trace", "policy", *(f"room for {share:.0%}" for share in SHARES)], rows)
