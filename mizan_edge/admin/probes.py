"""Whether the edge lives and is ready, and what it has counted."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from mizan_core.store import AsyncStore
from mizan_edge.admin.problems import Refused, answer
from mizan_edge.admin.series import by_outcome
from mizan_edge.origin.origin import Origin
from mizan_edge.purging.hold import Hold
from mizan_edge.rules.site import InUse
from mizan_edge.system.counters import Counted


@dataclass(frozen=True, slots=True)
class Probes:
    """`GET /healthz`, `/readyz` and `/stats`."""

    in_use: InUse
    store: AsyncStore
    origin: Origin
    hold: Hold
    counted: Callable[[], Awaitable[Counted]]
    serving: asyncio.Event
    """Set while the public listener takes requests."""

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/stats", self._stats),
        ]

    async def _healthz(self, _request: web.Request) -> web.Response:
        return answer({"status": "alive"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        if not self.serving.is_set():
            raise Refused(503, "The edge is starting, or being stopped.")
        return answer(
            {
                "status": "ready",
                "contexts": len(self.in_use.site.manifest.contexts),
                "redis": "up" if await self.store.answers() else "down",
                "origin": "up" if await self.origin.accepts() else "down",
                "cache": "held: " + ", ".join(self.hold.told()) if self.hold.active() else "in use",
            }
        )

    async def _stats(self, _request: web.Request) -> web.Response:
        so_far, _now = await self.counted()
        return answer({"counters": by_outcome(so_far), "hold": self.hold.told()})
