"""Two edges that are told the same bytes: `near` repeats answers that are ready, `far` decides each. And aiohttp, which
says what it reads in these bytes."""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from aiohttp import http_parser
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError

from mizan_core.mwt import Keyring, mint
from mizan_edge.memory.prepared import Noted, Prepared, Ready
from mizan_edge.rules.selecting import Sender
from mizan_edge.running import worker
from mizan_edge.serving.proxy import Proxy
from tests.support.edge import MWT_SECRET, edges
from tests.support.listening import connection
from tests.support.proxy import read_head, talking

VIEW = b"/catalog/hats/"
PROFILE = b"/profile/5/"
# The same ones each time, so that they can stand in files; they expire in the year 2255.
TOKENS = {user: mint(Keyring.parse(MWT_SECRET), sub=user, pkey="p", now_s=0, lifetime_s=9 * 10**9) for user in "56"}
PARSERS: list[Any] = [http_parser.HttpRequestParserPy]
if http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy:
    PARSERS.append(http_parser.HttpRequestParser)


def asking(method: bytes, target: bytes, *lines: bytes, version: bytes = b"1.1") -> bytes:
    """A request's head."""
    return b"\r\n".join((b"%b %b HTTP/%b" % (method, target, version), *lines, b"", b""))


def _asked() -> Iterator[bytes]:
    host = b"Host: site.test"
    token, other = (TOKENS[user].encode() for user in "56")
    browser = [b"User-Agent: Mozilla/5.0 (X11)", b"Accept: text/html", b"Referer: /a", b"Sec-Fetch-Mode: navigate"]
    for method in b"GET", b"HEAD":
        for target in VIEW, PROFILE:
            yield asking(method, target, host)
            yield asking(method, target, host, *browser, b"Accept-Encoding: gzip, br", b"Cookie: _ga=1; csrftoken=x")
            yield asking(method, target, host, b"Accept-Language: en", b"If-None-Match: *")
    yield asking(b"GET", VIEW, host, b"Accept-Language: de", b"X-Forwarded-Host: other.test", b"X-Forwarded-For: ::1")
    yield asking(b"GET", VIEW, b"Host: other.test", b"DNT: 1", b"X-Forwarded-Proto: https")
    yield asking(b"GET", b"http://site.test" + VIEW, host)
    yield asking(b"GET", PROFILE, host, b"Cookie:mizan_mwt=" + token)
    yield asking(b"GET", PROFILE, host, b"Cookie: _ga=1; mizan_mwt=%b; sessionid=a" % token, *browser)
    yield asking(b"GET", PROFILE, host, b"Authorization: Bearer " + token)
    yield asking(b"GET", PROFILE, host, b"Authorization: Bearer " + other, b"Cookie: sessionid=b")


READY = list(_asked())
"""Requests whose answers `near` has ready."""

_TOLD = (b"host", b"x-forwarded-host", b"x-forwarded-proto", b"accept-language")


async def _echo(reader: StreamReader, writer: StreamWriter) -> None:
    """An origin that refuses nothing, and answers with what it was asked, by whom, and how."""
    while True:
        head = await read_head(reader)
        fields = dict(re.findall(rb"(?m)^([^:\r\n]+): (.*)\r$", head.replace(b"HTTP/1.1\r\n", b"\r\n", 1)))
        said = {name.lower(): value for name, value in fields.items()}
        if b"expect" in said:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"transfer-encoding" in said:
            body = b""
            while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readuntil(b"\r\n")
        else:
            body = await reader.readexactly(int(said.get(b"content-length", b"0")))
        who = [user.encode() for user, token in TOKENS.items() if token.encode() in head]
        told = [said.get(name, b"-") for name in _TOLD]
        # As whatever spelling of it shares one entry.
        target = unquote_to_bytes(head.split(b" ")[1].partition(b"?")[0])
        answer = b" | ".join([target, *who, *told]) + b"\n" + body
        is_head = head.startswith(b"HEAD ")
        lines = b"Date: Sat, 01 Jan 2000 00:00:00 GMT\r\nVary: Accept-Language\r\nCache-Control: max-age=999999\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (lines, len(answer)))
        writer.write(b"" if is_head else answer)


