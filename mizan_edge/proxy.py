"""One request: asks the pure modules what to do, and does the I/O.

    read   look up -> answer from the entry, or ask whose turn it is to fetch -> fetch -> store -> answer
    pass   stream both ways

Whatever comes back from the origin goes through `_send`, so no response can reach a client before what it
invalidates has been purged.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import assert_never

from mizan_core.resolve import Purge
from mizan_core.store import AsyncStore, EntryError, Fence, StoreError
from mizan_core.store.fills import Turn
from mizan_core.store.operations import StoreReply
from mizan_edge import conditional, forwarding, policy
from mizan_edge.cache_status import Forwarded, Hit, forwarded, hit
from mizan_edge.calls import match_call
from mizan_edge.counters import Counters
from mizan_edge.entry import StoredResponse, VaryRecord, decode_payload
from mizan_edge.errors import OriginError, problem
from mizan_edge.flight import ALONE_MS, Flight, Flights
from mizan_edge.forwarding import Peer
from mizan_edge.freshness import initial_age_s
from mizan_edge.hold import Hold
from mizan_edge.http import Request, Response, end_to_end, values
from mizan_edge.identity import PUBLIC, Partition, is_named, partition
from mizan_edge.origin import Exchange, Origin
from mizan_edge.policy import Lookup, Pass, Storable
from mizan_edge.purge import FIELD, Purger
from mizan_edge.routes import Resource, Uncacheable
from mizan_edge.site import Rules, Site

log = logging.getLogger(__name__)

Body = AsyncIterator[bytes] | bytes | None

# Refusals that somebody should look into: the field at fault, and what it means.
_NOTEWORTHY = {
    "vary": ("Vary", "the origin looked at who asked"),
    "scope": ("X-Mizan-Scope", "what it depends on cannot be told exactly"),
    "partition": ("X-Mizan-Partition", "the origin answered somebody else than the edge took the request for"),
}


# The next who asks may share again: this response is there, or was overtaken by a purge.
_SHARED_OR_OVERTAKEN = ("stored", "overtaken", "incarnation", "trimmed")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the client: a head, and a body that is whole or still arriving."""

    response: Response
    body: bytes | AsyncIterator[bytes]
    close: Callable[[], None] = lambda: None
    """Gives up whatever of the body has not been read. To be called in the end, in any case."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look-up gave: a response or none, the token for a fill, and Redis' clock."""

    stored: StoredResponse | None
    fence: Fence
    now_ms: int
    vary: tuple[str, ...]
    key: str
    """Under which it lies, or would."""
    mac: bytes
    """The seal of what lies there."""

    def renewed(self, turn: Turn) -> "_Found":
        """The same, as of a later moment."""
        return replace(self, fence=turn.fence, now_ms=turn.now_ms)


