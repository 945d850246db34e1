"""One client's connection: what it is answered, in which order and in which bytes. RFC 9110 and 9112."""

import asyncio
import gzip
import re
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from mizan_edge.http.message import Response
from mizan_edge.serving.answer import Answer
from mizan_edge.serving.requests import Outcome
from tests.support import wire
from tests.support.listening import SWITCHED, UPGRADE, chunk, connection, listening, said
from tests.support.origin import until
from tests.support.proxy import Talk, read_head, talking

MIB = 1 << 20
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def says(*answers: bytes) -> Talk:
    """An origin that gives these answers to requests without a body, one after the other, on each connection."""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        for answer in answers * 100:
            await read_head(reader)
            writer.write(answer)
            await writer.drain()

    return talk


async def answer_to(data: bytes, *origin: bytes) -> bytes:
    """All that a client reads who sends some bytes and then no more."""
    async with talking(says(*origin)) as address, listening(address) as running:
        return await said(running.address, data)


async def pour(writer: StreamWriter, data: bytes) -> None:
    """Writes until 64 MiB are out."""
    for _ in range(64 * MIB // len(data)):
        writer.write(data)
        await writer.drain()


def head_of(raw: bytes) -> list[bytes]:
    return raw.partition(b"\r\n\r\n")[0].split(b"\r\n")


# Heads.


async def test_section_5_5_bytes_of_fields_and_of_the_reason_leave_as_they_came_both_ways():
    heads = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(
            b"HTTP/1.1 299 \xff \xc3\xbc\r\nX-A: \xfe\r\nx-a: gr\xc3\xbcn\r\nX-A: 3\r\nContent-Length: 0\r\n\r\n"
        )

    async with talking(talk) as address, listening(address) as running:
        data = b"GET / HTTP/1.1\r\nHost: a\r\nX-B: \xff\r\nx-b: gr\xc3\xbc\xc3\x9fe\r\nX-B: 3\r\n\r\n"
        lines = head_of(await said(running.address, data))
    assert lines[:4] == [b"HTTP/1.1 299 \xff \xc3\xbc", b"X-A: \xfe", b"x-a: gr\xc3\xbcn", b"X-A: 3"]
    assert [line for line in head_of(heads[0]) if b"-B:" in line.upper()] == data.split(b"\r\n")[2:5]


@pytest.mark.parametrize("method", [b"BREW", b"M-SEARCH", b"get", b"!#$%&'*+.^_`|~", b"PROPPATCH", b"PURGE"])
async def test_rfc_9110_section_9_1_any_method_passes(method: bytes):
    heads = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(OK)

    async with talking(talk) as address, listening(address) as running:
        assert (await said(running.address, (method + b" / HTTP/1.1\r\nHost: a\r\n\r\n") * 2)).count(b"200 OK") == 2
    assert [head.split()[0] for head in heads] == [method] * 2


async def test_rfc_9110_section_9_3_7_options_of_the_server_pass():
    heads = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)

    async with talking(talk) as address, listening(address) as running:
        assert b"200 OK" in await said(running.address, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert heads[0].startswith(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", 417),
        (b"GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n", 400),
    ],
)
async def test_what_is_not_spoken_here_is_refused_and_ends_the_connection(data: bytes, status: int):
    reply = wire.parse(await answer_to(data + GET, OK))
    assert (reply.status, reply["Connection"], reply["Content-Type"]) == (status, "close", "application/problem+json")
    assert reply.json["status"] == status


async def test_rfc_9110_section_6_6_1_a_date_is_added_where_there_is_none():
    for answer, date in (OK, None), (OK.replace(b"OK\r\n", b"OK\r\nDate: x\r\n"), "x"):
        reply = wire.parse(await answer_to(GET, answer))
        assert reply["Date"] == date or (date is None and re.fullmatch(r"\w{3}, .* GMT", reply["Date"] or ""))
    assert wire.parse(await answer_to(b"GET /\r\n"))["Date"]


