"""Answers from memory that are ready to be written, for requests like ones that were answered before.

    learn    a request was answered from memory, by way of everything: what that depended on is noted, and its bytes
    answer   a request with the same request line and the same selecting lines: the same bytes, but for `Age` and `ttl`

Nothing is decided here. What `learn` is given was decided by the modules that decide everything; `answer` repeats it
while all that it depended on is as it was: the manifest, the very response in memory, which no purge since has matched
and whose freshness has not come near its end, and the token. Whatever else happens is theirs again.

    # mutable state: the answers, the oldest first, and what they cost; the site for which they hold.
"""

import math
from dataclasses import dataclass
from weakref import ReferenceType, ref

from mizan_edge.cache_status import Hit, hit
from mizan_edge.counters import Counters
from mizan_edge.entry import Payload, StoredResponse, VaryRecord
from mizan_edge.memory import Memory
from mizan_edge.selecting import Selecting
from mizan_edge.site import InUse, Site

# Of Python's objects: the answer and its six values, the pair and the tuple it lies under, its place in a mapping.
_OVERHEAD_BYTES = 700
# Of the bound of the responses themselves.
_SHARE = 4
_IDENTITY = "identity"

_Name = tuple[bool, bytes, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What an answer from memory depends on, beside the request."""

    site: Site
    key: str
    """Under which the response lies in memory."""
    stored: StoredResponse
    through: tuple[str, VaryRecord] | None
    """The record that led to it, where it is a variant, and under which key that lies."""
    now_ms: int
    """Redis' clock at the answer."""
    until_ms: int
    """Until when, by that clock, it may be repeated."""
    until_s: float
    """Until when the client is who he is, in seconds since the epoch."""
    context: str


@dataclass(slots=True)
class _Ready:
    key: str
    stored: "ReferenceType[StoredResponse]"
    through: tuple[str, VaryRecord] | None
    until_ms: int
    until_s: float
    coding: str
    """That of the body: `identity`, or one of the copies; none for no body."""
    before: bytes
    after: bytes
    count: list[int]
    ages_ms: int
    """Until when, by Redis' clock, `head` is as old as it says."""
    head: bytes
    cost: int


class Prepared:
    """The answers of one process."""

    def __init__(
        self, selecting: Selecting, memory: Memory[Payload], in_use: InUse, counters: Counters, *, max_bytes: int
    ) -> None:
        """`max_bytes`: the bound of `memory`, of which these take a share more."""
        self._selecting = selecting
        self._memory = memory
        self._in_use = in_use
        self._counters = counters
        self._max_bytes = max_bytes // _SHARE
        self._site = in_use.site
        self._ready: dict[_Name, _Ready] = {}
        self._bytes = 0

    def answer(self, head: bytes, *, trusted: bool) -> tuple[bytes, bytes] | None:
        """The head and the body that answer a request; None where that has to be decided.

        `head`: a request's bytes up to the first empty line, and no more. `trusted`: it came from a trusted proxy, so
        some lines mean something else.
        """
        at = head.find(b"\r\n")
        lines = self._selecting.lines(head[at:])
        if lines is None:
            return None
        name = (trusted, head[:at], lines)
        ready = self._ready.get(name)
        if ready is None:
            return None
        found = self._memory.find(ready.key)
        if found is None:
            return None
        stored, redis_ms, now_s = found
        if (
            stored is not ready.stored()
            or redis_ms >= ready.until_ms
            or now_s >= ready.until_s
            or self._in_use.site is not self._site
            # With another record, another variant would be looked for.
            or (ready.through is not None and not self._memory.holds(*ready.through))
        ):
            self._forget(name)
            return None
        if redis_ms >= ready.ages_ms:
            self._age(ready, stored, redis_ms)
        ready.count[0] += 1
        return ready.head, _body(stored, ready.coding)

    def learn(self, head: bytes, answer: Repeatable, start: bytes, body: bytes, *, trusted: bool) -> None:
        """Notes that the request with this `head`, which had no body, was answered by `start` and `body`."""
        at = head.find(b"\r\n")
        lines = self._selecting.lines(head[at:])
        stored = answer.stored
        coding = _coding(stored, body)
        if lines is None or coding is None:
            return
        # What it varies by itself may be less: what the others of its resource vary by has selected it as well.
        if answer.through is not None and self._selecting.differs(answer.through[1].names):
            return
        if answer.site is not self._in_use.site:
            return  # the manifest was reloaded meanwhile
        age_s = stored.age_s(answer.now_ms)
        before, aged, after = start.partition(_aged(stored, age_s))
        if not aged:
            return
        if answer.site is not self._site:
            self._site = answer.site
            self._ready.clear()
            self._bytes = 0
        ready = _Ready(
            answer.key,
            ref(stored),
            answer.through,
            answer.until_ms,
            answer.until_s,
            coding,
            before,
            after,
            self._counters.cell("requests", answer.context, "hit"),
            0,
            start,
            len(before) + len(after) + len(start) + at + 8 * len(lines) + _OVERHEAD_BYTES,
        )
        name = (trusted, head[:at], lines)
        self._forget(name)
        self._ready[name] = ready
        self._bytes += ready.cost
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._ready)))

    def _age(self, ready: _Ready, stored: StoredResponse, redis_ms: float) -> None:
        now_ms = math.ceil(redis_ms)
        ready.head = b"%b%b%b" % (ready.before, _aged(stored, stored.age_s(now_ms)), ready.after)
        ready.ages_ms = now_ms + 1000 - max(0, now_ms - stored.stored_ms) % 1000

    def _forget(self, name: _Name) -> None:
        ready = self._ready.pop(name, None)
        if ready is not None:
            self._bytes -= ready.cost


def _aged(stored: StoredResponse, age_s: int) -> bytes:
    """The two lines in which answers from one response differ."""
    status = hit(Hit(stored.lifetime.ttl_s - age_s))
    return f"\r\nAge: {age_s}\r\nCache-Status: {status}\r\n".encode()


def _coding(stored: StoredResponse, body: bytes) -> str | None:
    """What `_body` takes for this body of an answer; None: it is a part."""
    if body is stored.body:
        return _IDENTITY
    if not body:
        return ""
    return next((coding for coding, copy in (stored.encoded or {}).items() if copy is body), None)


def _body(stored: StoredResponse, coding: str) -> bytes:
    if coding == _IDENTITY:
        return stored.body
    return stored.encoded[coding] if coding and stored.encoded else b""
