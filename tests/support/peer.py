"""An origin of bytes that counts what comes, and requests to one."""

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Any

from mizan_edge.http.message import Request
from mizan_edge.origin.exchange import Exchange
from mizan_edge.origin.origin import Origin
from tests.support.origin import until
from tests.support.proxy import read_head

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """An origin that answers each request with the same bytes, and counts what comes."""

    def __init__(self, answer: bytes = EMPTY, *, then: str = "listen") -> None:
        self.answer = answer
        self.then = then
        self.connections = 0
        self.open = 0
        self.heads: list[bytes] = []

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                self.heads.append(await read_head(reader))
                writer.write(self.answer)
                await writer.drain()
                if self.then == "close":
                    return
                if self.then == "reset":
                    writer.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            self.open -= 1
            writer.close()

    async def left(self, connections: int) -> None:
        """Waits until so many connections have come and none is left."""
        await until(lambda: (self.connections, self.open) == (connections, 0))


def asking(method: str = "GET", target: str = "/x", *fields: tuple[str, str]) -> Request:
    return Request(method, target, "site.test", (("Host", "site.test"), *fields))


GET = asking()


async def body_of(exchange: Exchange) -> bytes:
    return b"".join([chunk async for chunk in exchange.body()])


async def whole(origin: Origin, request: Request = GET, body: Any = None) -> bytes:
    return await body_of(await origin.send(request, body))
