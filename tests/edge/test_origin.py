"""The client of the origin, before peers that say exactly what a test scripts."""

import asyncio
import random
import re
import socket
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from mizan_edge.http.errors import OriginError
from mizan_edge.http.framing import text
from mizan_edge.http.message import Request, Response
from mizan_edge.origin.origin import Origin
from tests.support.origin import until
from tests.support.peer import EMPTY, GET, Peer, asking, body_of, whole
from tests.support.proxy import Talk, read_head, talking

MIB = 1 << 20
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def origin_at(talk: Talk, **settings: Any) -> AsyncIterator[Origin]:
    """The client, in front of a peer."""
    async with (
        talking(talk) as address,
        Origin(f"http://{address}", **{"connect_timeout_s": 5, "read_timeout_s": 5, **settings}) as origin,
    ):
        yield origin


async def read_into(got: list[bytes], origin: Origin) -> None:
    async for data in (await origin.send(GET, None)).body():
        got.append(data)


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def read_chunked(reader: StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


# Heads and bodies.


async def test_a_response_comes_as_it_was_sent():
    answer = "HTTP/1.1 299 Grün\r\nX-List: 1\r\nx-text: ü\r\nX-List: 2, 3\r\nX-Bytes: \udcff\r\nEmpty:\r\n".encode(
        errors="surrogateescape"
    )
    peer = Peer(answer + b"Content-Length: 4\r\n\r\n\0\xff\r\n")
    async with origin_at(peer.talk) as origin:
        exchange = await origin.send(asking("GET", "/x", ("X-Bytes", text(b"\xff\xc3\xbc"))), None)
        assert exchange.response == Response(
            299,
            (
                ("X-List", "1"),
                ("x-text", "ü"),
                ("X-List", "2, 3"),
                ("X-Bytes", "ÿ"),
                ("Empty", ""),
                ("Content-Length", "4"),
            ),
            "Grün",
        )
        assert await body_of(exchange) == b"\0\xff\r\n"
        assert exchange.trailers == ()
        # What has come is sent on as the bytes it was.
        await whole(origin, asking("GET", "/y", *exchange.response.fields[:5]))
    assert peer.heads == [
        b"GET /x HTTP/1.1\r\nHost: site.test\r\nX-Bytes: \xff\xc3\xbc\r\n\r\n",
        b"GET /y HTTP/1.1\r\nHost: site.test\r\n"
        + answer.partition(b"\r\n")[2].replace(b"Empty:", b"Empty: ")
        + b"\r\n",
    ]


@pytest.mark.parametrize("status", [200, 299, 404, 418, 599, 600, 999])
async def test_any_status_and_any_method_pass(status: int):
    peer = Peer(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    async with origin_at(peer.talk) as origin:
        response = (await origin.send(asking("BrEw-2", "*"), None)).response
    assert (response.status, response.reason) == (status, "")
    assert peer.heads == [b"BrEw-2 * HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n"]


async def test_interim_responses_are_handed_over_as_they_come():
    heard: list[Response] = []
    go_on = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        await go_on.wait()
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + EMPTY)
        await reader.read()

    async with origin_at(talk) as origin, asyncio.TaskGroup() as group:
        sent = group.create_task(origin.send(GET, None, heard.append))
        await until(lambda: len(heard) == 2)
        assert not sent.done()
        assert heard[0] == Response(103, (("Link", "</a>"), ("Link", "</b>")), "Early Hints")
        go_on.set()
        assert (await sent).response.status == 200
    assert [response.status for response in heard] == [103, 102, 100]


async def test_trailers_are_there_once_the_body_has_been_read():
    peer = Peer(CHUNKED + chunk(b"ab") + b"0\r\nX-Sum: 1\r\nx-sum: \xff\r\n\r\n")
    async with origin_at(peer.talk) as origin:
        exchange = await origin.send(GET, None)
        assert await body_of(exchange) == b"ab"
        assert exchange.trailers == (("X-Sum", "1"), ("x-sum", "ÿ"))
        await whole(origin)
    assert peer.connections == 1


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"],
)
async def test_a_body_may_end_with_its_connection(head: bytes):
    peer = Peer(head + b"hello", then="close")
    async with origin_at(peer.talk) as origin:
        assert [await whole(origin), await whole(origin)] == [b"hello", b"hello"]
    assert peer.connections == 2


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", b"HTTP/1.1 204 X\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n"),
    ],
)
async def test_what_has_no_body_ends_with_its_head_and_leaves_the_connection_in_use(method: str, head: bytes):
    peer = Peer(head)
    async with origin_at(peer.talk) as origin:
        for _ in range(3):
            assert await whole(origin, asking(method)) == b""
        peer.answer = EMPTY
        await whole(origin)
    assert peer.connections == 1


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 39\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 X\r\nContent-Length: 39\r\n\r\n"),
    ],
)
async def test_content_that_comes_late_although_there_is_none_answers_nobody(method: str, head: bytes):
    """So do servers that pass on whatever an application says to a HEAD, in a write of its own."""
    late = b"HTTP/1.1 299 X\r\nContent-Length: 0\r\n\r\n"

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        if method.encode() in await read_head(reader):
            writer.write(head)
            await read_head(reader)
            writer.write(late)
        writer.write(EMPTY)

    async with origin_at(talk) as origin, asyncio.timeout(10):
        assert await whole(origin, asking(method)) == b""
        assert (await origin.send(GET, None)).response.status == 200


