"""What this process would do with a request, told by the very parts that would do it. Nothing is forwarded or kept."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mizan_edge.http import forwarding
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.forwarding import Peer
from mizan_edge.http.limits import Limits
from mizan_edge.http.message import Request
from mizan_edge.http.request_parser import RequestParser
from mizan_edge.memory.memory import Memory
from mizan_edge.rules import planning, policy, variants
from mizan_edge.rules.policy import Pass
from mizan_edge.rules.site import InUse, Rules, Site
from mizan_edge.serving.cache import Cache, Found, Reading, resource_key
from mizan_edge.serving.refusals import NotStored, Refusals

_NOTHING: Mapping[str, Any] = {"holds": False, "how": None, "ttl": None, "not_stored": None}


@dataclass(frozen=True, slots=True)
class Question:
    """A request that is asked about, as a client would send it."""

    head: bytes
    scheme: str = "http"
    body: bytes | None = None

    def to_json(self) -> list[str | None]:
        return [self.head.decode("latin-1"), self.scheme, None if self.body is None else self.body.decode("latin-1")]

    @classmethod
    def from_json(cls, texts: list[str | None]) -> Self:
        """What `to_json` gave."""
        head, scheme, body = texts
        return cls((head or "").encode("latin-1"), scheme or "http", None if body is None else body.encode("latin-1"))


@dataclass(frozen=True, slots=True)
class Case:
    """A question, as it is understood under the manifest in use."""

    site: Site
    request: Request
    """As it would leave for the origin."""
    planned: Pass | Reading
    """Why it is forwarded, or how the cache is asked."""


class Explainer:
    """Understands requests, and looks them up."""

    def __init__(
        self, in_use: InUse, rules: Rules, limits: Limits, *, memory: Memory, cache: Cache, refusals: Refusals
    ) -> None:
        self._in_use = in_use
        self._rules = rules
        self._limits = limits
        self._memory = memory
        self._cache = cache
        self._refusals = refusals

    def case(self, question: Question) -> Case:
        """What is asked about. Raises RefusedError where such a request would be refused."""
        site, rules = self._in_use.site, self._rules
        parser = RequestParser(question.scheme, self._limits)
        parser.feed(question.head)
        head = parser.head()
        if head is None or parser.waiting:
            raise RefusedError(400, "The head of the request is malformed.")
        request = head.request
        if not rules.serves(request.host):
            raise RefusedError(421, f"This site is not served here: {request.host}")
        request = forwarding.to_origin(request, Peer("", question.scheme))
        body, is_call = question.body, planning.is_call(site, request)
        call = body or b"" if is_call and len(body or b"") <= rules.max_call_bytes else None
        planned = planning.planned(
            site, rules, request, call, is_call=is_call, has_body=body is not None, now_s=time.time()
        )
        if isinstance(planned, Pass):
            return Case(site, request, planned)
        return Case(site, request, Reading(site, variants.narrowed(request, rules.languages), planned, request, body))

    async def found(self, reading: Reading) -> Found | None:
        """What Redis has for a request; None where the cache must not be used now. Raises StoreError."""
        mark = self._memory.mark()
        if mark is None:
            return None
        found = await self._cache.look_up(reading, mark)
        return found if self._memory.still(mark) else None

    def remembers(self, question: Question) -> Mapping[str, Any]:
        """What this process has in memory for a request, and how that may answer, as JSON."""
        try:
            reading = self.case(question).planned
        except RefusedError:
            return _NOTHING
        mark = self._memory.mark()
        if isinstance(reading, Pass) or mark is None:
            return _NOTHING
        recalled = self._cache.recall(reading, mark)
        stored = recalled.kept.unpacked() if recalled else None
        refusal = self._refusals.of(resource_key(reading))
        now_ms = self._memory.redis_ms()
        return {
            "holds": stored is not None,
            "how": policy.at_once(stored, reading.lookup, now_ms) if stored else None,
            "ttl": stored.ttl_s(now_ms) if stored else None,
            "not_stored": _refusal(refusal) if refusal else None,
        }


def _refusal(refusal: NotStored) -> dict[str, Any]:
    return {
        "reason": refusal.reason.words,
        "section": refusal.reason.section,
        "status": refusal.status,
        "said": refusal.said,
        "at_ms": refusal.at_ms,
    }
