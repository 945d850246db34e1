"""Why a request is answered as it is, and what would become of it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from mizan_core.store import AsyncStore, StoreError
from mizan_core.store.layout import index_names
from mizan_core.store.replies import PurgeOf
from mizan_edge.admin import explained
from mizan_edge.admin.problems import Refused, answer
from mizan_edge.http.errors import RefusedError
from mizan_edge.purging.hold import Hold
from mizan_edge.rules import storing
from mizan_edge.rules.outcome import of_resource
from mizan_edge.rules.policy import Pass
from mizan_edge.rules.routes import Resource
from mizan_edge.serving.cache import Reading
from mizan_edge.serving.explaining import Explainer, Question

_KEYS = ("url", "method", "host", "header", "body")
_MAX_ENTRIES = 50
_ASCII = "".join(map(chr, range(128)))
_LINE_ENDS = frozenset("\r\n\0")

Remember = Callable[[Question], Awaitable[Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Explaining:
    """`GET /explain`."""

    explainer: Explainer
    store: AsyncStore
    hold: Hold
    remember: Remember
    """What each worker has in memory for a request."""
    audited: Callable[[int], Awaitable[dict[str, Any] | None]]
    """What the audit says of the purge with a number. Raises StoreError."""
    host: Callable[[], str]
    """The host that is asked for where none is named."""
    scheme: str
    """The same of the scheme."""

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/explain", self._explain)]

    async def _explain(self, request: web.Request) -> web.Response:
        question = self._question(request)
        try:
            case = self.explainer.case(question)
        except RefusedError as error:
            raise Refused(422, f"Such a request is refused with {error.status}: {error}") from None
        reading = case.planned
        told = explained.passed(reading) if isinstance(reading, Pass) else await self._looked_up(reading, question)
        return answer({**explained.question(case), "rule": explained.rule(case), **told})

    def _question(self, request: web.Request) -> Question:
        """The request that the query describes. Raises Refused."""
        query = request.query
        for name in query:
            if name not in _KEYS:
                raise Refused(422, f"There is no parameter {name!r}: it takes {', '.join(_KEYS)}.")
        if len(query.getall("url", [])) != 1 or not query["url"]:
            raise Refused(422, "Say which URL: /explain?url=/profile/5/")
        url, method, body = query["url"], query.get("method", "GET"), query.get("body")
        scheme, _, rest = url.partition("://")
        if not rest or scheme not in ("http", "https"):
            scheme, url = self.scheme, url if url.startswith("/") else f"/{url}"
        headers = [line for line in query.getall("header", []) if line]
        if body is not None and not any(line.lower().startswith("content-type:") for line in headers):
            headers.append("Content-Type: application/json")
        lines = [
            f"{method} {quote(url, safe=_ASCII)} HTTP/1.1",
            f"Host: {query.get('host') or self.host()}",
            *headers,
        ]
        if any(set(line) & _LINE_ENDS for line in lines):
            raise Refused(422, "What is asked about has a line end in it.")
        head = "".join(f"{line}\r\n" for line in [*lines, ""])
        return Question(head.encode(), scheme, None if body is None else body.encode())

    async def _looked_up(self, reading: Reading, question: Question) -> dict[str, Any]:
        remembered = await self.remember(question)
        told = {
            **explained.NOTHING,
            "partition": reading.lookup.partition.name,
            "workers": explained.workers(remembered),
            "not_stored": explained.refusal(remembered),
        }
        names = index_names(storing.request_scopes(reading.lookup))
        manifest = reading.site.manifest
        try:
            found = await self.explainer.found(reading)
            if found is not None:
                names = tuple(sorted({*names, *found.names}))
                return told | {
                    "decision": explained.looked_up(reading, found, remembered),
                    "key": explained.key(reading, found.vary),
                    "stored": explained.stored(found),
                    "varies_by": list(found.vary),
                    "entries": await self._entries(reading.lookup.resource, manifest.contexts[reading.context].scope),
                    "purged_by": explained.purged_by(names, manifest),
                    "last_purge": await self._last_purge(names),
                }
            because = f"It is held: {', '.join(self.hold.told()) or 'this edge has no lease'}."
        except StoreError as error:
            because = f"Redis fails: {error}."
        return told | {
            "decision": explained.unusable(reading, because),
            "key": explained.key(reading, ()),
            "purged_by": explained.purged_by(names, manifest),
        }

    async def _entries(self, resource: Resource, scope: str) -> list[dict[str, Any]]:
        """What is stored under its URL, for whomever. Raises StoreError."""
        if resource.kind == "call":
            return []
        namespace = self.store.namespace
        keys = await self.store.run(namespace.matching([of_resource(resource)], _MAX_ENTRIES))
        found = await self.store.run(namespace.read(keys))
        told = (explained.entry(entry, found.now_ms, scope) for entry in found.entries if entry is not None)
        return [entry for entry in told if entry is not None]

    async def _last_purge(self, names: Sequence[str]) -> dict[str, Any] | None:
        """The last purge that has matched, as far as Redis remembers. Raises StoreError."""
        found: PurgeOf | int | None = 0
        while isinstance(found, int):
            found = await self.store.run(self.store.namespace.last_purge(names, found))
        if found is None:
            return None
        purge = await self.audited(found.seq)
        return {**(purge or {}), "seq": found.seq, "scope": explained.scope_text(found.scope)}
