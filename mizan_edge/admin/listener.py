"""The admin listener: purge, reload and probes. Never on the public listener."""

import asyncio
import difflib
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from mizan_core.errors import MizanError
from mizan_core.resolve import Purge, longest_hold, strict
from mizan_core.scopes import URL, Scope, ScopeError, widest
from mizan_core.store import AsyncStore, Purged, StoreError
from mizan_edge.http.errors import problem
from mizan_edge.origin.origin import Origin
from mizan_edge.purging.hold import Hold
from mizan_edge.purging.invalidation import Pending
from mizan_edge.purging.purge import Purger
from mizan_edge.rules.outcome import of_resource
from mizan_edge.rules.routes import Uncacheable
from mizan_edge.rules.site import InUse
from mizan_edge.running.files import Files, ReloadFailed

log = logging.getLogger(__name__)

Role = Literal["read", "purge"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PROBES = ("/healthz", "/readyz")
_MAX_BODY_BYTES = 1 << 20


class Refused(MizanError):
    """A request that the admin API does not serve; becomes a problem document."""

    def __init__(self, status: int, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.status = status
        self.extra = extra


class PurgeBody(BaseModel):
    """The body of `POST /purge`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    scopes: list[str] = []
    urls: list[str] = []
    all: bool = False
    soft: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the API: a token for each role, and the host names under which it may be addressed."""

    purge_token: str
    read_token: str | None
    hosts: tuple[str, ...]

    def role(self, authorization: str | None) -> Role | None:
        """The role of a bearer token, compared in constant time."""
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip().encode(errors="surrogateescape") if scheme.lower() == "bearer" else b""
        if hmac.compare_digest(given, self.purge_token.encode()):
            return "purge"
        if self.read_token is not None and hmac.compare_digest(given, self.read_token.encode()):
            return "read"
        return None

    def serves(self, host: str) -> bool:
        """Whether a Host field may name this listener: otherwise a page could reach it by rebinding its own name."""
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Admin:
    """The handlers, over the parts that they speak to."""

    in_use: InUse
    purger: Purger
    files: Files
    store: AsyncStore
    origin: Origin
    hold: Hold
    counters: Callable[[], Awaitable[dict[str, int]]]
    access: Access
    serving: asyncio.Event
    """Set while the public listener takes requests."""

    def application(self) -> web.Application:
        """The aiohttp application of the admin listener."""
        app = web.Application(middlewares=[_problems, self._guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/purge", self._purge)
        app.router.add_post("/reload", self._reload)
        app.router.add_get("/stats", self._stats)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_route("PURGE", r"/{path:[\s\S]*}", self._purge_url)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _PROBES and request.method in ("GET", "HEAD"):
            return await handler(request)
        if not self.access.serves(request.headers.get("Host", "")):
            raise Refused(421, "This listener is not served under that name: add it to admin_hosts if it should be.")
        role = self.access.role(request.headers.get("Authorization"))
        if role is None:
            raise Refused(401, "A token is needed: Authorization: Bearer <token>")
        if role == "read" and request.method not in ("GET", "HEAD"):
            raise Refused(403, "This token may read only; purging and reloading need the other one.")
        return await handler(request)

    async def _purge(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            raise Refused(415, "Send JSON: Content-Type: application/json")
        try:
            body = PurgeBody.model_validate(orjson.loads(await request.read()))
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"The body is not JSON: {error}") from None
        except ValidationError as error:
            raise Refused(422, "; ".join(_lines(error))) from None
        return await self._answer(body)

    async def _purge_url(self, request: web.Request) -> web.Response:
        return await self._answer(PurgeBody(urls=[request.raw_path]))

    async def _answer(self, body: PurgeBody) -> web.Response:
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
        purged = await self._run(Purge(scopes, everything=body.all, hold_s=hold_s), dry_run=body.dry_run)
        return _json(
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

    async def _reload(self, _request: web.Request) -> web.Response:
        try:
            return _json(await self.files.reload())
        except ReloadFailed as error:
            raise Refused(422, str(error)) from None

    async def _stats(self, _request: web.Request) -> web.Response:
        return _json({"counters": await self.counters(), "hold": self.hold.told()})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        if not self.serving.is_set():
            raise Refused(503, "The edge is starting, or being stopped.")
        return _json(
            {
                "status": "ready",
                "contexts": len(self.in_use.site.manifest.contexts),
                "redis": "up" if await self.store.answers() else "down",
                "origin": "up" if await self.origin.accepts() else "down",
                "cache": "held: " + ", ".join(self.hold.told()) if self.hold.active() else "in use",
            }
        )


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every failure into a problem document."""
    extra: dict[str, Any] = {}
    headers: dict[str, str] = {}
    try:
        return await handler(request)
    except Refused as error:
        status, detail, extra = error.status, str(error), error.extra
    except web.HTTPException as error:
        if error.status < 400:
            raise
        status, detail = error.status, f"{request.method} {request.path}: {error.reason}"
        if isinstance(error, web.HTTPMethodNotAllowed):
            headers["Allow"] = ", ".join(sorted(error.allowed_methods))
            if error.allowed_methods == {"PURGE"}:  # which every path allows
                status, detail = 404, f"There is nothing at {request.path} here."
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        status, detail = 500, "The request failed. The log has the reason."
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=status,
        body=problem(status, detail, extra),
        headers=headers,
        content_type="application/problem+json",
    )


def _lines(error: ValidationError) -> Iterator[str]:
    for problem_ in error.errors():
        place = ".".join(map(str, problem_["loc"]))
        match problem_["type"]:
            case "extra_forbidden":
                close = difflib.get_close_matches(place, PurgeBody.model_fields, n=1)
                yield f"{place}: there is no such key" + (f"; the nearest is {close[0]!r}" if close else "")
            case "model_type":
                yield "the body: it should be a JSON object"
            case _:
                yield f"{place}: {problem_['msg']}"


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
