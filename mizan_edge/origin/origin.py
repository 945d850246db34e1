"""The origin: one request out, a response's head and then its body in, over connections that are used again.

A request that has reached the origin is never sent twice, except one that changes nothing, on a connection that the
origin had closed just then. RFC 9110 section 9.2.2
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast
from urllib.parse import unquote, urlsplit

from mizan_edge.http.body import Body
from mizan_edge.http.errors import OriginError
from mizan_edge.http.framing import chunk, last_chunk
from mizan_edge.http.message import SAFE_METHODS, Request, Response
from mizan_edge.origin.connection import Connection, Incoming, UnansweredError
from mizan_edge.origin.exchange import ONE_WRITE_BYTES, Asked, Exchange, Informational, Tunnel
from mizan_edge.system.tasks import Tasks
from mizan_edge.system.tls import origin_context, why_not

_PROBE_S = 1.0
# How often connections are looked at, for those on which nothing comes: a timer for each request would cost more.
_CHECK_S = 1.0
# RFC 9110 section 10.1.1: not to be waited for indefinitely.
_CONTINUE_S = 1.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where an origin listens: on a host and port, with TLS or without, or on a Unix socket."""

    host: str
    port: int
    name: str
    """For the Host field of requests that come without one."""
    tls: bool = False
    path: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """`http://host:port`, `https://host`, `unix:/path`, `unix:///path`, `http+unix://%2Fpath`."""
        parts = urlsplit(url)
        if parts.scheme in ("unix", "http+unix"):
            return cls("", 0, "localhost", path=unquote(parts.netloc) + parts.path)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), parts.netloc, tls)


