"""Bodies larger than anybody should keep: an origin that gives and takes them, and clients that do."""

import asyncio
import random
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.listening import chunk, connection
from tests.support.memory import MIB, Growth
from tests.support.proxy import read_head, talking

PIECE = random.Random(1).randbytes(MIB)
_STILL_S = 0.3
LIMIT = MIB
"""Of what the readers of both ends keep."""
WAYS = (
    "GET /x/{size}",
    "GET /x/{size}?chunked",
    # Declared: some of it is read before it is known that it is too long to be stored.
    "GET /catalog/{size}/",
    "POST /x",
    "POST /x?chunked",
    # Where a call is expected, some of it is read before it is sent on.
    "POST /api/mizan/call/",
)
"""Requests with large bodies, of the manifest of the edge's tests."""


@dataclass
class Body:
    """A body that has come: how long it is, and a checksum of it.

    # mutable state: both.
    """

    size: int = 0
    crc: int = 0

    def add(self, data: bytes) -> None:
        """Some more of it."""
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)

    @classmethod
    def of(cls, size: int) -> "Body":
        """The one of `size` bytes, in whole MiB, that all send."""
        body = cls()
        for _ in range(size // MIB):
            body.add(PIECE)
        return body


@dataclass
class Bodies:
    """An origin: GET /.../<bytes> gives so many, and POST takes what comes. `?chunked`: in chunks.

    # mutable state: the bodies that it `took`, the bytes `sent` of the latest; it takes none while `open` is not set.
    """

    address: str = ""
    took: list[Body] = field(default_factory=list)
    sent: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answers one request after the other."""
        while True:
            head = await read_head(reader)
            path, _, how = head.split(b" ")[1].partition(b"?")
            if head.startswith(b"GET"):
                await self._give(writer, int(path.strip(b"/").rpartition(b"/")[2]), chunked=how == b"chunked")
                continue
            await self.open.wait()
            body = Body()
            async for data in _body(reader, head):
                body.add(data)
            self.took.append(body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def _give(self, writer: StreamWriter, size: int, *, chunked: bool) -> None:
        self.sent = 0
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        await _send(writer, size, chunked=chunked, sent=self._sent)

    def _sent(self, size: int) -> None:
        self.sent += size


@asynccontextmanager
async def bodies() -> AsyncIterator[Bodies]:
    """Runs the origin."""
    origin = Bodies()
    origin.open.set()
    async with talking(origin.talk) as address:
        origin.address = address
        yield origin


@dataclass
class Sent:
    """How much of its body a client has sent."""

    size: int = 0

    def add(self, size: int) -> None:
        """Some more."""
        self.size += size


async def download(address: str, target: str, read: asyncio.Event | None = None) -> Body:
    """The body of a GET. Nothing of it is read while `read` is not set."""
    async with connection(address, limit=LIMIT) as (reader, writer):
        writer.write(f"GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
        head = await read_head(reader)
        assert head.startswith(b"HTTP/1.1 200 "), head
        if read is not None:
            await read.wait()
        body = Body()
        async for data in _body(reader, head):
            body.add(data)
        return body


async def upload(address: str, target: str, size: int, sent: Sent | None = None) -> None:
    """Sends a body of so many bytes, and waits for the answer to it."""
    chunked = target.endswith("?chunked")
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    async with connection(address) as (reader, writer):
        writer.write(f"POST {target} HTTP/1.1\r\nHost: site.test\r\n{framing}\r\n\r\n".encode())
        await _send(writer, size, chunked=chunked, sent=(sent or Sent()).add)
        assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")


async def passed(address: str, way: str, size: int, origin: Bodies) -> None:
    """Sends a body through one of WAYS. It comes whole."""
    method, target = way.format(size=size).split(" ")
    if method == "GET":
        assert await download(address, target) == Body.of(size)
    else:
        await upload(address, target, size)
        assert origin.took.pop() == Body.of(size)


async def held_back(address: str, worker: int, size: int, origin: Bodies) -> int:
    """Has a body each way stand still, since nobody reads it, and then pass; the bytes by which the worker grew."""
    growth = Growth.of(worker)
    origin.open.clear()
    read, sent = asyncio.Event(), Sent()
    async with asyncio.TaskGroup() as group:
        up = group.create_task(upload(address, "/x", size, sent))
        down = group.create_task(download(address, f"/x/{size}", read))
        await _stands_still(lambda: sent.size)
        await _stands_still(lambda: origin.sent)
        assert sent.size < size / 2 and origin.sent < size / 2
        peak = growth.peak
        origin.open.set()
        read.set()
        await up
    assert origin.took.pop() == down.result() == Body.of(size)
    return peak


async def _stands_still(value: Callable[[], int]) -> None:
    """Waits until a value has not changed for a while."""
    before = -1
    while before != value():
        before = value()
        await asyncio.sleep(_STILL_S)


async def _send(writer: StreamWriter, size: int, *, chunked: bool, sent) -> None:
    for _ in range(size // MIB):
        writer.write(chunk(PIECE) if chunked else PIECE)
        await writer.drain()
        sent(MIB)
    if chunked:
        writer.write(chunk(b""))


async def _body(reader: StreamReader, head: bytes) -> AsyncIterator[bytes]:
    """What follows a head, as it comes."""
    if b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
        while left := int(await reader.readline(), 16):
            async for data in _exactly(reader, left):
                yield data
            await reader.readexactly(2)
        await reader.readexactly(2)
        return
    length = head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]
    async for data in _exactly(reader, int(length)):
        yield data


async def _exactly(reader: StreamReader, left: int) -> AsyncIterator[bytes]:
    while left:
        data = await reader.read(min(left, LIMIT))
        if not data:
            raise ConnectionResetError("the body broke off")
        left -= len(data)
        yield data
