"""Answers from the cache that are ready to be written, for requests like ones that were answered before.

    learn    a request was answered from the cache, by way of everything: what that depended on is noted
    answer   a request with the same request line and the same selecting lines: the same bytes, but for `Age` and `ttl`
    fetch    the same, where the response has left memory and lies in Redis yet

Nothing is decided here. What `learn` is given was decided by the modules that decide everything; `answer` repeats it
while all that it depended on is as it was: the manifest, the very response in memory, to which the record of its
variants would lead, which no purge since has matched and whose freshness has not come near its end, and the token.
Whatever else happens is theirs again.

Nearly every answer is the usual one: the response itself, or its copy in the coding that such clients want. Then what
is noted is the response in memory (`packed`), and nothing more; its head is its template's, which was learned as well.
Of any other answer, such as a 304, its own head is kept; of a variant, the record that leads to it.

Where that response was purged, and another one that differs in its own lines and body alone lies in its place, the
usual answer is that one: nothing that decides is different, unless the request has conditions on such lines.

    # mutable state: the profiles, of which what was noted or used since the last turn costs `_bytes`; what is noted for
    whole heads that came again, and their `_head_bytes`; the site for which all of it holds; the heads of which there
    are starts, and the `_start_bytes` of these.
"""

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mypy_extensions import mypyc_attr

from mizan_edge.http.cache_status import Hit, hit
from mizan_edge.memory.memory import Mark, Memory
from mizan_edge.memory.packed import IDENTITY, Head, PackedRecord, PackedResponse, times
from mizan_edge.memory.sampling import Sampling
from mizan_edge.rules.compression import CODINGS
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.policy import EARLY
from mizan_edge.rules.selecting import Lines, Met, Selecting, Sender
from mizan_edge.rules.site import InUse, Site
from mizan_edge.system.histograms import Tally

# Requests with these depend on a response's own lines.
_CONDITIONS = frozenset(
    {b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"range"}
)
# With which every request line ends that is noted here. What is noted is the line without it.
_VERSION: Final = b" HTTP/1.1\r\n"
_VERSION_BYTES: Final = len(b" HTTP/1.1")
# A response without it is answered with one of now.
_DATE = re.compile(rb"(?mi)^date:")
# Of Python's objects: a request line and its place in a mapping, with what is left of a response that is not in memory
# any more; a profile with its name and its mappings; a special answer with its head; a start and its place.
_LINE_BYTES = 320
_PROFILE_BYTES = 1024
_SPECIAL_BYTES = 320
_START_BYTES = 256
# Of the bound of the responses themselves; and at least so much, since what is noted also serves for Redis.
_SHARE = 4
_LEAST_BYTES = 16 << 20
# For whole heads that came again, in bytes; and of each beside its own, an object and its place.
_HEADS_BYTES = 4 << 20
_HEAD_BYTES = 192
# For the starts of heads, which are made anew when all were forgotten.
_STARTS_BYTES = 4 << 20

