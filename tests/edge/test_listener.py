"""The listener as a whole: how it ends, and on which sockets it listens."""

import asyncio
import socket
import ssl
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.listening import SWITCHED, UPGRADE, connection, listening, said
from tests.support.proxy import read_head, talking

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


BODY = bytes(range(256)) * 1000


def begun(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(work)


async def test_a_stop_closes_idle_connections_and_finishes_requests_and_takes_no_more():
    asked, answer = asyncio.Event(), asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await answer.wait()
        writer.write(OK)

    async with (
        talking(talk) as address,
        listening(address) as running,
        connection(running.address) as (idle, _),
        connection(running.address) as (busy, writer),
    ):
        writer.write(GET + GET)
        await asyncio.wait_for(asked.wait(), 5)
        drained = begun(running.listener.drain(10))
        assert await asyncio.wait_for(idle.read(), 5) == b""
        with pytest.raises(ConnectionRefusedError):
            await said(running.address, GET)
        assert not drained.done()
        answer.set()
        raw = await asyncio.wait_for(busy.read(), 5)
        assert raw.count(b"HTTP/1.1 200 OK") == 1
        assert b"\r\nConnection: close\r\n" in raw
        await asyncio.wait_for(drained, 5)
    assert len(running.proxy.believed) == 1


async def test_a_stop_waits_no_longer_than_it_is_told():
    asked = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await asyncio.Event().wait()

    async with (
        talking(talk) as address,
        listening(address) as running,
        connection(running.address) as (reader, writer),
    ):
        writer.write(GET)
        await asyncio.wait_for(asked.wait(), 5)
        await asyncio.wait_for(running.listener.drain(0.1), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_stop_does_not_wait_for_tunnels_and_ends_them():
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        await reader.read()

    async with (
        talking(talk) as address,
        listening(address) as running,
        connection(running.address) as (reader, writer),
    ):
        writer.write(UPGRADE)
        await asyncio.wait_for(read_head(reader), 5)
        await asyncio.wait_for(running.listener.drain(60), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_request_that_has_begun_to_arrive_is_answered_before_the_stop():
    async with (
        talking(one_answer) as address,
        listening(address) as running,
        connection(running.address) as (reader, writer),
    ):
        writer.write(GET[:10])
        await writer.drain()
        # Another connection's answer shows that the listener has read what came before.
        await said(running.address, GET)
        drained = begun(running.listener.drain(10))
        await asyncio.sleep(0)
        writer.write(GET[10:])
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200 OK")
        await asyncio.wait_for(drained, 5)


async def test_a_client_that_is_idle_may_send_one_more_request_and_is_told_that_it_is_the_last():
    async with (
        talking(one_answer) as address,
        listening(address) as running,
        connection(running.address) as (reader, writer),
        connection(running.address) as (silent, _),
    ):
        writer.write(GET)
        assert b"Connection: close" not in await asyncio.wait_for(read_head(reader), 5)
        drained = begun(running.listener.drain(10, grace_s=1))
        await asyncio.sleep(0)
        writer.write(GET)
        assert b"Connection: close" in await asyncio.wait_for(reader.read(), 5)
        assert await asyncio.wait_for(silent.read(), 5) == b""
        await asyncio.wait_for(drained, 5)


async def test_clients_may_speak_tls():
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    heads = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)

    async with (
        talking(talk) as address,
        listening(address, tls=server) as running,
        connection(running.address, ssl=client) as (reader, writer),
    ):
        writer.write(GET + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await asyncio.wait_for(reader.read(), 5)).count(BODY) == 2
    assert all(b"\r\nX-Forwarded-Proto: https\r\n" in head for head in heads)


async def test_the_last_answer_over_tls_is_not_cut_for_a_client_that_takes_its_time():
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    body = BODY[: 72 << 10]  # more than the system takes, less than the loop below TLS says a word about

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def late(address: str) -> bytes:
        host, _, port = address.rpartition(":")
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((host, int(port)))
            with client.wrap_socket(sock, server_hostname=host, suppress_ragged_eofs=False) as secured:
                secured.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                time.sleep(3)  # longer than a client without TLS may take to see the end
                return b"".join(iter(lambda: secured.recv(65536), b""))

    async with talking(talk) as address, listening(address, tls=server, send_buffer=16384) as running:
        assert (await asyncio.to_thread(late, running.address)).endswith(b"\r\n\r\n" + body)


async def one_answer(reader: StreamReader, writer: StreamWriter) -> None:
    while True:
        await read_head(reader)
        writer.write(OK)


async def test_clients_of_a_unix_socket_have_no_address(tmp_path: Path):
    path = tmp_path / "s"
    async with (
        talking(one_answer) as address,
        listening(address, max_connections_per_address=1) as running,
        AsyncExitStack() as stack,
    ):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        await running.listener.listen([sock])
        for _ in range(3):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(GET)
            assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 200 OK")
            stack.callback(writer.close)


async def test_beyond_those_that_are_told_so_connections_are_cut():
    async def opened() -> tuple[StreamReader, StreamWriter]:
        host, _, port = running.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def until_end(reader: StreamReader) -> bytes:
        with suppress(ConnectionResetError):
            return await asyncio.wait_for(reader.read(), 5)
        return b""

    async with talking(one_answer) as address, listening(address, max_connections=1) as running:
        clients = [await opened() for _ in range(258)]
        try:
            (served, writer), *turned_away, (cut, _) = clients
            assert await until_end(cut) == b""
            for reader, _ in turned_away:
                assert (await until_end(reader)).startswith(b"HTTP/1.1 503 ")
            writer.write(GET)
            assert (await read_head(served)).startswith(b"HTTP/1.1 200 ")
        finally:
            for _, writer in clients:
                writer.transport.abort()
