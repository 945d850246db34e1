"""The origin, as whoever answers a request asks it: whatever it says has been obeyed before anybody sees it.

No response can reach a client but through `Upstream`, so none can come before what it invalidates has been purged.
"""

import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from mizan_core.purge import By, Purge, longest_hold
from mizan_core.scopes import Scope
from mizan_edge.http.body import Body
from mizan_edge.http.cache_status import Forwarded, forwarded
from mizan_edge.http.errors import OriginError
from mizan_edge.http.message import Request, Response, dated, dropped, values
from mizan_edge.http.trace import Attributes, within
from mizan_edge.origin.exchange import Asked, Exchange, Informational
from mizan_edge.origin.origin import Origin
from mizan_edge.purging.invalidation import FIELD, Intent, Invalidation
from mizan_edge.rules import outcome
from mizan_edge.rules.routes import Resource
from mizan_edge.rules.site import InUse, Rules
from mizan_edge.serving.answer import Answer, refusal, relayed
from mizan_edge.serving.requests import Outcome, failed, passed
from mizan_edge.system.counters import Counters
from mizan_edge.system.histograms import Histogram

log = logging.getLogger(__name__)

# How often the log has the same failure of the origin.
_LOG_S = 5.0
# Of a request, in the audit.
_MAX_REQUEST_CHARS = 200