Ready = tuple[bytes, bytes, Tally]
"""An answer in two parts, to be written one after the other, and where it is to be counted."""
Fetch = Callable[[PackedResponse, Mark, Callable[[PackedResponse | None], None]], None]
"""Hands over, a little later, what is not in memory any more; None where it does not lie in Redis, either."""


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What an answer from the cache depends on, beside the request."""

    site: Site
    kept: PackedResponse
    through: PackedRecord | None
    """The record that led to it, where it is a variant."""
    stored: StoredResponse
    """What was unpacked of it for this answer, or packed."""
    now_ms: int
    """Redis' clock at the answer."""
    until_s: float
    """Until when the client is who he is, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class _Special:
    """An answer of which more is to be noted than the response in memory."""

    kept: PackedResponse
    through: PackedRecord | None
    number: int | None
    """That of the representation whose body it has; None for no body."""
    head: Head | None
    """All of its lines but those of its age; None where it is the usual answer otherwise."""


class _Profile:
    """The requests that have the same selecting lines, from clients that are trusted or are not."""

    __slots__ = ("cost", "has_conditions", "lines", "number", "older", "ready", "until_s")

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        names = {line.partition(b":")[0].strip().lower() for line in lines.lines}
        self.has_conditions = not names.isdisjoint(_CONDITIONS)
        self.cost = sum(map(len, lines.lines)) + _PROFILE_BYTES
        self.number = IDENTITY
        """The representation that they get where there is one of this number, else the identity."""
        self.until_s = math.inf
        """Until when the client is who he is, in seconds since the epoch."""
        self.ready: dict[bytes, PackedResponse | _Special] = {}
        """By the request line: what was asked for since the last turn."""
        self.older: dict[bytes, PackedResponse | _Special] = {}
        """What was asked for in the turn before."""

    def usual(self, kept: PackedResponse) -> int:
        """The number of the representation that they usually get of a response."""
        return self.number if kept.representation(self.number) is not None else IDENTITY

    def forget(self, line: bytes) -> None:
        """Forgets what was noted for a request line."""
        self.ready.pop(line, None)
        self.older.pop(line, None)

    def turn(self) -> bool:
        """Forgets what was not asked for since the last turn. Whether anything is left."""
        self.older, self.ready = self.ready, {}
        return bool(self.older)


class Noted:
    """What is noted for a request."""

    __slots__ = ("kept", "line", "profile", "ready", "special")

    def __init__(self, profile: _Profile, line: bytes, ready: PackedResponse | _Special) -> None:
        self.profile = profile
        self.line = line
        self.ready = profile.ready
        self.special = None if isinstance(ready, PackedResponse) else ready
        self.kept = ready if isinstance(ready, PackedResponse) else ready.kept

    @property
    def holds(self) -> bool:
        """Whether it is what would be found: its profile has forgotten nothing since, and its response is in memory."""
        return self.ready is self.profile.ready and self.kept.is_kept


@mypyc_attr(allow_interpreted_subclasses=True)  # tests watch what it answers
class Prepared:
    """The answers of one process."""

    def __init__(
        self,
        selecting: Selecting,
        memory: Memory,
        in_use: InUse,
        sampling: Sampling,
        *,
        fetch: Fetch,
        max_bytes: int,
    ) -> None:
        """`max_bytes`: the bound of `memory`, of which these take a share more."""
        self._selecting = selecting
        self._memory = memory
        self._fetch = fetch
        self._in_use = in_use
        self._sampling = sampling
        self._turn_bytes = max(max_bytes // _SHARE, _LEAST_BYTES) // 2
        self._site = in_use.site
        # By whether a trusted proxy asks: some lines mean something else then.
        self._profiles: tuple[dict[Lines, _Profile], dict[Lines, _Profile]] = {}, {}
        self._heads: tuple[dict[bytes, Noted], dict[bytes, Noted]] = {}, {}
        self._head_bytes = 0
        self._heads_met = Met()
        self._bytes = 0
        self._started: list[Head] = []
        self._start_bytes = 0

    def answer(self, head: bytes, sender: Sender, *, trusted: bool) -> Ready | Noted | None:
        """What answers a request; what is noted for it where that is to be fetched, since the response has left memory;
        None where it has to be decided.

        `head`: a request's bytes up to an empty line; None where that is not the first one. `sender` is one for all
        requests of a connection. `trusted`: they come from a trusted proxy.
        """
        noted = self._heads[trusted].get(head)
        if noted is not None and noted.holds:
            profile, line, kept, special = noted.profile, noted.line, noted.kept, noted.special
        else:
            found = self._find(head, sender, trusted)
            if found is None:
                return None
            profile, line, ready = found
            special = None if isinstance(ready, PackedResponse) else ready
            kept = ready if isinstance(ready, PackedResponse) else ready.kept
        was_kept = kept.is_kept
        now = self._memory.holds(kept) if was_kept else None
        if now is None and special is None and not kept.is_kept:
            if was_kept:
                return None  # purged just now, in Redis as well
            other = self._memory.under(kept)
            if other is None:
                return Noted(profile, line, kept)
            if isinstance(other, PackedResponse) and _is_alike(profile, kept, other):
                kept = other
                self._note(profile, line, kept)
                now = self._memory.holds(kept)
        if now is None:
            if not kept.is_kept:
                profile.forget(line)
            return None
        if special is not None and not self._leads(special.through):
            profile.forget(line)
            self._heads[trusted].pop(head, None)
            return None
        return self._repeated(profile, kept, special, *now)

    def _find(
        self, head: bytes, sender: Sender, trusted: bool
    ) -> tuple[_Profile, bytes, PackedResponse | _Special] | None:
        """What is noted for a request, and where."""
        at = head.find(_VERSION)
        lines = self._selecting.lines(head, at + _VERSION_BYTES, sender) if at > 0 else None
        profile = self._profiles[trusted].get(lines) if lines is not None else None
        if profile is None:
            return None
        line = head[:at]
        ready = profile.ready.get(line) or self._recent(profile, line)
        if ready is None:
            return None
        if self._heads_met.again(head):
            # A page that asks again, a monitor: the very same bytes.
            self._head_bytes += len(head) + _HEAD_BYTES
            if self._head_bytes > _HEADS_BYTES:
                self._heads = {}, {}
                self._head_bytes = 0
            self._heads[trusted][head] = Noted(profile, line, ready)
        return profile, line, ready

    def fetch(self, noted: Noted, then: Callable[[Ready | None], None]) -> None:
        """Calls `then`, a little later, with what answers the request, once its response has come from Redis; or with
        None where that has to be decided."""
        mark = self._memory.mark()
        if mark is None:
            asyncio.get_running_loop().call_soon(then, None)
        else:
            self._fetch(noted.kept, mark, lambda kept: then(self._fetched(noted, mark, kept)))

    def _fetched(self, noted: Noted, mark: Mark, kept: PackedResponse | None) -> Ready | None:
        profile = noted.profile
        now = self._memory.clocks(mark)
        if kept is None or now is None:
            profile.forget(noted.line)
            return None
        if (profile.ready.get(noted.line) or profile.older.get(noted.line)) is not noted.kept:
            return None  # something else was noted, or has to be
        if kept.is_kept:
            profile.ready[noted.line] = kept
        return self._repeated(profile, kept, None, *now)

    def _repeated(
        self, profile: _Profile, kept: PackedResponse, special: _Special | None, redis_ms: float, now_s: float
    ) -> Ready | None:
        """The answer that was noted, with a response that may be used at this moment."""
        expires_ms, initial_age_s, took_ms = times(kept.facts)
        left_ms = expires_ms - redis_ms
        template = kept.template
        # As `StoredResponse.age_s`, since seconds are counted from when it was stored.
        age_s = template.lifetime.ttl_s + int(-left_ms // 1000)
        if left_ms <= EARLY * took_ms or age_s < initial_age_s:
            return None
        if now_s >= profile.until_s:
            profile.ready, profile.older = {}, {}
            return None
        if self._in_use.site is not self._site:
            return None
        if special is None or special.head is None:
            number, body = profile.number, kept.own
            if number:
                number = profile.usual(kept)
                body = kept.representation(number) or body
            start = template.heads[number]
        else:
            start, body = special.head, b"" if special.number is None else kept.body(special.number)
        begin = start.starts.get(age_s)
        if begin is None:
            # Of a context of which hits are compared no start is kept, so that each of them comes by here.
            share = self._site.share(template.context)
            if share and self._sampling.draws(template.context, share):
                return None
            begin = self._start(start, age_s, keep=not share)
        return begin, body, start.tally

    def learn(self, head: bytes, answer: Repeatable, start: bytes, body: bytes, tally: Tally, *, trusted: bool) -> None:
        """Notes that the request with this `head`, which had no body, was answered by `start` and `body`.

        `tally`: where such answers are counted.
        """
        at = head.find(_VERSION)
        lines = self._selecting.lines(head, at + _VERSION_BYTES, Sender()) if at > 0 else None
        if lines is None:
            return
        # What it varies by itself may be less: what the others of its resource vary by has selected it as well.
        if answer.through is not None and self._selecting.differs(answer.through.vary):
            return
        if answer.site is not self._in_use.site:
            return  # the manifest was reloaded meanwhile
        kept, template = answer.kept, answer.kept.template
        ttl_s = template.lifetime.ttl_s
        before, aged, after = start.partition(_aged(ttl_s, answer.stored.age_s(answer.now_ms)))
        number = _number(answer.stored, body)
        if not aged or (body and number is None):
            return
        if answer.site is not self._site:
            self._site = answer.site
            self._profiles = {}, {}
            self._heads = {}, {}
            self._bytes = self._head_bytes = 0
            self._forget_starts()
        self._heads[trusted].pop(head, None)
        profile = self._profiles[trusted].get(lines)
        if profile is None:
            profile = self._profiles[trusted][lines] = _Profile(lines)
        profile.until_s = min(profile.until_s, answer.until_s)
        # The CRLF before the age ends the line before it.
        first, _, rest = (before + b"\r\n").partition(b"\r\n")
        whole = Head(first, rest + after, ttl_s, tally)
        usual = number is not None and self._is_usual(profile, kept, number, whole)
        if usual and answer.through is None:
            self._note(profile, head[:at], kept)
        elif kept.is_kept:
            self._note(profile, head[:at], _Special(kept, answer.through, number, None if usual else whole))
        if not kept.is_kept:
            kept.let_go()

    def _leads(self, through: PackedRecord | None) -> bool:
        """Whether a variant would be looked for in the same way; with another record, it would be another one."""
        if through is None:
            return True
        found = self._memory.under(through)
        return isinstance(found, PackedRecord) and found.vary == through.vary

    def _is_usual(self, profile: _Profile, kept: PackedResponse, number: int, whole: Head) -> bool:
        """Whether `answer` would say the same as `whole`, if nothing but the response were noted."""
        template, own = kept.template, kept.representation(number)
        if own is None or not whole.first.startswith(b"HTTP/1.1 %d " % template.status):
            return False
        lines = whole.rest.split(b"\r\n")
        for line in own.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            if line not in lines:
                return False
            lines.remove(line)
        head = Head(whole.first, b"".join(line + b"\r\n" for line in lines if line), whole.ttl_s, whole.tally)
        if template.heads.setdefault(number, head) != head:
            return False
        if number != profile.usual(kept) and profile.number == IDENTITY:
            # The first copy that they get. What was noted before they get was noted without one.
            profile.number = number
            profile.ready, profile.older = {}, {}
        return number == profile.usual(kept)

    def _note(self, profile: _Profile, line: bytes, ready: PackedResponse | _Special) -> None:
        cost = len(line) + _LINE_BYTES
        if not profile.ready:
            cost += profile.cost
        if isinstance(ready, _Special):
            cost += _SPECIAL_BYTES + (len(ready.head.first) + len(ready.head.rest) if ready.head is not None else 0)
        profile.ready[line] = ready
        self._bytes += cost
        if self._bytes > self._turn_bytes:
            for profiles in self._profiles:
                for lines in [lines for lines, profile in profiles.items() if not profile.turn()]:
                    del profiles[lines]
            self._bytes = 0

    def _recent(self, profile: _Profile, line: bytes) -> PackedResponse | _Special | None:
        """What was asked for in the turn before, and counts for this one."""
        ready = profile.older.pop(line, None)
        if ready is not None:
            self._note(profile, line, ready)
        return ready

    def _start(self, head: Head, age_s: int, *, keep: bool) -> bytes:
        start = b"%b%b%b" % (head.first, _aged(head.ttl_s, age_s), head.rest)
        if not keep:
            return start
        self._start_bytes += len(start) + _START_BYTES
        if self._start_bytes > _STARTS_BYTES:
            self._forget_starts()
        if not head.starts:
            self._started.append(head)
        head.starts[age_s] = start
        return start

    def _forget_starts(self) -> None:
        for head in self._started:
            head.starts.clear()
        self._started.clear()
        self._start_bytes = 0


def _is_alike(profile: _Profile, gone: PackedResponse, other: PackedResponse) -> bool:
    """Whether all that is decided about requests of a profile is the same with another response in place of `gone`."""
    return (
        other.template is gone.template
        and not profile.has_conditions
        and _copies(other) == _copies(gone) != ()  # else they are to be made
        and profile.usual(other) in other.template.heads
        and _DATE.search(other.own, 0, other.own.find(b"\r\n\r\n") + 2) is not None
    )


def _copies(kept: PackedResponse) -> tuple[bool, ...] | None:
    """Which copies with content codings there are, or were."""
    return tuple([copy is not None for copy in kept.copies]) if kept.copies is not None else None


def _aged(ttl_s: int, age_s: int) -> bytes:
    """The two lines in which answers from one response differ."""
    return f"\r\nAge: {age_s}\r\nCache-Status: {hit(Hit(ttl_s - age_s))}\r\n".encode()


def _number(stored: StoredResponse, body: bytes) -> int | None:
    """The number of the representation whose body this is; None for a part or nothing."""
    if body is stored.body:
        return IDENTITY
    copies = stored.encoded or {}
    return next((number for number, coding in enumerate(CODINGS, 1) if copies.get(coding) is body), None)
