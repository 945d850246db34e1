"""A client that asks each request once, or at a constant rate, over a few connections.

It takes one answer after the other from a connection, without a framework: at a rate, what it measures is in
microseconds, and it looks at the clock and its sockets all the time instead of sleeping.
"""

import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

from bench.processes import HOST, BenchError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_SILENCE_S = 10.0
# A longer turn was not spent on a few requests: something else had the processor, or there are too many for it.
_LATE_NS = 1_000_000


class Connection:
    """A connection on which one request is open at a time.

    # mutable state: `_came`, what has come of the answer; `_left`, how many bytes are still to come, once it is known;
    `due_ns`, when the request was due.
    """

    __slots__ = ("_came", "_left", "_socket", "due_ns")

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=_SILENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = b""
        self._left: int | None = None
        self.due_ns = 0

    def fileno(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    def send(self, request: bytes, due_ns: int = 0) -> None:
        """Sends the next request, which was due at that time."""
        self.due_ns = due_ns
        self._socket.sendall(request)

    def receive(self) -> bytes | None:
        """The head of the answer, once it and its body have come; waits for no more than the next bytes."""
        data = self._socket.recv(262_144)
        if not data:
            raise BenchError("the server has closed a connection")
        if self._left is None:
            self._came += data
            at = self._came.find(_END)
            if at < 0:
                return None
            self._left = body_bytes(self._came[: at + 2]) - (len(self._came) - at - len(_END))
        else:
            self._left -= len(data)
        if self._left > 0:
            return None
        head = self._came.partition(_END)[0]
        self._came, self._left = b"", None
        return head

    def close(self) -> None:
        """Leaves."""
        self._socket.close()


def body_bytes(head: bytes) -> int:
    """The length of the body after a head, which ends with the line end of its last field. Raises BenchError."""
    if head[9:12] == b"304":
        return 0
    length = _LENGTH.search(head)
    if length is None:
        raise BenchError(f"an answer without Content-Length: {head[:200]!r}")
    return int(length[1])


@contextmanager
def _connected(port: int, count: int) -> Iterator[tuple[dict[int, Connection], select.epoll]]:
    connections = [Connection(port) for _ in range(count)]
    try:
        with select.epoll() as poll:
            for connection in connections:
                poll.register(connection.fileno(), select.EPOLLIN)
            yield {connection.fileno(): connection for connection in connections}, poll
    finally:
        for connection in connections:
            connection.close()


def ask(port: int, requests: Sequence[bytes], *, connections: int = 32) -> Iterator[tuple[int, bytes]]:
    """The place of each request and the head of its answer, in the order in which they come. Raises BenchError."""
    waiting = iter(enumerate(requests))
    with _connected(port, min(connections, len(requests))) as (sockets, poll):
        asked: dict[int, int] = {}

        def send(fd: int) -> None:
            for place, request in islice(waiting, 1):
                asked[fd] = place
                sockets[fd].send(request)

        for fd in sockets:
            send(fd)
        while asked:
            events = poll.poll(_SILENCE_S)
            if not events:
                raise BenchError(f"no answer for {_SILENCE_S:.0f} s")
            for fd, _ in events:
                head = sockets[fd].receive()
                if head is not None:
                    yield asked.pop(fd), head
                    send(fd)


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of requests at a constant rate."""

    latencies_ns: list[int]
    """From when a request was due until its answer was there; sorted."""
    late: int
    """How many requests were due while the client itself did not look at the clock, for more than a millisecond."""

    def percentile_ms(self, percent: float) -> float:
        """The latency that so many percent do not exceed."""
        return percentile(self.latencies_ns, percent) / 1e6


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * percent / 100))]


def at_rate(port: int, requests: Sequence[bytes], *, rate: float, seconds: float, connections: int = 64) -> Paced:
    """Asks the requests in turn, `rate` per second. Raises BenchError for an answer that is not 200.

    An open loop: a request is due by the clock, whatever has become of those before it. Where no connection is free it
    waits, and its latency counts from when it was due, so that a server that stalls is charged for all who wait.
    """
    latencies: list[int] = []
    late = 0
    with _connected(port, connections) as (sockets, poll):
        idle = deque(sockets.values())
        due: deque[int] = deque()
        following = cycle(requests)
        begin_ns = looked_ns = time.perf_counter_ns()
        interval_ns, total, made = 1e9 / rate, int(rate * seconds), 0
        while len(latencies) < total:
            now_ns = time.perf_counter_ns()
            looked = now_ns - looked_ns < _LATE_NS
            looked_ns = now_ns
            while made < total and (due_ns := begin_ns + int(made * interval_ns)) <= now_ns:
                due.append(due_ns)
                made += 1
                late += not looked
            while due and idle:
                idle.popleft().send(next(following), due.popleft())
            for fd, _ in poll.poll(0):
                connection = sockets[fd]
                head = connection.receive()
                if head is None:
                    continue
                if head[9:12] != b"200":
                    raise BenchError(f"not 200: {head[:200]!r}")
                latencies.append(time.perf_counter_ns() - connection.due_ns)
                idle.append(connection)
            if now_ns - begin_ns > (seconds + _SILENCE_S) * 1e9:
                raise BenchError(f"{len(latencies)} of {total} answers at {rate:,.0f} requests a second")
    return Paced(sorted(latencies), late)
