"""Which lines of a request can make a difference to an answer from memory: read off its bytes, without parsing them.

Most of what browsers send, and much of what differs each time, makes none: `User-Agent`, `Referer`, the cookies of
analytics. Two requests with the same request line and the same *selecting lines* get the same answer. So a request that
was parsed, judged and answered stands for all that differ from it in other lines only.

A line that selects is kept as it came, and is not understood here: something is concluded only where all of them are
equal, in their order, to those of a request that the parser has accepted. What selects nothing is left out, so that is
read as strictly as the parser would: its name is one of a list, and its value has no control character.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mizan_core.mwt import COOKIES
from mizan_edge.http.limits import Limits
from mizan_edge.rules.identity import IdentityRules

# Nothing that is stored was made of these, unless its Vary says so (`differs`). X-Forwarded-For is in no key.
_INDIFFERENT = frozenset(
    {
        "baggage",
        "dnt",
        "priority",
        "referer",
        "save-data",
        "sec-ch-ua",
        "sec-ch-ua-mobile",
        "sec-ch-ua-platform",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-fetch-storage-access",
        "sec-fetch-user",
        "sec-gpc",
        "traceparent",
        "tracestate",
        "upgrade-insecure-requests",
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
    }
)
# Of these, what mostly has another value each time.
_VARIED = frozenset({"baggage", "referer", "traceparent", "tracestate", "x-forwarded-for", "x-request-id"})
# Larger heads are the parser's, which knows the limits.
_MAX_BYTES = 8192
_MAX_LINES = 64
_MAX_COOKIES = _MAX_LINES
# In all lines: beyond a thousand, `identity` does not look.
_ALL_COOKIES = 1000 - _MAX_LINES
_REST_OF_REQUEST_LINE = len(b"HEAD  HTTP/1.1")
# What is remembered; when there is more, all is forgotten, and what is in use read again.
_MAX_REMEMBERED_BYTES = 8 << 20
_OVERHEAD_BYTES = 400
_ONCE = 8192
# To compile a pattern takes as long as to read some hundred blocks.
_OFTEN = 16
# Of one User-Agent: pages, what they load, and what they ask for, with and without a session.
_FORMS = 8
# A byte of a pattern takes as much once it is compiled.
_PATTERN_BYTES = 16
_LINES = 8192
_LINE_BYTES = 512
_NAMES = 1024
_NAME_BYTES = 64

_ANY_VALUE = rb"[\t -~\x80-\xff]*"
_COOKIE_VALUE = rb"[\t -:<-~]*"
_VALUE = re.compile(_ANY_VALUE)
_COOKIES = re.compile(rb"[\t -~]*")
_END = b"\r\n\r\n"
_COOKIE = b"\r\nCookie:"


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Selecting lines. Two are mostly one object where they are the same, and are taken for different otherwise."""

    lines: tuple[bytes, ...]


class Form:
    """How blocks are written that differ in certain values only: in those of fields that mostly have another one each
    time and select nothing, and in those of cookies.

    # mutable state: the selecting lines by the tokens among the cookies, as far as they were read.
    """

    __slots__ = ("fullmatch", "of_tokens", "start", "start_bytes", "varied")

    def __init__(self, start: bytes, rest: re.Pattern[bytes], varied: frozenset[int]) -> None:
        self.start = start
        """Up to the first of these values."""
        self.start_bytes = len(start)
        self.varied = varied
        """The numbers of the lines that have such values; all others are in every block as they are here."""
        self.fullmatch = rest.fullmatch
        """Matches what comes behind; its groups are the values of tokens."""
        self.of_tokens: dict[tuple[bytes, ...], Lines] = {}

    def matches(self, head: bytes, at: int) -> bool:
        """Whether a request's head, with its first line up to `at` and nothing behind it, is written like this."""
        return head.startswith(self.start, at) and self.fullmatch(head, at + self.start_bytes) is not None


class Sender:
    """Who sends requests over one connection, and mostly writes them all in one form.

    # mutable state: the `form` of the last one.
    """

    __slots__ = ("form",)

    def __init__(self) -> None:
        self.form: Form | None = None


class Met:
    """Tells what comes again from what comes once, which is not worth remembering.

    # mutable state: hashes of what came `_once`.
    """

    def __init__(self) -> None:
        self._once: set[int] = set()

    def again(self, data: bytes) -> bool:
        """Whether this came before, not too long ago."""
        mark = hash(data)
        if mark in self._once:
            return True
        if len(self._once) >= _ONCE:
            self._once.clear()
        self._once.add(mark)
        return False