@dataclass(frozen=True, slots=True)
class Read:
    """A request as it was read."""

    method: str
    target: str
    """In origin form."""
    ready: bytes | None = None
    """The bytes of its head, where its answer was ready."""

    @classmethod
    def of(cls, method: str, target: str, ready: bytes | None = None) -> "Read":
        target = re.sub(r"^https?://[^/?#]*", "", target, flags=re.IGNORECASE).partition("#")[0]
        if target == "" and method == "OPTIONS":
            target = "*"
        return cls(method, target if target.startswith(("/", "*")) else f"/{target}", ready)

    @property
    def line(self) -> tuple[str, str]:
        return self.method, self.target

    @property
    def capital(self) -> tuple[str, str]:
        """As aiohttp reads methods."""
        return self.method.upper(), self.target


@contextmanager
def _reading(patch: Any) -> Iterator[list[Read]]:
    """The requests that edges read from now on, in their order. Those without memory of their own learn nothing."""
    read: list[Read] = []

    class Watched(Prepared):
        def __init__(self, *given: Any, max_bytes: int, **named: Any) -> None:
            super().__init__(*given, max_bytes=max_bytes, **named)
            self.learns = max_bytes > 0

        def learn(self, *given: Any, **named: Any) -> None:
            if self.learns:
                super().learn(*given, **named)

        def answer(self, head: bytes, sender: Sender, *, trusted: bool) -> Ready | Noted | None:
            found = super().answer(head, sender, trusted=trusted)
            if found is not None and not isinstance(found, Noted):
                method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
                read.append(Read.of(method, target, head))
            return found

        def fetch(self, noted: Noted, then: Callable[[Ready | None], None]) -> None:
            def answered(found: Ready | None) -> None:
                if found is not None:
                    method, target, _ = noted.line.decode().split(" ")
                    read.append(Read.of(method, target))
                then(found)

            super().fetch(noted, answered)

    class Deciding:
        def __init__(self, *given: Any) -> None:
            self._proxy = Proxy(*given)

        def answer(self, request: Any, *given: Any) -> Any:
            read.append(Read.of(request.method, request.target))
            return self._proxy.answer(request, *given)

        def passes(self, request: Any) -> Any:
            return self._proxy.passes(request)

        def pass_on(self, request: Any, *given: Any) -> Any:
            read.append(Read.of(request.method, request.target))
            return self._proxy.pass_on(request, *given)

    # Where they are composed: what is compiled cannot be changed.
    patch.setattr(worker, "Prepared", Watched)
    patch.setattr(worker, "Proxy", Deciding)
    yield read


@dataclass
class Lanes:
    """Both edges."""

    near: str
    far: str
    read: list[Read]
    repeated: int = 0
    """How many answers were ready, of those that `compare` has seen."""
    alone: set[bytes] = field(default_factory=set)
    """Heads that every parser has read as a whole request."""

    async def said(self, address: str, pieces: Sequence[bytes], turns: int = 2) -> tuple[bytes, list[Read]]:
        """What comes back for some bytes, each piece of which arrives by itself, so many turns of the event loop after
        the one before; and what was read in them."""
        self.read.clear()
        raw = b""
        async with asyncio.timeout(20), connection(address) as (reader, writer):
            with suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                writer.write_eof()
                while data := await reader.read(65536):
                    raw += data
        return raw, list(self.read)

    async def readied(self) -> None:
        """Asks until everything is ready that may be."""
        async with asyncio.timeout(20):
            while True:
                _, read = await self.said(self.near, [b"".join(READY)])
                if len(read) == len(READY) and all(one.ready for one in read):
                    return

    async def compare(self, pieces: Sequence[bytes], turns: int = 2) -> None:
        """Asserts that nobody can tell by the answers to some bytes which of them were ready, and that whoever else
        reads these bytes finds the same requests."""
        while True:
            await self.readied()
            near, read = await self.said(self.near, pieces, turns)
            await self.readied()  # again, for what these bytes may have purged
            far, decided = await self.said(self.far, pieces, turns)
            if b"detail=store" not in near + far:
                break  # else this machine stood still until a lease was over
        assert _lasting(near) == _lasting(far)
        # Whether anybody is told of the last one, if that breaks off, is a matter of moments too.
        assert all(one.line == other.line for one, other in zip(read, decided, strict=False))
        assert not any(one.ready for one in decided)
        for one in read:
            if one.ready is not None and one.ready not in self.alone:
                for parser in PARSERS:
                    found, end = theirs([one.ready], parser)
                    assert (found, end) == ([], "stopped") or (found == [one.capital] and end != "refused")
                self.alone.add(one.ready)
        for parser in PARSERS:
            found, end = theirs(pieces, parser)
            # Either may refuse, or give up the connection, where the other does not; but what is refused is not ready.
            assert [one.capital for one in read[: len(found)]] == found[: len(read)]
            next_one = read[len(found)] if len(found) < len(read) else None
            if next_one is not None:
                assert end == "stopped" or (end == "refused" and next_one.ready is None)
        self.repeated += sum(one.ready is not None for one in read)


