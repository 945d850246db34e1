"""New processes in place of those that serve, one after the other."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from mizan_edge.admin.problems import Refused, answer
from mizan_edge.running.supervisor import WorkerFailed


@dataclass(frozen=True, slots=True)
class Recycling:
    """`POST /recycle`."""

    recycle: Callable[[], Awaitable[int]]
    """Replaces all workers; how many. Raises WorkerFailed."""

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/recycle", self._recycle)]

    async def _recycle(self, _request: web.Request) -> web.Response:
        try:
            recycled = await self.recycle()
        except WorkerFailed as error:
            raise Refused(503, f"{error}. The workers that serve go on.") from None
        if not recycled:
            raise Refused(409, "The keeper serves itself (workers = 0): to renew it, restart it.")
        return answer({"recycled": recycled})
