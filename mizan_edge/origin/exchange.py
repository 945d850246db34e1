"""One exchange with the origin: what is asked, and the response to it, the body of which may still be on the way."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from mizan_edge.http.body import Body
from mizan_edge.http.errors import OriginError
from mizan_edge.http.framing import body_length, request_head
from mizan_edge.http.message import Fields, Request, Response, members
from mizan_edge.origin.connection import Connection, Incoming

Informational = Callable[[Response], None]
"""Gets an interim response, as it comes."""

ONE_WRITE_BYTES = 64 << 10
"""A body of bytes goes out in one write up to this size, which is what one write can leave unsent in memory."""


class Tunnel:
    """Both ways of a connection that has switched to another protocol."""

    def __init__(self, connection: Connection, incoming: Incoming) -> None:
        self._connection = connection
        self._incoming = incoming

    async def chunks(self) -> AsyncIterator[bytes]:
        """What the origin says, until it closes. However silent it is. Raises OriginError where that breaks off."""
        while data := await self._incoming.read():
            yield data

    def write(self, data: bytes) -> None:
        """Says something to the origin."""
        self._connection.write(data)

    async def drain(self) -> None:
        """Waits until most of what was written is out. Raises OriginError."""
        try:
            await self._connection.drain()
        except ConnectionError as error:
            raise OriginError(502, "The origin closed the connection.") from error

    def close(self) -> None:
        """Ends the connection."""
        self._incoming.give_up()

    def __del__(self) -> None:
        self.close()


class Exchange:
    """A response whose head has come. `close()` it, or read its body to the end."""

    __slots__ = ("_incoming", "_read_timeout_s", "response", "upgraded")

    def __init__(self, response: Response, incoming: Incoming, upgraded: Tunnel | None, read_timeout_s: float) -> None:
        self.response = response
        self.upgraded = upgraded
        """After a 101: the connection."""
        self._incoming = incoming
        self._read_timeout_s = read_timeout_s

    @property
    def trailers(self) -> Fields:
        """The trailer fields, once the body has been read."""
        return self._incoming.trailers

    async def has_more(self, within_s: float) -> bool:
        """Whether more of the body, or its end, comes within so many seconds. If not, it can be read all the same."""
        if within_s >= self._read_timeout_s:
            return True  # else whoever reads on is told that it does not
        if (news := self._incoming.news()).done():
            return True
        done, _ = await asyncio.wait([news], timeout=max(within_s, 0))
        return bool(done)

    def whole(self) -> bytes | None:
        """The body, if it has come to its end already, without trailers; else None, and it is still to be read."""
        return self._incoming.whole() if self.upgraded is None and not self._incoming.trailers else None

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises OriginError where it breaks off."""
        if self.upgraded is not None:
            return
        try:
            while data := await self._incoming.read():
                yield data
        finally:
            # Whoever stops reading before the end wants no more of it.
            self.close()

    def close(self) -> None:
        """Gives the connection up, if anything of the response is still to come."""
        self._incoming.give_up()

    def __del__(self) -> None:
        # Whoever is cancelled between the head and the body closes nothing.
        if self.upgraded is None:
            self.close()


class Asked:
    """A request to the origin.

    # mutable state: where it was `written` to, and what is due there; the `exchange`, once it has `arrived`.
    """

    __slots__ = ("began_s", "body", "exchange", "head", "is_whole", "length", "request", "waits", "written")

    def __init__(self, request: Request, body: Body, *, host: str, head: bytes | None = None) -> None:
        """`host` is for requests that name none; `head` is known for some that have no body. Raises OriginError for
        what cannot be sent."""
        self.began_s = time.monotonic()
        self.request = request
        self.body = body
        self.length = 0 if head is not None else body_length(request, body)
        try:
            self.head = request_head(request, self.length, host=host) if head is None else head
        except ValueError as error:
            raise OriginError(400, "The request's head cannot be sent on.", sent=False) from error
        self.waits = self.length != 0 and "100-continue" in members(request.get("expect"))
        """Whether the body is to be sent once the origin wants it."""
        self.is_whole = body is None or (isinstance(body, bytes) and len(body) <= ONE_WRITE_BYTES and not self.waits)
        """Whether it goes out in one write."""
        self.written: tuple[Connection, Incoming] | None = None
        self.exchange: Exchange | None = None

    def write(self, connection: Connection) -> tuple[Connection, Incoming]:
        """Begins the exchange on a connection, with all that can be written at once; what is `written`."""
        request = self.request
        incoming = connection.begin(request.method, may_switch=request.get("upgrade") is not None)
        self.written = connection, incoming
        if self.is_whole:
            connection.write(self.head + self.body if isinstance(self.body, bytes) else self.head)
            connection.is_sending = False
        else:
            connection.write(self.head)
        return self.written

    def tell(self, told: Callable[[], None]) -> bool:
        """Has `told` called, once, when something comes of the answer; False where the request was not written yet. It
        may not raise anything."""
        if self.written is None:
            return False
        self.written[1].tell(told)
        return True
