"""The request of a connection that is being answered, and its answer on the way out."""

import logging
import time
from collections.abc import Callable
from typing import cast

from mizan_edge.client.accounting import Accounting
from mizan_edge.client.reading import Reading
from mizan_edge.client.sending import Framed, framed, leaves_at_once, put, send
from mizan_edge.client.tunnel import copy_both_ways
from mizan_edge.client.writing import ONE_WRITE_BYTES, Writing
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.forwarding import Peer
from mizan_edge.http.framing import response_bytes
from mizan_edge.http.message import Response
from mizan_edge.http.request_parser import RequestHead
from mizan_edge.memory.prepared import Prepared, Repeatable
from mizan_edge.origin.exchange import Tunnel
from mizan_edge.serving.answer import Answer, Later, refusal
from mizan_edge.system.histograms import Tally
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

Ended = Callable[[bool], None]
"""Is told that a request has been answered, and whether another one may follow."""


class Answering:
    """One request of a connection after the other, from when it begins until its answer is out.

    # mutable state: the `head` of the request that is being answered, and who waits for its end (`_ended`); its
    `_answer` while that is written; whether no other request is answered behind it (`is_last`).
    """

    __slots__ = (
        "_accounting",
        "_answer",
        "_ended",
        "_peer",
        "_prepared",
        "_reading",
        "_scheme",
        "_tasks",
        "_writing",
        "head",
        "is_last",
    )

    def __init__(
        self,
        reading: Reading,
        writing: Writing,
        accounting: Accounting,
        peer: Peer,
        *,
        scheme: str,
        prepared: Prepared,
        tasks: Tasks,
    ) -> None:
        self._reading = reading
        self._writing = writing
        self._accounting = accounting
        self._peer = peer
        self._scheme = scheme
        self._prepared = prepared
        self._tasks = tasks
        self.head: RequestHead | None = None
        self._ended: Ended | None = None
        self._answer: Answer | None = None
        self.is_last = False

    def begin(self, head: RequestHead, ended: Ended) -> None:
        """A request is to be answered, by `start`, `arrived` or `refuse`."""
        # `ended` is the connection's, and forgotten in the end: what refers to itself stays until the garbage is
        # collected, which is seldom.
        self.head, self._ended = head, ended

    def start(self, head: RequestHead, answer: Answer | Later) -> None:
        """Answers, in a task of its own."""
        self._tasks.start(self._exchange(head, answer), "request")

    def arrived(self, head: RequestHead, answer: Answer | Later) -> None:
        """The answer is here, or something of it. What can leave at once does so without a task."""
        waits = self._reading.broken is not None or not self._writing.is_open
        if waits or not isinstance(answer, Answer) or not leaves_at_once(answer):
            self.start(head, answer)
            return
        follows = False
        try:
            follows = self._put(head, answer)
        except Exception:
            self._broke_off(head)
        answer.close()
        if self._writing.is_open:
            self._accounting.is_out()
            self._end(follows)
        else:
            self._tasks.start(self._until_taken(head, follows), "request")

    def interim(self, head: RequestHead, response: Response) -> None:
        """The origin has sent an interim response to the request with this head."""
        # A 100 of the origin's answers our own asking: the client gets one when its body is wanted.
        if self.head is head and self._answer is None and response.status != 100:
            self._writing.interim(response_bytes(response))

    def refuse(self, error: RefusedError) -> None:
        """Answers without asking anybody; what comes next cannot be told, so the connection has to end with it."""
        answer = refusal(error.status, str(error))
        method = self.head.request.method if self.head is not None else "GET"
        self.head = self._ended = None
        if self._writing.is_closing:
            return
        self._accounting.count(answer, None)
        start = framed(method, "1.1", answer, time.time(), keep_alive=False)
        self._accounting.begin_refused()
        put(self._writing, answer, start._replace(start=self._accounting.answered(answer, start.start)))
        self._accounting.is_out()
        self._accounting.end()

    def client_left(self) -> None:
        """The client has left: nobody reads the rest of the answer."""
        if self._answer is not None:
            self._answer.close()

    async def _exchange(self, head: RequestHead, answer: Answer | Later) -> None:
        may_follow = False
        try:
            if not isinstance(answer, Answer):
                answer = await answer()
            if (broken := self._reading.broken) is not None:
                # Of a request that has not come whole, this is the truth, whatever the origin makes of its part.
                answer.close()
                answer = refusal(broken.status, str(broken))
            self._reading.give_up()
            self._answer = answer
            try:
                may_follow = await self._send(head, answer)
            finally:
                answer.close()
        except ConnectionError:
            log.debug("a client left before its answer was out: %s", self._peer.address)
            self._writing.abort()
        except Exception:
            self._broke_off(head)
        finally:
            self._end(may_follow)

    async def _until_taken(self, head: RequestHead, follows: bool) -> None:
        try:
            await self._writing.drain()
            self._accounting.is_out()
            follows = follows and self._may_follow(head)
        except ConnectionError:
            follows = False
        finally:
            self._end(follows)

    async def _send(self, head: RequestHead, answer: Answer) -> bool:
        """Writes an answer; whether another request may follow. Raises ConnectionError where the client has left."""
        if answer.tunnel is not None:
            await self._switch(head, answer, answer.tunnel)
            return False
        if leaves_at_once(answer):
            follows = self._put(head, answer)
            await self._writing.drain()
        else:
            start = self._framed(head, answer)
            if not await send(self._writing, answer, start):
                return False
            follows = start.ends != "close"
        self._accounting.is_out()
        return follows and self._may_follow(head)

    def _put(self, head: RequestHead, answer: Answer) -> bool:
        """Writes an answer that leaves at once; whether another request may follow. Raises ConnectionError."""
        start = self._framed(head, answer)
        put(self._writing, answer, start)
        return start.ends != "close" and self._may_follow(head)

    def _framed(self, head: RequestHead, answer: Answer) -> Framed:
        tally = self._accounting.count(answer, head.request)
        answer = self._accounting.shown(answer)
        start = framed(head.request.method, head.version, answer, time.time(), keep_alive=self._may_follow(head))
        if answer.repeatable is not None:
            self._learn(head, answer, answer.repeatable, start.start, tally)
        told = self._accounting.answered(answer, start.start)
        return start if told is start.start else start._replace(start=told)

    def _learn(self, head: RequestHead, answer: Answer, how: Repeatable, start: bytes, tally: Tally) -> None:
        """Has an answer noted that may be repeated."""
        if head.version == "1.1" and self._may_follow(head):
            whole = cast(bytes, answer.body)
            # Over TLS, what is larger goes out in pieces, and each waits for the client: see `writing`.
            if self._scheme == "http" or len(whole) <= ONE_WRITE_BYTES:
                self._prepared.learn(head.raw, how, start, whole, tally, trusted=self._peer.trusted)

    def _may_follow(self, head: RequestHead) -> bool:
        """Whether another request may follow on this connection, as far as is known now."""
        return head.framing.keep_alive and not self.is_last and self._reading.may_follow

    async def _switch(self, head: RequestHead, answer: Answer, tunnel: Tunnel) -> None:
        """From here on the connection is the origin's and the client's, until one of them ends it."""
        if not self._reading.parser.is_whole:
            # What is left of the request would be taken for the other protocol.
            self._writing.abort()
        self._accounting.count(answer, head.request)
        self._writing.put(self._accounting.answered(answer, response_bytes(answer.response)))
        await copy_both_ways(self._reading.switch(), tunnel, self._writing, self._tasks)
        self._accounting.is_out()

    def _broke_off(self, head: RequestHead) -> None:
        log.exception("an answer broke off: %s %s", head.request.method, head.request.target.partition("?")[0])
        self._writing.reset()

    def _end(self, may_follow: bool) -> None:
        ended, self._ended = self._ended, None
        self.head = self._answer = None
        self._accounting.end()
        if ended is not None:
            ended(may_follow)
