"""One request: asks the pure modules what it is, and hands it to whoever answers that.

Lookup   `Reader`: from the cache, or by a fetch that may be stored
Pass     `Upstream`: streams both ways
"""

import logging
import time
from typing import assert_never

from mizan_edge import forwarding, outcome, policy, variants
from mizan_edge.answer import Answer, refusal
from mizan_edge.body import Body, peek
from mizan_edge.cache import Reading
from mizan_edge.cache_status import Forwarded
from mizan_edge.calls import Call, match_call
from mizan_edge.errors import RefusedError
from mizan_edge.forwarding import Peer
from mizan_edge.http import Request, Response
from mizan_edge.identity import PUBLIC, Partition, is_named, partition
from mizan_edge.origin import Informational
from mizan_edge.policy import Lookup, Pass
from mizan_edge.reader import Reader
from mizan_edge.routes import Resource, Uncacheable
from mizan_edge.site import InUse, Rules, Site
from mizan_edge.upstream import Upstream

log = logging.getLogger(__name__)


class Proxy:
    """Answers requests from the store and the origin."""

    def __init__(self, in_use: InUse, rules: Rules, reader: Reader, upstream: Upstream) -> None:
        self._in_use = in_use
        self._rules = rules
        self._reader = reader
        self._upstream = upstream

    async def answer(
        self, request: Request, body: Body, peer: Peer, informational: Informational | None = None
    ) -> Answer:
        """The answer to a request, as its client may see it. Every failure is one too.

        `informational` gets each 1xx response of the origin as it comes.
        """

        def relay(response: Response) -> None:
            if informational is not None:
                informational(forwarding.to_client(response, forward_mizan_headers=self._rules.forward_mizan_headers))

        try:
            request = forwarding.seen(request, peer)
            if not self._rules.serves(request.host):
                return refusal(421, f"This site is not served here: {request.host}")
            return await self._answer(request, body, peer, relay)
        except RefusedError as error:
            return refusal(error.status, str(error))
        except Exception:
            log.exception("a request failed: %s %s", request.method, request.target.partition("?")[0])
            return refusal(500, "The edge failed to answer. The log has the reason.")

    async def _answer(self, request: Request, body: Body, peer: Peer, informational: Informational) -> Answer:
        site = self._in_use.site
        asked = forwarding.one_hop_less(forwarding.to_origin(request, peer))
        if asked is None:
            return _as_last(request)
        request = asked
        planned, body = await self._plan(site, request, body)
        match planned:
            case Pass(why, affects):
                if affects is None:
                    return await self._upstream.answer(request, body, why, informational)
                return await self._upstream.answer_mutation(request, body, why, affects, informational)
            case Lookup():
                asked = variants.narrowed(request, self._rules.languages)
                return await self._reader.answer(Reading(site, asked, planned, request, body, informational))
            case _ as never:
                assert_never(never)

    async def _plan(self, site: Site, request: Request, body: Body) -> tuple[Pass | Lookup, Body]:
        resource: Resource | Uncacheable
        is_call = request.method == "POST" and site.router.is_call(request.target.partition("?")[0])
        if forwarding.wants_upgrade(request):
            # What is sent may be another protocol's, so it is not read; an origin that declines may take it for a call.
            affects = outcome.of_call(site.manifest, None) if is_call else outcome.of_view(site.router, request)
            return Pass(Forwarded("bypass"), affects), body
        if request.method in ("GET", "HEAD"):
            resource = site.router.match(request.target)
            if isinstance(resource, Resource) and body is not None:
                # What an application makes of a GET's body is in no key. RFC 9110 section 9.3.1
                resource = Uncacheable("non-canonical")
        elif is_call:
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
        anybody = self._rules.client_revalidation
        return policy.plan(request, resource, who, named=named, anybody_revalidates=anybody), body


def _as_last(request: Request) -> Answer:
    """The answer to what may be forwarded no further: the edge is who it was meant for."""
    if request.method == "OPTIONS":
        return Answer(Response(204, (("Via", forwarding.VIA),)), b"")
    # It would show a script the fields that are kept from it, cookies among them. RFC 9110 section 9.1: not
    # implemented; a 405 would have to say what is allowed, which only the origin knows.
    return refusal(501, "TRACE is not answered here.")