class Proxy:
    """Answers requests from the store and the origin."""

    def __init__(
        self,
        site: Site,
        rules: Rules,
        *,
        store: AsyncStore,
        origin: Origin,
        purger: Purger,
        flights: Flights,
        hold: Hold,
        counters: Counters,
    ) -> None:
        self.site = site
        self._rules = rules
        self._store = store
        self._origin = origin
        self._purger = purger
        self._flights = flights
        self._hold = hold
        self._counters = counters

    async def answer(self, request: Request, body: Body, peer: Peer) -> Answer:
        """The answer to a request. Every failure of the origin is an answer too."""
        site = self.site
        request = forwarding.to_origin(request, peer, self._rules.trusted_proxies)
        planned, body = await self._plan(site, request, body)
        match planned:
            case Pass(why):
                return await self._pass(request, body, why)
            case Lookup():
                return await self._read(site, request, body, planned)
            case _ as never:
                assert_never(never)

    async def _plan(self, site: Site, request: Request, body: Body) -> tuple[Pass | Lookup, Body]:
        if request.method in ("GET", "HEAD"):
            resource = site.router.match(request.target)
            if isinstance(resource, Resource) and body is not None:
                # What an application makes of a GET's body is in no key. RFC 9110 section 9.3.1
                resource = Uncacheable("non-canonical")
        elif request.method == "POST" and site.router.is_call(request.target.partition("?")[0]):
            start, body = await _peek(body, self._rules.max_call_bytes)
            if start is None:
                return Pass(Forwarded("bypass", "non-canonical")), body
            call = match_call(site.manifest, request.target, request.get("content-type"), start)
            if call is None:
                return Pass(Forwarded("method")), body
            resource = call
        else:
            return Pass(Forwarded("method")), body
        if isinstance(resource, Uncacheable):
            return Pass(Forwarded("bypass", resource.detail)), body
        who: Partition | None = Partition(PUBLIC)
        if site.manifest.contexts[resource.context].scope == "user":
            who = partition(request.fields, self._rules.identity, self._rules.verifier(time.time()))
        named = is_named(request.fields, self._rules.identity)
        return policy.plan(request, resource, who, named=named), body

    async def _pass(self, request: Request, body: Body, why: Forwarded) -> Answer:
        try:
            exchange = await self._send(request, body)
        except OriginError as error:
            return self._failed(error, why)
        self._count_outcome("pass", why.detail or why.fwd)
        return self._relay(exchange, forwarded(why, status=exchange.response.status))

    async def _read(self, site: Site, request: Request, body: Body, lookup: Lookup) -> Answer:
        if self._hold.active():
            return await self._pass(request, body, Forwarded("bypass", "store"))
        try:
            found = await self._look_up(site, request, lookup)
        except StoreError as error:
            self._counters.count("store_errors", "read")
            log.warning("the cache is passed by: %s", error)
            return await self._pass(request, body, Forwarded("bypass", "store"))
        stored = found.stored
        if stored and not self._hold.active() and policy.usable(request, stored, lookup, found.now_ms):
            self._count_outcome(lookup.resource.context, "hit")
            return self._from_entry(request, stored, found.now_ms, hit(Hit(stored.ttl_s(found.now_ms))))
        if lookup.only_if_cached:
            # RFC 9111 section 5.2.1.7
            return self._problem(504, "Nothing usable is stored, and the request asks for nothing else.", "")
        return await self._fill(site, request, body, lookup, found)

    async def _look_up(self, site: Site, request: Request, lookup: Lookup) -> _Found:
        """Reads what is stored for a request, through the record of what its responses vary by. Raises StoreError."""
        vary: tuple[str, ...] = ()
        while True:
            key = policy.entry_key(site.keys, request, lookup, policy.variant_of(request, vary))
            reply = await self._store.run(self._store.namespace.read([key]))
            if reply.corrupt:
                self._counters.count("corrupt_entries", by=reply.corrupt)
                log.error("the entry %s was altered in Redis: not used", self._store.namespace.entry(key))
            (entry,) = reply.entries
            payload = decode_payload(entry.payload) if entry else None
            if isinstance(payload, VaryRecord) and not vary:
                vary = payload.names
                continue
            stored = payload if isinstance(payload, StoredResponse) else None
            return _Found(stored, reply.fence, reply.now_ms, vary, key, entry.mac if entry else b"")

    async def _fill(self, site: Site, request: Request, body: Body, lookup: Lookup, found: _Found) -> Answer:
        why = _why(lookup, found)
        if not lookup.store:
            return await self._pass(request, body, why)
        if lookup.forced:
            # Whoever demands a fetch gets one of his own.
            return await self._fetch(site, request, body, lookup, found, why, Flight(found.key))
        flight = Flight(found.key)
        try:
            turn = await self._flights.turn(flight, policy.request_scopes(lookup), found.mac)
        except StoreError as error:
            self._counters.count("store_errors", "lead")
            log.warning("the cache is passed by: %s", error)
            return await self._pass(request, body, Forwarded("bypass", "store"))
        match turn.what:
            case "lead":
                async with self._flights.led(flight):
                    return await self._fetch(site, request, body, lookup, found.renewed(turn), why, flight)
            case "alone":
                return await self._fetch(site, request, body, lookup, found.renewed(turn), why, flight)
            case "entry":
                return await self._collapsed(site, request, body, lookup, why)
        raise AssertionError(turn.what)

    async def _collapsed(self, site: Site, request: Request, body: Body, lookup: Lookup, why: Forwarded) -> Answer:
        """Answers with what somebody else has fetched; where that is of no use, with a fetch of its own."""
        try:
            found = await self._look_up(site, request, lookup)
        except StoreError as error:
            log.warning("the cache is passed by: %s", error)
            return await self._pass(request, body, Forwarded("bypass", "store"))
        stored = found.stored
        if stored and not self._hold.active() and policy.usable(request, stored, lookup, found.now_ms):
            self._count_outcome(lookup.resource.context, "collapsed")
            return self._from_entry(request, stored, found.now_ms, forwarded(why, collapsed=True))
        if found.vary and stored is None:
            # One of several variants was fetched, and this request selects another: there is a flight for that one.
            return await self._fill(site, request, body, lookup, found)
        return await self._fetch(site, request, body, lookup, found, why, Flight(found.key))

    async def _fetch(
        self,
        site: Site,
        request: Request,
        body: Body,
        lookup: Lookup,
        found: _Found,
        why: Forwarded,
        flight: Flight,
    ) -> Answer:
        """Asks the origin, stores what may be stored, and answers. Says in `flight` whether others could share it."""
        flight.alone_ms = ALONE_MS
        context = site.manifest.contexts[lookup.resource.context]
        try:
            exchange = await self._send(policy.fill_request(request, lookup, context), body)
        except OriginError as error:
            return self._failed(error, why)
        verdict = policy.storable(request, lookup, exchange.response, site.manifest.contexts)
        if not isinstance(verdict, Storable):
            self._note(lookup, exchange.response, verdict)
            return self._relay(exchange, forwarded(why, status=exchange.response.status))
        try:
            whole, rest = await _gather(exchange, self._rules.max_entry_bytes)
        except OriginError as error:
            exchange.close()
            return self._failed(error, why)
        if rest is not None:
            self._count_outcome(lookup.resource.context, "unstorable-size")
            return self._relay(exchange, forwarded(why, status=exchange.response.status), rest)
        # RFC 9111 section 4.2.3: a response ages from when it was asked for.
        stored = _stored_response(exchange.response, whole, found.now_ms, verdict)
        reply = await self._keep(site, request, lookup, found, stored, verdict)
        if reply in _SHARED_OR_OVERTAKEN:
            flight.alone_ms = 0
        kept = reply == "stored"
        self._count_outcome(lookup.resource.context, "miss" if kept else "miss-unstored")
        status = forwarded(why, stored=kept, status=exchange.response.status)
        return self._from_entry(request, stored, None, status)

    def _note(self, lookup: Lookup, response: Response, refusal: policy.Refusal) -> None:
        self._count_outcome(lookup.resource.context, f"unstorable-{refusal}")
        if refusal in _NOTEWORTHY:
            name, meaning = _NOTEWORTHY[refusal]
            log.warning(
                "context %s: a response with `%s: %.200s` is not stored: %s",
                lookup.resource.context,
                name,
                response.get(name.lower()),
                meaning,
            )

    async def _keep(
        self,
        site: Site,
        request: Request,
        lookup: Lookup,
        found: _Found,
        stored: StoredResponse,
        how: Storable,
    ) -> StoreReply | None:
        """Stores a response, and whatever record leads to it. None where the store was not asked or failed."""
        # What began under another manifest was judged by it.
        if self._hold.active() or site is not self.site:
            return None
        retention_ms = (how.lifetime.retention_s - stored.initial_age_s) * 1000
        shapes = {scope.context: site.manifest.contexts[scope.context].shape for scope in how.scopes}
        wanted: list[tuple[str | None, bytes]] = [(policy.variant_of(request, how.vary), stored.to_bytes())]
        if how.vary:
            wanted.append((None, VaryRecord(how.vary).to_bytes()))
        try:
            for variant, payload in wanted:
                operation = self._store.namespace.store(
                    policy.entry_key(site.keys, request, lookup, variant),
                    payload,
                    fence=found.fence,
                    scopes=how.scopes,
                    shapes=shapes,
                    retention_ms=retention_ms,
                )
                if (reply := await self._store.run(operation)) != "stored":
                    self._counters.count("store_refused", reply)
                    if reply == "shape":
                        log.warning(
                            "context %s: not stored, since the origin or another edge has a manifest with other "
                            "parameters: export it again and reload",
                            lookup.resource.context,
                        )
                    return reply
        except (StoreError, EntryError) as error:
            self._counters.count("store_errors", "store")
            log.warning("a response is not stored: %s", error)
            return None
        return "stored"

    async def _send(self, request: Request, body: Body) -> Exchange:
        """Asks the origin, and purges what its answer says before anybody sees it. Raises OriginError."""
        try:
            exchange = await self._origin.send(request, body)
        except OriginError as error:
            if error.unread:
                await self._purger.purge(
                    Purge(everything=True, faults=("the head of a response could not be read",)), "response"
                )
            raise
        if values(exchange.response.fields, FIELD):
            # By the manifest of now: what it does not know of the scopes would match nothing that it has stored.
            await self._purger.obey(exchange.response.fields, self.site.manifest.contexts)
        return exchange

    def _relay(self, exchange: Exchange, status: str, body: AsyncIterator[bytes] | None = None) -> Answer:
        response = forwarding.to_client(
            exchange.response, forward_mizan_headers=self._rules.forward_mizan_headers
        ).with_fields(("Cache-Status", status))
        return Answer(response, body or exchange.body(), exchange.close)

    def _from_entry(self, request: Request, stored: StoredResponse, now_ms: int | None, status: str) -> Answer:
        """Answers with a stored response; `now_ms` is None for one that has just come from the origin."""
        response, body = conditional.select(request, stored.response, stored.body)
        response = forwarding.to_client(response, forward_mizan_headers=self._rules.forward_mizan_headers)
        if now_ms is not None:
            response = response.with_fields(("Age", str(stored.age_s(now_ms))), without=["age"])
        return Answer(response.with_fields(("Cache-Status", status)), body)

    def _failed(self, error: OriginError, why: Forwarded) -> Answer:
        self._counters.count("origin_errors", str(error.status))
        log.error("%s", error)
        return self._problem(error.status, str(error), forwarded(why))

    def _problem(self, status: int, detail: str, cache_status: str) -> Answer:
        fields = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
        if cache_status:
            fields.append(("Cache-Status", cache_status))
        return Answer(Response(status, tuple(fields)), problem(status, detail))

    def _count_outcome(self, context: str, outcome: str) -> None:
        self._counters.count("requests", context, outcome)


