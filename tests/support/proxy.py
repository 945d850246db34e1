"""Peers at the level of bytes: an origin that says exactly what a test scripts, a link that can be cut or frozen."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Talk = Callable[[StreamReader, StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """The address of a server on the loopback that lets `talk` have each connection."""
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

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_connections:
            writer.transport.abort()


async def read_head(reader: StreamReader) -> bytes:
    """A message's head, with the empty line that ends it."""
    return await reader.readuntil(b"\r\n\r\n")


class Link:
    """A TCP address in front of a Redis on a Unix socket.

    # mutable state: `_frozen`, whether bytes flow; `_cut`, whether connections are taken; the open connections.
    """

    def __init__(self, socket: str) -> None:
        self.url = ""
        self._socket = socket
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False
        self._open: set[StreamWriter] = set()

    def freeze(self) -> None:
        """From now on connections are taken, and no byte passes."""
        self._flowing.clear()

    def thaw(self) -> None:
        """What was held back passes, and all that follows."""
        self._flowing.set()

    def cut(self) -> None:
        """Breaks every connection, and takes no new one."""
        self._cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """Takes connections again."""
        self._cut = False

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Passes bytes both ways until either end closes."""
        if self._cut:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        self._open |= {writer, there_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, there_writer))
                group.create_task(self._pass(there_reader, writer))
        finally:
            self._open -= {writer, there_writer}

    async def _pass(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def linked(socket: str) -> AsyncIterator[Link]:
    """A link to the Redis on a Unix socket."""
    link = Link(socket)
    async with talking(link.talk) as address:
        link.url = f"redis://{address}"
        try:
            yield link
        finally:
            link.thaw()
