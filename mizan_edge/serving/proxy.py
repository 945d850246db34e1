"""One request: asks the pure modules what it is, and hands it to whoever answers that.

Lookup   `Reader`: from the cache, or by a fetch that may be stored
Pass     `Upstream`: streams both ways
"""

import logging
import time
from functools import partial
from typing import assert_never

from mizan_edge.http import forwarding
from mizan_edge.http.body import Body, held, peek
from mizan_edge.http.cache_status import Forwarded
from mizan_edge.http.errors import OriginError, RefusedError
from mizan_edge.http.forwarding import Peer
from mizan_edge.http.message import Request, Response
from mizan_edge.origin.exchange import Informational
from mizan_edge.rules import planning, variants
from mizan_edge.rules.policy import Lookup, Pass
from mizan_edge.rules.routes import Uncacheable
from mizan_edge.rules.site import InUse, Rules, Site
from mizan_edge.serving.answer import Answer, Later, Left, Then, refusal
from mizan_edge.serving.cache import Reading
from mizan_edge.serving.reader import Reader
from mizan_edge.serving.requests import Outcome
from mizan_edge.serving.upstream import Upstream

log = logging.getLogger(__name__)


class Proxy:
    """Answers requests from the store and the origin."""

    def __init__(self, in_use: InUse, rules: Rules, reader: Reader, upstream: Upstream) -> None:
        self._in_use = in_use
        self._rules = rules
        self._reader = reader
        self._upstream = upstream

    def answer(
        self,
        request: Request,
        body: Body,
        peer: Peer,
        informational: Informational | None,
        then: Then,
        left: Left | None = None,
    ) -> Answer | Later | None:
        """The answer to a request, as its client may see it, or what has to be awaited for it. Every failure is one
        too. None: the origin was asked, and `then` gets the same when something of its answer has come.

        `informational` gets each 1xx response of the origin as it comes; `left`, the head with which a request has left
        that nothing else had to be awaited for.
        """
        try:
            request = forwarding.seen(request, peer)
            if not self._rules.serves(request.host):
                return refusal(421, f"This site is not served here: {request.host}")
            return self._answer(request, body, peer, partial(self._relay, informational), then, left)
        except RefusedError as error:
            return refusal(error.status, str(error))
        except Exception:
            return _failure(request)

    def passes(self, request: Request) -> Forwarded | None:
        """Why a request without a body is forwarded whatever fields it has; None where that depends on them, or more
        has to be done."""
        router = self._in_use.site.router
        resource = router.match(request.target)
        if (
            isinstance(resource, Uncacheable)
            and (passed := planning.never_cached(router, request, resource)).affects is None
        ):
            return passed.why
        return None

    def pass_on(
        self, request: Request, head: bytes, why: Forwarded, informational: Informational | None, then: Then
    ) -> Answer | Later | None:
        """As `answer`, for a request that `passes`, and of which it is known that it leaves with this `head`."""
        try:
            return self._pass(request, None, why, partial(self._relay, informational), then, head=head)
        except Exception:
            return _failure(request)

    def _relay(self, informational: Informational | None, response: Response) -> None:
        if informational is not None:
            informational(forwarding.to_client(response, forward_mizan_headers=self._rules.forward_mizan_headers))

    def _answer(
        self,
        request: Request,
        body: Body,
        peer: Peer,
        informational: Informational,
        then: Then,
        left: Left | None,
    ) -> Answer | Later | None:
        site = self._in_use.site
        asked = forwarding.one_hop_less(forwarding.to_origin(request, peer))
        if asked is None:
            return _as_last(request)
        request = asked
        is_call = planning.is_call(site, request)
        # What is sent with a request for an upgrade may be another protocol's, so it is not read.
        is_read = is_call and not forwarding.wants_upgrade(request)
        if body is not None and not isinstance(body, bytes):
            if is_read:
                return partial(self._later, request, partial(self._answer_call, site, request, body, informational))
            planned = self._planned(site, request, None, is_call=is_call, has_body=True)
        else:
            call = held(body, self._rules.max_call_bytes) if is_read else None
            planned = self._planned(site, request, call, is_call=is_call, has_body=body is not None)
        if isinstance(planned, Pass) and planned.affects is None:
            return self._pass(request, body, planned.why, informational, then, left)
        return partial(self._later, request, partial(self._carry_out, site, request, body, planned, informational))

    def _pass(
        self,
        request: Request,
        body: Body,
        why: Forwarded,
        informational: Informational,
        then: Then,
        left: Left | None = None,
        head: bytes | None = None,
    ) -> Answer | Later | None:
        """Has the origin answer what has nothing to do with the cache: without a task, unless more has to be waited for
        than that. `head`: as it leaves, where that is known."""
        try:
            asked = self._upstream.begin(request, body, head)
        except OriginError as error:
            return self._upstream.failed(error, why)
        rest = partial(self._later, request, partial(self._upstream.answer_asked, asked, why, informational))

        def told() -> None:
            answer: Answer | Later = rest
            try:
                if (exchange := self._upstream.arrived(asked)) is not None:
                    answer = self._upstream.passed(exchange, why)
            except Exception:
                answer = _failure(request)
            then(answer)

        if not asked.tell(told):
            return rest
        if left is not None:
            left(asked.head)
        return None

    async def _later(self, request: Request, work: Later) -> Answer:
        """What `work` gives, with every failure as an answer."""
        try:
            return await work()
        except RefusedError as error:
            return refusal(error.status, str(error))
        except Exception:
            return _failure(request)

    async def _answer_call(self, site: Site, request: Request, body: Body, informational: Informational) -> Answer:
        start, body = await peek(body, self._rules.max_call_bytes)
        planned = self._planned(site, request, start, is_call=True, has_body=True)
        return await self._carry_out(site, request, body, planned, informational)

    def _planned(
        self, site: Site, request: Request, call: bytes | None, *, is_call: bool, has_body: bool
    ) -> Pass | Lookup:
        now_s = time.time()
        return planning.planned(site, self._rules, request, call, is_call=is_call, has_body=has_body, now_s=now_s)

    async def _carry_out(
        self, site: Site, request: Request, body: Body, planned: Pass | Lookup, informational: Informational
    ) -> Answer:
        match planned:
            case Pass(why, affects, _):
                if affects is None:
                    return await self._upstream.answer(request, body, why, informational)
                return await self._upstream.answer_mutation(request, body, why, affects, informational)
            case Lookup():
                asked = variants.narrowed(request, self._rules.languages)
                return await self._reader.answer(Reading(site, asked, planned, request, body, informational))
            case _ as never:
                assert_never(never)


def _failure(request: Request) -> Answer:
    """The answer where something is wrong here. To be called where the exception is handled."""
    log.exception("a request failed: %s %s", request.method, request.target.partition("?")[0])
    return refusal(500, "The edge failed to answer. The log has the reason.", Outcome("failed", detail="edge"))


def _as_last(request: Request) -> Answer:
    """The answer to what may be forwarded no further: the edge is who it was meant for."""
    if request.method == "OPTIONS":
        return Answer(Response(204, (("Via", forwarding.VIA),)), b"", Outcome("local"))
    # It would show a script the fields that are kept from it, cookies among them. RFC 9110 section 9.1: not
    # implemented; a 405 would have to say what is allowed, which only the origin knows.
    return refusal(501, "TRACE is not answered here.")