@pytest.mark.parametrize("how", ["length", "chunked", "close"])
async def test_bytes_may_come_in_any_pieces(how: str):
    body = random.Random(how).randbytes(300)
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    answer = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + body,
        "chunked": CHUNKED + chunk(body[:7]) + chunk(body[7:]) + b"0\r\nX: y\r\n\r\n",
        "close": b"HTTP/1.1 200 OK\r\n\r\n" + body,
    }[how]

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in interim + answer:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

    async with origin_at(talk) as origin:
        exchange = await origin.send(GET, None)
        assert (exchange.response.status, await body_of(exchange)) == (200, body)
        assert exchange.trailers == ((("X", "y"),) if how == "chunked" else ())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 103 X\r\n\r\nnonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MIB + b"\r\n\r\n",
        b"nonsense",
    ],
)
async def test_a_head_that_cannot_be_read_is_unread_and_ends_the_connection(answer: bytes):
    peer = Peer(answer)
    async with origin_at(peer.talk) as origin:
        with pytest.raises(OriginError) as caught:
            await origin.send(GET, None)
        error = caught.value
        assert (error.status, error.unread, error.sent) == (502, True, True)
        await until(lambda: peer.open == 0)
        assert len(peer.heads) == 1


async def test_a_head_just_below_the_limit_is_read():
    value = b"a" * (MIB - 1000)
    peer = Peer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + value + b"\r\n\r\n")
    async with origin_at(peer.talk) as origin:
        assert (await origin.send(GET, None)).response.get("x") == value.decode()


@pytest.mark.parametrize(
    ("answer", "unread"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", True),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", False),
    ],
)
@pytest.mark.parametrize(("then", "status"), [("close", 502), ("reset", 502), ("listen", 504)])
async def test_an_answer_that_does_not_come_is_told_from_one_that_nobody_could_read(
    answer: bytes, unread: bool, then: str, status: int
):
    peer = Peer(answer, then=then)
    async with origin_at(peer.talk, read_timeout_s=0.2) as origin:
        with pytest.raises(OriginError) as caught:
            await origin.send(GET, None)
        assert (caught.value.status, caught.value.sent) == (status, True)
        # After a reset, what had come before it may be lost on the way.
        assert caught.value.unread == unread or then == "reset"
        await until(lambda: peer.open == 0)