class Selecting:
    """Reads selecting lines.

    # mutable state: what was read lately: forms by their User-Agent, the last first, and how often any was `_seen`
    before there is one; selecting lines that are the `_same`; the `_bytes` of all this; lines; what counts of cookies.
    """

    def __init__(self, rules: IdentityRules, limits: Limits) -> None:
        self._max_lines = min(_MAX_LINES, limits.fields + 3)
        self._max_bytes = min(_MAX_BYTES, limits.head_bytes - limits.target_bytes - _REST_OF_REQUEST_LINE)
        # What may say who is asking is never indifferent.
        self._indifferent = {
            name for name in _INDIFFERENT if not any(fnmatchcase(name, pattern) for pattern in rules.identity_headers)
        }
        self._names = {name.encode() for name in self._indifferent}
        self._varied = {name.encode() for name in self._indifferent & _VARIED}
        self._ignored = rules.ignored_cookies
        self._forms: dict[bytes, list[Form]] = {}
        self._seen: dict[int, int] = {}
        self._same: dict[tuple[bytes, ...], Lines] = {}
        self._bytes = 0
        self._lines: dict[bytes, bytes] = {}
        self._counts: dict[bytes, bool] = {}

    def differs(self, vary: tuple[str, ...]) -> bool:
        """Whether responses that vary by these fields (lower case) may differ where selecting lines do not."""
        return not self._indifferent.isdisjoint(vary)

    def lines(self, head: bytes, at: int, sender: Sender) -> Lines | None:
        """The selecting lines of a request; None where the parser has to read it.

        `head` ends with an empty line, and there is no other; `at` is where the CRLF is that ends the request line.
        """
        form = sender.form
        if form is not None and head.startswith(form.start, at) and len(head) - at <= self._max_bytes:
            match = form.fullmatch(head, at + form.start_bytes)
            if match is not None and (lines := form.of_tokens.get(match.groups())) is not None:
                return lines
        return self._look(head[at:], sender)

    def _look(self, block: bytes, sender: Sender) -> Lines | None:
        if len(block) > self._max_bytes or block.find(_END) != len(block) - len(_END):
            return None
        if len(block) > _ALL_COOKIES and block.count(b";") > _ALL_COOKIES:
            return None
        agent = _agent(block)
        form, tokens = self._form_of(agent, block)
        if form is not None:
            sender.form = form
            if (lines := form.of_tokens.get(tokens)) is not None:
                return lines
        found = self._read(block)
        if found is None:
            return None
        lines = self._the(found)
        if form is not None:
            self._count(sum(map(len, tokens)))
            form.of_tokens[tokens] = lines
        else:
            self._meet(agent, block)
        return lines

    def _form_of(self, agent: bytes, block: bytes) -> tuple[Form | None, tuple[bytes, ...]]:
        """The form that a block has, and the tokens in it."""
        for form in self._forms.get(agent, ()):
            if block.startswith(form.start) and (match := form.fullmatch(block, form.start_bytes)) is not None:
                return form, match.groups()
        return None, ()

    def _the(self, found: tuple[bytes, ...]) -> Lines:
        """The object for these lines."""
        lines = self._same.get(found)
        if lines is None:
            self._count(sum(map(len, found)))
            lines = self._same[found] = Lines(found)
        return lines

    def _count(self, size: int) -> None:
        """Something of `size` bytes is about to be remembered."""
        self._bytes += size + _OVERHEAD_BYTES
        if self._bytes > _MAX_REMEMBERED_BYTES:
            for forms in self._forms.values():
                _empty(forms)
            self._forms.clear()
            self._same.clear()
            self._bytes = 0

    def _meet(self, agent: bytes, block: bytes) -> None:
        """Makes a form of a block that was read, if more of that form have come."""
        start, rest, varied = self._form(block)
        mark = hash((start, rest))
        seen = self._seen.get(mark, 0) + 1
        if seen < _OFTEN:
            if len(self._seen) >= _ONCE:
                self._seen.clear()
            self._seen[mark] = seen
            return
        del self._seen[mark]
        self._count(len(agent) + len(start) + _PATTERN_BYTES * len(rest))
        forms = self._forms.get(agent, [])
        _empty(forms[_FORMS - 1 :])
        self._forms[agent] = [Form(start, re.compile(rest), varied), *forms[: _FORMS - 1]]

    def _form(self, block: bytes) -> tuple[bytes, bytes, frozenset[int]]:
        """How a block is written that was read: what all of this form begin with, a pattern for the rest, and the
        numbers of the lines in which they differ."""
        texts, patterns, varied = [b""], list[bytes](), set[int]()
        for number, line in enumerate(block.split(b"\r\n")[1:-2]):
            before = len(patterns)
            name, _, value = line.partition(b":")
            texts[-1] += b"\r\n" + name + b":"
            of_name = name.lower()
            if of_name in self._varied:
                patterns.append(_ANY_VALUE)
                texts.append(b"")
            elif of_name == b"cookie" and self._cookies(value) != _COOKIE + value:
                for i, cookie in enumerate(value.split(b";")):
                    of_cookie, equals, _ = cookie.partition(b"=")
                    texts[-1] += (b";" if i else b"") + of_cookie + equals
                    if equals:
                        is_token = of_cookie.strip().decode() in COOKIES
                        patterns.append(b"(%b)" % _COOKIE_VALUE if is_token else _COOKIE_VALUE)
                        texts.append(b"")
            else:
                texts[-1] += value
            if len(patterns) > before:
                varied.add(number)
        texts[-1] += _END
        rest = [pattern + re.escape(text) for pattern, text in zip(patterns, texts[1:], strict=True)]
        return texts[0], b"".join(rest), frozenset(varied)

    def _read(self, block: bytes) -> tuple[bytes, ...] | None:
        lines = block.split(b"\r\n")
        if not 4 <= len(lines) <= self._max_lines:
            return None
        found = []
        known = self._lines
        for line in lines[1:-2]:
            kept = known.get(line)
            if kept is None:
                if (kept := self._line(line)) is None:
                    return None
                if len(known) >= _LINES:
                    known.clear()
                if len(line) <= _LINE_BYTES:
                    known[line] = kept
            if kept:
                found.append(kept)
        return tuple(found)

    def _line(self, line: bytes) -> bytes | None:
        """What selects in a line, which may be nothing; None for what the parser might refuse."""
        name, colon, value = line.partition(b":")
        name = name.lower()
        if name in self._names:
            return b"" if colon and _VALUE.fullmatch(value) else None
        return self._cookies(value) if name == b"cookie" else line

    def _cookies(self, value: bytes) -> bytes:
        """The tokens among cookies, and the names of those that tell an application who is asking, as
        `identity.partition` sees them; all of it where one cannot be told."""
        cookies = value.split(b";")
        if len(cookies) > _MAX_COOKIES or not _COOKIES.fullmatch(value):
            return _COOKIE + value
        kept = []
        for cookie in cookies:
            name, equals, content = cookie.partition(b"=")
            if equals and self._counts.get(name) is False:
                continue  # as most are
            text = name.strip()
            if not text and not equals and not content:
                continue
            if not text or not equals:
                return _COOKIE + value
            counts = self._counts.get(name)
            if counts is None:
                counts = self._does_count(text.decode())
                if len(self._counts) >= _NAMES:
                    self._counts.clear()
                if len(name) <= _NAME_BYTES:
                    self._counts[name] = counts
            if counts:
                # The value of a session says nothing that is known here.
                kept.append(text + b"=" + content.rstrip() if text.decode() in COOKIES else text)
        # No line has a CRLF in it, and no name begins with a space.
        return _COOKIE + b";".join(kept) if kept else b""

    def _does_count(self, name: str) -> bool:
        return name in COOKIES or not any(fnmatchcase(name, pattern) for pattern in self._ignored)


def _empty(forms: list[Form]) -> None:
    """Forgets what was read in forms that go: a connection keeps that of its last request for as long as it lasts."""
    for form in forms:
        form.of_tokens.clear()


def _agent(block: bytes) -> bytes:
    """The value of a User-Agent line as it is mostly spelled, by which forms are found."""
    at = block.find(b"\r\nUser-Agent: ")
    if at < 0 and (at := block.find(b"\r\nuser-agent: ")) < 0:
        return b""
    at += len(b"\r\nUser-Agent: ")
    return block[at : block.find(b"\r\n", at)]
