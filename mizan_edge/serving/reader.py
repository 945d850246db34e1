"""Reads: what is declared, answered from the cache, or fetched and stored.

answer   look up -> answer from the entry; or join whoever fetches, or ask whose turn it is -> fetch, store, answer
"""

import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from mizan_core.fields import PARTITION, SCOPE
from mizan_core.manifest import Context
from mizan_core.scopes import Scope
from mizan_core.store import StoreError
from mizan_core.store.fills import Turn
from mizan_core.store.layout import index_names
from mizan_core.store.replies import StoreReply
from mizan_edge.http.body import collect
from mizan_edge.http.cache_status import Forwarded, Hit, forwarded, hit
from mizan_edge.http.errors import OriginError
from mizan_edge.http.forwarding import without_echo
from mizan_edge.http.message import Response
from mizan_edge.memory.memory import Mark, Memory
from mizan_edge.memory.prepared import Repeatable
from mizan_edge.origin.exchange import Exchange
from mizan_edge.rules import compression, policy, reasons, storing, variants
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.site import InUse, Rules
from mizan_edge.rules.storing import Storable
from mizan_edge.serving.answer import Answer, from_stored, refusal
from mizan_edge.serving.cache import Cache, Found, Reading, Recalled, key_of, resource_key
from mizan_edge.serving.compressing import Compressor
from mizan_edge.serving.flight import Flight, Flights, Landed
from mizan_edge.serving.refusals import NotStored, Refusals
from mizan_edge.serving.requests import Outcome
from mizan_edge.serving.shadow import Shadow
from mizan_edge.serving.upstream import Upstream
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

# Refusals that somebody should look into: the field at fault, and what it means.
_NOTEWORTHY = {
    "vary": ("Vary", "the origin looked at who asked, or at what no two requests share"),
    "scope": (SCOPE, "what it depends on cannot be told exactly"),
    "groups": ("Cache-Groups", "it belongs to groups that nobody could invalidate"),
    "partition": (PARTITION, "the origin answered somebody else than the edge took the request for"),
}

# For a while, nobody will be able to share what is fetched.
_NOT_SHARED = ("held", "shape")
# A body that takes longer to arrive, or stands still, is passed on as it comes, and not stored.
COLLECT_S = 5.0
# How many flights a request joins before it fetches for itself.
_JOINS = 3


