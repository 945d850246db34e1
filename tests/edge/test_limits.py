"""What one client may take: sizes, connections and time. Each limit is a setting."""

import asyncio
import re
import resource
from asyncio import StreamReader, StreamWriter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import wire
from tests.support.edge import EdgeFactory
from tests.support.listening import Running, chunk, connection, listening, said
from tests.support.origin import Origin, until
from tests.support.processes import children
from tests.support.proxy import read_head, talking
from tests.support.served import Serve

MIB = 1 << 20
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def polite(reader: StreamReader, writer: StreamWriter) -> None:
    """An origin that reads requests to their end."""
    while True:
        head = await read_head(reader)
        if b"chunked" in head:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        elif b"Content-Length: " in head:
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
        writer.write(OK)


async def end_of(reader: StreamReader) -> bytes:
    """All that comes until the connection ends."""
    return await asyncio.wait_for(reader.read(), 10)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"x" * 2048 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (GET[:-2] + b"X: " + b"x" * 4096 + b"\r\n\r\n", 431),
        (GET[:-2] + b"X: " + b"x" * 40960, 431),
        (GET[:-2] + b"X: 1\r\n" * 20 + b"\r\n", 431),
        (POST + b"Content-Length: 11\r\n\r\n" + b"x" * 11, 413),
        (POST + b"Content-Length: 11\r\nExpect: 100-continue\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 11) + chunk(b""), 413),
    ],
)
async def test_what_is_too_large_is_refused_and_goes_nowhere(data: bytes, status: int):
    sizes: dict[str, Any] = {"max_head_bytes": 4096, "max_target_bytes": 2048, "max_fields": 20, "max_body_bytes": 10}
    async with talking(polite) as address, listening(address, **sizes) as running:
        reply = wire.parse(await said(running.address, data))
        assert (reply.status, reply["Connection"], reply["Content-Type"]) == (
            status,
            "close",
            "application/problem+json",
        )
        assert running.proxy.believed == []
        body = POST + b"Content-Length: 10\r\n\r\n" + b"x" * 10
        assert b"200 OK" in await said(running.address, body)


async def test_a_body_that_turns_out_to_be_too_long_is_413_and_never_looks_whole():
    arrived = b""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal arrived
        while data := await reader.read(65536):
            arrived += data

    async with (
        talking(talk) as address,
        listening(address, max_body_bytes=10) as running,
        connection(running.address) as (reader, writer),
    ):
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
        await until(lambda: b"first" in arrived)
        writer.write(chunk(b"second") + chunk(b""))
        assert (await end_of(reader)).startswith(b"HTTP/1.1 413 ")
    assert not arrived.endswith(b"0\r\n\r\n")


