"""What the dashboard shows of now: asked for every second or two, so it must cost little."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from aiohttp import web

from mizan_core.store import AsyncStore, StoreError
from mizan_core.store.members import Lease, roll
from mizan_edge.admin.access import ROLE
from mizan_edge.admin.history import History
from mizan_edge.admin.problems import Refused, answer
from mizan_edge.purging.hold import Hold
from mizan_edge.rules.site import InUse
from mizan_edge.serving.popular import Asked

_MAX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Live:
    """`GET /live` and `GET /manifest`."""

    in_use: InUse
    store: AsyncStore
    hold: Hold
    edge: str
    """The durable id of this edge."""
    history: History
    started_ms: int
    popular: Callable[[], Awaitable[list[Asked]]]

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/live", self._live), web.get("/manifest", self._manifest)]

    async def _live(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < _MAX_DIGITS):
            raise Refused(422, "after is the number of a sample.")
        return answer(
            {
                "edge": self.edge,
                "version": version("mizan-edge"),
                "role": request[ROLE],
                "started_ms": self.started_ms,
                "now_ms": int(time.time() * 1000),
                "hold": self.hold.told(),
                "members": await self._members(),
                "top": [asked._asdict() for asked in await self.popular()],
                "samples": self.history.after(int(after)),
            }
        )

    async def _members(self) -> dict[str, Any] | None:
        """Who takes part in the fleet; None while Redis does not say."""
        with suppress(StoreError):
            told = await self.store.run(roll(self.store.namespace))
            return {"edges": _leases(told.edges), "sessions": _leases(told.sessions)}
        return None

    async def _manifest(self, _request: web.Request) -> web.Response:
        return answer(self.in_use.site.manifest.model_dump(mode="json"))


def _leases(leases: Sequence[Lease]) -> list[dict[str, Any]]:
    return [{"id": lease.holder, "left_ms": lease.left_ms} for lease in leases]
