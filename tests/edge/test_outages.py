"""Without Redis the edge is a plain proxy, without the origin it says so, and neither is a hang or a stale answer."""

import asyncio
import logging
import re
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from mizan_edge.edge import running
from mizan_edge.purging.purge import PATIENCE_S
from mizan_edge.running.config import load_settings
from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.killable import Redis
from tests.support.origin import Asked, Names, Origin, Says, running_origin, until
from tests.support.proxy import linked, read_head, talking

PLAIN = "fwd=bypass; detail=store"
LEASED = ("INFO", "Redis has granted a lease")
LOST = ("WARNING", "nothing is served from the cache until Redis grants a lease again")
TIMEOUTS = {"redis_timeout": 0.2, "purge_timeout": 0.25}


@pytest.fixture
def home() -> Iterator[Path]:
    # Not tmp_path, whose names are too long for a socket on some machines.
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as name:
        yield Path(name)


@pytest.fixture(params=[True, False], ids=["kept", "empty"])
def server(home: Path, request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A Redis that comes back with its old data, and one that comes back empty."""
    yield from _served(Redis(home, keep=request.param))


@pytest.fixture
def kept(home: Path) -> Iterator[Redis]:
    """A Redis that comes back with its old data."""
    yield from _served(Redis(home, keep=True))


def _served(server: Redis) -> Iterator[Redis]:
    server.start()
    yield server
    server.kill()


async def until_cached(edge: RunningEdge, target: str) -> None:
    """Asks until the cache is in use again."""
    async with asyncio.timeout(10):
        while not (await edge.get(target)).hit:
            pass


async def timed(edge: RunningEdge, target: str) -> tuple[float, wire.Reply]:
    begun = time.monotonic()
    reply = await edge.get(target)
    return time.monotonic() - begun, reply


# Redis is away.


async def test_a_redis_that_dies_leaves_a_plain_proxy_and_comes_back_without_stale_entries(
    make_edge: EdgeFactory, origin: Origin, server: Redis
):
    names = Names()
    origin.script = names
    edge = await make_edge(redis=server.url, **TIMEOUTS)
    assert [(await edge.get("/profile/5/")).hit for _ in range(2)] == [False, True]
    server.kill()
    names.name = "changed behind everybody's back"
    for _ in range(5):
        seconds, reply = await timed(edge, "/profile/5/")
        assert (reply.status, reply.cache, reply.body.decode()) == (200, PLAIN, names.name)
        assert seconds < 2
    server.start()
    while (reply := await edge.get("/profile/5/")).cache == PLAIN:
        pass
    # What lay there may have been purged by others meanwhile: a restarted Redis has forgotten it.
    assert not reply.hit
    assert reply.body.decode() == names.name
    await until_cached(edge, "/profile/5/")


async def test_the_log_says_once_that_the_cache_is_not_used_any_more_and_once_that_it_is_again(
    make_edge: EdgeFactory, origin: Origin, kept: Redis, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "mizan_edge.purging.fleet")
    origin.script = Names()
    edge = await make_edge(redis=kept.url, **TIMEOUTS)
    kept.kill()
    await until(lambda: told(caplog)[1:] == [LOST])
    assert (await edge.get("/profile/5/")).cache == PLAIN
    kept.start()
    await until_cached(edge, "/profile/5/")
    assert told(caplog) == [LEASED, LOST, LEASED]
    # Its connections stay, and the lease runs out.
    kept.freeze()
    await until(lambda: len(told(caplog)) == 4)
    assert (await edge.get("/profile/5/")).cache == PLAIN
    kept.thaw()
    await until_cached(edge, "/profile/5/")
    assert told(caplog) == [LEASED, LOST] * 2 + [LEASED]


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the log says of the lease: how grave it is, and what it begins with."""
    return [
        (record.levelname, record.getMessage().partition(":")[0])
        for record in caplog.records
        if record.name == "mizan_edge.purging.fleet" and record.levelno >= logging.INFO
    ]


# What is purged, and what Redis comes back with, have nothing to do with each other.
@pytest.mark.parametrize(
    ("server", "target"), [(True, "/profile/5/"), (False, "/x")], indirect=["server"], ids=["kept", "empty"]
)
async def test_a_purge_while_redis_is_away_is_waited_for_and_then_nothing_old_is_seen(
    make_edge: EdgeFactory, origin: Origin, server: Redis, target: str
):
    origin.script = Names()
    edge = await make_edge(redis=server.url, **TIMEOUTS)
    await edge.get("/profile/5/")
    assert (await edge.get("/profile/5/")).hit
    server.kill()
    begun = time.monotonic()
    reply = await edge.request("POST", target, body=b"")
    assert (reply.status, reply.body) == (200, b"done")
    # Once, whatever there is to purge.
    assert PATIENCE_S <= time.monotonic() - begun < 2 * PATIENCE_S
    assert (await edge.counters())["purges_unconfirmed"] == 1
    assert (await edge.get("/profile/5/")).body == b"new"
    server.start()
    while (seen := await edge.get("/profile/5/")).cache == PLAIN:
        assert seen.body == b"new"
    assert not seen.hit
    assert seen.body == b"new"
    await until_cached(edge, "/profile/5/")


async def test_a_purge_that_redis_confirms_in_time_is_answered_then(
    make_edge: EdgeFactory, origin: Origin, kept: Redis
):
    origin.script = Names()
    edge = await make_edge(redis=kept.url, **TIMEOUTS)
    await edge.get("/profile/5/")
    kept.freeze()

    async with asyncio.TaskGroup() as group:
        mutation = group.create_task(edge.request("POST", "/x", body=b""))
        held = ""
        while "unconfirmed purges" not in held:
            held = str((await edge.admin_request("GET", "/stats")).json["hold"])
        # Its answer has not gone out; from here on nothing is served from the cache in any case.
        seen = await edge.get("/profile/5/")
        assert seen.cache == PLAIN
        assert not mutation.done()
        kept.thaw()
    assert mutation.result().status == 200
    assert (await edge.counters()).get("purges_unconfirmed") is None
    seen = await edge.get("/profile/5/")
    assert seen.body == b"new"
    assert not seen.hit
    await until_cached(edge, "/profile/5/")


async def test_a_purge_by_hand_that_redis_does_not_confirm_is_503_and_is_repeated(
    make_edge: EdgeFactory, origin: Origin, kept: Redis
):
    origin.script = Names()
    edge = await make_edge(redis=kept.url, **TIMEOUTS)
    for target in "/profile/5/", "/profile/6/":
        await edge.get(target)
    kept.freeze()
    dry = await edge.purge("user;user_id=5", dry_run=True)
    reply = await edge.purge("user;user_id=5")
    assert (dry.status, reply.status) == (503, 503)
    assert "journaled" in reply.json
    assert (await edge.get("/profile/6/")).cache == PLAIN
    kept.thaw()
    await until_cached(edge, "/profile/6/")
    assert not (await edge.get("/profile/5/")).hit


async def test_a_frozen_redis_delays_reads_by_a_bounded_time(make_edge: EdgeFactory, kept: Redis):
    edge = await make_edge(redis=kept.url, redis_timeout=0.05, near=0)
    await edge.get("/profile/5/")
    kept.freeze()
    for answers in [
        [await timed(edge, "/profile/5/") for _ in range(3)],
        await asyncio.gather(*(timed(edge, f"/profile/{number}/") for number in range(30))),
    ]:
        assert all(reply.status == 200 and reply.cache == PLAIN for _, reply in answers)
        assert max(seconds for seconds, _ in answers) < 1.5
    seconds, reply = await timed(edge, "/undeclared")
    assert reply.status == 200
    assert seconds < 1
    kept.thaw()
    await until_cached(edge, "/profile/5/")


async def test_caching_begins_by_itself_once_redis_is_there(make_edge: EdgeFactory, home: Path, origin: Origin):
    server = Redis(home, keep=False)
    edge = await make_edge(redis=server.url, **TIMEOUTS)
    assert [(await edge.get("/profile/5/")).cache for _ in range(2)] == [PLAIN, PLAIN]
    try:
        server.start()
        await until_cached(edge, "/profile/5/")
        assert (await edge.purge("user;user_id=5")).json["entries"] == 1
    finally:
        server.kill()


async def test_a_redis_that_comes_later_and_cannot_be_used_is_not_used(
    make_edge: EdgeFactory, home: Path, caplog: pytest.LogCaptureFixture
):
    server = Redis(home, keep=False)
    edge = await make_edge(redis=server.url, **TIMEOUTS)
    try:
        server.start(maxmemory="100mb", **{"maxmemory-policy": "allkeys-lru"})
        await until(lambda: "set `maxmemory-policy volatile-lru`" in caplog.text)
        assert [(await edge.get("/profile/5/")).cache for _ in range(2)] == [PLAIN, PLAIN]
        assert (await edge.admin_request("GET", "/readyz")).json["cache"].startswith("held")
    finally:
        server.kill()


async def test_a_reload_while_redis_is_away_serves_the_new_manifest_and_caches_later(
    make_edge: EdgeFactory, kept: Redis
):
    edge = await make_edge(redis=kept.url, **TIMEOUTS)
    kept.kill()
    edge.manifest_path.write_text('{"contexts": {"new": {"views": ["/new/"]}}}')
    assert (await edge.admin_request("POST", "/reload")).status == 200
    assert (await edge.get("/new/")).cache == PLAIN
    assert (await edge.get("/profile/5/")).cache == "fwd=bypass; detail=undeclared"
    kept.start()
    await until_cached(edge, "/new/")


async def test_an_edge_stops_in_bounded_time_while_redis_is_frozen(kept: Redis, tmp_path: Path):
    manifest = tmp_path / "edge.json"
    manifest.write_text('{"contexts": {"new": {"views": ["/new/"]}}}')
    settings = {"origin": "http://127.0.0.1:1", "manifest": manifest, "state_dir": tmp_path / "state"}
    addresses = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "redis": kept.url}
    async with running(load_settings({**settings, **addresses, **TIMEOUTS}, None)) as edge:
        kept.freeze()
        # Its answer comes after Redis' timeout, so that tasks are in the middle of something by then.
        assert (await wire.request(edge.listen, "GET", "/new/")).status == 502
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    kept.thaw()


