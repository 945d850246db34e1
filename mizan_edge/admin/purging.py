"""Purges that a person, or a script of his, asks for."""

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mizan_core.resolve import By, Purge, longest_hold, strict
from mizan_core.scopes import URL, Scope, ScopeError, widest
from mizan_core.store import Purged, StoreError
from mizan_edge.admin.access import ROLE
from mizan_edge.admin.problems import Refused, answer, body_of
from mizan_edge.purging.invalidation import Pending
from mizan_edge.purging.purge import Purger
from mizan_edge.rules.outcome import of_resource
from mizan_edge.rules.routes import Uncacheable
from mizan_edge.rules.site import InUse

# In the audit.
_MAX_REQUEST_CHARS = 200


class PurgeBody(BaseModel):
    """The body of `POST /purge`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    scopes: list[str] = []
    urls: list[str] = []
    all: bool = False
    soft: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Purging:
    """`POST /purge`, and `PURGE` of a URL."""

    in_use: InUse
    purger: Purger

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.post("/purge", self._purge),
            web.route("PURGE", r"/{path:[\s\S]*}", self._purge_url),
        ]

    async def _purge(self, request: web.Request) -> web.Response:
        return await self._answer(request, await body_of(request, PurgeBody))

    async def _purge_url(self, request: web.Request) -> web.Response:
        return await self._answer(request, PurgeBody(urls=[request.raw_path]))

    async def _answer(self, request: web.Request, body: PurgeBody) -> web.Response:
        router = self.in_use.site.router
        scopes: tuple[Scope, ...] = ()
        urls: set[str] = set()
        if not body.all:
            try:
                named = strict(body.scopes, self.in_use.site.manifest.contexts)
            except ScopeError as error:
                raise Refused(422, str(error)) from None
            by_url = [self._scope_of(url) for url in body.urls]
            scopes = widest([*named, *by_url])
            urls = {url for scope in named for url in router.urls(scope)} | {dict(s.params)[URL] for s in by_url}
            if not scopes:
                raise Refused(422, 'Nothing is named: give "scopes", "urls", or "all": true.')
        hold_s = longest_hold(None if body.all else scopes, self.in_use.site.manifest.contexts)
        by = By(request=f"{request.method} {request.path}"[:_MAX_REQUEST_CHARS], token=request[ROLE])
        purge = Purge(scopes, everything=body.all, hold_s=hold_s, by=by)
        purged = await self._run(purge, dry_run=body.dry_run)
        return answer(
            {
                "seq": purged.seq,
                "entries": purged.entries,
                "urls": sorted(urls),
                "scopes": [str(scope) for scope in scopes],
                "dry_run": body.dry_run,
            }
        )

    def _scope_of(self, url: str) -> Scope:
        path = url if url.startswith("/") else "/" + url
        resource = self.in_use.site.router.match(path)
        if isinstance(resource, Uncacheable):
            why = "no declared view or endpoint" if resource.detail == "undeclared" else "no canonical spelling"
            raise Refused(422, f"{url!r} is never cached: it is the URL of {why}.")
        return of_resource(resource)

    async def _run(self, purge: Purge, *, dry_run: bool) -> Purged:
        if dry_run:
            try:
                return await self.purger.count(purge.scopes, everything=purge.everything)
            except StoreError as error:
                raise Refused(503, f"Redis cannot be asked now: {error}") from None
        purged = await self.purger.purge(purge, "admin")
        if isinstance(purged, Pending):
            raise Refused(
                503,
                "Redis has not confirmed the purge. It is repeated until it has; meanwhile this edge serves nothing "
                "from the cache.",
                journaled=purged.journaled,
            )
        return purged
