"""One request: asks the pure modules what to do, and does the I/O.

    read   look up -> answer from the entry; or join whoever fetches, or ask whose turn it is -> fetch, store, answer
    pass   stream both ways

Whatever comes back from the origin goes through `_send`, so no response can reach a client before what it
invalidates has been purged.
"""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import assert_never

from mizan_core.resolve import Purge
from mizan_core.scopes import Scope
from mizan_core.store import StoreError
from mizan_core.store.fills import Turn
from mizan_core.store.layout import index_names
from mizan_edge import forwarding, outcome, policy
from mizan_edge.answer import Answer, from_stored, refusal
from mizan_edge.body import Body, collect, peek
from mizan_edge.cache import Cache, Found, Reading
from mizan_edge.cache_status import Forwarded, Hit, forwarded, hit
from mizan_edge.calls import Call, match_call
from mizan_edge.counters import Counters
from mizan_edge.entry import Payload, StoredResponse
from mizan_edge.errors import OriginError
from mizan_edge.flight import Flight, Flights, Landed
from mizan_edge.forwarding import Peer
from mizan_edge.http import Request, Response, values
from mizan_edge.identity import PUBLIC, Partition, is_named, partition
from mizan_edge.invalidation import FIELD, Invalidation
from mizan_edge.memory import Memory
from mizan_edge.origin import Exchange, Origin
from mizan_edge.policy import Lookup, Pass, Storable
from mizan_edge.routes import Resource, Uncacheable
from mizan_edge.site import InUse, Rules, Site
from mizan_edge.tasks import Tasks

log = logging.getLogger(__name__)

# Refusals that somebody should look into: the field at fault, and what it means.
_NOTEWORTHY = {
    "vary": ("Vary", "the origin looked at who asked"),
    "scope": ("X-Mizan-Scope", "what it depends on cannot be told exactly"),
    "partition": ("X-Mizan-Partition", "the origin answered somebody else than the edge took the request for"),
}

# For a while, nobody will be able to share what is fetched.
_NOT_SHARED = ("held", "shape")
_NO_STORE = Forwarded("bypass", "store")
# A body that takes longer to arrive is passed on as it comes, and not stored.
_COLLECT_S = 5.0
# How many flights a request joins before it fetches for itself.
_JOINS = 3