class Upstream:
    """Asks the origin, obeys its answers, and passes them on.

    # mutable state: `_logged`, the failures of the last seconds and when they were written to the log.
    """

    def __init__(
        self, in_use: InUse, rules: Rules, origin: Origin, invalidation: Invalidation, counters: Counters
    ) -> None:
        self._in_use = in_use
        self._rules = rules
        self._origin = origin
        self._invalidation = invalidation
        self._counters = counters
        self._took = Histogram(counters, "origin_seconds")
        self._logged: dict[str, float] = {}

    def begin(self, request: Request, body: Body, head: bytes | None = None) -> Asked:
        """Asks the origin, if nothing has to be waited for. As `Origin.begin`."""
        if (body is None or isinstance(body, bytes)) and request.get("expect") is not None:
            # What is here already need not wait to be wanted. RFC 9110 section 10.1.1
            request = request.with_lines(dropped(request.fields, ["expect"]))
        span = None
        if request.trace is not None:
            span = request.trace.child(request.method, "client", {"http.request.method": request.method})
            request = request.traced(span)
        try:
            return self._origin.begin(request, body, head)
        except OriginError as error:
            self._counters.count("origin_errors", str(error.status))
            if span is not None:
                span.end({}, failed=True)
            raise

    def arrived(self, asked: Asked) -> Exchange | None:
        """The answer, if it is here, and nobody has to wait for what it changes. Else it is `finish` that has it."""
        exchange = self._origin.arrived(asked)
        if exchange is None or self._changed(asked.request, exchange.response) is not None:
            return None
        self._took.took(time.monotonic() - asked.began_s)
        _end_span(asked.request, exchange)
        return _dated(exchange)

    async def finish(self, asked: Asked, informational: Informational | None, intent: Intent | None = None) -> Exchange:
        """The origin's answer. What it says, and what it means, is purged before anybody sees it.

        `intent`: the mutation that it is, if it is one. Raises OriginError.
        """
        try:
            exchange = await self._origin.finish(asked, informational)
        except OriginError as error:
            self._counters.count("origin_errors", str(error.status))
            _end_span(asked.request, None)
            if error.unread:
                fault = "the head of a response could not be read"
                hold_s = longest_hold(None, self._in_use.site.manifest.contexts)
                by = replace(_by(asked.request, intent), note=fault)
                await self._invalidation.purge(Purge((), True, (fault,), hold_s, by), intent)
            raise
        self._took.took(time.monotonic() - asked.began_s)
        _end_span(asked.request, exchange)
        also = self._changed(asked.request, exchange.response)
        if also is not None:
            contexts = self._in_use.site.manifest.contexts
            with within(asked.request.trace, "purge"):
                by = _by(asked.request, intent)
                await self._invalidation.obey(exchange.response.fields, contexts, also, by, intent)
        return _dated(exchange)

    async def send(
        self, request: Request, body: Body, informational: Informational | None, intent: Intent | None = None
    ) -> Exchange:
        """Asks the origin. As `begin` and `finish`."""
        return await self.finish(self.begin(request, body), informational, intent)

    def _changed(self, request: Request, response: Response) -> tuple[Scope, ...] | None:
        """What a response means to have changed; None where it says nothing of its own either, as most."""
        # By the manifest of now: what it does not know of the scopes would match nothing that it has stored.
        also = outcome.of_response(self._in_use.site.router, request, response)
        return also if also or values(response.fields, FIELD) else None

    async def forget(self, resource: Resource) -> None:
        """Purges a URL of which the origin has said in passing that it has changed."""
        scopes = (outcome.of_resource(resource),)
        hold_s = longest_hold(scopes, self._in_use.site.manifest.contexts)
        by = By(note="the answer to a HEAD is not that of what was stored")
        await self._invalidation.purge(Purge(scopes, hold_s=hold_s, by=by))

    async def answer(self, request: Request, body: Body, why: Forwarded, informational: Informational | None) -> Answer:
        """The origin's answer to a request that has nothing to do with the cache, or its failure."""
        try:
            exchange = await self.send(request, body, informational)
        except OriginError as error:
            return self.failed(error, why)
        return self.passed(exchange, why)

    async def answer_asked(self, asked: Asked, why: Forwarded, informational: Informational | None) -> Answer:
        """The same for one that the origin may have been asked already."""
        try:
            exchange = await self.finish(asked, informational)
        except OriginError as error:
            return self.failed(error, why)
        return self.passed(exchange, why)

    async def answer_mutation(
        self, request: Request, body: Body, why: Forwarded, affects: Purge, informational: Informational | None
    ) -> Answer:
        """The same for what may change something: where it cannot be known whether it did, that is purged."""
        affects = replace(affects, by=_by_request(request, affects.by.function))
        invalidation, contexts = self._invalidation, self._in_use.site.manifest.contexts
        with invalidation.intending(affects, contexts) as intent:
            try:
                exchange = await self.send(request, body, informational, intent)
            except OriginError as error:
                if error.sent:
                    await invalidation.unknown(intent)
                return self.failed(error, why)
            if exchange.response.status >= 500 and not values(exchange.response.fields, FIELD):
                await invalidation.unknown(intent)
        return self.passed(exchange, why)

    def passed(self, exchange: Exchange, why: Forwarded) -> Answer:
        """What comes from the origin, as it comes, where the cache had no part in it."""
        return self.relayed(exchange, passed(why), why)

    def relayed(
        self, exchange: Exchange, outcome: Outcome, why: Forwarded, body: AsyncIterator[bytes] | None = None
    ) -> Answer:
        """What comes from the origin, as it comes. `body`: where some of it has been read, the whole of it."""
        return relayed(exchange, outcome, why, forward_mizan_headers=self._rules.forward_mizan_headers, body=body)

    def failed(self, error: OriginError, why: Forwarded) -> Answer:
        """The problem document for an origin that has failed."""
        now_s = time.monotonic()
        # While the origin is away every request says so, and the counters have them all.
        if now_s - self._logged.get(str(error), -_LOG_S) >= _LOG_S:
            self._logged = {text: at_s for text, at_s in self._logged.items() if now_s - at_s < _LOG_S}
            self._logged[str(error)] = now_s
            log.error("%s", error)
        return refusal(error.status, str(error), failed(why), forwarded(why))


def _by(request: Request, intent: Intent | None) -> By:
    return intent.affects.by if intent is not None else _by_request(request)


def _by_request(request: Request, function: str = "") -> By:
    # Without its query, which may hold what nobody else is to read.
    path = request.target.partition("?")[0]
    return By(request=f"{request.method} {path}"[:_MAX_REQUEST_CHARS], function=function[:_MAX_REQUEST_CHARS])


def _end_span(request: Request, exchange: Exchange | None) -> None:
    """The origin has begun to answer; None: it has failed."""
    if request.trace is not None:
        status = exchange.response.status if exchange is not None else None
        attributes: Attributes = {} if status is None else {"http.response.status_code": status}
        request.trace.end(attributes, failed=status is None or status >= 400)


def _dated(exchange: Exchange) -> Exchange:
    exchange.response = dated(exchange.response, time.time())
    return exchange
