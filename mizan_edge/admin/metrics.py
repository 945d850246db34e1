"""`GET /metrics`: what the edge has counted, for Prometheus."""

import platform
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from aiohttp import web
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from mizan_edge.admin.series import UNCONFIRMED, UNDER_WAY, families
from mizan_edge.memory import prepared
from mizan_edge.purging.hold import NO_LEASE, Hold
from mizan_edge.purging.journal import Journal
from mizan_edge.system.counters import Counted


@dataclass(frozen=True, slots=True)
class Metrics:
    """What Prometheus scrapes."""

    counted: Callable[[], Awaitable[Counted]]
    journal: Journal
    mutations: Callable[[], int]
    """How many are under way."""
    hold: Hold

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/metrics", self._metrics)]

    async def _metrics(self, request: web.Request) -> web.Response:
        so_far, now = await self.counted()
        told = self.hold.told()
        journaled = Counter(UNDER_WAY if item.intent else UNCONFIRMED for item in self.journal.open)
        journaled[UNDER_WAY] += self.mutations()
        own = {"lease": int(NO_LEASE not in told), **{f"journal.{kind}": number for kind, number in journaled.items()}}
        held = {f"held.{reason}": 1 for reason in told}
        # Not in the library's own numbers, with locks and files for several processes: no hit waits for one.
        encode, content_type = _encoder(", ".join(request.headers.getall("Accept", [])))
        body = encode(_Scrape(Counted(so_far, {**now, **own, **held})))
        return web.Response(body=body, headers={"Content-Type": content_type})


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """How an answer is written for whom, and its media type."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # what the library makes of a version that is none
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


class _Scrape(Collector):
    """What one scrape is told."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        yield from families(self._counted)
        yield InfoMetricFamily("mizan_edge_build", "What runs here.", value=_BUILD)
        yield from _KEEPER.collect()


_BUILD = {
    "version": version("mizan-edge"),
    "python": platform.python_version(),
    "compiled": str(not prepared.__file__.endswith(".py")).lower(),
}
# The keeper's: workers come and go.
_KEEPER = ProcessCollector(registry=None)
