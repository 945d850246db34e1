"""One connection of a client, which carries one request after the other.

    data_received    bytes come: what lies ready answers at once (`repeating`), all else waits in the parser (`reading`)
    _next            a request begins when the one before it has been answered: somebody is asked for its answer
    _passes_on       likewise, for one that leaves unread
    _ended           its answer is out (`answering`)
    check            once a second or so: what has stood still for too long is ended

Reading pauses while more bytes wait than anybody wants, writing while the client does not read, so that a connection
has a bounded share of memory whatever passes over it. Nobody's leaving cancels a request: what it has begun at the
origin is brought to its end.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import cast

from mizan_edge.client.access import Access, request_id
from mizan_edge.client.accounting import Accounting
from mizan_edge.client.answering import Answering
from mizan_edge.client.arriving import BUFFER_BYTES
from mizan_edge.client.reading import Reading
from mizan_edge.client.repeating import Repeating
from mizan_edge.client.responds import Responds
from mizan_edge.client.writing import Writing
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.forwarding import Peer, Trusted
from mizan_edge.http.limits import Limits
from mizan_edge.http.request_parser import RequestParser
from mizan_edge.memory.prepared import Prepared, Ready
from mizan_edge.rules.onward import OnwardByForm
from mizan_edge.rules.selecting import Sender
from mizan_edge.serving.requests import Requests
from mizan_edge.system.tasks import Tasks

# RFC 9112 section 9.6: for how long the client may take to see that the connection ends, before it is cut.
_LINGER_S = 2.0


class ClientConnection:
    """A connection of a client: an `asyncio.Protocol`, but that its attributes are found faster without a base class.

    # mutable state: whether it `_is_idle`, see `_settle`, or `_closing`. All else that changes is its parts'.
    """

    __slots__ = (
        "_access",
        "_accounting",
        "_answering",
        "_closing",
        "_is_idle",
        "_limits",
        "_lost",
        "_made",
        "_onward",
        "_prepared",
        "_reading",
        "_repeating",
        "_requests",
        "_responds",
        "_scheme",
        "_sender",
        "_tasks",
        "_transport",
        "_trusted",
        "_writing",
        "peer",
    )

    def __init__(
        self,
        responds: Responds,
        limits: Limits,
        tasks: Tasks,
        *,
        scheme: str,
        prepared: Prepared,
        requests: Requests,
        trusted: Trusted,
        access: Access | None,
        made: Callable[["ClientConnection"], bool],
        lost: Callable[["ClientConnection"], None],
    ) -> None:
        """`trusted`: proxies that are believed in what they tell of clients. `made` is told when it begins, and says
        whether it may; `lost`, when it has ended."""
        self._responds = responds
        self._limits = limits
        self._tasks = tasks
        self._scheme = scheme
        self._prepared = prepared
        self._requests = requests
        self._trusted = trusted
        self._access = access
        self._made = made
        self._lost = lost
        self._sender = Sender()
        self._onward = OnwardByForm(self._sender, limits)
        self._transport: asyncio.Transport
        self._reading: Reading
        self._writing: Writing
        self._accounting: Accounting
        self._repeating: Repeating
        self._answering: Answering
        self.peer: Peer
        self._is_idle = self._closing = False

    # For the listener.

    @property
    def is_tunnel(self) -> bool:
        """Whether it has switched to another protocol."""
        return self._reading.is_tunnel

    def check(self, now_s: float) -> None:
        """Ends what has stood still for too long. `now_s` is that of `time.monotonic`."""
        limits, reading, parser = self._limits, self._reading, self._reading.parser
        quiet_s = now_s - reading.since_s
        if (unsent_s := self._writing.stands_still_s(now_s)) is not None:
            # Whatever else is due: the client has not got all that it waits for.
            if unsent_s > limits.write_s:
                self.abort()
        elif self._closing:
            # Over TLS only the event loop knows what is unsent, and ends it in its own time.
            if quiet_s > _LINGER_S and self._scheme == "http":
                self.abort()
        elif self._answering.head is not None:
            if quiet_s > limits.body_s and reading.is_awaited and not reading.is_tunnel:
                reading.break_off(RefusedError(408, "The body of the request stood still for too long."))
        elif not parser.is_whole:
            if quiet_s > limits.body_s:
                self._close()
        elif parser.waiting:
            if quiet_s > limits.head_s:
                self._refuse(RefusedError(408, "The head of the request took too long."))
        elif quiet_s > limits.idle_s:
            self._transport.close()

    def stop(self) -> None:
        """Answers one more request, or what has begun to come, and says with it that the connection ends."""
        self._answering.is_last = True
        self._is_idle = False

    def leave(self) -> None:
        """Ends the connection if nothing of a request has come."""
        parser = self._reading.parser
        if self._answering.head is None and parser.is_whole and not parser.waiting:
            self._transport.close()

    def abort(self) -> None:
        """Ends it at once."""
        self._transport.abort()

    def turn_away(self) -> None:
        """Answers that there are too many connections, without waiting for a request."""
        self._refuse(RefusedError(503, "There are too many connections."))

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        address = name[0] if isinstance(name, tuple) else ""
        self.peer = Peer(address, self._scheme, self._trusted.includes(address))
        self._writing = Writing(self._transport)
        self._reading = Reading(self._transport, self._writing, RequestParser(self._scheme, self._limits))
        self._accounting = Accounting(self._requests, self._access, self.peer, self._writing)
        self._repeating = Repeating(
            self._transport,
            self._reading,
            self._writing,
            self._accounting,
            self.peer,
            self._sender,
            prepared=self._prepared,
            requests=self._requests,
            access=self._access,
        )
        self._answering = Answering(
            self._reading,
            self._writing,
            self._accounting,
            self.peer,
            scheme=self._scheme,
            prepared=self._prepared,
            tasks=self._tasks,
        )
        self._is_idle = True
        if not self._made(self):
            self.turn_away()

    def data_received(self, data: bytes) -> None:
        if self._is_idle:
            self._accounting.began_s = time.monotonic()
            data = self._repeating.answered(data)
            if not data:
                return
            self._is_idle = False
            if not self._repeating.fetch(self._fetched) and self._passes_on(data):
                return
        reading, parser = self._reading, self._reading.parser
        if self._closing or reading.broken is not None:
            return
        begins = not parser.waiting
        parser.feed(data)
        if not parser.is_whole:
            self._take()
        elif self._answering.head is None and not self._next() and begins and parser.waiting:
            reading.since_s = time.monotonic()
        if (self._answering.head is not None or self._repeating.is_fetching) and parser.waiting > BUFFER_BYTES:
            reading.pause()
        self._settle()

    def eof_received(self) -> bool:
        reading = self._reading
        reading.eof = True
        if self._closing:
            return False
        if reading.is_tunnel:
            reading.end()
        elif not reading.parser.is_whole:
            reading.break_off(RefusedError(400, "The request broke off."))
            if self._answering.head is None:
                self._close()
        elif self._answering.head is None:
            self._next()
        # An answer may be under way. TLS has no such half-closed connections.
        return self._scheme == "http"

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._is_idle = False
        self._reading.end(RefusedError(400, "The client has left."))
        self._answering.client_left()
        self._writing.resume()
        self._lost(self)

    def pause_writing(self) -> None:
        self._writing.pause()
        self._is_idle = False

    def resume_writing(self) -> None:
        self._writing.resume()
        self._settle()

    # One request after the other.

    def _settle(self) -> None:
        """Notes whether nothing of a request waits, no answer is due, and the client takes what it is sent."""
        reading, answering = self._reading, self._answering
        self._is_idle = (
            answering.head is None
            and not self._repeating.is_fetching
            and not reading.parser.waiting
            and reading.parser.is_whole
            and not (self._closing or answering.is_last)
            and reading.broken is None
            and self._writing.is_open
        )

    def _fetched(self, size: int, answer: Ready | None) -> None:
        """The request that waits in the first `size` bytes is answered with a response from Redis, if that will do."""
        self._repeating.is_fetching = False
        reading, parser = self._reading, self._reading.parser
        if reading.broken is not None:
            return
        if self._transport.is_closing():
            self._accounting.count_left()
            return
        if answer is not None and self._writing.is_open and not self._answering.is_last:
            head = parser.first(size)
            parser.skip(size)
            self._repeating.repeat(head, answer)
        reading.resume()
        if parser.waiting or reading.eof:
            self._next()
        self._settle()

    def _next(self) -> bool:
        """Begins with the next request, if it is there; whether it was."""
        if self._repeating.is_fetching:
            return False
        reading, answering, accounting = self._reading, self._answering, self._accounting
        try:
            head = reading.parser.head()
            if head is None:
                if reading.eof and reading.parser.waiting:
                    raise RefusedError(400, "The request broke off.")
                if reading.eof:
                    self._close()
                return False
            answering.begin(head, self._ended)
            accounting.began_s = time.monotonic()
            request = head.request.named(request_id(head.raw, trusted=self.peer.trusted))
            trace = accounting.begin(head.raw, request.id)
            if trace is not None:
                request = request.traced(trace)
            body = reading.begin(head)
        except RefusedError as error:
            self._refuse(error)
            return False
        interim = partial(answering.interim, head) if head.version == "1.1" else None
        # What differs in each request beside its id is not known to leave like another.
        may_leave_alike = body is None and self._sender.form is not None and trace is None
        left = partial(self._onward.learn, head, request.id) if may_leave_alike else None
        answer = self._responds.answer(request, body, self.peer, interim, partial(answering.arrived, head), left)
        if answer is not None:
            # Even where it is here: of a thousand requests in one read, each answer would begin within the one before.
            answering.start(head, answer)
        return True

    def _passes_on(self, data: bytes) -> bool:
        """Has the origin answer a request that leaves like one before it; whether these bytes were one."""
        onward = self._onward.known()
        head = onward.head(data, request_id(data, trusted=self.peer.trusted)) if onward is not None else None
        why = self._responds.passes(head.request) if head is not None else None
        if onward is None or head is None or why is None:
            return False
        answering, request = self._answering, head.request
        answering.begin(head, self._ended)
        self._reading.begin(head)
        self._accounting.begin(data, request.id)
        interim, arrived = partial(answering.interim, head), partial(answering.arrived, head)
        answer = self._responds.pass_on(request, onward.sent(data, request.id), why, interim, arrived)
        if answer is not None:
            answering.start(head, answer)
        return True

    def _take(self) -> None:
        """Takes what has come of a body to whoever reads it."""
        reading = self._reading
        reading.take()
        if self._answering.head is not None:
            return
        if reading.broken is not None or (not reading.parser.is_whole and reading.has_enough):
            self._close()
        elif reading.parser.is_whole:
            self._next()

    def _ended(self, may_follow: bool) -> None:
        """A request has been answered."""
        reading = self._reading
        if self._transport.is_closing():
            return
        reading.since_s = time.monotonic()
        if not may_follow or reading.broken is not None:
            self._close()
            return
        reading.resume()
        if reading.parser.is_whole:
            self._next()
        self._settle()

    # Ending.

    def _refuse(self, error: RefusedError) -> None:
        """Answers without asking anybody, and ends the connection: what comes next cannot be told."""
        self._reading.broken = error
        self._answering.refuse(error)
        self._close()

    def _close(self) -> None:
        """Ends the connection when what was written is out: in two stages, so that a client which still sends can read
        its answer before the connection is reset. RFC 9112 section 9.6."""
        self._closing = True
        self._is_idle = False
        reading, transport = self._reading, self._transport
        reading.since_s = time.monotonic()
        if transport.is_closing():
            return
        is_last = self._answering.is_last and reading.parser.is_whole
        if reading.eof or not transport.can_write_eof() or is_last:
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # the client has reset the connection, which is not known here yet
            self.abort()
        reading.resume()