class Reader:
    """Answers reads from the store and the origin.

    # mutable state: `_refreshing`, the keys of what is fetched in the background.
    """

    def __init__(
        self,
        in_use: InUse,
        rules: Rules,
        *,
        memory: Memory,
        cache: Cache,
        compressor: Compressor,
        upstream: Upstream,
        shadow: Shadow,
        flights: Flights,
        refusals: Refusals,
        counters: Counters,
        tasks: Tasks,
    ) -> None:
        self._in_use = in_use
        self._rules = rules
        self._memory = memory
        self._cache = cache
        self._compressor = compressor
        self._upstream = upstream
        self._shadow = shadow
        self._flights = flights
        self._refusals = refusals
        self._counters = counters
        self._tasks = tasks
        self._refreshing: set[str] = set()

    async def answer(self, reading: Reading) -> Answer:
        """The answer to a request for something declared. Every failure of the origin or the store is one too."""
        mark = self._memory.mark()
        if mark is None:
            return await self._pass_by(reading)
        if recalled := self._cache.recall(reading, mark):
            stored = recalled.kept.unpacked()
            now_ms = self._memory.redis_ms()
            answer = self._at_once(reading, stored, now_ms)
            if answer is not None:
                self._shadow.sample(reading, recalled.kept, stored, mark, now_ms)
                return self._repeatable(reading, recalled, stored, now_ms, answer)
        gone = self._cache.gone(reading, mark)
        return await (self._from_store(reading, mark) if gone is None else self._fill(reading, gone))

    async def _from_store(self, reading: Reading, mark: Mark) -> Answer:
        """The answer from what Redis has, or from who is asked for what it has not."""
        try:
            found = await self._cache.look_up(reading, mark)
        except StoreError as error:
            return await self._without_store(reading, error)
        if found.stored is not None and self._memory.still(mark):
            answer = self._at_once(reading, found.stored, found.now_ms)
            if answer is not None:
                if found.kept is None:
                    return answer
                self._shadow.sample(reading, found.kept, found.stored, mark, found.now_ms)
                if found.vary:
                    return answer
                recalled = Recalled(found.kept, None)
                return self._repeatable(reading, recalled, found.stored, found.now_ms, answer)
        if policy.only_if_cached(reading.lookup):
            return _nothing_cached(reading)
        return await self._fill(reading, found)

    def _at_once(self, reading: Reading, stored: StoredResponse, now_ms: int) -> Answer | None:
        """The stored response, if it may answer before anybody is asked; and has it refreshed where that is due."""
        how = policy.at_once(stored, reading.lookup, now_ms)
        if how is None:
            return None
        if how == "usable":
            self._refresh_early(reading, stored, now_ms)
        else:
            self._refresh(reading, stored)
        return self._hit(reading, stored, now_ms)

    def _repeatable(
        self, reading: Reading, recalled: Recalled, stored: StoredResponse, now_ms: int, answer: Answer
    ) -> Answer:
        """The answer, with what it depends on where it can be given again without a decision."""
        if reading.body is not None or not policy.repeatable(stored, reading.lookup, now_ms):
            return answer
        if recalled.kept.template.has_copies and stored.uncompressed and not self._compressor.offer(reading, stored):
            return answer  # it is offered again by the next hit
        until_s = reading.lookup.partition.until_s
        return replace(answer, repeatable=Repeatable(reading.site, *recalled, stored, now_ms, until_s))

    def _refresh_early(self, reading: Reading, stored: StoredResponse, now_ms: int) -> None:
        # No dice for what has long to live, which is nearly all.
        if stored.left_ms(now_ms) < policy.EARLY * stored.took_ms and not policy.only_if_cached(reading.lookup):
            chance = 1 - random.random()  # noqa: S311 - nothing depends on its being unknown
            if policy.refresh_early(stored, now_ms, chance):
                self._refresh(reading, stored)

    def _refresh(self, reading: Reading, stored: StoredResponse) -> None:
        """Has what is stale, or soon will be, fetched in the background, once at a time."""
        key = key_of(reading, stored)
        background = policy.in_background(reading.request, reading.lookup)
        if background is not None and key not in self._refreshing:
            self._refreshing.add(key)
            request, lookup = background
            # Its client has an answer by then.
            whole = replace(reading, request=request, lookup=lookup, informational=None)
            self._tasks.start(self._refresh_now(whole, key, stored), "refresh")

    async def _refresh_now(self, reading: Reading, key: str, stored: StoredResponse) -> None:
        try:
            mark = self._memory.mark()
            if mark is None:
                return
            found = await self._cache.look_up(reading, mark)
            if found.stored is None or found.stored.stored_ms <= stored.stored_ms:
                (await self._fill(reading, found)).close()
        except StoreError as error:
            log.debug("what is stale is not refreshed: %s", error)
        finally:
            self._refreshing.discard(key)

    async def _fill(self, reading: Reading, found: Found) -> Answer:
        """Fetches what is missing, or waits for whoever does."""
        why = policy.why_forwarded(reading.lookup, found.stored, found.vary, found.now_ms)
        if not reading.lookup.store:
            return await self._forward(reading, found, why)
        if reading.lookup.forced:
            # Whoever demands a fetch gets one of his own.
            return await self._fetch(reading, found, why)
        scopes = storing.request_scopes(reading.lookup)
        for _ in range(_JOINS):
            flight = self._flights.joinable(found.key, reading.site, scopes, found.mark)
            if flight is None:
                return await self._lead(reading, found, why, scopes)
            landed = await self._flights.joined(flight, found.mark)
            if landed.error is not None:
                return self._failed_over(reading, found, landed.error, why)
            if landed.stored is not None and self._suits(reading, landed):
                return self._collapsed(reading, landed.stored, why)
            if not landed.look and landed.stored is None:
                break  # it could not be shared, so everybody fetches at once
            mark = self._memory.mark()
            if mark is None:
                return await self._pass_by(reading)
            try:
                found = await self._cache.look_up(reading, mark)
            except StoreError as error:
                return await self._without_store(reading, error)
            if stored := self._usable(reading, found):
                return self._collapsed(reading, stored, why)
        return await self._fetch(reading, found, why)

    async def _forward(self, reading: Reading, found: Found, why: Forwarded) -> Answer:
        """Passes on what is not stored; what it tells of the stored response is heeded. RFC 9111 section 4.3.5."""
        try:
            exchange = await self._upstream.send(reading.request, reading.body, reading.informational)
        except OriginError as error:
            return self._upstream.failed(error, why)
        known, context = found.stored, reading.site.manifest.contexts[reading.context]
        if reading.request.method == "HEAD" and known is not None:
            told = without_echo(exchange.response, reading.request)
            match policy.told_by_head(reading.request, reading.lookup, context, known, told):
                case "changed":
                    await self._upstream.forget(reading.lookup.resource)
                case "same" if (head := known.confirmed(told)) is not None:
                    verdict = self._storable(reading, head)
                    if isinstance(verdict, Storable):
                        stored = StoredResponse.of(head, known.body, found.now_ms, verdict.lifetime, known)
                        await self._keep(reading, found, stored, verdict, None, confirmed=True)
        return self._upstream.passed(exchange, why)

    async def _lead(self, reading: Reading, found: Found, why: Forwarded, scopes: Sequence[Scope]) -> Answer:
        """Fetches for all who join, once it is this process's turn."""
        flight = self._flights.begin(found.key, reading.site, scopes, found.mark)
        try:
            turn = await self._flights.turn(flight, found.seal)
            if turn.what == "lead":
                self._flights.lead(flight)
                try:
                    return await self._fetch_after(reading, found, why, flight, turn)
                finally:
                    await self._flights.end(flight)
            if turn.what == "alone":
                self._flights.land(flight, Landed())
                return await self._fetch_after(reading, found, why, flight, turn)
            mark = self._memory.mark()
            if mark is None:
                return await self._pass_by(reading)
            flight.mark = mark
            if not found.is_known and not flight.waited:
                self._flights.land(flight, Landed(look=True))
                return await self._from_store(reading, mark)
            found = await self._cache.look_up(reading, mark)
            if stored := self._usable(reading, found):
                self._flights.land(flight, _landed(reading, stored, found.names))
                return self._collapsed(reading, stored, why)
            self._flights.land(flight, Landed(look=True))
            if found.vary and found.stored is None:
                # One of several variants was fetched, and this request selects another, with a flight of its own.
                return await self._fill(reading, found)
            return await self._fetch(reading, found, why)
        except StoreError as error:
            return await self._without_store(reading, error)
        finally:
            self._flights.land(flight, Landed())

    async def _fetch_after(self, reading: Reading, found: Found, why: Forwarded, flight: Flight, turn: Turn) -> Answer:
        # What is fetched from now on is newer than every purge up to this mark.
        mark = self._memory.mark()
        if mark is None:
            return await self._pass_by(reading)
        flight.mark = mark
        if found.stored is not None and turn.fence != found.fence:
            # 1. Something stale is found. 2. It is purged. 3. The turn comes, with the fence of now. 4. The origin, by
            # a validator that missed the change, confirms it. -- It would be back, fenced from after its own purge.
            found = await self._cache.look_up(reading, mark)
        else:
            found = found.renewed(turn, mark)
        return await self._fetch(reading, found, why, flight)

    async def _fetch(self, reading: Reading, found: Found, why: Forwarded, flight: Flight | None = None) -> Answer:
        """Asks the origin, stores what may be stored, and answers; those who have joined the flight as well."""
        if not found.is_known:
            try:
                found = await self._cache.look_up(reading, found.mark)
            except StoreError as error:
                return await self._without_store(reading, error)
        flight = flight or self._flights.unshared(found.key, reading.site, found.mark)
        began_s = time.monotonic()
        try:
            exchange, head, known = await self._ask(reading, found)
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
            self._unstorable(reading, head, verdict, found.now_ms)
            return self._upstream.relayed(exchange, Outcome("unstorable", reading.context, verdict), why)
        try:
            whole, rest = (known.body, None) if known else await self._collect(exchange)
        except OriginError as error:
            exchange.close()
            self._flights.land(flight, Landed(error=error))
            return self._failed_over(reading, found, error, why)
        if rest is not None:
            self._flights.alone(flight)
            self._refusals.note(resource_key(reading), NotStored(reasons.TOO_LARGE, status, (), found.now_ms))
            return self._upstream.relayed(exchange, Outcome("unstorable", reading.context, "size"), why, rest)
        # RFC 9111 section 4.2.3: a response ages from when it was asked for.
        took_ms = int((time.monotonic() - began_s) * 1000)
        stored = StoredResponse.of(head, whole, found.now_ms, verdict.lifetime, known, took_ms=took_ms)
        shared = stored.ttl_s(found.now_ms) > 0
        reply = await self._keep(
            reading, found, stored, verdict, flight if shared else None, confirmed=known is not None
        )
        if not shared or reply in _NOT_SHARED:
            self._flights.alone(flight)
        # Even where a purge has overtaken it: who has joined came before that.
        self._flights.land(flight, _landed(reading, stored, index_names(verdict.scopes)))
        kept = reply == "stored"
        if kept:
            self._refusals.forget(resource_key(reading))
        else:
            reason = reasons.OF_REPLY[reply] if reply else reasons.NOT_STORED
            self._refusals.note(resource_key(reading), NotStored(reason, status, (), found.now_ms))
        outcome = Outcome("miss", reading.context, "" if kept else "unstored")
        return self._from_stored(reading, stored, outcome, forwarded(why, stored=kept, status=status), None)

    async def _keep(
        self,
        reading: Reading,
        found: Found,
        stored: StoredResponse,
        how: Storable,
        flight: Flight | None,
        *,
        confirmed: bool,
    ) -> StoreReply | None:
        """Stores a response, with which the `flight` is over."""
        # What began under another manifest was judged by it.
        if not self._memory.still(found.mark) or reading.site is not self._in_use.site:
            return None
        lead = flight.lead if flight is not None else None
        reply = await self._cache.keep(reading, found, stored, how, confirmed=confirmed, lead=lead)
        if flight is not None and reply == "stored":
            flight.lead = None
        return reply

    async def _ask(self, reading: Reading, found: Found) -> tuple[Exchange, Response, StoredResponse | None]:
        """The origin's answer, the head that follows from it, and the stored response that it has confirmed, if any."""
        context = reading.site.manifest.contexts[reading.context]
        known = policy.to_confirm(reading.lookup, found.stored)
        exchange = await self._send(reading, context, known)
        if exchange.response.status != 304 or known is None:
            return exchange, exchange.response, None
        await collect(exchange.body(), 0)  # there is none; the connection can be used again
        confirmed = known.confirmed(exchange.response)
        if confirmed is not None and isinstance(self._storable(reading, confirmed), Storable):
            return exchange, confirmed, known
        # It stands for something else, or may have been meant for somebody else.
        exchange = await self._send(reading, context, None)
        return exchange, exchange.response, None

    async def _send(self, reading: Reading, context: Context, known: StoredResponse | None) -> Exchange:
        request = policy.fill_request(reading.request, reading.lookup, context, known)
        exchange = await self._upstream.send(request, reading.body, reading.informational)
        exchange.response = without_echo(exchange.response, request)
        return exchange

    def _storable(self, reading: Reading, head: Response) -> Storable | storing.Refusal:
        return storing.storable(reading.request, reading.lookup, head, reading.site.manifest.contexts)

    async def _collect(self, exchange: Exchange) -> tuple[bytes, AsyncIterator[bytes] | None]:
        until_s = time.monotonic() + COLLECT_S

        async def in_time() -> bool:
            return await exchange.has_more(until_s - time.monotonic())

        return await collect(exchange.body(), self._rules.max_entry_bytes, in_time=in_time)

    async def _without_store(self, reading: Reading, error: StoreError) -> Answer:
        self._counters.count("store_errors", "read")
        log.warning("the cache is passed by: %s", error)
        return await self._pass_by(reading)

    async def _pass_by(self, reading: Reading) -> Answer:
        """Forwards where the cache cannot be used."""
        if policy.only_if_cached(reading.lookup):
            return _nothing_cached(reading)
        why = Forwarded("bypass", "store", reading.context)
        return await self._upstream.answer(reading.request, reading.body, why, reading.informational)

    def _usable(self, reading: Reading, found: Found) -> StoredResponse | None:
        if found.stored is None or not self._memory.still(found.mark):
            return None
        usable = policy.usable(found.stored, reading.lookup, found.now_ms)
        return found.stored if usable else None

    def _suits(self, reading: Reading, landed: Landed) -> bool:
        """Whether what a flight has brought answers this request, which found the flight under the same key."""
        if landed.stored is None or variants.variant_of(reading.request, landed.vary) != landed.variant:
            return False
        return policy.usable(landed.stored, reading.lookup, self._memory.redis_ms())

    def _hit(self, reading: Reading, stored: StoredResponse, now_ms: int) -> Answer:
        ttl_s = stored.ttl_s(now_ms)
        outcome = Outcome("hit" if ttl_s > 0 else "stale", reading.context)
        return self._from_stored(reading, stored, outcome, hit(Hit(ttl_s)), now_ms)

    def _collapsed(self, reading: Reading, stored: StoredResponse, why: Forwarded) -> Answer:
        outcome = Outcome("collapsed", reading.context)
        return self._from_stored(reading, stored, outcome, forwarded(why, collapsed=True), self._memory.redis_ms())

    def _stale_instead(self, reading: Reading, found: Found, status: int) -> Answer | None:
        """The stale response that RFC 5861 section 4 allows where the origin has failed."""
        stored, now_ms = found.stored, self._memory.redis_ms()
        if stored is None or not policy.usable_on_error(status, stored, reading.lookup, now_ms):
            return None
        names = index_names(storing.request_scopes(reading.lookup))
        if self._memory.overtaken((*names, *found.names), found.mark):
            return None
        return self._hit(reading, stored, now_ms)

    def _failed_over(self, reading: Reading, found: Found, error: OriginError, why: Forwarded) -> Answer:
        return self._stale_instead(reading, found, error.status) or self._upstream.failed(error, why)

    def _unstorable(self, reading: Reading, response: Response, why: storing.Refusal, at_ms: int) -> None:
        self._refusals.refused(resource_key(reading), response, why, at_ms)
        if why in _NOTEWORTHY:
            name, meaning = _NOTEWORTHY[why]
            value = response.get(name.lower())
            log.warning(
                "context %s: a response with `%s: %.200s` is not stored: %s", reading.context, name, value, meaning
            )

    def _from_stored(
        self, reading: Reading, stored: StoredResponse, outcome: Outcome, cache_status: str, now_ms: int | None
    ) -> Answer:
        compressed = compression.applies(self._rules.compress, reading.lookup.partition)
        if compressed:
            self._compressor.offer(reading, stored)
        return from_stored(
            reading.client,
            stored,
            outcome,
            cache_status,
            now_ms=now_ms,
            compressed=compressed,
            forward_mizan_headers=self._rules.forward_mizan_headers,
        )


def _nothing_cached(reading: Reading) -> Answer:
    # RFC 9111 section 5.2.1.7
    outcome = Outcome("refused", reading.context, "only-if-cached")
    return refusal(504, "Nothing usable is stored, and the request asks for nothing else.", outcome)


def _landed(reading: Reading, stored: StoredResponse, names: tuple[str, ...]) -> Landed:
    vary = variants.vary_of(stored, reading.site.manifest.contexts[reading.context])
    return Landed(stored, names, vary, variants.variant_of(reading.request, vary), look=True)