@pytest.mark.parametrize(("then", "status"), [("close", 502), ("reset", 502), ("listen", 504)])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        CHUNKED + chunk(b"hello"),
        CHUNKED + chunk(b"hello") + b"0\r\nX: y\r\n",
    ],
)
async def test_a_body_that_breaks_off_is_an_error_after_what_had_come(answer: bytes, then: str, status: int):
    peer = Peer(answer, then=then)
    async with origin_at(peer.talk, read_timeout_s=0.2) as origin:
        got: list[bytes] = []
        with pytest.raises(OriginError) as caught:
            await read_into(got, origin)
        assert caught.value.status == status
        # After a reset, what had come before it may be lost on the way.
        assert then == "reset" or (got == [b"hello"] and not caught.value.unread)
        await until(lambda: peer.open == 0)


@pytest.mark.parametrize("bad", [b"zz\r\n", b"1\r\nab\r\n", b"0\r\n x\r\n\r\n"])
async def test_a_body_that_turns_malformed_is_an_error(bad: bytes):
    peer = Peer(CHUNKED + chunk(b"hello") + bad)
    async with origin_at(peer.talk) as origin:
        with pytest.raises(OriginError) as caught:
            await whole(origin)
        assert (caught.value.status, caught.value.unread) == (502, False)
        await until(lambda: peer.open == 0)


# Requests.


async def test_a_body_of_known_length_goes_out_with_it_and_one_without_in_chunks():
    got: list[bytes] = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while head := await read_head(reader):
            if match := re.search(rb"Content-Length: (\d+)", head):
                got.append(match[1] + b" " + await reader.readexactly(int(match[1])))
            else:
                assert b"\r\nTransfer-Encoding: chunked\r\n" in head
                got.append(b"chunked " + await read_chunked(reader))
            writer.write(EMPTY)

    async with origin_at(talk) as origin:
        post = asking("POST")
        with_length = asking("POST", "/x", ("Content-Length", "4"))
        for request, body in [
            (post, b"bytes"),
            (post, pieces(b"of ", b"", b"unknown length")),
            (with_length, pieces(b"of", b"", b" 4")),
            (post, None),
            (post, pieces()),
        ]:
            await whole(origin, request, body)
    assert got == [b"5 bytes", b"chunked of unknown length", b"4 of 4", b"0 ", b"chunked "]


@pytest.mark.parametrize("how", ["bytes", "length", "chunked"])
async def test_bodies_of_megabytes_pass_both_ways(how: str):
    body = random.Random(how).randbytes(3 * MIB + 17)

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while await read_head(reader):
            got = await read_chunked(reader) if how == "chunked" else await reader.readexactly(len(body))
            if how == "chunked":
                writer.write(CHUNKED + chunk(got[:MIB]) + chunk(got[MIB:]) + chunk(b""))
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(got) + got)
            await writer.drain()

    async with origin_at(talk) as origin:
        fields = [("Content-Length", str(len(body)))] if how == "length" else []
        for _ in range(2):
            parts = pieces(*(body[i : i + 100_000] for i in range(0, len(body), 100_000)))
            assert await whole(origin, asking("POST", "/x", *fields), body if how == "bytes" else parts) == body


@pytest.mark.parametrize("what", ["fails", "is short", "is long"])
async def test_a_request_body_that_breaks_off_never_looks_whole(what: str):
    ends: list[bytes] = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        ends.append(await reader.read())

    async def body() -> AsyncIterator[bytes]:
        yield b"12345"
        if what == "fails":
            raise ConnectionResetError
        if what == "is long":
            yield b"6"
            yield b"7"

    async with origin_at(talk) as origin:
        for fields in [[("Content-Length", "6")], []][: 2 if what == "fails" else 1]:
            with pytest.raises(OriginError) as caught:
                await origin.send(asking("POST", "/x", *fields), body())
            assert (caught.value.status, caught.value.sent, caught.value.unread) == (400, True, False)
            await until(lambda: len(ends) == 1)
            assert ends.pop() in (b"12345", chunk(b"12345"), b"123456", b"")


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_origin_that_ends_the_connection_in_the_middle_of_a_body_has_failed_and_not_the_client(how: str):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(1)
        if how == "reset":
            writer.transport.abort()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0)

    async with origin_at(talk) as origin, asyncio.timeout(10):
        with pytest.raises(OriginError) as caught:
            await origin.send(asking("POST"), endless())
        assert (caught.value.status, caught.value.sent) == (502, True)


