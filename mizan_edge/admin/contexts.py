"""The contexts of the manifest in use, and how they are switched."""

import difflib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from mizan_core.store import AsyncStore, StoreError
from mizan_edge.admin.problems import Refused, answer, body_of
from mizan_edge.rules.site import InUse
from mizan_edge.running.switchboard import NotConfirmed, Switchboard


class SwitchBody(BaseModel):
    """The body of `POST /contexts/<name>`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    enabled: bool = True
    shadow: Annotated[float, Field(ge=0, le=1)] | None = None
    """None: as the settings say."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """`GET /contexts`, and `POST /contexts/<name>`."""

    in_use: InUse
    switchboard: Switchboard
    store: AsyncStore

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/contexts", self._list), web.post("/contexts/{name}", self._switch)]

    async def _list(self, _request: web.Request) -> web.Response:
        return answer({"contexts": await self._told(sorted(self.in_use.site.manifest.contexts))})

    async def _switch(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        contexts = self.in_use.site.manifest.contexts
        if name not in contexts:
            close = difflib.get_close_matches(name, contexts, n=1)
            raise Refused(404, f"There is no context {name!r}" + (f"; the nearest is {close[0]!r}." if close else "."))
        said = (await body_of(request, SwitchBody)).model_dump(exclude_unset=True)
        if not said:
            raise Refused(422, 'Nothing is said: give "enabled", "shadow", or both.')
        try:
            await self.switchboard.switch(name, **said)
        except NotConfirmed as error:
            raise Refused(503, str(error), journaled=error.kept) from None
        return answer((await self._told([name]))[name])

    async def _told(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """What is to be said of contexts."""
        site = self.in_use.site
        sizes: dict[str, int] = {}
        with suppress(StoreError):  # then nobody knows, and the rest can be told
            sizes = await self.store.run(self.store.namespace.sizes(names))
        return {
            name: {
                "scope": site.manifest.contexts[name].scope,
                "params": list(site.manifest.contexts[name].params),
                "enabled": name not in site.off,
                "shadow": site.share(name),
                "entries": sizes.get(name),
            }
            for name in names
        }
