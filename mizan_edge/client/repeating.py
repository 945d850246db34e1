"""Requests that are answered at once with what lies ready, and of which nothing else is ever read."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from mizan_edge.client.access import Access, Account, request_id
from mizan_edge.client.accounting import Accounting
from mizan_edge.client.reading import Reading
from mizan_edge.client.writing import ONE_WRITE_BYTES, Writing
from mizan_edge.http.forwarding import Peer
from mizan_edge.memory.prepared import Noted, Prepared, Ready
from mizan_edge.rules.selecting import Sender
from mizan_edge.serving.requests import Requests

# Of the answers of one kind that are repeated, every so many are timed, and count for as many: to time each would cost
# a twentieth of what it costs to repeat it.
_TIMED = 16
# Of those, every so many stand for their URL in what is asked for most.
_SAMPLED = 64
_END_OF_HEAD = b"\r\n\r\n"


class Repeating:
    """The requests of a connection for which an answer is ready (`Prepared`).

    # mutable state: what was noted for the request that waits first, and its size (`_noted`), if its response has left
    memory; whether that `is_fetching` from Redis, until who is told says that it is not.
    """

    __slots__ = (
        "_access",
        "_accounting",
        "_noted",
        "_peer",
        "_prepared",
        "_reading",
        "_requests",
        "_sender",
        "_transport",
        "_writing",
        "is_fetching",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        reading: Reading,
        writing: Writing,
        accounting: Accounting,
        peer: Peer,
        sender: Sender,
        *,
        prepared: Prepared,
        requests: Requests,
        access: Access | None,
    ) -> None:
        self._transport = transport
        self._reading = reading
        self._writing = writing
        self._accounting = accounting
        self._peer = peer
        self._sender = sender
        self._prepared = prepared
        self._requests = requests
        self._access = access
        self._noted: tuple[Noted, int] | None = None
        self.is_fetching = False

    def answered(self, data: bytes) -> bytes:
        """Answers the requests for which an answer is ready; the bytes from the first other one on."""
        # What has come is mostly one request, and then nothing has to be searched.
        start, size = 0, len(data)
        end = size if data.endswith(_END_OF_HEAD) else _end_of_head(data, 0)
        while end:
            head = data if end - start == size else data[start:end]
            answer = self._prepared.answer(head, self._sender, trusted=self._peer.trusted)
            if answer is None:
                first = _end_of_head(data, start)
                if first == end:
                    break
                end = first
                continue
            if isinstance(answer, Noted):
                self._noted = answer, end - start
                break
            self.repeat(head, answer)
            if end == size:
                return b""
            start, end = end, _end_of_head(data, end)
            if self._writing.is_paused:
                break
        return data[start:]

    def fetch(self, then: Callable[[int, Ready | None], None]) -> bool:
        """Begins to fetch the response from Redis for the request at which `answered` has stopped, if it was noted;
        whether it was. `then` gets, a little later, the size of that request, and its answer if it may have it."""
        if self._noted is None:
            return False
        noted, size = self._noted
        self._noted, self.is_fetching = None, True
        self._prepared.fetch(noted, partial(then, size))
        return True

    def repeat(self, head: bytes, answer: Ready) -> None:
        """Writes what answers the request with this head, and counts it."""
        start, body, tally = answer
        if self._access is not None:
            start = self._told(self._access, head, start, body)
        if len(body) <= ONE_WRITE_BYTES:
            self._transport.write(start + body)
        else:
            self._transport.write(start)
            self._transport.write(body)
        self._reading.since_s = self._accounting.began_s  # as good as now
        count, took = tally.count, tally.took
        count[0] = number = count[0] + 1
        if number % _TIMED or took is None:
            return
        now_s = time.monotonic()
        took.took(now_s - self._accounting.began_s, _TIMED)
        if not number % _SAMPLED:
            self._requests.sampled(head, _SAMPLED, now_s)

    def _told(self, access: Access, head: bytes, start: bytes, body: bytes) -> bytes:
        """The head of the answer as it shall go out."""
        id = request_id(head, trusted=self._peer.trusted)
        return access.repeated(Account(self._accounting.began_s, head, id, self._peer, 0), start, body)


def _end_of_head(data: bytes, start: int) -> int:
    """Where the head ends that begins at `start`; 0 where it has not come."""
    at = data.find(_END_OF_HEAD, start)
    return 0 if at < 0 else at + len(_END_OF_HEAD)
