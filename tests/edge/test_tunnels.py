"""Upgrades, spoken by a library on both sides of the edge: RFC 9110 section 7.8, RFC 6455."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, TCPConnector, WSMsgType

from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.edges import Start
from tests.support.listening import connection
from tests.support.origin import Origin, until
from tests.support.proxy import read_head
from tests.support.served import ROOT
from tests.support.websockets import BYE, BYE_CODE, Echo, echoing

VIEW = "/profile/5/"
SOCKETS = 200
CODE = 4001
UPGRADE = (
    f"GET {VIEW} HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with echoing() as echo:
        yield echo


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        yield session


async def test_two_hundred_web_sockets_at_once_each_hear_what_they_say(
    start_edge: Start, echo: Echo, session: ClientSession
):
    edge = await start_edge("--origin", f"http://{echo.address}")
    all_open = asyncio.Event()

    async def talk(number: int) -> int | None:
        async with session.ws_connect(f"ws://{edge.address}/chat/{number}", max_msg_size=0) as socket:
            if echo.opened == SOCKETS:
                all_open.set()
            await all_open.wait()
            for turn in range(3):
                text, data = f"{number}:{turn} ☃", number.to_bytes(2, "big") * (10 ** (turn + 1))
                await socket.send_str(text)
                await socket.send_bytes(data)
                assert await socket.receive_str() == text
                assert await socket.receive_bytes() == data
            if number % 2:
                await socket.close(code=CODE)
            else:
                await socket.send_str(BYE)
                assert (await socket.receive()).type is WSMsgType.CLOSE
            return socket.close_code

    async with asyncio.timeout(30):
        codes = Counter(await asyncio.gather(*(talk(number) for number in range(SOCKETS))))
    # 1006 would be an end without the closing handshake.
    assert codes[BYE_CODE] == SOCKETS / 2 and not codes[1006] and not codes[None]
    await until(lambda: len(echo.closed) == SOCKETS)
    assert Counter(echo.closed)[CODE] == SOCKETS / 2 and not Counter(echo.closed)[1006]


async def test_a_message_of_megabytes_passes_both_ways(make_edge: EdgeFactory, echo: Echo, session: ClientSession):
    edge = await make_edge(origin=f"http://{echo.address}")
    data = bytes(range(256)) * (32 << 10)
    async with session.ws_connect(f"ws://{edge.address}/chat", max_msg_size=0) as socket:
        async with asyncio.timeout(20):
            await socket.send_bytes(data)
            assert await socket.receive_bytes() == data


async def test_an_origin_that_dies_ends_the_tunnel_at_the_client(start_edge: Start, session: ClientSession):
    origin = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.websockets", stdout=PIPE, cwd=ROOT
    )
    try:
        assert origin.stdout is not None
        address = (await asyncio.wait_for(origin.stdout.readline(), 10)).decode().strip()
        edge = await start_edge("--origin", f"http://{address}")
        async with session.ws_connect(f"ws://{edge.address}/chat") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            origin.kill()
            ended = await asyncio.wait_for(socket.receive(), 5)
            assert ended.type in (WSMsgType.CLOSED, WSMsgType.ERROR)
            assert socket.close_code == 1006
    finally:
        if origin.returncode is None:
            origin.kill()
        await origin.wait()


async def test_a_client_that_is_gone_ends_the_tunnel_at_the_origin(make_edge: EdgeFactory, echo: Echo):
    edge = await make_edge(origin=f"http://{echo.address}")
    async with connection(edge.address) as (reader, writer):
        writer.write(UPGRADE)
        assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 101 ")
        await until(lambda: echo.opened == 1)
    await until(lambda: echo.closed == [1006], seconds=5)


async def test_an_upgrade_of_a_view_passes_by_the_cache(make_edge: EdgeFactory, echo: Echo, session: ClientSession):
    edge = await make_edge(origin=f"http://{echo.address}")
    assert (await edge.get(VIEW)).body == b"page 1"
    assert (await edge.get(VIEW)).hit
    async with session.ws_connect(f"ws://{edge.address}{VIEW}") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
    reply = await edge.get(VIEW)
    assert reply.hit and reply.body == b"page 1"
    assert (echo.pages, echo.opened) == (1, 1)


async def test_an_upgrade_that_a_view_declines_is_not_answered_from_the_cache_nor_stored(
    edge: RunningEdge, origin: Origin
):
    upgrade = {"Connection": "close, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for _ in range(2):
        reply = await edge.get(VIEW, upgrade)
        assert reply.status == 200 and reply.cache.startswith("fwd=bypass")
    assert not (await edge.get(VIEW)).hit
    assert (await edge.get(VIEW)).hit
    assert not (await edge.get(VIEW, upgrade)).hit
    assert origin.hits == 4
    assert [asked.get("Upgrade") for asked in origin.asked] == ["websocket", "websocket", None, "websocket"]


async def test_another_http_is_not_asked_for(edge: RunningEdge, origin: Origin):
    assert not (await edge.get(VIEW)).hit
    for protocols in "h2c", "websocket, h2c", "HTTP/2.0", "TLS/1.0":
        upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", protocols), ("HTTP2-Settings", "AAMAAABk")]
        assert (await edge.get(VIEW, upgrade)).hit
        assert (await edge.get("/undeclared", upgrade)).status == 200
        assert {origin.asked[-1].get(name) for name, _ in upgrade} == {None}