def _lasting(raw: bytes) -> bytes:
    """Answers without what differs between any two of them: a 100, and the reason of a refusal, may come earlier or
    later, as bytes arrive. Their fields by name: RFC 9110 section 5.3 gives no other order a meaning."""
    raw = raw.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    before, _, last = raw.rpartition(b"HTTP/1.1 ")
    if b"\r\nContent-Type: application/problem+json\r\n" in last and b"\r\nConnection: close\r\n" in last:
        raw = before + b"refused"
    raw = re.sub(rb"\r\n(?:Age|Cache-Status|Date): [^\r\n]*", b"", raw)
    return re.sub(rb"(HTTP/1\.1 [^\r\n]*)((?:\r\n[^\r\n]+)+)", lambda head: head[1] + _by_name(head[2]), raw)


def _by_name(lines: bytes) -> bytes:
    named = [(line.partition(b":")[0].lower(), line) for line in lines.split(b"\r\n")]
    return b"\r\n".join(line for _, line in sorted(named, key=itemgetter(0)))


# RFC 9110 section 5.3 forbids it to senders; but for these three, nothing that happens here depends on it.
_REPEATED = re.compile("Duplicate '(?!host|content-length|transfer-encoding)", re.IGNORECASE)

End = Literal["refused", "stopped"]
"""How a parser ends before the bytes do: `stopped`, if that says nothing of what follows."""


def theirs(pieces: Sequence[bytes], parser: Any) -> tuple[list[tuple[str, str]], End | None]:
    """The requests that begin in some bytes for one of aiohttp's parsers, and how it ended."""
    found, end = _fed(pieces, parser)
    if end is None:
        return found, None
    # What was read with the same piece before is lost.
    return _fed([bytes([byte]) for byte in b"".join(pieces)], parser)


def _fed(pieces: Sequence[bytes], parser: Any) -> tuple[list[tuple[str, str]], End | None]:
    found: list[tuple[str, str]] = []
    loop = asyncio.get_running_loop()
    # Its limits are none of ours.
    limits = {"max_line_size": 1 << 20, "max_field_size": 1 << 20, "max_headers": 1000}
    reads = parser(BaseProtocol(loop), loop, 1 << 20, auto_decompress=False, **limits)
    try:
        for piece in pieces:
            for message, _body in reads.feed_data(piece)[0]:
                found.append(Read.of(message.method, message.path).capital)
                if message.upgrade or message.method == "CONNECT":
                    return found, "stopped"  # in part, the rest may be taken for another protocol
    except HttpProcessingError as error:
        return found, "stopped" if _REPEATED.match(error.message) else "refused"
    return found, None


@asynccontextmanager
async def lanes(
    redis_url: str, namespace: str, home: Path, patch: Any, *, trusted: bool = False
) -> AsyncIterator[Lanes]:
    """Both edges. `trusted`: whoever asks is a trusted proxy. `patch`: pytest's monkeypatch."""
    settings = {"trusted_proxies": ("127.0.0.1",)} if trusted else {}
    with _reading(patch) as read:
        async with talking(_echo) as origin, edges(f"http://{origin}", redis_url, namespace, home) as start:
            near, far = await start(**settings), await start(near=0, **settings)
            yield Lanes(near.address, far.address, read)
