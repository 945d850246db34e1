"""Purges that a person, or a script of his, asks for."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mizan_core.manifest import Manifest
from mizan_core.purge import By, Purge, longest_hold
from mizan_core.resolve import strict
from mizan_core.scopes import URL, USER, Scope, ScopeError, widest
from mizan_core.store import AsyncStore, StoreError
from mizan_edge.admin.access import ROLE
from mizan_edge.admin.preview import preview
from mizan_edge.admin.problems import Refused, answer, body_of
from mizan_edge.purging.invalidation import Pending
from mizan_edge.purging.purge import Purger
from mizan_edge.rules.outcome import of_resource
from mizan_edge.rules.routes import Router, Uncacheable
from mizan_edge.rules.site import InUse, Site

log = logging.getLogger(__name__)

# In the audit.
_MAX_REQUEST_CHARS = 200


class PurgeBody(BaseModel):
    """The body of `POST /purge`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    scopes: list[str] = []
    urls: list[str] = []
    users: list[int | str] = []
    all: bool = False
    soft: bool = False
    dry_run: bool = False
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Purging:
    """`POST /purge`, and `PURGE` of a URL."""

    in_use: InUse
    purger: Purger
    store: AsyncStore
    confirm_above_s: float
    """What takes the origin longer to fetch again has to be confirmed; 0: nothing has."""

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.post("/purge", self._purge),
            web.route("PURGE", r"/{path:[\s\S]*}", self._purge_url),
        ]

    async def _purge(self, request: web.Request) -> web.Response:
        body = await body_of(request, PurgeBody)
        # Thousands of scopes take a while, in which the lease has to be kept and the purges of others acknowledged.
        site = self.in_use.site
        purge, document = await asyncio.to_thread(_understood, site, body)
        if body.dry_run:
            return await self._dry_run(purge, document)
        if self.confirm_above_s and not body.confirm:
            await self._ask(purge)
        if site is not self.in_use.site:
            # A reload came in between, and a purge is carried out under the manifest in use.
            purge, document = _understood(self.in_use.site, body)
        return await self._carry_out(request, purge, document)

    async def _purge_url(self, request: web.Request) -> web.Response:
        return await self._carry_out(request, *_understood(self.in_use.site, PurgeBody(urls=[request.raw_path])))

    async def _dry_run(self, purge: Purge, document: dict[str, Any]) -> web.Response:
        try:
            found = await preview(self.store, self.in_use.site.manifest, purge)
        except StoreError as error:
            raise Refused(503, f"Redis cannot be asked now: {error}") from None
        told = {"seq": found.seq, "entries": found.entries, "exact": found.exact, "sample": found.sample}
        return answer(document | told | {"forecast": found.forecast()})

    async def _ask(self, purge: Purge) -> None:
        """Raises Refused where a purge has to be confirmed."""
        try:
            found = await preview(self.store, self.in_use.site.manifest, purge)
        except StoreError as error:
            # What it costs is not known, and what is old must not stay for that.
            log.info("a purge is not asked about: %s", error)
            return
        if found.origin_s > self.confirm_above_s:
            raise Refused(
                409,
                f"To fetch again what this purges ({found.entries} entries) would take the origin some "
                f'{found.origin_s:.0f} s. Say "confirm": true to purge it nevertheless.',
                forecast=found.forecast(),
            )

    async def _carry_out(self, request: web.Request, purge: Purge, document: dict[str, Any]) -> web.Response:
        by = By(request=f"{request.method} {request.rel_url.raw_path}"[:_MAX_REQUEST_CHARS], token=request[ROLE])
        purged = await self.purger.purge(replace(purge, by=by), "admin")
        if isinstance(purged, Pending):
            raise Refused(
                503,
                "Redis has not confirmed the purge. It is repeated until it has; meanwhile this edge serves nothing "
                "from the cache.",
                journaled=purged.journaled,
            )
        return answer(document | {"seq": purged.seq, "entries": purged.entries})


def _understood(site: Site, body: PurgeBody) -> tuple[Purge, dict[str, Any]]:
    """What a body names, and the answer as far as it follows from that. Raises Refused."""
    contexts = site.manifest.contexts
    document: dict[str, Any] = {"seq": 0, "entries": 0, "urls": [], "scopes": [], "dry_run": body.dry_run}
    if body.soft:
        document["note"] = "Soft purges are carried out as hard ones."
    if body.all:
        return Purge(everything=True, hold_s=longest_hold(None, contexts)), document
    try:
        named = strict(body.scopes, contexts)
    except ScopeError as error:
        raise Refused(422, str(error)) from None
    by_url = [_scope_of(site.router, url) for url in body.urls]
    scopes = widest([*named, *by_url, *_of_users(site.manifest, body.users)])
    if not scopes:
        raise Refused(422, 'Nothing is named: give "scopes", "urls", "users", or "all": true.')
    urls = {url for scope in named for url in site.router.urls(scope)} | {dict(s.params)[URL] for s in by_url}
    document |= {"urls": sorted(urls), "scopes": [str(scope) for scope in scopes]}
    return Purge(scopes, hold_s=longest_hold(scopes, contexts)), document


def _of_users(manifest: Manifest, users: Sequence[int | str]) -> Iterator[Scope]:
    """What was made for signed-in users, in whichever context, whatever it shows."""
    names = [name for name, context in manifest.contexts.items() if context.scope == "user"]
    if users and not names:
        raise Refused(422, "The manifest has no context of scope user, so nothing is stored for a user alone.")
    for user in users:
        if user == "":
            raise Refused(422, "users: the id of a user cannot be empty.")
        yield from (Scope.of(name, {USER: user}) for name in names)


def _scope_of(router: Router, url: str) -> Scope:
    # A fragment is no part of what is asked for, here as in a request of a client (RFC 9110 section 4.2.5).
    path = (url if url.startswith("/") else "/" + url).partition("#")[0]
    resource = router.match(path)
    if isinstance(resource, Uncacheable):
        why = "no declared view or endpoint" if resource.detail == "undeclared" else "no canonical spelling"
        raise Refused(422, f"{url!r} is never cached: it is the URL of {why}. {resource.because}")
    return of_resource(resource)
