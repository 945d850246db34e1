"""What comparing hits with the origin has shown."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from mizan_edge.admin.problems import answer
from mizan_edge.rules.site import InUse
from mizan_edge.running.differences import Differences
from mizan_edge.system.counters import Counted

_OUTCOMES = ("equal", "different", "inconclusive", "skipped")


@dataclass(frozen=True, slots=True)
class Shadowing:
    """`GET /shadow`."""

    in_use: InUse
    differences: Differences
    counters: Callable[[], Awaitable[Counted]]

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/shadow", self._show)]

    async def _show(self, _request: web.Request) -> web.Response:
        counts, site = (await self.counters()).so_far, self.in_use.site
        contexts = {
            name: {
                "share": site.share(name),
                **{outcome: counts.get(f"shadow.{name}.{outcome}", 0) for outcome in _OUTCOMES},
            }
            for name in sorted(site.manifest.contexts)
        }
        return answer({"contexts": contexts, "differences": self.differences.latest})