async def test_a_connection_to_redis_that_breaks_mid_answer_is_a_plain_answer(make_edge: EdgeFactory, kept: Redis):
    async with linked(str(kept.socket)) as link:
        edge = await make_edge(redis=link.url, **TIMEOUTS)
        await edge.get("/profile/5/")
        link.freeze()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(edge.get("/profile/5/")) for _ in range(10)]
            link.cut()
        assert [(task.result().status, task.result().cache) for task in asking] == [(200, PLAIN)] * 10
        link.thaw()
        link.mend()
        await until_cached(edge, "/profile/5/")


# Somebody else has written into Redis.

ALTERED: list[Callable[[bytes, bytes], tuple[bytes, bytes]]] = [
    lambda one, other: (other, one),
    lambda one, other: (one[:-1] + bytes([one[-1] ^ 1]), other[:-1]),
    lambda one, other: (bytes([one[0] ^ 1]) + one[1:], other + b"x"),
    lambda one, other: (one[:300] + bytes([one[300] ^ 1]) + one[301:], b""),
    lambda one, other: (b"\0" * 500, b"\xff" * 500),
]


async def test_an_entry_that_was_altered_is_a_miss_that_is_counted_and_never_served(
    make_edge: EdgeFactory, origin: Origin, kept: Redis, namespace: str
):
    origin.script = lambda asked: Says(f"this is {asked.target}")
    edge = await make_edge(redis=kept.url, near=0)
    targets = ["/profile/5/", "/profile/6/"]
    with kept.client() as client:
        for alter in ALTERED:
            for target in targets:
                await edge.get(target)
            names = client.keys(f"{{{namespace}}}:e:*")
            one, other = client.mget(names)
            client.mset(dict(zip(names, alter(one, other), strict=True)))
            before = (await edge.counters()).get("corrupt_entries", 0)
            for target in targets:
                reply = await edge.get(target)
                assert not reply.hit
                assert reply.body.decode() == f"this is {target}"
            # Each is read once more, by whoever is told that there is something to be read.
            assert (await edge.counters())["corrupt_entries"] == before + 2


