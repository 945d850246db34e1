"""When nobody knows whether a mutation was carried out, what it declares to affect is purged."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter

import pytest

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says
from tests.support.proxy import read_head, talking

CALL = "/api/mizan/call/"
FIVE, SIX, CATALOG = "/profile/5/", "/profile/6/", "/catalog/shoes/"
JSON = [("Content-Type", "application/json")]

WITH_VIEW = {
    **MANIFEST,
    "mutations": {
        **MANIFEST["mutations"],
        "rename_page": {
            "path": "view",
            "views": ["/rename/:user_id/"],
            "affects": [{"context": "user", "params": ["user_id"]}],
        },
        "import_all": {"affects": [{"context": "user", "params": []}, {"context": "catalog", "params": []}]},
    },
}


async def hits(edge: RunningEdge) -> list[bool]:
    return [(await edge.get(target)).hit for target in (FIVE, SIX, CATALOG)]


@pytest.fixture
async def warm(make_edge: EdgeFactory) -> RunningEdge:
    """An edge that holds two users' pages and a public one; an origin's change may come a second late."""
    edge = await make_edge(WITH_VIEW, origin_timeout=1)
    await hits(edge)
    assert await hits(edge) == [True, True, True]
    return edge


def call(fn: object, **args: object) -> bytes:
    return json.dumps({"fn": fn, "args": args}).encode()


@pytest.mark.parametrize(
    ("method", "target", "body", "left"),
    [
        ("POST", CALL, call("rename_user", user_id=5, name="Eva"), [False, True, True]),
        ("POST", CALL, call("rename_user", user_id="05", name="Eva"), [False, False, True]),
        ("POST", CALL, call("rename_user", name="Eva"), [False, False, True]),
        ("POST", CALL, call("import_all"), [False, False, False]),
        ("POST", CALL, call("echo", user_id=5), [True, True, True]),
        ("POST", CALL, b"{not json", [False, False, False]),
        ("POST", "/rename/5/", b"", [False, True, True]),
        ("POST", "/rename/05/", b"", [False, False, True]),
        ("GET", "/rename/5/", None, [False, True, True]),
        ("DELETE", FIVE, None, [False, True, True]),
        ("PROPPATCH", FIVE, b"", [False, True, True]),
        ("POST", "/elsewhere/", b"", [True, True, True]),
    ],
)
async def test_a_5xx_that_says_nothing_purges_what_the_request_may_have_changed(
    warm: RunningEdge, origin: Origin, method: str, target: str, body: bytes | None, left: list[bool]
):
    ordinary = origin.script
    origin.script = lambda asked: Says("oops", status=500)
    assert (await warm.request(method, target, JSON, body)).status == 500
    origin.script = ordinary
    assert await hits(warm) == left


async def test_so_does_one_to_a_call_that_would_rather_have_spoken_another_protocol(warm: RunningEdge, origin: Origin):
    ordinary = origin.script
    origin.script = lambda asked: Says("oops", status=500)
    upgrade = [("Connection", "close, upgrade"), ("Upgrade", "example"), *JSON]
    assert (await warm.request("POST", CALL, upgrade, call("rename_user", user_id=5))).status == 500
    origin.script = ordinary
    assert (await hits(warm))[0] is False


@pytest.mark.parametrize("status", [200, 302, 400, 422])
async def test_an_answer_that_is_known_and_says_nothing_purges_nothing(warm: RunningEdge, origin: Origin, status: int):
    ordinary = origin.script
    origin.script = lambda asked: Says("fine", status=status)
    await warm.request("POST", CALL, JSON, call("rename_user", user_id=5))
    origin.script = ordinary
    assert await hits(warm) == [True, True, True]


async def test_a_5xx_that_says_what_it_invalidates_is_believed(warm: RunningEdge, origin: Origin):
    ordinary = origin.script
    origin.script = lambda asked: Says("oops", status=500, headers=[("X-Mizan-Invalidate", "catalog")])
    await warm.request("POST", CALL, JSON, call("rename_user", user_id=5))
    origin.script = ordinary
    assert await hits(warm) == [True, True, False]


@pytest.mark.parametrize(("status", "left"), [(200, False), (303, False), (404, True), (405, True)])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH"])
async def test_a_successful_unsafe_request_purges_its_url(
    warm: RunningEdge, origin: Origin, method: str, status: int, left: bool
):
    # RFC 9111 section 4.4
    ordinary = origin.script
    origin.script = lambda asked: Says("", status=status)
    await warm.request(method, FIVE, body=b"")
    origin.script = ordinary
    assert await hits(warm) == [left, True, True]


class Late:
    """An origin whose mutation's answer never comes, and whose change comes later still."""

    def __init__(self) -> None:
        self.name = "old"
        self.reset = asyncio.Event()

    async def __call__(self, asked: Asked) -> Says:
        if asked.method == "POST":
            await self.reset.wait()
        return Says(self.name)


