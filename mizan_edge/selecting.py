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
from typing import NamedTuple

from mizan_core.mwt import COOKIES
from mizan_edge.identity import IdentityRules
from mizan_edge.limits import Limits

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
_LINES = 8192
_LINE_BYTES = 512
_NAMES = 1024
_NAME_BYTES = 64

_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_COOKIES = re.compile(rb"[\t -~]*")
_END = b"\r\n\r\n"
_COOKIE = b"\r\nCookie: "
_REFERER = b"\r\nReferer: "


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Selecting lines. Two are mostly one object where they are the same, and are taken for different otherwise."""

    lines: tuple[bytes, ...]


class _Form(NamedTuple):
    """How a block is written: all but the values of its Referer and its first Cookie line."""

    start: bytes
    """Up to the first of these values."""
    middle: bytes
    """Between them; empty where there is no Referer."""
    end: bytes
    of_rest: dict[bytes, Lines]
    """By what the cookies come down to: the selecting lines."""


class Sender:
    """Who sends requests over one connection, and mostly writes them all in one form.

    # mutable state: the `form` of the last one that was known.
    """

    __slots__ = ("form",)

    def __init__(self) -> None:
        self.form: _Form | None = None


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

    # mutable state: what was read lately: what is left of blocks of lines without their first cookies, with what these
    # select beside it; selecting lines that are the `_same`; the `_bytes` of all this; lines; which names of cookies
    # count.
    """

    def __init__(self, rules: IdentityRules, limits: Limits) -> None:
        # Those that `_look` leaves out have to fit as well.
        self._max_lines = min(_MAX_LINES, limits.fields + 3) - 2
        self._max_bytes = min(_MAX_BYTES, limits.head_bytes - limits.target_bytes - _REST_OF_REQUEST_LINE)
        # What may say who is asking is never indifferent.
        self._indifferent = {
            name for name in _INDIFFERENT if not any(fnmatchcase(name, pattern) for pattern in rules.identity_headers)
        }
        self._names = {name.encode() for name in self._indifferent}
        self._ignored = rules.ignored_cookies
        self._strips_referer = "referer" in self._indifferent
        self._rests: dict[bytes, dict[bytes, Lines]] = {}
        self._same: dict[tuple[bytes, ...], Lines] = {}
        self._bytes = 0
        self._rests_met = Met()
        self._lines: dict[bytes, bytes] = {}
        self._counts: dict[bytes, bool] = {}

    def differs(self, vary: tuple[str, ...]) -> bool:
        """Whether responses that vary by these fields (lower case) may differ where selecting lines do not."""
        return not self._indifferent.isdisjoint(vary)

    def lines(self, block: bytes, sender: Sender) -> Lines | None:
        """The selecting lines of a request; None where the parser has to read it.

        `block` begins with the CRLF that ends the request line, and ends with an empty line. There may be no other.
        """
        form = sender.form
        return (form and self._as_before(block, form)) or self._look(block, sender)

    def _as_before(self, block: bytes, form: _Form) -> Lines | None:
        """The selecting lines of a block that is as `form` says; None for any other."""
        start, middle, end, of_rest = form
        if len(block) > self._max_bytes or not (block.startswith(start) and block.endswith(end)):
            return None
        at = len(start)
        if middle:
            of_referer = block.find(b"\r\n", at)
            if not block.startswith(middle, of_referer) or not _VALUE.fullmatch(block, at, of_referer):
                return None
            at = of_referer + len(middle)
        until = block.find(b"\r\n", at)
        if until != len(block) - len(end):
            return None
        return of_rest.get(self._cookies(block[at:until]))

    def _look(self, block: bytes, sender: Sender) -> Lines | None:
        if len(block) > self._max_bytes or block.find(_END) != len(block) - len(_END):
            return None
        if len(block) > _ALL_COOKIES and block.count(b";") > _ALL_COOKIES:
            return None
        # The lines that differ most, as they mostly begin: what is left is mostly known.
        rest, kept = block, b""
        of_cookie = rest.find(_COOKIE)
        if of_cookie >= 0:
            end = rest.find(b"\r\n", of_cookie + 2)
            kept = self._cookies(rest[of_cookie + len(_COOKIE) : end])
            rest = rest[:of_cookie] + rest[end:]
        of_referer = rest.find(_REFERER) if self._strips_referer else -1
        if of_referer >= 0:
            end = rest.find(b"\r\n", of_referer + 2)
            if not _VALUE.fullmatch(rest, of_referer + len(_REFERER), end):
                return None
            rest = rest[:of_referer] + rest[end:]
        of_rest = self._rests.get(rest)
        if of_rest is None:
            found = self._read(rest)
            if found is None:
                return None
            of_rest = {b"": self._the(found)}
            if self._rests_met.again(rest):
                self._count(len(rest))
                self._rests[rest] = of_rest
        else:
            sender.form = _form(block, of_referer, of_cookie, of_rest)
        lines = of_rest.get(kept)
        if lines is None:
            self._count(len(kept))
            lines = of_rest[kept] = self._the((*of_rest[b""].lines, kept))
        return lines

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
            self._rests.clear()
            self._same.clear()
            self._bytes = 0

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
        return b"\r\nCookie:" + b";".join(kept) if kept else b""

    def _does_count(self, name: str) -> bool:
        return name in COOKIES or not any(fnmatchcase(name, pattern) for pattern in self._ignored)


def _form(block: bytes, of_referer: int, of_cookie: int, of_rest: dict[bytes, Lines]) -> _Form | None:
    """The form of a block whose Referer and Cookie lines begin there; -1 for none."""
    if of_cookie < 0 or of_referer >= of_cookie:
        return None
    cookies = of_cookie + len(_COOKIE)
    end = block[block.find(b"\r\n", cookies) :]
    if of_referer < 0:
        return _Form(block[:cookies], b"", end, of_rest)
    referer = of_referer + len(_REFERER)
    return _Form(block[:referer], block[block.find(b"\r\n", referer) : cookies], end, of_rest)
