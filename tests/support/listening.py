"""The public listener in front of an origin, without a cache between: what it makes of bytes, and nothing else."""

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mizan_core.manifest import Manifest
from mizan_edge.client.listener import Listener
from mizan_edge.http.body import Body
from mizan_edge.http.cache_status import Forwarded
from mizan_edge.http.errors import OriginError
from mizan_edge.http.forwarding import Peer, to_origin
from mizan_edge.http.message import Request, Response
from mizan_edge.memory.memory import Mark, Memory
from mizan_edge.memory.packed import PackedResponse
from mizan_edge.memory.prepared import Prepared
from mizan_edge.memory.sampling import Sampling
from mizan_edge.origin.origin import Origin
from mizan_edge.purging.board import Board
from mizan_edge.rules.selecting import Selecting
from mizan_edge.rules.site import InUse, Site
from mizan_edge.running.config import limits_of, load_settings, rules_of
from mizan_edge.serving.answer import Answer, Later, Left, Then, refusal, relayed
from mizan_edge.serving.requests import Requests, passed
from mizan_edge.system.addresses import listening_sockets
from mizan_edge.system.counters import Counters

# An upgrade, and what an origin says that takes it. RFC 9110 section 7.8
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nX-A: 1\r\n\r\n"


@dataclass
class Believed:
    """A request as the listener has read it, with as much of its body as the origin was sent."""

    request: Request
    body: bytes = b""
    whole: bool = False

    async def forwarded(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in body:
            self.body += data
            yield data
        self.whole = True


@dataclass
class Plain:
    """A proxy that forwards everything, and remembers it."""

    origin: Origin
    believed: list[Believed] = field(default_factory=list)

    def answer(
        self,
        request: Request,
        body: Body,
        peer: Peer,
        informational: Callable[[Response], None] | None,
        _then: Then,
        _left: Left | None,
    ) -> Later:
        return partial(self.answered, request, body, peer, informational)

    def passes(self, _request: Request) -> None:
        """Every request is read."""

    def pass_on(self, *_given: object) -> None:
        raise AssertionError("nothing passes unread")

    async def answered(
        self, request: Request, body: Body, peer: Peer, informational: Callable[[Response], None] | None
    ) -> Answer:
        believed = Believed(request)
        self.believed.append(believed)
        if body is None or isinstance(body, bytes):
            believed.body, believed.whole = body or b"", True
        else:
            body = believed.forwarded(body)
        try:
            exchange = await self.origin.send(to_origin(request, peer), body, informational)
        except OriginError as error:
            return refusal(error.status, str(error))
        why = Forwarded("bypass")
        return relayed(exchange, passed(why), why, forward_mizan_headers=False)


@dataclass
class Running:
    """A listener that runs."""

    address: str
    listener: Listener
    proxy: Plain


def nowhere(gone: PackedResponse, mark: Mark, then: Callable[[PackedResponse | None], None]) -> None:
    """For what no Redis has."""
    then(None)


@asynccontextmanager
async def listening(
    origin: str, *, tls: ssl.SSLContext | None = None, send_buffer: int | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """A listener on the loopback in front of an origin's address, with some of an edge's settings.

    `send_buffer`: the bytes that the system takes for a client.
    """
    loaded = load_settings({"origin": f"http://{origin}", "manifest": Path("none"), **settings}, None)
    rules, limits = rules_of(loaded, b"x" * 32), limits_of(loaded)
    site = InUse(Site.of(Manifest.model_validate({"contexts": {}, "mutations": {}}), rules, {}))
    async with Origin(f"http://{origin}", connect_timeout_s=5, read_timeout_s=10) as asked:
        proxy = Plain(asked)
        board = Board.create(0)
        listener = Listener(
            proxy,
            limits,
            trusted=rules.trusted_proxies,
            prepared=Prepared(
                Selecting(rules.identity, limits),
                Memory(board, max_bytes=0),
                site,
                Sampling(),
                fetch=nowhere,
                max_bytes=0,
            ),
            requests=Requests(Counters()),
            tls=tls,
        )
        (sockets,) = listening_sockets("listen", "127.0.0.1", 0, 1)
        host, port = sockets[0].getsockname()
        if send_buffer is not None:
            sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        await listener.listen(sockets)
        try:
            yield Running(f"{host}:{port}", listener, proxy)
        finally:
            await listener.drain(0)
            board.close()


@asynccontextmanager
async def connection(address: str, **how: Any) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A client's connection, which is cut in the end."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), **how)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said(address: str, *pieces: bytes) -> bytes:
    """All that comes back for some bytes, each piece of which arrives by itself."""
    async with asyncio.timeout(10), connection(address) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
        return await reader.read()


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body; of nothing: its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)