async def test_a_change_that_comes_after_the_answer_was_given_up_is_seen(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(WITH_VIEW, origin_timeout=1)
    late = Late()
    origin.script = late
    assert (await edge.get(FIVE)).cache == "fwd=uri-miss; stored"
    reply = await edge.request("POST", CALL, JSON, call("rename_user", user_id=5))
    assert reply.status == 504
    # What is read now may be overtaken by the change, and is not stored.
    assert [(await edge.get(FIVE)).cache for _ in range(2)] == ["fwd=uri-miss"] * 2
    assert (await edge.get(SIX)).cache.endswith("stored")
    late.name = "new"
    late.reset.set()
    async with asyncio.timeout(10):
        while not (reply := await edge.get(FIVE)).hit:
            assert reply.body == b"new"
    assert reply.body == b"new"


async def test_an_origin_that_was_reached_once_and_is_gone_when_asked_again_may_have_changed_it(
    make_edge: EdgeFactory,
):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while not (await read_head(reader)).startswith(b"GET /rename/"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        server.close()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    edge = await make_edge(WITH_VIEW, origin=f"http://{host}:{port}", origin_timeout=1)
    await hits(edge)
    assert await hits(edge) == [True, True, True]
    assert (await edge.get("/rename/5/")).status == 502
    assert await hits(edge) == [False, True, True]


async def test_an_origin_that_is_not_reached_has_changed_nothing(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(WITH_VIEW)
    await hits(edge)
    unreachable = await make_edge(WITH_VIEW, origin="http://127.0.0.1:9")
    assert (await unreachable.request("POST", CALL, JSON, call("rename_user", user_id=5))).status == 502
    assert await hits(edge) == [True, True, True]


async def test_a_connection_that_the_origin_resets_purges(make_edge: EdgeFactory):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    async with talking(talk) as address:
        edge = await make_edge(WITH_VIEW, origin=f"http://{address}", origin_timeout=1)
        await hits(edge)
        assert (await edge.request("POST", CALL, JSON, call("rename_user", user_id=5))).status == 502
        assert await hits(edge) == [False, True, True]


async def test_hold_keeps_what_a_lagging_replica_shows_from_being_stored(make_edge: EdgeFactory, origin: Origin):
    contexts = {**MANIFEST["contexts"], "user": {**MANIFEST["contexts"]["user"], "hold": 1}}
    edge = await make_edge({"contexts": contexts})
    await hits(edge)
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5")]
    await edge.request("POST", "/x", body=b"")
    origin.headers = []
    assert (await edge.get(FIVE)).cache == "fwd=uri-miss"
    assert await hits(edge) == [False, True, True]
    async with asyncio.timeout(10):
        while not (await edge.get(FIVE)).hit:
            pass


async def test_so_does_a_head_that_cannot_be_read_for_everything(make_edge: EdgeFactory):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
        writer.write(b"Bad Field: 1\r\n\r\n" if head.startswith(b"GET /broken") else b"\r\n")
        await writer.drain()

    contexts = {**MANIFEST["contexts"], "user": {**MANIFEST["contexts"]["user"], "hold": 60}}
    async with talking(talk) as address:
        edge = await make_edge({"contexts": contexts}, origin=f"http://{address}")
        await hits(edge)
        assert await hits(edge) == [True, True, True]
        assert (await edge.get("/broken")).status == 502
        assert [(await edge.get(FIVE)).cache for _ in range(2)] == ["fwd=uri-miss"] * 2
