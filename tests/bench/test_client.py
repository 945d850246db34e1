"""The client of the benchmarks, over real connections: every answer counts, and so does the time that it waited."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench.client import ask, at_rate
from bench.processes import BenchError
from bench.rounds import warm
from bench.servers import Server

REQUESTS = [f"GET /{number}/ HTTP/1.1\r\n\r\n".encode() for number in range(200)]
STALL_S = 0.3


@contextmanager
def answering(answer: Callable[[int], bytes]) -> Iterator[int]:
    """A server that answers the request for `/5/` with `answer(5)`; its port."""

    def talk(client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b"GET "):
                    client.sendall(answer(int(line.split(b"/")[1])))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()


def ok(body: bytes = b"", fields: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_every_request_is_asked_once_and_its_answer_read_to_the_end():
    with answering(lambda number: ok(b"\r\n\r\n" * 1000 * number, f"X-Number: {number}\r\n")) as port:
        answers = list(ask(port, REQUESTS, connections=8))
    assert sorted(place for place, _ in answers) == list(range(len(REQUESTS)))
    for place, head in answers:
        assert f"X-Number: {place}\r\n".encode() in head


def test_warming_asks_again_for_what_was_no_hit_until_all_are():
    asked: list[int] = []

    def answer(number: int) -> bytes:
        asked.append(number)
        return ok(b"page", "X-Cache: hit\r\n" if asked.count(number) > number % 3 else "")

    with answering(answer) as port:
        warm(Server("origin", port, 0, re.compile(rb"\r\nX-Cache: hit")), REQUESTS)
    assert all(asked.count(number) == number % 3 + 1 for number in range(len(REQUESTS)))


def test_warming_ends_where_something_never_becomes_a_hit():
    with answering(lambda number: ok(b"page")) as port, pytest.raises(BenchError, match="still no hits"):
        warm(Server("origin", port, 0, re.compile(rb"\r\nX-Cache: hit")), REQUESTS[:2])


def test_at_a_rate_a_server_that_stalls_is_charged_for_all_who_wait():
    def answer(number: int) -> bytes:
        if number == 100:
            time.sleep(STALL_S)
        return ok(b"page")

    with answering(answer) as port:
        paced = at_rate(port, REQUESTS, rate=200, seconds=1, connections=1)
    assert len(paced.latencies_ns) == 200
    # 60 requests are due while it stalls, each a twohundredth of a second after the one before.
    waited = [one for one in paced.latencies_ns if one > STALL_S / 3 * 1e9]
    assert len(waited) >= 40
    assert max(waited) >= STALL_S * 1e9


def test_an_answer_that_is_an_error_ends_a_run():
    with (
        answering(lambda number: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as port,
        pytest.raises(BenchError, match="503"),
    ):
        at_rate(port, REQUESTS, rate=200, seconds=1, connections=1)