class Proxy:
    """Answers requests from the store and the origin.

    # mutable state: `_refreshing`, the keys of what is fetched in the background.
    """

    def __init__(
        self,
        in_use: InUse,
        rules: Rules,
        *,
        memory: Memory[Payload],
        cache: Cache,
        origin: Origin,
        invalidation: Invalidation,
        flights: Flights,
        counters: Counters,
        tasks: Tasks,
    ) -> None:
        self._in_use = in_use
        self._rules = rules
        self._memory = memory
        self._cache = cache
        self._origin = origin
        self._invalidation = invalidation
        self._flights = flights
        self._counters = counters
        self._tasks = tasks
        self._refreshing: set[str] = set()

    async def answer(self, request: Request, body: Body, peer: Peer) -> Answer:
        """The answer to a request. Every failure of the origin is an answer too."""
        site = self._in_use.site
        request = forwarding.to_origin(request, peer, self._rules.trusted_proxies)
        planned, body = await self._plan(site, request, body)
        match planned:
            case Pass(why, affects):
                if affects is None:
                    return await self._pass(request, body, why)
                return await self._mutate(site, request, body, why, affects)
            case Lookup():
                return await self._read(Reading(site, request, planned), body)
            case _ as never:
                assert_never(never)

    async def _plan(self, site: Site, request: Request, body: Body) -> tuple[Pass | Lookup, Body]:
        resource: Resource | Uncacheable
        if request.method in ("GET", "HEAD"):
            resource = site.router.match(request.target)
            if isinstance(resource, Resource) and body is not None:
                # What an application makes of a GET's body is in no key. RFC 9110 section 9.3.1
                resource = Uncacheable("non-canonical")
        elif request.method == "POST" and site.router.is_call(request.target.partition("?")[0]):
            start, body = await peek(body, self._rules.max_call_bytes)
            call = None
            if start is not None:
                call = match_call(site.manifest, request.target, request.get("content-type"), start)
            if call is None:
                return Pass(Forwarded("bypass", "non-canonical"), outcome.of_call(site.manifest, None)), body
            if isinstance(call, Call):
                return Pass(Forwarded("method"), outcome.of_call(site.manifest, call)), body
            resource = call
        else:
            return Pass(Forwarded("method"), outcome.of_view(site.router, request)), body
        if isinstance(resource, Uncacheable):
            affects = outcome.of_view(site.router, request) if request.method == "GET" else None
            return Pass(Forwarded("bypass", resource.detail), affects), body
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
        self._counters.count("requests", "pass", why.detail or why.fwd)
        return self._relay(exchange, forwarded(why, status=exchange.response.status))

    async def _mutate(self, site: Site, request: Request, body: Body, why: Forwarded, affects: Purge) -> Answer:
        """Forwards what may change something; where it cannot be known whether it did, purges that."""
        async with self._invalidation.intending(affects) as intent:
            try:
                exchange = await self._send(request, body, changed=tuple(outcome.of_url(site.router, request)))
            except OriginError as error:
                if error.sent:
                    await intent.unknown()
                return self._failed(error, why)
            status = exchange.response.status
            if status >= 500 and not values(exchange.response.fields, FIELD):
                await intent.unknown()
        self._counters.count("requests", "pass", why.detail or why.fwd)
        return self._relay(exchange, forwarded(why, status=status))

    async def _read(self, reading: Reading, body: Body) -> Answer:
        mark = self._memory.mark()
        if mark is None:
            return await self._pass_by(reading, body)
        if stored := self._cache.recall(reading, mark):
            now_ms = self._memory.redis_ms()
            if policy.usable(reading.request, stored, reading.lookup, now_ms):
                return self._hit(reading, stored, now_ms)
            if policy.usable_meanwhile(reading.request, stored, reading.lookup, now_ms):
                self._refresh(reading, body)
                return self._hit(reading, stored, now_ms)
        try:
            found = await self._cache.look_up(reading, mark)
        except StoreError as error:
            return await self._without_store(reading, body, error)
        if stored := self._usable(reading, found):
            return self._hit(reading, stored, found.now_ms)
        if (
            found.stored is not None
            and policy.usable_meanwhile(reading.request, found.stored, reading.lookup, found.now_ms)
            and self._memory.still(mark)
        ):
            self._refresh(reading, body)
            return self._hit(reading, found.stored, found.now_ms)
        if reading.lookup.only_if_cached:
            return _nothing_cached()
        return await self._fill(reading, body, found)

    def _refresh(self, reading: Reading, body: Body) -> None:
        """Has what is stale fetched in the background, once at a time."""
        key = policy.entry_key(reading.site.keys, reading.request, reading.lookup)
        if reading.lookup.store and key not in self._refreshing:
            self._refreshing.add(key)
            self._tasks.start(self._refresh_now(reading, body, key), "refresh")

    async def _refresh_now(self, reading: Reading, body: Body, key: str) -> None:
        try:
            mark = self._memory.mark()
            if mark is None:
                return
            found = await self._cache.look_up(reading, mark)
            if self._usable(reading, found) is None:
                (await self._fill(reading, body, found)).close()
        except StoreError as error:
            log.debug("what is stale is not refreshed: %s", error)
        finally:
            self._refreshing.discard(key)

    async def _fill(self, reading: Reading, body: Body, found: Found) -> Answer:
        """Fetches what is missing, or waits for whoever does."""
        why = _why(reading.lookup, found)
        if not reading.lookup.store:
            return await self._pass(reading.request, body, why)
        if reading.lookup.forced:
            # Whoever demands a fetch gets one of his own.
            return await self._fetch(reading, body, found, why)
        scopes = policy.request_scopes(reading.lookup)
        for _ in range(_JOINS):
            flight = self._flights.joinable(found.key, reading.site, scopes, found.mark)
            if flight is None:
                return await self._lead(reading, body, found, why, scopes)
            landed = await self._flights.joined(flight, found.mark)
            if landed.error is not None:
                return self._failed_over(reading, found, landed.error, why)
            if landed.stored is not None and self._suits(reading, landed):
                return self._collapsed(reading, landed.stored, why)
            if not landed.look and landed.stored is None:
                break  # it could not be shared, so everybody fetches at once
            mark = self._memory.mark()
            if mark is None:
                return await self._pass_by(reading, body)
            try:
                found = await self._cache.look_up(reading, mark)
            except StoreError as error:
                return await self._without_store(reading, body, error)
            if stored := self._usable(reading, found):
                return self._collapsed(reading, stored, why)
        return await self._fetch(reading, body, found, why)

    async def _lead(
        self, reading: Reading, body: Body, found: Found, why: Forwarded, scopes: Sequence[Scope]
    ) -> Answer:
        """Fetches for all who join, once it is this process's turn."""
        flight = self._flights.begin(found.key, reading.site, scopes, found.mark)
        try:
            turn = await self._flights.turn(flight, found.seal)
            if turn.what == "lead":
                async with self._flights.led(flight):
                    return await self._fetch_after(reading, body, found, why, flight, turn)
            if turn.what == "alone":
                self._flights.land(flight, Landed())
                return await self._fetch_after(reading, body, found, why, flight, turn)
            mark = self._memory.mark()
            if mark is None:
                return await self._pass_by(reading, body)
            flight.mark = mark
            found = await self._cache.look_up(reading, mark)
            if stored := self._usable(reading, found):
                self._flights.land(flight, _landed(reading, stored, found.names))
                return self._collapsed(reading, stored, why)
            self._flights.land(flight, Landed(look=True))
            if found.vary and found.stored is None:
                # One of several variants was fetched, and this request selects another, with a flight of its own.
                return await self._fill(reading, body, found)
            return await self._fetch(reading, body, found, why)
        except StoreError as error:
            return await self._without_store(reading, body, error)
        finally:
            self._flights.land(flight, Landed())

    async def _fetch_after(
        self, reading: Reading, body: Body, found: Found, why: Forwarded, flight: Flight, turn: Turn
    ) -> Answer:
        # What is fetched from now on is newer than every purge up to this mark.
        mark = self._memory.mark()
        if mark is None:
            return await self._pass_by(reading, body)
        flight.mark = mark
        return await self._fetch(reading, body, found.renewed(turn, mark), why, flight)

    async def _fetch(
        self, reading: Reading, body: Body, found: Found, why: Forwarded, flight: Flight | None = None
    ) -> Answer:
        """Asks the origin, stores what may be stored, and answers; those who have joined the flight as well."""
        flight = flight or self._flights.unshared(found.key, reading.site, found.mark)
        try:
            exchange, head, known = await self._ask(reading, body, found)
        except OriginError as error:
            self._flights.land(flight, Landed(error=error))
            return self._failed_over(reading, found, error, why)
        status = exchange.response.status
        if stale := self._stale_instead(reading, found, status):
            exchange.close()
            # Those who joined have found the same.
            self._flights.land(flight, Landed(error=OriginError(status, "The origin has failed.")))
            return stale
        verdict = self._storable(reading, head)
        if not isinstance(verdict, Storable):
            self._flights.alone(flight)
            self._unstorable(reading, head, verdict)
            return self._relay(exchange, forwarded(why, status=status))
        try:
            whole, rest = (known.body, None) if known else await self._collect(exchange)
        except OriginError as error:
            exchange.close()
            self._flights.land(flight, Landed(error=error))
            return self._failed_over(reading, found, error, why)
        if rest is not None:
            self._flights.alone(flight)
            self._counters.count("requests", reading.context, "unstorable-size")
            return self._relay(exchange, forwarded(why, status=status), rest)
        # RFC 9111 section 4.2.3: a response ages from when it was asked for.
        stored = StoredResponse.of(head, whole, found.now_ms, verdict.lifetime)
        reply = None
        # What began under another manifest was judged by it.
        if self._memory.still(found.mark) and reading.site is self._in_use.site:
            reply = await self._cache.keep(reading, found, stored, verdict, confirmed=known is not None)
        if stored.ttl_s(found.now_ms) <= 0 or reply in _NOT_SHARED:
            self._flights.alone(flight)
        # Even where a purge has overtaken it: who has joined came before that.
        self._flights.land(flight, _landed(reading, stored, index_names(verdict.scopes)))
        kept = reply == "stored"
        self._counters.count("requests", reading.context, "miss" if kept else "miss-unstored")
        return self._from_stored(reading, stored, forwarded(why, stored=kept, status=status), None)

    async def _ask(
        self, reading: Reading, body: Body, found: Found
    ) -> tuple[Exchange, Response, StoredResponse | None]:
        """The origin's answer, the head that follows from it, and the stored response that it has confirmed, if any."""
        context = reading.site.manifest.contexts[reading.context]
        known = policy.to_confirm(reading.lookup, found.stored)
        exchange = await self._send(policy.fill_request(reading.request, reading.lookup, context, known), body)
        if exchange.response.status != 304 or known is None:
            return exchange, exchange.response, None
        await collect(exchange.body(), 0)  # there is none; the connection can be used again
        confirmed = known.confirmed(exchange.response)
        if confirmed is not None and isinstance(self._storable(reading, confirmed), Storable):
            return exchange, confirmed, known
        # It stands for something else, or may have been meant for somebody else.
        exchange = await self._send(policy.fill_request(reading.request, reading.lookup, context, None), body)
        return exchange, exchange.response, None

    def _storable(self, reading: Reading, head: Response) -> Storable | policy.Refusal:
        return policy.storable(reading.request, reading.lookup, head, reading.site.manifest.contexts)

    async def _collect(self, exchange: Exchange) -> tuple[bytes, AsyncIterator[bytes] | None]:
        until_s = time.monotonic() + _COLLECT_S
        return await collect(exchange.body(), self._rules.max_entry_bytes, late=lambda: time.monotonic() > until_s)

    async def _without_store(self, reading: Reading, body: Body, error: StoreError) -> Answer:
        self._counters.count("store_errors", "read")
        log.warning("the cache is passed by: %s", error)
        return await self._pass_by(reading, body)

    async def _pass_by(self, reading: Reading, body: Body) -> Answer:
        """Forwards where the cache cannot be used."""
        if reading.lookup.only_if_cached:
            return _nothing_cached()
        return await self._pass(reading.request, body, _NO_STORE)

    def _usable(self, reading: Reading, found: Found) -> StoredResponse | None:
        if found.stored is None or not self._memory.still(found.mark):
            return None
        usable = policy.usable(reading.request, found.stored, reading.lookup, found.now_ms)
        return found.stored if usable else None

    def _suits(self, reading: Reading, landed: Landed) -> bool:
        """Whether what a flight has brought answers this request, which found the flight under the same key."""
        if landed.stored is None or policy.variant_of(reading.request, landed.vary) != landed.variant:
            return False
        return policy.usable(reading.request, landed.stored, reading.lookup, self._memory.redis_ms())

    def _hit(self, reading: Reading, stored: StoredResponse, now_ms: int) -> Answer:
        self._counters.count("requests", reading.context, "hit")
        return self._from_stored(reading, stored, hit(Hit(stored.ttl_s(now_ms))), now_ms)

    def _collapsed(self, reading: Reading, stored: StoredResponse, why: Forwarded) -> Answer:
        self._counters.count("requests", reading.context, "collapsed")
        return self._from_stored(reading, stored, forwarded(why, collapsed=True), self._memory.redis_ms())

    def _stale_instead(self, reading: Reading, found: Found, status: int) -> Answer | None:
        """The stale response that RFC 5861 section 4 allows where the origin has failed."""
        stored, now_ms = found.stored, self._memory.redis_ms()
        if stored is None or not policy.usable_on_error(reading.request, status, stored, reading.lookup, now_ms):
            return None
        names = index_names(policy.request_scopes(reading.lookup))
        if self._memory.overtaken((*names, *found.names), found.mark):
            return None
        self._counters.count("requests", reading.context, "stale")
        return self._from_stored(reading, stored, hit(Hit(stored.ttl_s(now_ms))), now_ms)

    def _failed_over(self, reading: Reading, found: Found, error: OriginError, why: Forwarded) -> Answer:
        return self._stale_instead(reading, found, error.status) or self._failed(error, why)

    def _unstorable(self, reading: Reading, response: Response, why: policy.Refusal) -> None:
        self._counters.count("requests", reading.context, f"unstorable-{why}")
        if why in _NOTEWORTHY:
            name, meaning = _NOTEWORTHY[why]
            value = response.get(name.lower())
            log.warning(
                "context %s: a response with `%s: %.200s` is not stored: %s", reading.context, name, value, meaning
            )

    async def _send(self, request: Request, body: Body, *, changed: tuple[Scope, ...] = ()) -> Exchange:
        """Asks the origin, and purges what its answer says before anybody sees it; and what it has `changed` if it says
        that it has succeeded. Raises OriginError."""
        try:
            exchange = await self._origin.send(request, body)
        except OriginError as error:
            if error.unread:
                await self._invalidation.purge(
                    Purge(everything=True, faults=("the head of a response could not be read",))
                )
            raise
        also = changed if 200 <= exchange.response.status < 400 else ()
        if also or values(exchange.response.fields, FIELD):
            # By the manifest of now: what it does not know of the scopes would match nothing that it has stored.
            await self._invalidation.obey(exchange.response.fields, self._in_use.site.manifest.contexts, also)
        return exchange

    def _relay(self, exchange: Exchange, cache_status: str, body: AsyncIterator[bytes] | None = None) -> Answer:
        response = forwarding.to_client(
            exchange.response, forward_mizan_headers=self._rules.forward_mizan_headers
        ).with_fields(("Cache-Status", cache_status))
        return Answer(response, body or exchange.body(), exchange.close)

    def _from_stored(self, reading: Reading, stored: StoredResponse, cache_status: str, now_ms: int | None) -> Answer:
        return from_stored(
            reading.request,
            stored,
            cache_status,
            now_ms=now_ms,
            forward_mizan_headers=self._rules.forward_mizan_headers,
        )

    def _failed(self, error: OriginError, why: Forwarded) -> Answer:
        self._counters.count("origin_errors", str(error.status))
        log.error("%s", error)
        return refusal(error.status, str(error), forwarded(why))


def _nothing_cached() -> Answer:
    # RFC 9111 section 5.2.1.7
    return refusal(504, "Nothing usable is stored, and the request asks for nothing else.")


def _landed(reading: Reading, stored: StoredResponse, names: tuple[str, ...]) -> Landed:
    vary = policy.vary_of(stored, reading.site.manifest.contexts[reading.context])
    return Landed(stored, names, vary, policy.variant_of(reading.request, vary), look=True)


def _why(lookup: Lookup, found: Found) -> Forwarded:
    if lookup.forced:
        return Forwarded("request")
    if found.stored is None:
        return Forwarded("vary-miss" if found.vary else "uri-miss")
    if not policy.may_answer(lookup, found.vary):
        return Forwarded("bypass")
    return Forwarded("stale" if found.stored.ttl_s(found.now_ms) <= 0 else "request")