def _why(lookup: Lookup, found: _Found) -> Forwarded:
    if lookup.forced:
        return Forwarded("request")
    if found.stored is None:
        return Forwarded("vary-miss" if found.vary else "uri-miss")
    if not policy.may_answer(lookup, found.vary):
        return Forwarded("bypass")
    return Forwarded("stale" if found.stored.ttl_s(found.now_ms) <= 0 else "request")


def _stored_response(response: Response, body: bytes, now_ms: int, how: Storable) -> StoredResponse:
    kept = Response(response.status, end_to_end(response.fields), response.reason)
    return StoredResponse(conditional.with_validator(kept, body), body, now_ms, initial_age_s(response), how.lifetime)


async def _peek(body: Body, limit: int) -> tuple[bytes | None, Body]:
    """The whole of a body of at most `limit` bytes, else None; and a body to send on in either case."""
    if body is None or isinstance(body, bytes):
        return body or b"", body
    whole, rest = await _collect(body, limit)
    return (whole, whole) if rest is None else (None, rest)


async def _gather(exchange: Exchange, limit: int) -> tuple[bytes, AsyncIterator[bytes] | None]:
    return await _collect(exchange.body(), limit)


async def _collect(chunks: AsyncIterator[bytes], limit: int) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """All of a body, or where that is longer than `limit`: nothing, and an iterator over the whole of it."""
    collected: list[bytes] = []
    size = 0
    async for chunk in chunks:
        collected.append(chunk)
        size += len(chunk)
        if size > limit:
            return b"", _chain(collected, chunks)
    return b"".join(collected), None


async def _chain(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk
