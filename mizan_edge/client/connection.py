"""One connection of a client, which carries one request after the other.

    data_received    bytes wait in the parser; a request begins when the one before it has been answered
    _exchange        one request: asks for its answer, and writes that
    check            once a second or so: what has stood still for too long is ended

Reading pauses while more bytes wait than anybody wants, writing while the client does not read, so that a connection
has a bounded share of memory whatever passes over it. Nobody's leaving cancels a request: what it has begun at the
origin is brought to its end.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from mizan_edge.client.access import Access, Account, request_id
from mizan_edge.client.arriving import BUFFER_BYTES, Arriving
from mizan_edge.client.sending import Framed, framed, leaves_at_once, put, send
from mizan_edge.client.tunnel import copy_both_ways
from mizan_edge.client.writing import ONE_WRITE_BYTES, Writing
from mizan_edge.http.body import Body
from mizan_edge.http.cache_status import Forwarded
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.forwarding import Peer, Trusted
from mizan_edge.http.framing import response_bytes
from mizan_edge.http.limits import Limits
from mizan_edge.http.message import Request, Response
from mizan_edge.http.request_parser import RequestHead, RequestParser
from mizan_edge.memory.prepared import Noted, Prepared, Ready, Repeatable
from mizan_edge.origin.origin import Informational, Tunnel
from mizan_edge.rules.onward import Onward
from mizan_edge.rules.selecting import Form, Sender
from mizan_edge.serving.answer import Answer, Later, Left, Then, refusal
from mizan_edge.serving.requests import GONE, LEFT, Requests
from mizan_edge.system.histograms import Tally
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)


class Responds(Protocol):
    """What answers requests (`Proxy`). It raises nothing."""

    def answer(
        self,
        request: Request,
        body: Body,
        peer: Peer,
        informational: Informational | None,
        then: Then,
        left: Left | None,
        /,
    ) -> Answer | Later | None:
        """The answer, or what has to be awaited for it; None: `then` gets that later on."""

    def passes(self, request: Request, /) -> Forwarded | None:
        """Why it is forwarded, whatever fields it has."""

    def pass_on(
        self, request: Request, head: bytes, why: Forwarded, informational: Informational | None, then: Then, /
    ) -> Answer | Later | None:
        """As `answer`, for what passes, and is known to leave with this head."""


# Of a body that nobody wants, this much is read so that another request may follow.
_UNWANTED_BYTES = 256 << 10
# RFC 9112 section 9.6: for how long the client may take to see that the connection ends, before it is cut.
_LINGER_S = 2.0
# Of the answers of one kind that are repeated, every so many are timed, and count for as many: to time each would cost
# a twentieth of what it costs to repeat it.
_TIMED = 16
# Of those, every so many stand for their URL in what is asked for most.
_SAMPLED = 64
_END_OF_HEAD = b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Of the requests of one connection: how so many forms of them leave is remembered.
_FORMS = 8


class ClientConnection:
    """A connection of a client: an `asyncio.Protocol`, but that its attributes are found faster without a base class.

    # mutable state: how requests of some forms leave (`_onward`); the request that is being answered (`_head`), its
    `_body` while somebody may read it, its `_answer` while that is written, and its `_account`, where answers are
    accounted for (`_access`); whether a 100 `_is_awaited` by the client; whether the response for the request that
    waits first `_is_fetching` from Redis; whether it `_is_idle`, see `_settle`; why the bytes cannot be read on
    (`_broken`); whether the client has said all (`_eof`), the connection is `_closing`, or the listener `_stopping`;
    whether reading is `_paused`; since when what is due from the client has stood still (`_since`); the bytes that
    nobody wanted (`_unwanted`); when the request that is being answered was there (`_began_s`).
    """

    __slots__ = (
        "_access",
        "_account",
        "_answer",
        "_began_s",
        "_body",
        "_broken",
        "_closing",
        "_eof",
        "_head",
        "_is_awaited",
        "_is_fetching",
        "_is_idle",
        "_limits",
        "_lost",
        "_made",
        "_onward",
        "_parser",
        "_paused",
        "_prepared",
        "_requests",
        "_responds",
        "_scheme",
        "_sender",
        "_since",
        "_stopping",
        "_tasks",
        "_transport",
        "_trusted",
        "_unwanted",
        "_writing",
        "is_tunnel",
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
        self._parser = RequestParser(scheme, limits)
        self._sender = Sender()
        self._onward: dict[Form, Onward | None] = {}
        self._transport: asyncio.Transport
        self._writing: Writing
        self.peer: Peer
        self.is_tunnel = False
        self._head: RequestHead | None = None
        self._body: Arriving | None = None
        self._answer: Answer | None = None
        self._account: Account | None = None
        self._is_awaited = self._is_fetching = self._is_idle = False
        self._broken: RefusedError | None = None
        self._eof = self._closing = self._stopping = self._paused = False
        self._since = time.monotonic()
        self._unwanted = 0
        self._began_s = 0.0

    # For the listener.

    def check(self, now_s: float) -> None:
        """Ends what has stood still for too long. `now_s` is that of `time.monotonic`."""
        limits, quiet_s = self._limits, now_s - self._since
        if (unsent_s := self._writing.stands_still_s(now_s)) is not None:
            # Whatever else is due: the client has not got all that it waits for.
            if unsent_s > limits.write_s:
                self.abort()
        elif self._closing:
            # Over TLS only the event loop knows what is unsent, and ends it in its own time.
            if quiet_s > _LINGER_S and self._scheme == "http":
                self.abort()
        elif self._head is not None:
            if quiet_s > limits.body_s and self._body is not None and self._body.is_awaited and not self.is_tunnel:
                self._break(RefusedError(408, "The body of the request stood still for too long."))
        elif not self._parser.is_whole:
            if quiet_s > limits.body_s:
                self._close()
        elif self._parser.waiting:
            if quiet_s > limits.head_s:
                self._refuse(RefusedError(408, "The head of the request took too long."))
        elif quiet_s > limits.idle_s:
            self._transport.close()

    def stop(self) -> None:
        """Answers one more request, or what has begun to come, and says with it that the connection ends."""
        self._stopping = True
        self._is_idle = False

    def leave(self) -> None:
        """Ends the connection if nothing of a request has come."""
        if self._head is None and self._parser.is_whole and not self._parser.waiting:
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
        self._writing = Writing(self._transport)
        name = transport.get_extra_info("peername")
        address = name[0] if isinstance(name, tuple) else ""
        self.peer = Peer(address, self._scheme, self._trusted.includes(address))
        self._is_idle = True
        if not self._made(self):
            self.turn_away()

    def data_received(self, data: bytes) -> None:
        if self._is_idle:
            self._began_s = time.monotonic()
            data = self._answered(data)
            if not data:
                return
            self._is_idle = False
            if self._onward and not self._is_fetching and self._passes_on(data):
                return
        if self._closing or self._broken is not None:
            return
        parser = self._parser
        begins = not parser.waiting
        parser.feed(data)
        if not parser.is_whole:
            self._take()
        elif self._head is None and not self._next() and begins and parser.waiting:
            self._since = time.monotonic()
        if (self._head is not None or self._is_fetching) and parser.waiting > BUFFER_BYTES:
            self._pause()
        self._settle()

    def _answered(self, data: bytes) -> bytes:
        """Answers the requests for which an answer is ready; the bytes from the first other one on."""
        # What has come is mostly one request, and then nothing has to be searched.
        start, size = 0, len(data)
        end = size if data.endswith(_END_OF_HEAD) else _end_of_head(data, 0)
        while end and self._is_idle:
            head = data if end - start == size else data[start:end]
            answer = self._prepared.answer(head, self._sender, trusted=self.peer.trusted)
            if answer is None:
                first = _end_of_head(data, start)
                if first == end:
                    break
                end = first
                continue
            if isinstance(answer, Noted):
                self._is_fetching = True
                self._prepared.fetch(answer, partial(self._fetched, end - start))
                break
            if self._access is not None:
                answer = self._accounted(self._access, head, answer)
            if self._repeat(*answer):
                self._requests.sampled(head, _SAMPLED, time.monotonic())
            if end == size:
                return b""
            start, end = end, _end_of_head(data, end)
        return data[start:]

    def _accounted(self, access: Access, head: bytes, answer: Ready) -> Ready:
        """The answer to the request with this `head`, as it shall go out."""
        account = Account(self._began_s, head, request_id(head, trusted=self.peer.trusted), self.peer, 0)
        start, body, tally = answer
        return access.repeated(account, start, body), body, tally

    def _fetched(self, size: int, answer: Ready | None) -> None:
        """The request that waits in the first `size` bytes is answered with a response from Redis, if that will do."""
        self._is_fetching = False
        if self._broken is not None:
            return
        if self._transport.is_closing():
            self._requests.tally(GONE, LEFT).count[0] += 1
            return
        if answer is not None and self._writing.is_open and not self._stopping:
            head = self._parser.first(size)
            if self._access is not None:
                answer = self._accounted(self._access, head, answer)
            self._parser.skip(size)
            if self._repeat(*answer):
                self._requests.sampled(head, _SAMPLED, time.monotonic())
        self._resume()
        if self._parser.waiting or self._eof:
            self._next()
        self._settle()

    def _settle(self) -> None:
        """Notes whether nothing of a request waits, no answer is due, and the client takes what it is sent."""
        self._is_idle = (
            self._head is None
            and not self._is_fetching
            and not self._parser.waiting
            and self._parser.is_whole
            and not (self._closing or self._stopping)
            and self._broken is None
            and self._writing.is_open
        )

    def _repeat(self, head: bytes, body: bytes, tally: Tally) -> bool:
        """Writes an answer that is repeated; whether it stands for the `_SAMPLED` latest of its kind."""
        if len(body) <= ONE_WRITE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self._since = self._began_s  # as good as now
        count, took = tally.count, tally.took
        count[0] = number = count[0] + 1
        if number % _TIMED or took is None:
            return False
        took.took(time.monotonic() - self._began_s, _TIMED)
        return not number % _SAMPLED

    def eof_received(self) -> bool:
        self._eof = True
        if self._closing:
            return False
        if self.is_tunnel:
            self._end_body()
        elif not self._parser.is_whole:
            self._break(RefusedError(400, "The request broke off."))
        elif self._head is None:
            self._next()
        # An answer may be under way. TLS has no such half-closed connections.
        return self._scheme == "http"

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._is_idle = False
        if self._body is not None:
            self._body.end(RefusedError(400, "The client has left."))
        if self._answer is not None:
            self._answer.close()
        self._writing.resume()
        self._lost(self)

    def pause_writing(self) -> None:
        self._writing.pause()
        self._is_idle = False

    def resume_writing(self) -> None:
        self._writing.resume()
        self._settle()

    # Reading.

    def _next(self) -> bool:
        """Begins with the next request, if it is there; whether it was."""
        if self._is_fetching:
            return False
        try:
            head = self._parser.head()
            if head is None:
                if self._eof and self._parser.waiting:
                    raise RefusedError(400, "The request broke off.")
                if self._eof:
                    self._close()
                return False
            self._head = head
            self._began_s = time.monotonic()
            request = head.request.named(request_id(head.raw, trusted=self.peer.trusted))
            if self._access is not None:
                self._account = self._access.begin(head.raw, request.id, self.peer, self._writing.sent)
                if self._account.trace is not None:
                    request = request.traced(self._account.trace)
            body = self._begin_body(head)
        except RefusedError as error:
            self._refuse(error)
            return False
        interim = partial(self._interim, head) if head.version == "1.1" else None
        # What differs in each request beside its id is not known to leave like another.
        may_leave_alike = body is None and self._sender.form is not None and request.trace is None
        left = partial(self._left, head, request.id) if may_leave_alike else None
        answer = self._responds.answer(request, body, self.peer, interim, partial(self._arrived, head), left)
        if answer is not None:
            # Even where it is here: of a thousand requests in one read, each answer would begin within the one before.
            self._tasks.start(self._exchange(head, answer), "request")
        return True

    def _left(self, head: RequestHead, id: str, sent: bytes) -> None:
        """A request has left; others like it may leave like it."""
        form = self._sender.form
        if form is None or form in self._onward or not form.matches(head.raw, head.raw.find(b"\r\n")):
            return
        if len(self._onward) >= _FORMS:
            self._onward.clear()
        self._onward[form] = Onward.of(form, head, id, sent, self._limits)

    def _passes_on(self, data: bytes) -> bool:
        """Has the origin answer a request that leaves like one before it; whether these bytes were one."""
        form = self._sender.form
        onward = self._onward.get(form) if form is not None else None
        head = onward.head(data, request_id(data, trusted=self.peer.trusted)) if onward is not None else None
        why = self._responds.passes(head.request) if head is not None else None
        if onward is None or head is None or why is None:
            return False
        request = head.request
        self._head = head
        self._unwanted = 0
        self._is_awaited = False
        if self._access is not None:
            self._account = self._access.begin(data, request.id, self.peer, self._writing.sent)
        interim, arrived = partial(self._interim, head), partial(self._arrived, head)
        answer = self._responds.pass_on(request, onward.sent(data, request.id), why, interim, arrived)
        if answer is not None:
            self._tasks.start(self._exchange(head, answer), "request")
        return True

    def _begin_body(self, head: RequestHead) -> Body:
        self._unwanted = 0
        self._is_awaited = False
        if head.framing.length == 0:
            return None
        first = self._parser.body()
        if self._parser.is_whole:
            return first
        if self._eof:
            raise RefusedError(400, "The request broke off.")
        self._body = arriving = Arriving(wanted=self._wanted, taken=self._resume)
        if first:
            arriving.add(first)
        self._is_awaited = head.expects_continue and not first
        self._since = time.monotonic()
        return arriving

    def _take(self) -> None:
        """Takes what has come of a body to whoever reads it."""
        try:
            data = self._parser.body()
        except RefusedError as error:
            self._break(error)
            return
        if data:
            self._since = time.monotonic()
            if self._body is not None:
                self._body.add(data)
                if self._body.is_full:
                    self._pause()
            else:
                self._unwanted += len(data)
        if self._parser.is_whole:
            self._end_body()
            if self._head is None:
                self._next()
        elif self._head is None and self._unwanted > _UNWANTED_BYTES:
            self._close()

    def _end_body(self, error: RefusedError | None = None) -> None:
        if self._body is not None:
            self._body.end(error)

    def _break(self, error: RefusedError) -> None:
        """The message that is under way cannot be read to its end."""
        self._broken = error
        self._end_body(error)
        if self._head is None:
            self._close()

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _wanted(self) -> None:
        """Somebody waits for more of the body."""
        if self._is_awaited:
            self._is_awaited = False
            if not self._transport.is_closing():
                self._transport.write(_CONTINUE)
        self._since = time.monotonic()
        self._resume()

    def _resume(self) -> None:
        """There is room for what the client sends."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # Answering.

    def _arrived(self, head: RequestHead, answer: Answer | Later) -> None:
        """The answer is here, or something of it. What can leave at once does so without a task."""
        waits = self._broken is not None or not self._writing.is_open
        if waits or not isinstance(answer, Answer) or not leaves_at_once(answer):
            self._tasks.start(self._exchange(head, answer), "request")
            return
        follows = False
        try:
            follows = self._put(head, answer)
        except Exception:
            self._broke_off(head)
        answer.close()
        if self._writing.is_open:
            self._is_out()
            self._ended(follows)
        else:
            self._tasks.start(self._until_taken(head, follows), "request")

    async def _exchange(self, head: RequestHead, answer: Answer | Later) -> None:
        may_follow = False
        try:
            if not isinstance(answer, Answer):
                answer = await answer()
            if self._broken is not None:
                # Of a request that has not come whole, this is the truth, whatever the origin makes of its part.
                answer.close()
                answer = refusal(self._broken.status, str(self._broken))
            self._give_up_body()
            self._answer = answer
            try:
                may_follow = await self._send(head, answer)
            finally:
                answer.close()
        except ConnectionError:
            log.debug("a client left before its answer was out: %s", self.peer.address)
            self.abort()
        except Exception:
            self._broke_off(head)
        finally:
            self._ended(may_follow)

    async def _until_taken(self, head: RequestHead, follows: bool) -> None:
        try:
            await self._writing.drain()
            self._is_out()
            follows = follows and self._may_follow(head)
        except ConnectionError:
            follows = False
        finally:
            self._ended(follows)

    def _broke_off(self, head: RequestHead) -> None:
        log.exception("an answer broke off: %s %s", head.request.method, head.request.target.partition("?")[0])
        self._writing.reset()

    def _interim(self, head: RequestHead, response: Response) -> None:
        # A 100 of the origin's answers our own asking: the client gets one when its body is wanted.
        if self._head is head and self._answer is None and response.status != 100 and not self._transport.is_closing():
            self._transport.write(response_bytes(response))

    def _give_up_body(self) -> None:
        """Nobody reads the rest of the body any more."""
        self._body = None
        self._resume()

    async def _send(self, head: RequestHead, answer: Answer) -> bool:
        """Writes an answer; whether another request may follow. Raises ConnectionError where the client has left."""
        if answer.tunnel is not None:
            await self._switch(answer, answer.tunnel)
            return False
        if leaves_at_once(answer):
            follows = self._put(head, answer)
            await self._writing.drain()
        else:
            start = self._framed(head, answer)
            if not await send(self._writing, answer, start):
                return False
            follows = start.ends != "close"
        self._is_out()
        return follows and self._may_follow(head)

    def _put(self, head: RequestHead, answer: Answer) -> bool:
        """Writes an answer that leaves at once; whether another request may follow. Raises ConnectionError."""
        start = self._framed(head, answer)
        put(self._writing, answer, start)
        return start.ends != "close" and self._may_follow(head)

    def _is_out(self) -> None:
        """All of the answer went out."""
        if self._account is not None:
            self._account.whole = True

    def _framed(self, head: RequestHead, answer: Answer) -> Framed:
        tally = self._count(answer)
        access, account = self._access, self._account
        if access is not None:
            answer = access.shown(answer)
        start = framed(head.request.method, head.version, answer, time.time(), keep_alive=self._may_follow(head))
        if answer.repeatable is not None:
            self._learn(head, answer, answer.repeatable, start.start, tally)
        if access is None or account is None:
            return start
        return start._replace(start=access.answered(account, answer, start.start))

    def _count(self, answer: Answer) -> Tally:
        """Counts an answer that is about to begin, which each does here or in `_repeat`."""
        status = LEFT if self._transport.is_closing() else answer.response.status
        tally = self._requests.tally(answer.outcome, status)
        tally.count[0] += 1
        now_s = time.monotonic()
        if tally.took is not None:
            tally.took.took(now_s - self._began_s)
        if self._head is not None:
            self._requests.seen(self._head.request.target, answer.outcome, now_s)
        return tally

    def _learn(self, head: RequestHead, answer: Answer, how: Repeatable, start: bytes, tally: Tally) -> None:
        """Has an answer noted that may be repeated."""
        if head.version == "1.1" and self._may_follow(head):
            whole = cast(bytes, answer.body)
            # Over TLS, what is larger goes out in pieces, and each waits for the client: see `writing`.
            if self._scheme == "http" or len(whole) <= ONE_WRITE_BYTES:
                self._prepared.learn(head.raw, how, start, whole, tally, trusted=self.peer.trusted)

    def _may_follow(self, head: RequestHead) -> bool:
        """Whether another request may follow on this connection, as far as is known now."""
        left = self._parser.left
        return (
            head.framing.keep_alive
            and not self._stopping
            and self._broken is None
            # Whether a client that waits for a 100 still sends its body cannot be known.
            and not self._is_awaited
            and self._unwanted + (left or 0) <= _UNWANTED_BYTES
        )

    # Other protocols.

    async def _switch(self, answer: Answer, tunnel: Tunnel) -> None:
        """From here on the connection is the origin's and the client's, until one of them ends it."""
        if not self._parser.is_whole:
            # What is left of the request would be taken for the other protocol.
            self.abort()
        self._count(answer)
        start = response_bytes(answer.response)
        if self._access is not None and self._account is not None:
            start = self._access.answered(self._account, answer, start)
        self._writing.put(start)
        self.is_tunnel = True
        self._parser.switch()
        self._body = said = Arriving(wanted=self._wanted, taken=self._resume)
        self._take()
        if self._eof:
            self._end_body()
        await copy_both_ways(said, tunnel, self._writing, self._tasks)
        self._is_out()

    # Ending.

    def _refuse(self, error: RefusedError) -> None:
        """Answers without asking anybody, and ends the connection: what comes next cannot be told."""
        answer = refusal(error.status, str(error))
        method = self._head.request.method if self._head is not None else "GET"
        self._head, self._broken = None, error
        if not self._transport.is_closing():
            self._count(answer)
            start = framed(method, "1.1", answer, time.time(), keep_alive=False)
            if self._access is not None:
                if self._account is None:
                    self._account = self._access.begin(
                        b"", request_id(b"", trusted=False), self.peer, self._writing.sent
                    )
                start = start._replace(start=self._access.answered(self._account, answer, start.start))
            put(self._writing, answer, start)
            self._is_out()
            self._settle_account()
        self._close()

    def _ended(self, may_follow: bool) -> None:
        """A request has been answered."""
        self._head = self._answer = None
        self._settle_account()
        if self._transport.is_closing():
            return
        self._since = time.monotonic()
        if not may_follow or self._broken is not None:
            self._close()
            return
        self._resume()
        if self._parser.is_whole:
            self._next()
        self._settle()

    def _settle_account(self) -> None:
        if self._access is not None and self._account is not None:
            self._access.end(self._account, self._writing.sent)
            self._account = None

    def _close(self) -> None:
        """Ends the connection when what was written is out: in two stages, so that a client which still sends can read
        its answer before the connection is reset. RFC 9112 section 9.6."""
        self._closing = True
        self._is_idle = False
        self._since = time.monotonic()
        transport = self._transport
        if transport.is_closing():
            return
        if self._eof or not transport.can_write_eof() or (self._stopping and self._parser.is_whole):
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # the client has reset the connection, which is not known here yet
            self.abort()
        self._resume()


def _end_of_head(data: bytes, start: int) -> int:
    """Where the head ends that begins at `start`; 0 where it has not come."""
    at = data.find(_END_OF_HEAD, start)
    return 0 if at < 0 else at + len(_END_OF_HEAD)