async def test_section_9_6_close_is_said_when_it_is_so():
    closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    raw = await answer_to(GET + closing + GET, OK)
    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert raw.count(b"Connection: close") == 1
    assert raw.rindex(b"Connection: close") > raw.index(b"\r\n\r\nok")


async def test_section_9_3_an_http_1_0_client_keeps_its_connection_if_it_asks():
    old = b"GET / HTTP/1.0\r\n\r\n"
    asking = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    raw = await answer_to(asking + old + old, OK)
    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert raw.count(b"Connection: keep-alive") == 1
    # What has trailers is never given a length, however fast it comes.
    unknown = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"ok") + b"0\r\nX-Sum: 1\r\n\r\n"
    raw = await answer_to(asking + asking, unknown)
    assert raw.endswith(b"\r\n\r\nok")
    assert raw.count(b"HTTP/1.1") == 1


# Bodies.


@pytest.mark.parametrize("status", [204, 304, 205, 200])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_section_6_3_what_has_no_body_is_followed_at_once(method: bytes, status: int):
    has_body = method == b"GET" and status in (200, 205)
    answer = b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"Content-Length: 0\r\n" if has_body else b"")
    raw = await answer_to((method + b" / HTTP/1.1\r\nHost: a\r\n\r\n") * 2, answer)
    assert len(re.findall(rb"HTTP/1.1 %d X\r\n" % status, raw)) == 2
    assert b"chunked" not in raw
    assert raw.endswith(b"\r\n\r\n")


async def test_section_7_1_2_trailers_pass_but_for_those_that_would_be_no_trailers():
    body = chunk(b"ok") + b"0\r\nX-Sum: \xff1\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nX-Sum: 2\r\n\r\n"
    raw = await answer_to(GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert raw.endswith(b"\r\n\r\n2\r\nok\r\n0\r\nX-Sum: \xff1\r\nX-Sum: 2\r\n\r\n")


async def test_trailers_show_nothing_that_is_between_the_edge_and_the_origin():
    body = chunk(b"ok") + b"0\r\nX-Mizan-Partition: user:5:p\r\nX-Sum: 1\r\nMizan-Cache-Control: no-store\r\n\r\n"
    raw = await answer_to(GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert raw.endswith(b"\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")


async def test_each_event_arrives_before_the_next_is_sent():
    go_on = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(5):
            writer.write(b"data: %d\n\n" % number)
            await go_on.wait()
            go_on.clear()

    async with talking(talk) as address, listening(address) as running, connection(running.address) as (reader, writer):
        writer.write(GET)
        for number in range(5):
            await asyncio.wait_for(reader.readuntil(b"data: %d\n\n" % number), 5)
            go_on.set()
        assert await asyncio.wait_for(reader.readexactly(7), 5) == b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
async def test_section_8_an_answer_that_breaks_off_never_looks_whole(answer: bytes):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)
        await writer.drain()

    async with (
        talking(talk) as address,
        listening(address) as running,
        connection(running.address) as (reader, writer),
    ):
        writer.write(GET)
        assert (await asyncio.wait_for(reader.read(), 5)).endswith((b"\r\n\r\nok", b"\r\n2\r\nok\r\n"))


async def test_section_8_half_a_body_that_the_close_ends_does_not_end_as_a_whole_one_would():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"ok"))
        await writer.drain()

    async with talking(talk) as address, listening(address) as running, connection(running.address) as (reader, writer):
        writer.write(GET.replace(b"1.1", b"1.0"))
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)


async def test_section_8_an_answer_that_fails_on_its_way_does_not_end_as_a_whole_one_would():
    async def failing() -> AsyncIterator[bytes]:
        yield b"ok"
        raise ValueError("a fault of the edge's own")

    async def answer(*_: object) -> Answer:
        return Answer(Response(200, ()), failing(), Outcome("pass"))

    async with listening("127.0.0.1:1") as running, connection(running.address) as (reader, writer):
        running.proxy.answered = answer  # type: ignore[method-assign, assignment]
        writer.write(GET.replace(b"1.1", b"1.0"))
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)


