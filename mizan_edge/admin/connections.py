"""Connections to the admin listener. Whoever reaches it may connect, without a token; nobody may take it from others.

There are at most `_MOST`. A new one takes the place of the one that was silent for longest, unless that is just being
answered and has shown a token: so probes are answered however many stand open. What cannot be read is answered as
aiohttp would, but with a problem document, and is logged by its class alone: the text may be a token.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from mizan_edge.admin.access import ROLE
from mizan_edge.admin.problems import Handler
from mizan_edge.http.errors import problem
from mizan_edge.system.addresses import BACKLOG

log = logging.getLogger(__name__)

_MOST = 256
# For the head of a request, and between two.
_IDLE_S = 75.0
# A question to /explain about a target of 64 KiB (`max_target_bytes`), of which each byte is escaped.
_MAX_LINE_BYTES = 256 << 10
_TELL_EVERY_S = 10.0


@asynccontextmanager
async def serving(
    application: web.Application, sockets: Sequence[socket.socket], *, shutdown_s: float
) -> AsyncIterator[None]:
    """Serves on bound sockets, which it takes over, while the block runs. Requests that are under way then are
    answered, within `shutdown_s`."""
    runner = web.AppRunner(application, shutdown_timeout=shutdown_s)
    await runner.setup()
    loop, connections, servers = asyncio.get_running_loop(), Connections(cast(web.Server, runner.server)), []
    try:
        for sock in sockets:
            servers.append(await loop.create_server(connections.next, sock=sock, backlog=BACKLOG))
        yield
    finally:
        for server in servers:
            server.close()
        await runner.cleanup()


@web.middleware
async def attended(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Behind `Access.guard`: the connection of whoever has shown a token stays until the answer is made."""
    connection = request.protocol
    if ROLE not in request or not isinstance(connection, _Connection):
        return await handler(request)
    connection.is_attended = True
    try:
        return await handler(request)
    finally:
        connection.is_attended = False


class Connections:
    """All of one listener.

    # mutable state: those that are `_open`, the one that was silent for longest first; how many requests could not be
    # read that the log has not been told of (`_unread`), and when it was told (`_told_s`).
    """

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._clock = asyncio.get_running_loop().time
        self._open: dict[_Connection, None] = {}
        self._unread = 0
        self._told_s = -_TELL_EVERY_S

    def next(self) -> asyncio.Protocol:
        """For a client that has just connected."""
        return _Connection(self, self._server)

    def made(self, connection: "_Connection") -> None:
        """It is open."""
        if len(self._open) >= _MOST:
            leaving = next((other for other in self._open if not other.is_attended), connection)
            self._open.pop(leaving, None)
            leaving.abort()
            if leaving is connection:
                return
        self._open[connection] = None

    def heard(self, connection: "_Connection") -> None:
        """It is not silent."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def lost(self, connection: "_Connection") -> None:
        """It is open no more."""
        self._open.pop(connection, None)

    def unread(self, what: str) -> None:
        """A request could not be read. Anybody can send such, so not each is logged."""
        self._unread += 1
        if self._clock() - self._told_s < _TELL_EVERY_S:
            return
        log.warning("requests to the admin listener that cannot be read: %d, the last for %s", self._unread, what)
        self._unread, self._told_s = 0, self._clock()


class _Connection(web.RequestHandler):
    """One of them.

    # mutable state: whether somebody `is_attended` who has shown a token.
    """

    __slots__ = ("_all", "is_attended")

    def __init__(self, connections: Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_IDLE_S,
            # None: no log.
            access_log=None,  # type: ignore[arg-type]
            max_line_size=_MAX_LINE_BYTES,
            auto_decompress=False,
        )
        self._all = connections
        self.is_attended = False

    def abort(self) -> None:
        """Cuts it, whatever its client has yet to take."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._all.made(self)

    def data_received(self, data: bytes) -> None:
        self._all.heard(self)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._all.lost(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        self._all.unread(type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        what = "a line of it is too long" if isinstance(exc, LineTooLong) else "it is not HTTP/1.1"
        detail = "The request failed." if status >= 500 else f"The request cannot be read: {what}."
        response = web.Response(status=status, body=problem(status, detail), content_type="application/problem+json")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        log.error("a connection to the admin listener has failed: %s", type(kw.get("exc_info")).__name__)