# Clients that leave.


async def test_no_client_ever_gets_what_another_asked_for(make_edge: EdgeFactory, origin: Origin, kept: Redis):
    async def script(asked: Asked) -> Says:
        await asyncio.sleep(0)
        return Says(f"[{asked.target}]" * 20)

    origin.script = script
    async with linked(str(kept.socket)) as link:
        edge = await make_edge(redis=link.url, redis_timeout=0.1)
        host, _, port = edge.address.rpartition(":")

        async def leave(number: int) -> None:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /profile/{number}/ HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
            for _ in range(number % 9):
                await asyncio.sleep(0)
            writer.transport.abort()

        async def stay(number: int) -> bool:
            target = f"/profile/{number}/"
            reply = await edge.get(target)
            assert (reply.status, reply.body.decode()) == (200, f"[{target}]" * 20)
            return reply.hit

        hits = 0
        for turn in range(12):
            if turn % 4 == 2:
                link.freeze()  # so that reads time out in the middle of an answer
            everybody = [(stay, leave)[n % 2](n % 31) for n in range(60)]
            found = await asyncio.gather(*everybody)
            hits += sum(1 for hit in found if hit)
            link.thaw()
        assert hits


@pytest.mark.parametrize("target", ["/undeclared", "/api/mizan/call/"])
async def test_a_client_that_leaves_does_not_stop_the_purge_of_what_it_did(
    edge: RunningEdge, origin: Origin, target: str
):
    await edge.get("/profile/5/")
    left = asyncio.Event()

    async def script(asked: Asked) -> Says:
        await left.wait()
        return Says("done", headers=[("X-Mizan-Invalidate", "user;user_id=5")])

    origin.script = script
    host, _, port = edge.address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = b'{"fn": "rename_user", "args": {}}'
    writer.write(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await until(lambda: origin.hits == 2)
    writer.transport.abort()
    left.set()
    async with asyncio.timeout(10):
        while not (await edge.counters()).get("purges.response"):
            pass
    origin.script = origin.default
    assert not (await edge.get("/profile/5/")).hit


# The origin is away.


def problem(reply: wire.Reply, status: int, cache: str) -> str:
    """The detail of a problem document, which must be one, and name what the cache did."""
    assert (reply.status, reply["Content-Type"], reply.cache) == (status, "application/problem+json", cache)
    assert reply["Cache-Control"] == "no-store"
    assert reply.json["status"] == status
    assert "Traceback" not in str(reply.json["detail"])
    return str(reply.json["detail"])


CACHES = {"/undeclared": "fwd=bypass; detail=undeclared", "/profile/5/": "fwd=uri-miss"}


@pytest.mark.parametrize("target", CACHES)
async def test_an_origin_that_refuses_connections_is_502_and_is_used_as_soon_as_it_is_there(
    make_edge: EdgeFactory, target: str
):
    async with running_origin() as away:
        address = away.address
    edge = await make_edge(origin=f"http://{address}")
    assert problem(await edge.get(target), 502, CACHES[target])
    assert problem(await edge.request("POST", target, body=b"x"), 502, "fwd=method")
    async with running_origin(int(address.rpartition(":")[2])):
        assert (await edge.get(target)).status == 200


@asynccontextmanager
async def edge_before(make_edge: EdgeFactory, data: bytes, *, then: str = "close") -> AsyncIterator[RunningEdge]:
    """An edge before an origin that answers each request with `data`, and then closes, resets or stays silent."""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(data)
        await writer.drain()
        if then == "reset":
            writer.transport.abort()
        elif then == "silence":
            await reader.read()

    async with talking(talk) as address:
        yield await make_edge(origin=f"http://{address}", origin_timeout=0.3)


@pytest.mark.parametrize("target", CACHES)
@pytest.mark.parametrize(
    ("data", "then", "status"),
    [
        (b"", "close", 502),
        (b"", "reset", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "close", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "reset", 502),
        (b"", "silence", 504),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "silence", 504),
        (b"nonsense\r\n\r\n", "close", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "close", 502),
    ],
)
async def test_an_origin_without_a_readable_head_is_a_problem_document(
    make_edge: EdgeFactory, target: str, data: bytes, then: str, status: int
):
    async with edge_before(make_edge, data, then=then) as edge:
        seconds, reply = await timed(edge, target)
        problem(reply, status, CACHES[target])
        assert seconds < 3


