"""Peers at the level of bytes: an origin that says exactly what a test scripts, a link to be cut, frozen or slowed."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from mizan_core.store.operations import script

Talk = Callable[[StreamReader, StreamWriter], Awaitable[None]]
Kind = Literal["any", "subscription", "lookups"]
"""Connections to Redis: all of them, those that subscribe, those on which entries are looked up."""

SIGNS: dict[Kind, bytes] = {"subscription": b"SUBSCRIBE", "lookups": script("read").sha.encode()}
"""What a client says that makes its connection one of a kind."""


@asynccontextmanager
async def talking(talk: Talk, *, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The address of a server that lets `talk` have each connection."""
    open_connections: set[StreamWriter] = set()

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        open_connections.add(writer)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the peer left
        finally:
            open_connections.discard(writer)
            writer.close()

    server = await asyncio.start_server(handle, host, 0)
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_connections:
            writer.transport.abort()


async def read_head(reader: StreamReader) -> bytes:
    """A message's head, with the empty line that ends it."""
    return await reader.readuntil(b"\r\n\r\n")


@dataclass(frozen=True, slots=True)
class Slowness:
    """How slowly Redis is heard: at most `size` bytes at once, each time after as many seconds as `draw` says."""

    draw: Callable[[], float]
    size: int = 65536


@dataclass(eq=False, slots=True)
class _Connection:
    """A connection through a link: who passes its bytes, both ends, and what the client has shown itself to be."""

    task: asyncio.Task[None]
    ends: tuple[StreamWriter, StreamWriter]
    kinds: set[Kind] = field(default_factory=lambda: {"any"})

    def said(self, data: bytes) -> None:
        """The client has said this."""
        self.kinds |= {kind for kind, sign in SIGNS.items() if sign in data}

    def abort(self) -> None:
        for writer in self.ends:
            writer.transport.abort()


class Link:
    """A TCP address in front of a Redis on a Unix socket. What is done to it is done to connections of one kind.

    # mutable state: the kinds that are `_frozen` and `_cut` (None: no connection is), and that are heard slowly; the
    # open connections.
    """

    def __init__(self, socket: str, *, heard: Callable[[bytes], bytes] = bytes, delay_s: float = 0) -> None:
        """`heard` is what clients get of what Redis says, `delay_s` later."""
        self.url = ""
        self._socket = socket
        self._heard = heard
        self._delay_s = delay_s
        self._frozen: Kind | None = None
        self._cut: Kind | None = None
        self._slow: tuple[Kind, Slowness] | None = None
        self._thawed = asyncio.Event()
        self._open: set[_Connection] = set()

    def freeze(self, kind: Kind = "any") -> None:
        """From now on connections are taken, and no byte passes."""
        self._frozen = kind
        self._thawed.clear()

    def thaw(self) -> None:
        """What was held back passes, and all that follows."""
        self._frozen = None
        self._thawed.set()

    def cut(self, kind: Kind = "any") -> None:
        """Breaks every connection, and each new one as soon as it shows its kind."""
        self._cut = kind
        for connection in self._open:
            if kind in connection.kinds:
                connection.abort()

    def mend(self) -> None:
        """Takes connections again."""
        self._cut = None

    def slow(self, slowness: Slowness, kind: Kind = "any") -> None:
        """From now on Redis is heard slowly."""
        self._slow = kind, slowness

    def speed_up(self) -> None:
        """Redis is heard at once again."""
        self._slow = None

    async def close(self) -> None:
        """Breaks every connection; returns when all have ended."""
        self.cut()
        self.thaw()
        if self._open:
            await asyncio.wait([connection.task for connection in self._open])

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Passes bytes both ways until either end closes."""
        if self._cut == "any":
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(task, (writer, there_writer))
        self._open.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._say(connection, reader, there_writer))
                group.create_task(self._hear(connection, there_reader, writer))
        finally:
            self._open.discard(connection)

    async def _say(self, connection: _Connection, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                connection.said(data)
                if self._cut in connection.kinds:
                    connection.abort()
                await self._flowing(connection)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _hear(self, connection: _Connection, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(self._size(connection)):
                if (slowness := self._slowness(connection)) is not None:
                    await asyncio.sleep(slowness.draw())
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._flowing(connection)
                writer.write(self._heard(data))
                await writer.drain()
        writer.close()

    async def _flowing(self, connection: _Connection) -> None:
        while self._frozen in connection.kinds:
            await self._thawed.wait()

    def _slowness(self, connection: _Connection) -> Slowness | None:
        return self._slow[1] if self._slow is not None and self._slow[0] in connection.kinds else None

    def _size(self, connection: _Connection) -> int:
        slowness = self._slowness(connection)
        return 65536 if slowness is None else slowness.size


@asynccontextmanager
async def linked(
    socket: str, *, heard: Callable[[bytes], bytes] = bytes, delay_s: float = 0, host: str = "127.0.0.1"
) -> AsyncIterator[Link]:
    """A link to the Redis on a Unix socket, at an address of this host."""
    link = Link(socket, heard=heard, delay_s=delay_s)
    async with talking(link.talk, host=host) as address:
        link.url = f"redis://{address}"
        try:
            yield link
        finally:
            await link.close()