class Origin:
    """One origin server and the connections to it.

    # mutable state: the `_open` connections, and of these the `_free` ones, the latest last; the `_timer` of the next
    # look at them, while there are any.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        idle_s: float = 15.0,
        authorities: Path | None = None,
    ) -> None:
        """`idle_s` after it was last used, a connection is closed: origins do so too, and ours should come first.

        `authorities`: a PEM file of those that vouch for an https:// origin, instead of the system's. Raises TlsError.
        """
        self._address = Address.parse(url)
        self._tls = origin_context(authorities) if self._address.tls else None
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._idle_s = idle_s
        self._tasks = Tasks()
        self._check_s = min(_CHECK_S, read_timeout_s / 4, idle_s / 4)
        self._open: set[Connection] = set()
        self._free: dict[Connection, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, request: Request, body: Body, head: bytes | None = None) -> Asked:
        """Sends a request if nothing has to be waited for: all of it is here, and a connection is free. `head`: as it
        leaves, where that is known already. Raises OriginError."""
        asked = Asked(request, body, host=self._address.name, head=head)
        if asked.is_whole and (connection := self._latest()) is not None:
            asked.write(connection)
        return asked

    def arrived(self, asked: Asked) -> Exchange | None:
        """The exchange, if the final head is here, and no other came before it. Else `finish` has it."""
        if asked.written is not None:
            connection, incoming = asked.written
            if incoming.first is not None and _is_final(incoming.first):
                asked.exchange = self._exchanged(connection, incoming, incoming.take_head())
        return asked.exchange

    async def finish(self, asked: Asked, informational: Informational | None = None) -> Exchange:
        """Sends what is still to be sent. Raises OriginError: 502 for no usable answer, 504 for none in time.

        `informational` gets each 1xx response as it comes. A response that comes before the whole body is sent ends the
        sending.
        """
        if asked.exchange is not None:
            return asked.exchange
        if asked.written is None and (connection := self._latest()) is not None:
            asked.write(connection)
        if asked.written is not None:
            try:
                return await self._exchange(asked, *asked.written, informational)
            except UnansweredError:
                if asked.request.method not in SAFE_METHODS or asked.body:
                    raise
                try:
                    connection = await self._connect()
                except OriginError as error:
                    # Not this time; but whoever closed the other connection may have read the request.
                    error.sent = True
                    raise
        else:
            connection = await self._connect()
        return await self._exchange(asked, *asked.write(connection), informational)

    async def send(self, request: Request, body: Body, informational: Informational | None = None) -> Exchange:
        """Sends a request. As `begin` and `finish`."""
        return await self.finish(self.begin(request, body), informational)

    async def accepts(self) -> bool:
        """Whether the origin accepts a connection at the moment."""
        try:
            async with asyncio.timeout(_PROBE_S):
                connection = await self._connect()
        except (OriginError, TimeoutError):
            return False
        connection.abort()
        return True

    async def close(self) -> None:
        """Closes all connections."""
        await self._tasks.stop()
        if self._timer is not None:
            self._timer.cancel()
        closing = list(self._open)
        for connection in closing:
            connection.let_go()
        for connection in closing:
            await connection.ended.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def _exchange(
        self, asked: Asked, connection: Connection, incoming: Incoming, informational: Informational | None
    ) -> Exchange:
        body = asked.body
        try:
            if body is None or asked.is_whole:
                response = await _final(incoming, informational)
            else:
                response = await self._final_while_sending(
                    connection, incoming, body, asked.length, asked.waits, informational
                )
        except BaseException:
            incoming.give_up()
            raise
        return self._exchanged(connection, incoming, response)

    def _exchanged(self, connection: Connection, incoming: Incoming, response: Response) -> Exchange:
        upgraded = Tunnel(connection, incoming) if response.status == 101 else None
        return Exchange(response, incoming, upgraded, self._read_timeout_s)

    async def _final_while_sending(
        self,
        connection: Connection,
        incoming: Incoming,
        body: AsyncIterator[bytes] | bytes,
        length: int | None,
        waits: bool,
        informational: Informational | None,
    ) -> Response:
        go_on = asyncio.Event()
        if not waits:
            go_on.set()

        def interim(response: Response) -> None:
            if response.status == 100:
                go_on.set()
            if informational is not None:
                informational(response)

        sending = self._tasks.start(self._send_body(connection, incoming, body, length, go_on), "send-request-body")
        try:
            return await _final(incoming, interim, sending)
        finally:
            # Until it has ended, it may still read from the client.
            sending.cancel()
            await asyncio.wait([sending])

    async def _send_body(
        self,
        connection: Connection,
        incoming: Incoming,
        body: AsyncIterator[bytes] | bytes,
        length: int | None,
        go_on: asyncio.Event,
    ) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CONTINUE_S):
                await go_on.wait()
        left = length
        try:
            async for data in _slices(body) if isinstance(body, bytes) else body:
                if left is not None:
                    left -= len(data)
                    if left < 0:
                        raise ValueError("a body longer than its Content-Length")
                    connection.write(data)
                elif data:
                    connection.write(chunk(data))
                await self._drain(connection, incoming)
            if left:
                raise ValueError("a body shorter than its Content-Length")
        except Exception:
            # It must not look whole. Where the origin has failed, that has been said.
            incoming.fail(OriginError(400, "The request's body broke off."))
            return
        if left is None:
            connection.write(last_chunk(()))
        connection.is_sending = False

    async def _drain(self, connection: Connection, incoming: Incoming) -> None:
        try:
            if connection.is_writable:
                await connection.drain()
            else:
                async with asyncio.timeout(self._read_timeout_s):
                    await connection.drain()
        except TimeoutError:
            incoming.fail(OriginError(504, "The origin did not take the request's body in time."))
            raise
        except ConnectionError:
            incoming.fail(OriginError(502, "The origin closed the connection before it had the request's body."))
            raise

    async def _connect(self) -> Connection:
        loop, address = asyncio.get_running_loop(), self._address
        connection = Connection(free=self._keep, lost=self._forget)
        protocol = cast(asyncio.Protocol, connection)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if address.path is not None:
                    await loop.create_unix_connection(lambda: protocol, address.path)
                else:
                    await loop.create_connection(lambda: protocol, address.host, address.port, ssl=self._tls)
        except TimeoutError as error:
            raise OriginError(504, "The origin cannot be reached in time.", sent=False) from error
        except ssl.SSLError as error:
            detail = f"The origin cannot be reached securely: {why_not(error)}."
            raise OriginError(502, detail, sent=False) from error
        except (OSError, UnicodeError) as error:
            raise OriginError(502, "The origin cannot be reached.", sent=False) from error
        if not connection.is_usable:
            raise OriginError(502, "The origin closed the connection at once.", sent=False)
        self._open.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._check_s, self._check)
        return connection

    def _latest(self) -> Connection | None:
        """The connection that was used last, of those that are free."""
        while self._free:
            connection, _ = self._free.popitem()
            if connection.is_usable:
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        self._free[connection] = None

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._free.pop(connection, None)

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for connection in list(self._open):
            connection.check(now_s, read_timeout_s=self._read_timeout_s, idle_s=self._idle_s)
        self._timer = loop.call_later(self._check_s, self._check) if self._open else None


async def _final(
    incoming: Incoming, informational: Informational | None, sending: asyncio.Task[None] | None = None
) -> Response:
    """The final head of a response; `informational` gets those before it."""
    while True:
        if sending is not None:
            # While the client still sends, it is not the origin that is silent.
            await asyncio.wait([sending, incoming.news()], return_when=asyncio.FIRST_COMPLETED)
        response = await incoming.head()
        if _is_final(response):
            return response
        if informational is not None:
            informational(response)


def _is_final(head: Response) -> bool:
    return head.status >= 200 or head.status == 101


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), ONE_WRITE_BYTES):
        yield body[start : start + ONE_WRITE_BYTES]
