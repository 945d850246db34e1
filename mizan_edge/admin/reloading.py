"""Reloading what the edge has read from files."""

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mizan_edge.admin.problems import Refused, answer, body_of
from mizan_edge.running.files import Files, ReloadFailed


class ReloadBody(BaseModel):
    """The body of `POST /reload`, which may be left out."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Reloading:
    """`POST /reload`."""

    files: Files

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/reload", self._reload)]

    async def _reload(self, request: web.Request) -> web.Response:
        body = await body_of(request, ReloadBody) if request.can_read_body else ReloadBody()
        try:
            found = await (self.files.compare() if body.dry_run else self.files.reload())
        except ReloadFailed as error:
            raise Refused(422, str(error)) from None
        return answer({**found, "dry_run": body.dry_run})