async def test_a_request_that_would_leave_as_another_is_not_sent():
    peer = Peer()
    async with origin_at(peer.talk) as origin:
        with pytest.raises(OriginError) as caught:
            await origin.send(asking("GET", "/x", ("X", "a\r\nY: b")), None)
        assert (caught.value.status, caught.value.sent) == (400, False)
    assert peer.connections == 0


@pytest.mark.parametrize("kind", ["iterator", "bytes"])
async def test_a_response_that_comes_while_the_body_is_sent_is_taken_at_once_and_ends_the_connection(kind: str):
    closed = asyncio.Event()
    stopped = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 X\r\nContent-Length: 5\r\n\r\n")
        writer.write(b"large")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(100 * MIB)
        closed.set()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with origin_at(talk) as origin, asyncio.timeout(10):
        exchange = await origin.send(asking("POST"), endless() if kind == "iterator" else bytes(90 * MIB))
        assert (exchange.response.status, await body_of(exchange)) == (413, b"large")
        await closed.wait()
        assert stopped.is_set() == (kind == "iterator")


async def test_a_body_waits_for_100_no_longer_than_about_a_second():
    got: list[float] = []
    continues = True

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while b"Expect: 100-continue" in await read_head(reader):
            begun = time.monotonic()
            if continues:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await reader.readexactly(4)
            got.append(time.monotonic() - begun)
            writer.write(EMPTY)

    expecting = asking("POST", "/x", ("Expect", "100-continue"))
    async with origin_at(talk) as origin:
        await whole(origin, expecting, b"body")
        continues = False
        await whole(origin, expecting, b"body")
    assert got[0] < 0.9 < got[1] < 4


async def test_a_body_that_nobody_waits_for_is_not_sent_after_a_final_answer():
    rest: list[bytes] = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 417 X\r\nContent-Length: 0\r\n\r\n")
        rest.append(await reader.read())

    async with origin_at(talk) as origin:
        exchange = await origin.send(asking("POST", "/x", ("Expect", "100-continue")), b"body")
        assert exchange.response.status == 417
        await until(lambda: rest == [b""])


async def test_a_slow_upload_is_not_an_origin_that_is_silent_and_one_that_takes_nothing_is():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        if b"/slow" in await read_head(reader):
            assert await read_chunked(reader) == b"upload"
            writer.write(EMPTY)
        await asyncio.Event().wait()

    async def slowly() -> AsyncIterator[bytes]:
        for byte in b"upload":
            await asyncio.sleep(0.1)
            yield bytes([byte])

    async with origin_at(talk, read_timeout_s=0.3) as origin:
        assert await whole(origin, asking("POST", "/slow"), slowly()) == b""
        with pytest.raises(OriginError) as caught:
            await origin.send(asking("POST", "/stuck"), bytes(90 * MIB))
        assert caught.value.status == 504


# The pool.


async def test_an_origin_is_silent_only_while_somebody_waits_for_it():
    go_on = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await go_on.wait()
        writer.write(b"cd")
        await asyncio.Event().wait()

    async with origin_at(talk, read_timeout_s=0.05) as origin:
        body = (await origin.send(GET, None)).body()
        assert await anext(body) == b"ab"
        await asyncio.sleep(0.15)
        go_on.set()
        assert b"".join([data async for data in body]) == b"cd"
        # The connection is the same, and its time a new one.
        with pytest.raises(OriginError) as caught:
            await origin.send(GET, None)
        assert caught.value.status == 504


async def test_a_connection_is_used_again_and_the_latest_first():
    gates = {f"/{n}": asyncio.Event() for n in range(3)}
    served: dict[str, int] = {}
    count = 0

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal count
        count += 1
        number = count
        while head := await read_head(reader):
            target = head.split()[1].decode()
            served[target] = number
            if target in gates:
                await gates[target].wait()
            writer.write(EMPTY)

    async with origin_at(talk) as origin, asyncio.TaskGroup() as group:
        tasks = {target: group.create_task(whole(origin, asking("GET", target))) for target in gates}
        await until(lambda: len(served) == 3)
        for target in "/2", "/0", "/1":
            gates[target].set()
            await tasks[target]
        for target in "/a", "/b":
            await whole(origin, asking("GET", target))
            assert served[target] == served["/1"]
    assert count == 3


async def test_two_hundred_requests_at_once_each_get_their_own_answer():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while head := await read_head(reader):
            body = head.split()[1] * 100
            await asyncio.sleep(0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with origin_at(talk) as origin:
        for _ in range(3):
            bodies = await asyncio.gather(*(whole(origin, asking("GET", f"/{n}")) for n in range(200)))
            assert bodies == [f"/{n}".encode() * 100 for n in range(200)]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi surplus",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + EMPTY,
    ],
)
async def test_a_connection_that_is_to_close_or_says_more_is_not_used_again(answer: bytes):
    peer = Peer(answer)
    async with origin_at(peer.talk) as origin:
        assert [await whole(origin) for _ in range(3)] == [b"hi"] * 3
        await until(lambda: peer.open == 0)
    assert peer.connections == 3


async def test_what_comes_unasked_ends_an_idle_connection():
    writers: list[StreamWriter] = []
    ended = 0

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal ended
        writers.append(writer)
        try:
            while await read_head(reader):
                writer.write(EMPTY)
        finally:
            ended += 1

    async with origin_at(talk) as origin:
        await whole(origin, asking("POST"))
        writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await until(lambda: ended == 1)
        assert await whole(origin, asking("POST")) == b""
    assert len(writers) == 2


async def test_an_idle_connection_is_dropped_when_the_peer_closes_it_or_after_its_time():
    peer = Peer(then="close")
    async with origin_at(peer.talk) as origin:
        for _ in range(3):
            await whole(origin, asking("POST"))
            await until(lambda: peer.open == 0)
            assert await origin.accepts()  # by then the client has seen the end of the other one, too
    await peer.left(6)
    peer = Peer()
    async with origin_at(peer.talk, idle_s=0.05) as origin:
        await whole(origin)
        await until(lambda: peer.open == 0)
        await whole(origin)
    assert peer.connections == 2


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    ("request_", "body", "repeated"),
    [
        (GET, None, True),
        (asking("HEAD"), None, True),
        (asking("OPTIONS"), None, True),
        (GET, b"body", False),
        (asking("POST"), None, False),
        (asking("DELETE"), None, False),
        (asking("PUT"), b"body", False),
        (asking("QUERY"), None, False),
    ],
)
async def test_only_what_is_safe_is_asked_again_and_only_once(
    request_: Request, body: bytes | None, repeated: bool, how: str
):
    asked: list[int] = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        number = len(asked)
        for turn in range(2):
            await read_head(reader)
            asked.append(number)
            if turn == 1:
                if how == "reset":
                    writer.transport.abort()
                return
            writer.write(EMPTY)

    async with origin_at(talk) as origin:
        await whole(origin)
        if repeated:
            assert await whole(origin, request_, body) == b""
            assert len(asked) == 3
            assert asked[2] != asked[1]
            return
        with pytest.raises(OriginError) as caught:
            await origin.send(request_, body)
        assert (caught.value.status, caught.value.sent, caught.value.unread) == (502, True, False)
    assert len(asked) == 2


async def test_a_fresh_connection_that_ends_is_not_tried_again():
    peer = Peer(b"", then="close")
    async with origin_at(peer.talk) as origin:
        with pytest.raises(OriginError):
            await origin.send(GET, None)
    assert len(peer.heads) == 1


# Readers that are slow, stop, or leave.


async def test_a_reader_that_is_slow_holds_the_origin_back_and_gets_everything():
    size = 64 * MIB
    sent = 0

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with origin_at(talk) as origin:
        exchange = await origin.send(GET, None)
        stalled = -1
        while sent != stalled:
            stalled = sent
            await asyncio.sleep(0.2)
        assert stalled < size / 2
        largest = read = 0
        async for data in exchange.body():
            largest = max(largest, len(data))
            read += len(data)
    assert (read, sent) == (size, size)
    assert largest <= MIB


@pytest.mark.parametrize("how", ["close", "leave", "drop"])
async def test_a_response_that_is_half_read_ends_its_connection(how: str):
    peer = Peer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    async with origin_at(peer.talk) as origin:
        exchange = await origin.send(GET, None)
        if how == "close":
            exchange.close()
            exchange.close()
        elif how == "leave":
            body = exchange.body()
            assert await anext(body) == b"hello"
            await body.aclose()  # type: ignore[attr-defined]
        else:
            del exchange
        await until(lambda: peer.open == 0)


@pytest.mark.parametrize(
    ("head", "rest", "expected"),
    [
        (b"Content-Length: 4\r\n\r\nab", b"cd", b"abcd"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab", b"\r\n2\r\ncd\r\n0\r\n\r\n", b"abcd"),
        (b"\r\nab", b"cd", b"abcd"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab", b"\r\n2\r\ncd\r\n0\r\nX: y\r\n\r\n", None),
        (b"Content-Length: 5\r\n\r\nab", b"cd", None),
    ],
    ids=["length", "chunked", "close", "trailers", "broken off"],
)
async def test_a_body_is_whole_once_it_has_ended_well_and_without_trailers(
    head: bytes, rest: bytes, expected: bytes | None
):
    go_on, peer_left = asyncio.Event(), asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + head)
        await go_on.wait()
        writer.write(rest)
        writer.close()
        await writer.wait_closed()
        peer_left.set()

    async with origin_at(talk) as origin:
        exchange = await origin.send(GET, None)
        assert exchange.whole() is None
        go_on.set()
        await peer_left.wait()
        if expected is None:
            got: list[bytes] = []
            with pytest.raises(OriginError) if b"5" in head else nullcontext():
                async for data in exchange.body():
                    got.append(data)
            assert (b"".join(got), exchange.whole() or None) == (b"abcd", None)
        else:
            await until(lambda: exchange.whole() == expected)
            assert (exchange.whole(), await body_of(exchange)) == (b"", b"")


async def test_a_response_that_has_come_whole_gives_its_connection_back_once_read_or_not():
    peer = Peer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    async with origin_at(peer.talk) as origin:
        first = await origin.send(GET, None)
        second = await origin.send(GET, None)
        third = await origin.send(GET, None)
        first.close()
        assert [await body_of(second), await body_of(third)] == [b"hello"] * 2
        second.close()
        both = await asyncio.gather(whole(origin), whole(origin))
        assert list(both) == [b"hello"] * 2
    assert peer.connections == 2


@pytest.mark.parametrize("when", ["connected", "head", "body", "upload"])
async def test_whoever_is_cancelled_leaves_no_connection_behind(when: str):
    reached = asyncio.Event()
    open_connections = 0

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal open_connections
        open_connections += 1
        try:
            await read_head(reader)
            if when == "head":
                writer.write(b"HTTP/1.1 200 OK\r\nX:")
            elif when == "body":
                writer.write(CHUNKED + chunk(b"hello"))
            elif when == "upload":
                await reader.readuntil(b"begun")
            reached.set()
            await reader.read()
        finally:
            open_connections -= 1

    async def endless() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    async with origin_at(talk) as origin:
        sent = asyncio.gather(whole(origin, asking("POST"), endless() if when == "upload" else None))
        await asyncio.wait_for(reached.wait(), 5)
        sent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sent
        await until(lambda: open_connections == 0)


async def test_closing_ends_what_is_under_way():
    peer = Peer(b"")
    async with origin_at(peer.talk) as origin:
        asked = asyncio.gather(origin.send(GET, None), return_exceptions=True)
        await until(lambda: len(peer.heads) == 1)
        await origin.close()
        (error,) = await asked
        assert isinstance(error, OriginError)
        await until(lambda: peer.open == 0)


# Other protocols, other addresses.

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = asking("GET", "/ws", ("Connection", "Upgrade"), ("Upgrade", "websocket"))


async def test_after_an_upgrade_bytes_pass_both_ways():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 103 X\r\n\r\n" + SWITCHING + b"first ")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
            if data.endswith(b"end"):
                return

    # Whoever has switched may be silent for as long as he likes.
    async with origin_at(talk, read_timeout_s=0.05) as origin:
        exchange = await origin.send(UPGRADE, None)
        assert (exchange.response.status, exchange.response.get("upgrade")) == (101, "websocket")
        assert await body_of(exchange) == b""
        tunnel = exchange.upgraded
        assert tunnel is not None
        said = tunnel.chunks()
        assert await anext(said) == b"first "
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting := asyncio.gather(anext(said))), 0.2)
        tunnel.write(b"HTTP/1.1 is no more ")
        assert list(await waiting) == [b"HTTP/1.1 is no more "]
        data = random.Random(1).randbytes(2 * MIB) + b"end"
        tunnel.write(data)
        await tunnel.drain()
        assert b"".join([more async for more in said]) == data
        with pytest.raises(OriginError):
            await tunnel.drain()


@pytest.mark.parametrize("how", ["close", "drop"])
async def test_a_tunnel_that_is_closed_or_dropped_ends_its_connection(how: str):
    peer = Peer(SWITCHING)
    async with origin_at(peer.talk) as origin:
        tunnel = (await origin.send(UPGRADE, None)).upgraded
        assert tunnel is not None
        tunnel.write(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: len(peer.heads) == 2)
        if how == "close":
            tunnel.close()
        else:
            del tunnel
        await until(lambda: peer.open == 0)


async def test_an_upgrade_that_is_declined_is_an_answer_like_any_other():
    peer = Peer(b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi")
    async with origin_at(peer.talk) as origin:
        for _ in range(2):
            exchange = await origin.send(UPGRADE, None)
            assert (exchange.upgraded, await body_of(exchange)) == (None, b"hi")
    assert peer.connections == 1


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}", "http+unix://{}", "http+unix://{quoted}"])
async def test_an_origin_may_listen_on_a_unix_socket(tmp_path: Path, form: str):
    path = tmp_path / "app.sock"
    peer = Peer()
    server = await asyncio.start_unix_server(peer.talk, path)
    url = form.format(path, quoted=str(path).replace("/", "%2F"))
    async with server, Origin(url, connect_timeout_s=5, read_timeout_s=5) as origin:
        assert await origin.accepts()
        for _ in range(2):
            await whole(origin, Request("GET", "/x", "", ()))
        await origin.close()
        await peer.left(2)
    assert peer.heads == [b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"] * 2
    async with Origin(f"unix:{path}.none", connect_timeout_s=5, read_timeout_s=5) as origin:
        with pytest.raises(OriginError) as caught:
            await origin.send(GET, None)
        assert (caught.value.status, caught.value.sent) == (502, False)
        assert not await origin.accepts()


async def test_an_origin_that_cannot_be_reached_has_certainly_got_nothing():
    for url in "http://127.0.0.1:1", "http://[::1]:1", "http://no-such-host.invalid":
        async with Origin(url, connect_timeout_s=5, read_timeout_s=5) as origin:
            with pytest.raises(OriginError) as caught:
                await origin.send(asking("POST"), b"body")
            assert (caught.value.status, caught.value.sent, caught.value.unread) == (502, False, False)
            assert not await origin.accepts()


async def test_an_origin_that_does_not_take_connections_in_time_has_certainly_got_nothing():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        host, port = full.getsockname()
        # One in the backlog and nobody accepts: the next one waits.
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((host, port))
        async with Origin(f"http://{host}:{port}", connect_timeout_s=0.2, read_timeout_s=5) as origin:
            with pytest.raises(OriginError) as caught:
                await origin.send(asking("POST"), b"body")
            assert (caught.value.status, caught.value.sent) == (504, False)
        for each in waiting:
            each.close()
