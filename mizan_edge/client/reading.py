"""What a client sends: requests, and the body of the one that is being answered, for as long as somebody wants it."""

import asyncio
import time

from mizan_edge.client.arriving import Arriving
from mizan_edge.client.writing import Writing
from mizan_edge.http.body import Body
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.request_parser import RequestHead, RequestParser

# Of a body that nobody wants, this much is read so that another request may follow.
_UNWANTED_BYTES = 256 << 10
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Reading:
    """The side of a connection that is read from. Heads are taken from its `parser` as they are wanted.

    # mutable state: the `_body` while somebody may read it; the bytes that nobody wanted (`_unwanted`); whether the
    client waits for a 100 (`_owes_continue`); whether reading is `_paused`; since when what is due from the client has
    stood still (`since_s`, by `time.monotonic`); why the bytes cannot be read on (`broken`); whether the client has
    said all (`eof`), and whether it speaks another protocol by now (`is_tunnel`).
    """

    __slots__ = (
        "_body",
        "_owes_continue",
        "_paused",
        "_transport",
        "_unwanted",
        "_writing",
        "broken",
        "eof",
        "is_tunnel",
        "parser",
        "since_s",
    )

    def __init__(self, transport: asyncio.Transport, writing: Writing, parser: RequestParser) -> None:
        self._transport = transport
        self._writing = writing
        self.parser = parser
        self._body: Arriving | None = None
        self._unwanted = 0
        self._owes_continue = self._paused = False
        self.since_s = time.monotonic()
        self.broken: RefusedError | None = None
        self.eof = self.is_tunnel = False

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for more of the body."""
        return self._body is not None and self._body.is_awaited

    @property
    def has_enough(self) -> bool:
        """Whether so much has come of a body that nobody wants that the rest is not read."""
        return self._unwanted > _UNWANTED_BYTES

    @property
    def may_follow(self) -> bool:
        """Whether another request may follow the one that is being answered, as far as is known now."""
        return (
            self.broken is None
            # Whether a client that waits for a 100 still sends its body cannot be known.
            and not self._owes_continue
            and self._unwanted + (self.parser.left or 0) <= _UNWANTED_BYTES
        )

    def begin(self, head: RequestHead) -> Body:
        """The body of the request with this head, which the parser has just read. Raises RefusedError."""
        self._unwanted = 0
        self._owes_continue = False
        if head.framing.length == 0:
            return None
        first = self.parser.body()
        if self.parser.is_whole:
            return first
        if self.eof:
            raise RefusedError(400, "The request broke off.")
        arriving = self._arriving()
        if first:
            arriving.add(first)
        self._owes_continue = head.expects_continue and not first
        self.since_s = time.monotonic()
        return arriving

    def switch(self) -> Arriving:
        """From here on the client speaks another protocol: whatever comes, for who reads it."""
        self.is_tunnel = True
        self.parser.switch()
        arriving = self._arriving()
        self.take()
        if self.eof:
            self.end()
        return arriving

    def take(self) -> None:
        """Takes what has come of a body to whoever reads it."""
        try:
            data = self.parser.body()
        except RefusedError as error:
            self.break_off(error)
            return
        if data:
            self.since_s = time.monotonic()
            if self._body is not None:
                self._body.add(data)
                if self._body.is_full:
                    self.pause()
            else:
                self._unwanted += len(data)
        if self.parser.is_whole:
            self.end()

    def end(self, error: RefusedError | None = None) -> None:
        """No more of the body comes."""
        if self._body is not None:
            self._body.end(error)

    def break_off(self, error: RefusedError) -> None:
        """The message that is under way cannot be read to its end."""
        self.broken = error
        self.end(error)

    def give_up(self) -> None:
        """Nobody reads the rest of the body any more."""
        self._body = None
        self.resume()

    def pause(self) -> None:
        """More has come than anybody wants now."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """There is room for what the client sends."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _arriving(self) -> Arriving:
        self._body = Arriving(wanted=self._wanted, taken=self.resume)
        return self._body

    def _wanted(self) -> None:
        """Somebody waits for more of the body."""
        if self._owes_continue:
            self._owes_continue = False
            self._writing.interim(_CONTINUE)
        self.since_s = time.monotonic()
        self.resume()