async def test_a_small_answer_leaves_in_one_segment():
    async with talking(says(OK)) as address, listening(address) as running:
        with socket.create_connection(tuple(running.address.rsplit(":", 1))) as sock:  # type: ignore[arg-type]
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            # Of an answer of the edge's own, whose body is whole.
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\n\r\n")
            first = await asyncio.wait_for(loop.sock_recv(sock, 65536), 5)
    assert wire.parse(first).json["status"] == 400


# Pipelines.


async def test_section_9_3_2_pipelined_requests_are_answered_in_order_one_at_a_time():
    under_way = most = 0

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal under_way, most
        while True:
            target = (await read_head(reader)).split()[1]
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    targets = [b"/%d" % number for number in range(50)]
    async with talking(talk) as address, listening(address) as running:
        data = b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target for target in targets)
        raw = await said(running.address, data[:777], data[777:])
    assert re.findall(rb"\r\n\r\n(/\d+)", raw) == targets
    assert most == 1


async def test_no_more_than_a_bound_of_what_a_client_pipelines_waits_in_memory():
    asked = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await asyncio.Event().wait()

    async with talking(talk) as address, listening(address) as running, connection(running.address) as (_, writer):
        writer.write(GET)
        await asyncio.wait_for(asked.wait(), 5)
        with pytest.raises(TimeoutError):  # for nobody reads
            await asyncio.wait_for(pour(writer, GET * 10_000), 0.5)
        assert len(running.proxy.believed) == 1


# Expect: RFC 9110 section 10.1.1.


async def test_a_100_comes_when_the_body_is_read_and_not_before():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            # The client gets one of these all the same.
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if b"chunked" in head:
                await reader.readuntil(b"0\r\n\r\n")
            elif b"Content-Length: 4" in head:
                await reader.readexactly(4)
            writer.write(OK)

    async with talking(talk) as address, listening(address) as running:
        for framing, body in (
            (b"Content-Length: 4", b"body"),
            (b"Transfer-Encoding: chunked", chunk(b"body") + chunk(b"")),
        ):
            head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + framing + b"\r\n\r\n"
            async with connection(running.address) as (reader, writer):
                for _ in range(2):
                    writer.write(head)
                    assert await asyncio.wait_for(read_head(reader), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
                    writer.write(body)
                    assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 200 OK")
                    assert await reader.readexactly(2) == b"ok"
                # Who sends it all the same needs none.
                writer.write(head + body)
                assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 200 OK")


async def test_a_final_answer_that_comes_first_is_the_only_one_and_ends_the_connection():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    async with listening("127.0.0.1:1") as running, connection(running.address) as (reader, writer):
        writer.write(head)
        raw = await asyncio.wait_for(reader.read(), 5)
        writer.write(b"body" + GET)
    assert raw.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"\r\nConnection: close\r\n" in raw
    assert b"100 Continue" not in raw


async def test_an_http_1_0_client_gets_no_interim_response():
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert (await answer_to(GET, interim + OK)).startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n")
    raw = await answer_to(GET.replace(b"1.1", b"1.0"), interim + OK)
    assert raw.startswith(b"HTTP/1.1 200 OK")


async def test_interim_responses_come_at_once_and_in_order():
    go_on = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        for number in range(3):
            writer.write(b"HTTP/1.1 103 Early Hints\r\nX-N: %d\r\n\r\n" % number)
            await go_on.wait()
            go_on.clear()
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)

    async with talking(talk) as address, listening(address) as running, connection(running.address) as (reader, writer):
        writer.write(GET)
        for number in range(3):
            head = await asyncio.wait_for(read_head(reader), 5)
            assert b"103 Early Hints\r\nX-N: %d\r\n" % number in head
            go_on.set()
        assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 200 OK")


# Bodies that nobody wants.


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_section_9_3_the_rest_of_a_small_body_is_read_past_and_the_connection_goes_on(framing: str):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await writer.drain()
        await reader.read()

    body = b"x" * 1000
    async with talking(talk) as address, listening(address) as running, connection(running.address) as (reader, writer):
        for _ in range(2):
            if framing == "length":
                writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + body[:500])
            else:
                writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body)[:500])
            head = await asyncio.wait_for(read_head(reader), 5)
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert b"close" not in head
            assert await reader.readexactly(2) == b"ok"
            writer.write(body[500:] if framing == "length" else chunk(body)[500:] + chunk(b""))


async def test_section_9_6_a_client_that_goes_on_sending_a_large_body_can_read_its_answer():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.Event().wait()

    async with talking(talk) as address, listening(address) as running, connection(running.address) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (8 * MIB))
        for _ in range(8):
            writer.write(b"x" * MIB)
            await asyncio.wait_for(writer.drain(), 5)
        raw = await asyncio.wait_for(reader.read(), 5)
    assert raw.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"\r\nConnection: close\r\n" in raw
    assert raw.endswith(b"\r\n\r\nno")


# Clients that leave.


async def test_a_client_that_has_said_all_is_answered():
    async with talking(says(OK)) as address, listening(address) as running:
        assert (await said(running.address, GET * 3)).count(b"HTTP/1.1 200 OK") == 3


async def test_a_client_that_leaves_before_its_answer_cancels_nothing():
    asked, done = asyncio.Event(), asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await done.wait()
        writer.write(OK)

    async with talking(talk) as address, listening(address) as running:
        seen: list[int] = []
        answer: Callable[..., Awaitable[object]] = running.proxy.answered

        async def noted(*given: object) -> object:
            got = await answer(*given)
            seen.append(1)
            return got

        running.proxy.answered = noted  # type: ignore[method-assign, assignment]
        async with connection(running.address) as (_, writer):
            writer.write(GET)
            await asyncio.wait_for(asked.wait(), 5)
        done.set()
        await until(lambda: seen == [1])


async def test_a_client_that_resets_just_before_its_connection_is_closed_is_no_fault(caplog: pytest.LogCaptureFixture):
    done = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"ok"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        done.set()

    async def answer(*_: object) -> Answer:
        return Answer(Response(200, (("Content-Length", "2"),)), body(), Outcome("pass"))

    async with listening("127.0.0.1:1") as running:
        running.proxy.answered = answer  # type: ignore[method-assign, assignment]
        host, _, port = running.address.rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await asyncio.wait_for(done.wait(), 5)
    assert not caplog.records


async def test_a_client_that_leaves_a_stream_lets_the_origin_go_at_once():
    gone = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
        try:
            await reader.read()  # though it says nothing more
        finally:
            gone.set()

    async with talking(talk) as address, listening(address) as running:
        async with connection(running.address) as (reader, writer):
            writer.write(GET)
            await asyncio.wait_for(reader.readuntil(b"first"), 5)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await asyncio.wait_for(gone.wait(), 5)


