"""The audit: who purged what, on the whole fleet."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
from aiohttp import web

from mizan_core.purge import By
from mizan_core.resolve import strict
from mizan_core.scopes import Scope, ScopeError
from mizan_core.store import AsyncStore, StoreError, audit
from mizan_core.store.audit import Audited
from mizan_core.store.layout import scope_argument
from mizan_edge.admin.explained import rfc3339, scope_text
from mizan_edge.admin.problems import Refused, answer
from mizan_edge.purging.acknowledged import Acknowledgements
from mizan_edge.rules.site import InUse

log = logging.getLogger(__name__)

_KEYS = ("limit", "since", "before", "scope", "format")
_USUAL, _MOST = 100, 2 * audit.KEPT
_PAGE = 500
_JSON_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Auditing:
    """`GET /audit`."""

    store: AsyncStore
    in_use: InUse
    acknowledgements: Acknowledgements

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/audit", self._audit)]

    async def find(self, seq: int) -> dict[str, Any] | None:
        """The purge with this number, if the audit still has it. Raises StoreError."""
        async for record in self._records():
            if record.seq <= seq:
                return told(record) if record.seq == seq else None
        return None

    async def _audit(self, request: web.Request) -> web.Response:
        query = request.query
        for name in query:
            if name not in _KEYS:
                raise Refused(422, f"There is no parameter {name!r}: it takes {', '.join(_KEYS)}.")
        limit, since, before = (_number(query, name) for name in ("limit", "since", "before"))
        scope = self._scope(query["scope"]) if "scope" in query else None
        try:
            purges = await self._purges(min(limit or _USUAL, _MOST), since, before, scope)
        except StoreError as error:
            raise Refused(503, f"Redis cannot be asked now: {error}") from None
        wanted = query.get("format")
        if wanted not in (None, "json", "jsonl"):
            raise Refused(422, "format is json or jsonl.")
        if wanted == "jsonl" or (wanted is None and _JSON_LINES in request.headers.get("Accept", "")):
            lines = b"".join(orjson.dumps(told(record)) + b"\n" for record in purges)
            return web.Response(body=lines, content_type=_JSON_LINES)
        return answer({"purges": [told(record) for record in purges]})

    def _scope(self, text: str) -> Scope:
        try:
            scopes = strict([text], self.in_use.site.manifest.contexts)
        except ScopeError as error:
            raise Refused(422, str(error)) from None
        if len(scopes) != 1:
            raise Refused(422, "Name one scope: scope=user;user_id=5")
        return scopes[0]

    async def _purges(self, limit: int, since: int | None, before: int | None, scope: Scope | None) -> list[Audited]:
        # What this edge has yet to tell of its own.
        await self.acknowledgements.tell()
        found: list[Audited] = []
        async for record in self._records():
            if len(found) == limit or (since is not None and record.seq <= since):
                break
            if (before is None or record.seq < before) and (scope is None or _concerns(record, scope)):
                found.append(record)
        return found

    async def _records(self) -> AsyncIterator[Audited]:
        """All of them, newest first. Raises StoreError."""
        page = await self.store.run(audit.read(self.store.namespace, _PAGE))
        while page.last:
            if page.foreign:
                log.warning("%d records of the audit in Redis are of no purge: they are left out", page.foreign)
            for record in page.purges:
                yield record
            page = await self.store.run(audit.read(self.store.namespace, _PAGE, page.last))


def told(record: Audited) -> dict[str, Any]:
    """One purge, as JSON."""
    return {
        "at": rfc3339(record.at_ms),
        "seq": record.seq,
        **{field.name: record.by.get(field.name) for field in fields(By)},
        "scopes": [scope_text(scope) for scope in record.scopes],
        "scope_count": record.count,
        "entries": record.entries,
        "acknowledged_ms": record.acknowledged_ms,
    }


def _concerns(record: Audited, scope: Scope) -> bool:
    """Whether a purge may have removed anything of a scope."""
    context, *terms = scope_argument(scope).split("\n")
    return record.count > len(record.scopes) or any(_overlaps(text, context, terms) for text in record.scopes)


def _overlaps(script_text: str, context: str, terms: Sequence[str]) -> bool:
    purged, *others = script_text.split("\n")
    if purged == context:
        return {_name(t) for t in others if t not in terms}.isdisjoint(_name(t) for t in terms if t not in others)
    return script_text == ""


def _name(term: str) -> str:
    return term.partition("=")[0]


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refused(422, f"{name} is a whole number.")
    return int(text)