@pytest.mark.parametrize("then", ["close", "reset", "silence"])
@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_a_body_that_breaks_off_breaks_the_clients_connection_and_is_never_stored(
    make_edge: EdgeFactory, framing: bytes, then: str
):
    data = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + (b"5\r\nhello\r\n" if b"chunked" in framing else b"hello")
    async with edge_before(make_edge, data, then=then) as edge:
        host, _, port = edge.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /undeclared HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await asyncio.wait_for(read_head(reader), 5)
        rest = b""
        with suppress(ConnectionResetError):
            rest = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert head.startswith(b"HTTP/1.1 200")
        assert b"0\r\n\r\n" not in rest
        assert len(rest) < 100
        # What would be stored is read to its end first, so here the answer can still be an honest one.
        problem(await edge.get("/profile/5/"), 504 if then == "silence" else 502, "fwd=uri-miss")
        assert (await edge.purge("user", dry_run=True)).json["entries"] == 0


async def test_a_head_too_large_to_read_is_502_and_purges_everything(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge()
    await edge.get("/catalog/shoes/")
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5, " * 80_000)]
    problem(await edge.request("POST", "/x", body=b""), 502, "fwd=method")
    assert not (await edge.get("/catalog/shoes/")).hit


async def test_an_invalidation_longer_than_is_read_purges_everything(edge: RunningEdge, origin: Origin):
    await edge.get("/catalog/shoes/")
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5, " * 5_000)]
    assert (await edge.request("POST", "/x", body=b"")).status == 200
    origin.headers = []
    assert not (await edge.get("/catalog/shoes/")).hit


async def test_a_slow_upload_is_not_an_origin_that_is_silent(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(origin_timeout=0.3)
    host, _, port = edge.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\n")
    for byte in b"upload":
        await asyncio.sleep(0.1)
        writer.write(bytes([byte]))
    raw = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert re.match(rb"HTTP/1.1 200", raw)
    assert origin.asked[0].body == b"upload"


async def test_the_first_read_after_redis_was_emptied_is_stored(make_edge: EdgeFactory, kept: Redis, namespace: str):
    edge = await make_edge(redis=kept.url, near=0)
    for _ in range(3):
        assert (await edge.get("/profile/5/")).cache == "fwd=uri-miss; stored"
        assert (await edge.get("/profile/5/")).hit
        with kept.client() as client:
            client.flushall()