# Upgrades: RFC 9110 section 7.8.


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    assert b"\r\nUpgrade: echo\r\n" in await read_head(reader)
    writer.write(SWITCHED)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_a_tunnel_carries_bytes_both_ways_also_those_that_were_early():
    async with talking(echo) as address, listening(address) as running, connection(running.address) as (reader, writer):
        writer.write(UPGRADE + b"early" + GET)
        head = await asyncio.wait_for(read_head(reader), 5)
        assert head_of(head)[0] == b"HTTP/1.1 101 Switching Protocols"
        assert {b"Connection: upgrade", b"Upgrade: echo", b"X-A: 1"} <= set(head_of(head))
        assert b"Transfer-Encoding" not in head and b"Content-Length" not in head
        assert await asyncio.wait_for(reader.readexactly(5 + len(GET)), 5) == b"early" + GET
        for size in 1, 1000, MIB:
            data = bytes(range(256)) * (size // 256 + 1)
            writer.write(data)
            assert await asyncio.wait_for(reader.readexactly(len(data)), 10) == data
    assert len(running.proxy.believed) == 1


async def test_two_hundred_tunnels_at_once():
    async with talking(echo) as address, listening(address) as running:

        async def one(number: int) -> None:
            async with connection(running.address) as (reader, writer):
                writer.write(UPGRADE)
                await read_head(reader)
                for turn in range(3):
                    data = b"%d:%d\n" % (number, turn)
                    writer.write(data)
                    assert await reader.readline() == data

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(one(number))


async def test_a_tunnel_ends_with_either_end_after_what_was_said():
    said_last, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCHED + b"last words")
        said_last.set()
        if not gone.is_set():
            await reader.read()
            gone.set()

    async with talking(talk) as address, listening(address) as running:
        async with connection(running.address) as (reader, writer):
            writer.write(UPGRADE)
            await asyncio.wait_for(reader.readuntil(b"last words"), 5)
        await asyncio.wait_for(gone.wait(), 5)
        assert (await asyncio.wait_for(_until_end(running.address), 5)).endswith(b"\r\n\r\nlast words")


async def _until_end(address: str) -> bytes:
    async with connection(address) as (reader, writer):
        writer.write(UPGRADE)
        return await reader.read()


async def test_a_client_that_has_said_all_in_a_tunnel_still_hears_the_answer():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        question = await reader.readline()
        writer.write(b"answer to " + question)

    async with talking(talk) as address, listening(address) as running:
        assert (await said(running.address, UPGRADE + b"question\n")).endswith(b"answer to question\n")


async def test_a_tunnel_that_nobody_reads_fills_no_memory():
    sent = 0

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(SWITCHED)
        for _ in range(64):
            writer.write(b"x" * MIB)
            await writer.drain()
            sent += MIB

    async with talking(talk) as address, listening(address) as running, connection(running.address) as (_, writer):
        writer.write(UPGRADE)
        with pytest.raises(TimeoutError):  # for nobody reads
            await asyncio.wait_for(pour(writer, b"x" * MIB), 0.7)
    assert 0 < sent < 32 * MIB


async def test_an_upgrade_whose_body_has_not_come_is_no_tunnel():
    """What is left of the body would be said to the origin as the other protocol."""
    heard = asyncio.Event()
    ended: list[bytes] = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        ended.append(await reader.read())
        heard.set()

    async with talking(talk) as address, listening(address) as running:
        async with connection(running.address) as (reader, writer):
            writer.write(UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\nfirst"))
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.write(b" last")
        await asyncio.wait_for(heard.wait(), 5)
    assert ended[0] in (b"", b"first")


async def test_an_upgrade_that_the_origin_declines_is_answered_like_any_request():
    raw = await answer_to(UPGRADE + GET, OK)
    assert raw.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("protocols", "shown"),
    [(b"websocket", b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"), (b"h2c", b""), (b"TLS/1.3, HTTP/1.1", b"")],
)
async def test_a_426_says_to_which_protocols_if_they_pass(protocols: bytes, shown: bytes):
    answer = b"HTTP/1.1 426 X\r\nUpgrade: %b\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n" % protocols
    raw = await answer_to(GET, answer)
    assert raw.startswith(b"HTTP/1.1 426 X\r\n")
    assert (shown in raw) if shown else (b"pgrade:" not in raw)


async def test_an_http_1_0_client_cannot_upgrade():
    heads = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)

    async with talking(talk) as address, listening(address) as running:
        assert b"200 OK" in await said(running.address, UPGRADE.replace(b"1.1", b"1.0"))
    assert b"pgrade" not in heads[0]


# Bytes.


async def test_a_body_of_bytes_that_are_no_text_passes_both_ways():
    body = gzip.compress(bytes(range(256)) * 4000)

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        got = await reader.readexactly(len(body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(got) + got)
        await writer.drain()

    async with talking(talk) as address, listening(address) as running:
        raw = await said(
            running.address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
    assert raw.endswith(b"\r\n\r\n" + body)
