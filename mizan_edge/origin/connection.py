"""One connection to the origin, which carries one exchange after the other.

    Connection   the side of the wire: it writes requests, and feeds what comes to a parser
    Incoming     the side of the reader: one response, as far as it has come

A connection has an `Incoming` from `begin` until the response has been read off the wire, and is free from then on,
whether or not anybody has taken the body out of the `Incoming` yet. While more than BUFFER_BYTES wait in there, nothing
is read from the wire.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from mizan_edge.http.errors import OriginError
from mizan_edge.http.framing import UnreadableError
from mizan_edge.http.message import Fields, Response
from mizan_edge.http.response_parser import ResponseParser

BUFFER_BYTES = 256 << 10


class UnansweredError(OriginError):
    """The connection ended before any byte of a response."""


class Incoming:
    """A response as it comes.

    # mutable state: the heads and the bytes of the body that nobody has taken; `trailers`; whether it `_ended`, and by
    # which error; the `_connection`, until then; the `_waiter` of whoever reads, or who else is `_told`; since when it
    # is the origin that is waited for (`silent_since_s`), if it is.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_ended",
        "_error",
        "_heads",
        "_loop",
        "_size",
        "_told",
        "_waiter",
        "silent_since_s",
        "trailers",
    )

    def __init__(self, connection: "Connection", loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.trailers: Fields = ()
        self.silent_since_s: float | None = None
        self._connection: Connection | None = connection
        self._heads: list[Response] = []
        self._body: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: OriginError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._told: Callable[[], None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether somebody should read before more comes."""
        return self._size > BUFFER_BYTES

    def news(self) -> asyncio.Future[None]:
        """Done as soon as there is something to take: a head, bytes of the body, its end, or an error."""
        if self._waiter is None or self._waiter.done():
            self._waiter = self._loop.create_future()
        if self._heads or self._body or self._ended:
            self._waiter.set_result(None)
        return self._waiter

    def tell(self, told: Callable[[], None]) -> None:
        """Has `told` called, once, when there is something to take and nothing more has come with it. It may not raise
        anything. For whoever begins to wait before anything can have come."""
        self._told = told
        self.silent_since_s = self._loop.time()

    def now(self) -> None:
        """What has come with the last bytes has all been added."""
        told = self._told
        if told is not None and (self._heads or self._body or self._ended):
            self._told = self.silent_since_s = None
            told()

    def forget(self) -> None:
        """Nobody is to be told any more."""
        self._told = None

    @property
    def first(self) -> Response | None:
        """The next head, if it is here. It is not taken."""
        return self._heads[0] if self._heads else None

    def take_head(self) -> Response:
        """The next head, which is here."""
        return self._heads.pop(0)

    async def head(self) -> Response:
        """The next head. Raises OriginError."""
        while not self._heads:
            await self._more()
        return self.take_head()

    async def read(self) -> bytes:
        """Bytes of the body; none at its end. Raises OriginError where it breaks off."""
        while not self._body and not (self._ended and self._error is None):
            await self._more()
        return self._take()

    def whole(self) -> bytes | None:
        """The body, if all that nobody has taken of it is here; else None, and nothing is taken."""
        return self._take() if self._ended and self._error is None else None

    def give_up(self) -> None:
        """Gives up whatever is still to come, and the connection with it."""
        if self._connection is not None:
            self.fail(OriginError(502, "The response was given up."))

    def fail(self, error: OriginError) -> None:
        """The same, for a reason that whoever reads gets to know."""
        if self._connection is not None:
            self._connection.fail(error)

    def add_head(self, head: Response) -> None:
        """A head has come."""
        self._heads.append(head)
        self._wake()

    def add_body(self, data: bytes) -> None:
        """Bytes of the body have come."""
        self._body.append(data)
        self._size += len(data)
        self._wake()

    def end(self, trailers: Fields, error: OriginError | None) -> None:
        """Nothing more will come. What has come can still be read."""
        self.trailers, self._error = trailers, error
        self._ended, self._connection = True, None
        self._wake()

    def _take(self) -> bytes:
        taken = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._size = 0
        if self._connection is not None:
            self._connection.resume()
        return taken

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self.silent_since_s = self._loop.time()
        try:
            await self.news()
        finally:
            self.silent_since_s = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection:
    """A connection: an `asyncio.Protocol`, but that its attributes are found faster without a base class.

    # mutable state: the `_incoming` response that is due, if one is; the `_parser`; `is_sending`, until the request
    # is out; whether any byte has come since it began (`_heard`); since when it is free (`_free_since_s`); whether the
    # wire is `_paused`, and is `_writable`.
    """

    __slots__ = (
        "_free",
        "_free_since_s",
        "_heard",
        "_incoming",
        "_loop",
        "_lost",
        "_parser",
        "_paused",
        "_transport",
        "_writable",
        "ended",
        "is_sending",
    )

    def __init__(self, *, free: Callable[["Connection"], None], lost: Callable[["Connection"], None]) -> None:
        """`free` is told each time that it could carry another request; `lost`, when it has ended."""
        self._free = free
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._free_since_s = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._incoming: Incoming | None = None
        self._parser = ResponseParser()
        self.is_sending = False
        self._heard = self._paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.ended = asyncio.Event()

    def begin(self, method: str, *, may_switch: bool) -> Incoming:
        """A request is about to be written: one response is due. `may_switch`: it asks for another protocol."""
        self._incoming = incoming = Incoming(self, self._loop)
        self._parser.begin(method, may_switch=may_switch, on_head=incoming.add_head, on_body=incoming.add_body)
        self.is_sending, self._heard = True, False
        return incoming

    def check(self, now_s: float, *, read_timeout_s: float, idle_s: float) -> None:
        """Ends what the origin has been silent on, or nobody has used, for too long. `now_s` is the event loop's."""
        incoming = self._incoming
        if incoming is None:
            if now_s - self._free_since_s > idle_s:
                self.abort()
        elif self._parser.is_switched or incoming.silent_since_s is None:
            pass  # a tunnel may be silent, and nobody waits for what nobody reads
        elif now_s - incoming.silent_since_s > read_timeout_s:
            self.fail(OriginError(504, "The origin did not answer in time.", unread=self._in_head))

    @property
    def is_usable(self) -> bool:
        """Whether it still stands, as far as is known here."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Sends bytes; none once the connection has ended."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def is_writable(self) -> bool:
        """Whether most of what was written is out."""
        return self._writable.is_set()

    async def drain(self) -> None:
        """Waits until most of what was written is out. Raises ConnectionError."""
        await self._writable.wait()
        if not self.is_usable:
            raise ConnectionResetError("the connection has ended")

    def resume(self) -> None:
        """There is room again."""
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def fail(self, error: OriginError) -> None:
        """Ends the exchange with an error, and the connection."""
        self._end(error)
        self.abort()

    def let_go(self) -> None:
        """Ends the connection at once, and tells nobody who would go on."""
        if self._incoming is not None:
            self._incoming.forget()
        self.abort()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        incoming, parser = self._incoming, self._parser
        if incoming is None:
            # Nothing was asked, so whatever this answers is no request of ours.
            self.abort()
            return
        self._heard = True
        try:
            parser.feed(data)
        except UnreadableError as error:
            unread = parser.framing is None
            self.fail(OriginError(502, f"The origin's response could not be read: {error}.", unread=unread))
            return
        if parser.is_whole:
            self._end()
            return
        if incoming.is_full and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        incoming.now()

    def eof_received(self) -> None:
        if self._incoming is not None:
            self._parser.feed_eof()
            if self._parser.is_whole or self._parser.is_switched:
                self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._heard:
            self._end(OriginError(502, "The origin's response broke off.", unread=self._in_head))
        else:
            self._end(UnansweredError(502, "The origin closed the connection and gave no answer."))
        self._writable.set()
        self._lost(self)
        self.ended.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    @property
    def _in_head(self) -> bool:
        return self._incoming is not None and self._parser.in_head

    def _end(self, error: OriginError | None = None) -> None:
        """The response is whole, or an error has ended it. The connection is free, or of no more use."""
        incoming, parser = self._incoming, self._parser
        if incoming is None:
            return
        self._incoming = None
        incoming.end(parser.trailers, error)
        if error is not None or self.is_sending or not parser.may_be_followed:
            self.abort()
        elif self.is_usable:
            self.resume()  # TLS may deliver what it had read before it was paused
            self._free_since_s = self._loop.time()
            self._free(self)
        # At last: whoever is told may begin another exchange on this connection.
        incoming.now()
