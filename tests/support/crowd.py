"""Connections that stand: idle ones, and ones as slow as can be. Bare sockets, so that thousands cost little."""

import asyncio
import os
import resource
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from mizan_edge.system.tasks import Tasks
from tests.support.edges import Edge
from tests.support.origin import until
from tests.support.proxy import read_head, talking

# No more than this many wait to be accepted at once.
_AT_ONCE = 200
_PIECE = bytes(64 << 10)
_VIEW = "/profile/5/"
_LARGE = 1 << 30
_GET = b"GET /large HTTP/1.1\r\nHost: site.test\r\n"
_POST = b"POST /slow HTTP/1.1\r\nHost: site.test\r\nContent-Length: %d\r\n\r\n" % _LARGE


@dataclass
class Patient:
    """An origin that answers with the number of the request; at /large without end, and at /slow never.

    # mutable state: the answers that it gave (`hits`); the downloads and uploads that began, and the bytes of these.
    """

    address: str = ""
    hits: int = 0
    downloads: int = 0
    uploads: int = 0
    uploaded: int = 0

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answers one request after the other."""
        while True:
            head = await read_head(reader)
            if b" /slow " in head:
                self.uploads += 1
                while data := await reader.read(_LARGE):
                    self.uploaded += len(data)
                return
            if b" /large " in head:
                self.downloads += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _LARGE)
                while not writer.is_closing():
                    writer.write(_PIECE)
                    await writer.drain()
                return
            self.hits += 1
            body = b"%d" % self.hits
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@asynccontextmanager
async def patient() -> AsyncIterator[Patient]:
    """Runs the origin."""
    origin = Patient()
    async with talking(origin.talk) as address:
        origin.address = address
        yield origin


@dataclass
class Slow:
    """Clients that send a head, send a body, or read an answer: a byte at each tick.

    # mutable state: the `ticks` that there were, and the bytes that were `read`.
    """

    heads: list[socket.socket]
    bodies: list[socket.socket]
    readers: list[socket.socket]
    ticks: int = 0
    read: int = 0

    def tick(self) -> None:
        """One byte each."""
        self.ticks += 1
        for sock in (*self.heads, *self.bodies):
            sock.send(b"x")
        for sock in self.readers:
            with suppress(BlockingIOError):
                self.read += len(sock.recv(1))

    async def tick_forever(self, every_s: float) -> None:
        """Ticks until it is cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(every_s)

    @property
    def standing(self) -> int:
        """How many have been neither answered nor cut; of the readers, how many have more to read."""
        return silent([*self.heads, *self.bodies]) + sum(bool(sock.recv(1, socket.MSG_PEEK)) for sock in self.readers)


@asynccontextmanager
async def slow(address: str, count: int) -> AsyncIterator[Slow]:
    """Slow connections, a third of each kind."""
    async with idle(address, count, window=4096) as sockets:
        crowd = Slow(sockets[::3], sockets[1::3], sockets[2::3])
        for kind, start in (crowd.heads, _GET + b"X: "), (crowd.bodies, _POST), (crowd.readers, _GET + b"\r\n"):
            for sock in kind:
                sock.send(start)
        yield crowd


@asynccontextmanager
async def idle(address: str, count: int, *, window: int | None = None) -> AsyncIterator[list[socket.socket]]:
    """Connections that say nothing. `window`: bytes that may wait to be read from one."""
    loop = asyncio.get_running_loop()
    host, _, port = address.rpartition(":")
    with _sockets(count) as sockets:
        for sock in sockets:
            if window is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        for start in range(0, count, _AT_ONCE):
            await asyncio.gather(
                *(loop.sock_connect(sock, (host, int(port))) for sock in sockets[start : start + _AT_ONCE])
            )
        yield sockets


@dataclass
class Times:
    """How long requests took, in seconds."""

    hits_s: list[float] = field(default_factory=list)
    misses_s: list[float] = field(default_factory=list)


async def served_meanwhile(edge: Edge, origin: Patient, slow: Slow, *, every_s: float, ticks: int) -> Times:
    """How long it takes others to be served, while the slow ones go on for some ticks: one after the other, each on a
    connection of its own."""
    tasks, times, clock = Tasks(), Times(), asyncio.get_running_loop().time
    await until(lambda: (origin.uploads, origin.downloads) == (len(slow.bodies), len(slow.readers)))
    await edge.get(_VIEW)
    tasks.start(slow.tick_forever(every_s), "tick")
    try:
        while slow.ticks < ticks:
            since_s = clock()
            assert (await edge.get(_VIEW)).hit
            hit_s = clock()
            reply = await edge.get(f"/profile/{100 + origin.hits}/")
            times.misses_s.append(clock() - hit_s)
            times.hits_s.append(hit_s - since_s)
            assert reply.body == b"%d" % origin.hits and reply.cache.endswith("stored")
    finally:
        await tasks.stop()
    return times


@contextmanager
def files(count: int) -> Iterator[None]:
    """In the block this process may have so many files open; so may what it starts, unless that asks for more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def accepted(edge: Edge, count: int) -> None:
    """Waits until the workers have taken so many connections."""
    await until(lambda: sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in edge.workers) > count, seconds=30)


def silent(sockets: Sequence[socket.socket]) -> int:
    """Of how many connections the other end has neither said anything nor ended."""
    return sum(_is_silent(sock) for sock in sockets)


def _is_silent(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


@contextmanager
def _sockets(count: int) -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(socket.socket())
            sockets[-1].setblocking(False)
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
