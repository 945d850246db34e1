"""The admin listener among strangers: who has no token takes nobody's place, and leaves nothing in the log."""

import asyncio
import resource
from contextlib import AsyncExitStack, suppress

import pytest

from mizan_edge.admin import connections, problems
from tests.support import wire
from tests.support.edge import TOKEN, EdgeFactory, RunningEdge
from tests.support.listening import connection

SAYS_TOKEN = f"Authorization: Bearer {TOKEN}\r\n"
PURGE = f"POST /purge HTTP/1.1\r\nHost: localhost\r\n{SAYS_TOKEN}Content-Type: application/json\r\n"


def address(edge: RunningEdge) -> tuple[str, int]:
    host, _, port = edge.admin.rpartition(":")
    return host, int(port)


async def said(edge: RunningEdge, data: str) -> bytes:
    """All that is answered to some bytes, until the connection is closed."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*address(edge))
        writer.write(data.encode("latin-1"))
        answered = await reader.read()
        writer.close()
        return answered


@pytest.mark.parametrize(
    "head",
    [
        f"GET /stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\r\n\r\n",
        f"GET /stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\x01\r\n\r\n",
        f"GET /explain?header=Authorization:%20Bearer%20{TOKEN}&url=/\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET /{TOKEN}/{'x' * 300_000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
    ids=["carriage return", "control character", "no URL", "long", "TLS"],
)
async def test_what_cannot_be_read_is_a_problem_document_and_one_line_in_the_log_without_it(
    edge: RunningEdge, caplog: pytest.LogCaptureFixture, head: str
):
    for _ in range(3):
        answered = await said(edge, head)
        assert answered.startswith(b"HTTP/1.0 400 ")
        assert b"\r\nContent-Type: application/problem+json\r\n" in answered
        assert TOKEN.encode() not in answered
    (told,) = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert told.getMessage().startswith("requests to the admin listener that cannot be read: 1, the last for ")
    assert told.exc_info is None
    assert TOKEN not in caplog.text


async def test_a_target_that_is_served_can_be_purged_and_asked_about(edge: RunningEdge):
    target = "/catalog/a/?q=" + "z" * 20_000
    assert [(await edge.get(target)).hit for _ in range(2)] == [False, True]
    escaped = target.replace("z", "%7a").replace("?", "%3F")
    asked = await edge.admin_request("GET", f"/explain?host=site.test&url={escaped}")
    assert asked.json["decision"]["outcome"] == "hit"
    assert (await edge.admin_request("PURGE", target)).json["entries"] == 1
    assert not (await edge.get(target)).hit


async def test_however_many_connect_and_say_nothing_others_are_answered(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connections, "_MOST", 8)
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(connection(edge.admin)) for _ in range(30)]
        assert (await wire.request(edge.admin, "GET", "/healthz")).status == 200
        # Those that were silent for longest have gone, and no others.
        async with asyncio.timeout(5):
            for reader, _ in idle[:22]:
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        idle[-1][1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await idle[-1][0].read()).startswith(b"HTTP/1.1 200 ")


async def test_who_has_shown_a_token_is_answered_however_many_come_meanwhile(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connections, "_MOST", 8)
    async with AsyncExitStack() as stack:
        reader, writer = await stack.enter_async_context(connection(edge.admin))
        writer.write(f"{PURGE}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for _ in range(30):
            await stack.enter_async_context(connection(edge.admin))
        assert (await wire.request(edge.admin, "GET", "/healthz")).status == 200
        writer.write(b'{"all": true}')
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("head", ["", "GET /stats HTTP/1.1\r\nHost: localhost\r\n"], ids=["nothing", "half a head"])
async def test_who_does_not_come_to_the_end_of_a_head_is_cut(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch, head: str
):
    monkeypatch.setattr(connections, "_IDLE_S", 0.05)
    assert await said(edge, head) == b""


async def test_who_does_not_come_to_the_end_of_a_body_is_told_so(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(problems, "_BODY_S", 0.05)
    async with connection(edge.admin) as (reader, writer):
        writer.write(f"{PURGE}Content-Length: 100\r\n\r\n{{".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")


async def test_who_leaves_within_a_body_is_nobodys_failure(edge: RunningEdge, caplog: pytest.LogCaptureFixture):
    async with connection(edge.admin) as (reader, writer):
        writer.write(f"{PURGE}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{{".encode())
        await reader.readuntil(b"\r\n\r\n")
    assert (await edge.admin_request("GET", "/healthz")).status == 200
    assert "Traceback" not in caplog.text


async def test_a_keeper_may_open_as_many_files_as_the_system_lets_it(make_edge: EdgeFactory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, soft), hard))
    await make_edge()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
