"""What is done with every answer beside writing it: its client is told the request's id, a line is logged, and a span
of a trace ends that began with the request.

A connection without any of this has no `Access` at all, so that nothing is added to a hit.
"""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from mizan_edge.client.access_line import LineFormat, Served, line_of, request_target
from mizan_edge.http.forwarding import Peer, Trusted, told_id
from mizan_edge.http.message import values
from mizan_edge.http.trace import Trace
from mizan_edge.rules.routes import Resource
from mizan_edge.rules.site import InUse
from mizan_edge.serving.answer import Answer
from mizan_edge.serving.requests import NOWHERE

_FORWARDED_FOR = re.compile(rb"\r\n(?i:x-forwarded-for):([^\r\n]*)")
# Of several caches' members, ours is the last; where a hit is repeated, it leads.
_CACHE = re.compile(r"(?:.*,)?\s*mizan-edge; ([^,]*)", re.DOTALL)
_REPEATED = re.compile(rb"\r\nCache-Status: mizan-edge; ([^\r\n,]*)")
_END_OF_HEAD = b"\r\n\r\n"


def request_id(head: bytes, *, trusted: bool) -> str:
    """The id that a request has got from a trusted proxy, or else gets here."""
    # Nothing depends on its being unknown: it need only be another one each time.
    return (told_id(head) if trusted else None) or f"{random.getrandbits(128):032x}"


@dataclass(frozen=True, slots=True)
class Logging:
    """What is logged, and where to."""

    add: Callable[[bytes], None]
    form: LineFormat
    query: bool
    sample: float
    """The share of requests that is logged; those that are answered with 500 or more are in any case."""


class Tracer(Protocol):
    """Begins and ends the spans of requests."""

    def begin(self, head: bytes, peer: Peer) -> Trace:
        """The span of a request."""

    def end(self, trace: Trace, served: Served) -> None:
        """Ends what `begin` gave."""


class Account:
    """A request that is being answered.

    # mutable state: all of it.
    """

    __slots__ = ("began_s", "cache", "context", "head", "id", "peer", "sent", "start", "trace", "whole")

    def __init__(self, began_s: float, head: bytes, id: str, peer: Peer, sent: int) -> None:
        self.began_s = began_s
        self.head = head
        self.id = id
        self.peer = peer
        self.sent = sent
        """How many bytes the connection had sent before."""
        self.start = b""
        self.context: str | None = None
        self.cache: str | None = None
        self.whole = False
        self.trace: Trace | None = None


class Access:
    """What is done with the answers of one process."""

    def __init__(
        self, in_use: InUse, trusted: Trusted, log: Logging | None, tracer: Tracer | None, *, tells_ids: bool
    ) -> None:
        """`tells_ids`: clients get their request's id, in X-Request-ID."""
        self._in_use = in_use
        self._trusted = trusted
        self._log = log
        self._tracer = tracer
        self._tells_ids = tells_ids

    def begin(self, head: bytes, id: str, peer: Peer, sent: int) -> Account:
        """A request is here, with its whole head; an empty one where it cannot be read. `sent`: see `Account`."""
        account = Account(time.monotonic(), head, id, peer, sent)
        if self._tracer is not None:
            account.trace = self._tracer.begin(head, peer)
        return account

    def shown(self, answer: Answer) -> Answer:
        """The answer without an id of the origin's, where the client is told ours."""
        if self._tells_ids and answer.response.get("x-request-id") is not None:
            return replace(answer, response=answer.response.with_fields(without=["x-request-id"]))
        return answer

    def answered(self, account: Account, answer: Answer, start: bytes) -> bytes:
        """The request gets this answer, whose head is `start`; that as it shall go out."""
        member = _CACHE.match(", ".join(values(answer.response.fields, "cache-status")))
        account.cache = member[1] if member else None
        # That of a call is not told by its URL.
        account.context = answer.outcome.context if answer.outcome.context != NOWHERE else None
        account.start = self._told(start, account.id)
        return account.start

    def end(self, account: Account, sent: int) -> None:
        """No more of the answer goes out. `sent`: how many bytes the connection has sent by now."""
        log = self._logs(account.start)
        if log is None and self._tracer is None:
            return
        size = max(sent - account.sent - len(account.start), 0)
        served = self._served(account, account.start, size, account.cache, whole=account.whole)
        if log is not None:
            log.add(line_of(served, log.form, query=log.query))
        if self._tracer is not None and account.trace is not None:
            self._tracer.end(account.trace, served)

    def repeated(self, account: Account, start: bytes, body: bytes) -> bytes:
        """A hit is repeated that was answered before; its `start` as it shall go out."""
        if (log := self._logs(start)) is not None:
            found = _REPEATED.search(start)
            cache = found[1].decode() if found else None
            served = self._served(account, start, _size(start, body), cache, whole=True)
            log.add(line_of(served, log.form, query=log.query))
        return self._told(start, account.id)

    def _told(self, start: bytes, id: str) -> bytes:
        """With the id, behind the first line."""
        return start.replace(b"\r\n", b"\r\nX-Request-ID: %b\r\n" % id.encode(), 1) if self._tells_ids else start

    def _logs(self, start: bytes) -> Logging | None:
        """Where an answer is logged that begins like this, if it is."""
        log = self._log
        # Of a sample, failures are always.
        if log is None or log.sample >= 1 or start[9:10] == b"5":
            return log
        return log if random.random() < log.sample else None  # noqa: S311

    def _served(self, account: Account, start: bytes, size: int, cache: str | None, *, whole: bool) -> Served:
        return Served(
            at_s=time.time(),
            seconds=time.monotonic() - account.began_s,
            client=self._client(account),
            id=account.id,
            head=account.head,
            start=start,
            size=size,
            whole=whole,
            cache=cache,
            context=account.context or self._context(account.head),
        )

    def _client(self, account: Account) -> str:
        """The last address that no trusted proxy has: of those before it, anybody may have written them."""
        address = account.peer.address
        if not account.peer.trusted:
            return address
        told = b",".join(_FORWARDED_FOR.findall(account.head)).decode("latin-1").split(",")
        for word in map(str.strip, reversed(told)):
            try:
                trusted = self._trusted.includes(word) if word else True
            except ValueError:
                break  # no address: who is behind that one nobody knows
            address = word or address
            if not trusted:
                break
        return address

    def _context(self, head: bytes) -> str | None:
        """The context of a page or an endpoint; that of a call is only known to who has read its body."""
        if not head.startswith((b"GET ", b"HEAD ")):
            return None
        resource = self._in_use.site.router.match(request_target(head))
        return resource.context if isinstance(resource, Resource) else None


def _size(start: bytes, body: bytes) -> int:
    """How many bytes a repeated answer has behind its head, of which some lines may stand in `body`."""
    if start.endswith(_END_OF_HEAD):
        return len(body)
    return len(body) - (2 if body.startswith(b"\r\n") else body.find(_END_OF_HEAD) + len(_END_OF_HEAD))
