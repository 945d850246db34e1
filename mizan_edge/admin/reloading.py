"""Reloading what the edge has read from files."""

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from mizan_edge.admin.problems import Refused, answer
from mizan_edge.running.files import Files, ReloadFailed


@dataclass(frozen=True, slots=True)
class Reloading:
    """`POST /reload`."""

    files: Files

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/reload", self._reload)]

    async def _reload(self, _request: web.Request) -> web.Response:
        try:
            return answer(await self.files.reload())
        except ReloadFailed as error:
            raise Refused(422, str(error)) from None