async def test_settings_reach_the_listener_of_an_edge(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(max_body_bytes=10, max_target_bytes=20)
    assert (await edge.request("POST", "/x", body=b"x" * 11)).status == 413
    assert (await edge.get("/" + "x" * 20)).status == 414
    assert origin.hits == 0
    assert (await edge.request("POST", "/x", body=b"x" * 10)).status == 200


async def test_bodies_that_are_larger_than_memory_may_be_pass_both_ways(serve: Serve):
    size = 128 * MIB

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        if (await read_head(reader)).startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // MIB):
                writer.write(b"x" * MIB)
                await writer.drain()
            return
        left = size
        while left and (data := await reader.read(MIB)):
            left -= len(data)
        writer.write(OK)

    async with talking(talk) as address:
        served = await serve("--origin", f"http://{address}")
        (worker,) = children(served.process.pid, b"mizan_edge.running.worker")
        before = peak_bytes(worker)
        async with connection(served.listen, limit=MIB) as (reader, writer):
            writer.write(GET)
            await read_head(reader)
            left = size
            while left:
                left -= len(await asyncio.wait_for(reader.read(left), 30))
        async with connection(served.listen) as (reader, writer):
            writer.write(POST + b"Content-Length: %d\r\n\r\n" % size)
            for _ in range(size // MIB):
                writer.write(b"x" * MIB)
                await asyncio.wait_for(writer.drain(), 30)
            assert b" 200 OK" in await asyncio.wait_for(read_head(reader), 30)
        assert peak_bytes(worker) - before < 16 * MIB


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(peak) * 1024


# Connections.


async def is_served(running: Running) -> bool:
    return b" 200 OK" in await said(running.address, GET)


async def test_more_connections_than_the_limit_are_told_so_and_closed():
    async with talking(polite) as address, listening(address, max_connections=3) as running:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                reader, writer = await stack.enter_async_context(connection(running.address))
                writer.write(GET)
                assert b" 200 OK" in await asyncio.wait_for(read_head(reader), 5)
            for _ in range(5):
                async with connection(running.address) as (reader, writer):
                    reply = wire.parse(await end_of(reader))
                    assert (reply.status, reply["Connection"]) == (503, "close")
        async with asyncio.timeout(5):
            while not await is_served(running):
                pass


async def test_one_address_has_fewer_and_trusted_proxies_have_not():
    settings: dict[str, Any] = {"max_connections": 10, "max_connections_per_address": 2}
    async with (
        talking(polite) as address,
        listening(address, **settings) as running,
        connection(running.address) as (_, one),
        connection(running.address) as (_, two),
    ):
        one.write(GET)
        two.write(GET)
        async with connection(running.address) as (reader, _):
            assert wire.parse(await end_of(reader)).status == 503
        # What it says of others is not believed.
        claimed = GET[:-2] + b"X-Forwarded-For: 192.0.2.1\r\n\r\n"
        assert b" 503 " in await said(running.address, claimed)
        async with connection(running.address, local_addr=("127.0.0.2", 0)) as (reader, writer):
            writer.write(GET)
            assert b" 200 OK" in await asyncio.wait_for(read_head(reader), 5)
    async with (
        talking(polite) as address,
        listening(address, trusted_proxies="127.0.0.1", **settings) as running,
        connection(running.address),
        connection(running.address),
        connection(running.address),
    ):
        assert await is_served(running)


async def test_idle_and_slow_connections_do_not_keep_others_from_being_served():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, (soft - 200) // 2)
    async with talking(polite) as address, listening(address) as running, AsyncExitStack() as stack:
        for number in range(count):
            _, writer = await stack.enter_async_context(connection(running.address))
            if number % 10 == 0:
                writer.write(GET[: 1 + number % 20])
        clock = asyncio.get_running_loop().time
        since_s = clock()
        for _ in range(20):
            assert await is_served(running)
        assert clock() - since_s < 5


# Time.


async def test_a_head_that_takes_too_long_is_408_however_busily_it_trickles():
    async with talking(polite) as address, listening(address, head_timeout=0.3) as running:
        async with connection(running.address) as (reader, writer):
            answered = asyncio.get_running_loop().create_task(end_of(reader))
            writer.write(GET[:-2])
            while not answered.done():
                writer.write(b"X: 1\r\n")
                await asyncio.wait([answered], timeout=0.02)
            assert answered.result().startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert running.proxy.believed == []


async def test_an_idle_connection_is_closed_without_a_word():
    async with talking(polite) as address, listening(address, idle_timeout=0.2) as running:
        async with connection(running.address) as (reader, _):
            assert await end_of(reader) == b""
        async with connection(running.address) as (reader, writer):
            writer.write(GET)
            assert (await end_of(reader)).endswith(b"\r\n\r\nok")
        async with connection(running.address) as (reader, writer):
            answered = asyncio.get_running_loop().create_task(end_of(reader))
            while not answered.done():
                writer.write(b"\r\n")  # empty lines are no requests
                await asyncio.wait([answered], timeout=0.02)
            assert isinstance(answered.exception(), ConnectionResetError) or answered.result() == b""


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"abc")]
)
async def test_a_body_that_stands_still_is_408_and_never_looks_whole(framing: bytes):
    arrived = b""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal arrived
        while data := await reader.read(65536):
            arrived += data

    async with (
        talking(talk) as address,
        listening(address, body_timeout=0.2) as running,
        connection(running.address) as (reader, writer),
    ):
        writer.write(POST + framing)
        assert (await end_of(reader)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"abc" in arrived and not arrived.endswith(b"0\r\n\r\n")


async def test_a_slow_body_and_a_slow_origin_are_no_body_that_stands_still():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(0.5)  # the time is what is tested
        await reader.readexactly(10)
        await asyncio.sleep(0.5)
        writer.write(OK)

    times: dict[str, Any] = {"body_timeout": 0.3, "idle_timeout": 0.3, "head_timeout": 0.3, "write_timeout": 0.3}
    async with (
        talking(talk) as address,
        listening(address, **times) as running,
        connection(running.address) as (reader, writer),
    ):
        writer.write(POST + b"Content-Length: 10\r\n\r\n")
        for _ in range(10):
            writer.write(b"x")
            await asyncio.sleep(0.08)
        assert b" 200 OK" in await asyncio.wait_for(read_head(reader), 5)


async def test_a_client_that_takes_nothing_is_cut_and_its_origin_let_go():
    gone = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        try:
            for _ in range(64):
                writer.write(b"x" * MIB)
                await writer.drain()
        finally:
            gone.set()

    async with (
        talking(talk) as address,
        listening(address, write_timeout=0.3) as running,
        connection(running.address, limit=1024) as (_, writer),
    ):
        writer.write(GET)
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_client_that_reads_slowly_gets_everything():
    size = 8 * MIB

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        await writer.drain()
        await reader.read()

    async with (
        talking(talk) as address,
        listening(address, write_timeout=0.5, idle_timeout=0.3) as running,
        connection(running.address, limit=65536) as (reader, writer),
    ):
        writer.write(GET)
        await read_head(reader)
        for _ in range(16):
            await asyncio.wait_for(reader.readexactly(size // 16), 5)
            await asyncio.sleep(0.06)


async def test_what_follows_a_refusal_is_not_waited_for_forever():
    async with listening("127.0.0.1:1") as running, connection(running.address) as (reader, writer):
        writer.write(b"nonsense\r\n\r\n")
        assert b" 400 " in await end_of(reader)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(trickle(writer), 10)


async def trickle(writer: StreamWriter) -> None:
    while True:
        writer.write(b"x" * 1000)
        await writer.drain()
        await asyncio.sleep(0.02)
