"""A purge that Redis has not confirmed survives the death of the edge."""

import asyncio
import json
import resource
from pathlib import Path

import pytest

from tests.support import wire
from tests.support.edge import SECRET
from tests.support.killable import Redis
from tests.support.origin import Asked, Names, Origin, Says, until
from tests.support.served import Serve


@pytest.mark.parametrize("journal", ["kept", "lost"])
async def test_after_kill_9_the_first_read_is_new_because_of_the_journal(
    serve: Serve, origin: Origin, server: Redis, tmp_path: Path, journal: str
):
    origin.script = Names()
    settings = {"MIZAN_EDGE_REDIS": server.url, "MIZAN_CACHE_SECRET": SECRET}
    edge = await serve(**settings)
    assert (await wire.request(edge.listen, "GET", "/profile/5/")).body == b"old"
    # Redis is frozen, not restarted: its incarnation goes on, and so does the entry.
    server.freeze()
    assert (await wire.request(edge.listen, "POST", "/x", body=b"")).status == 200
    edge.process.kill()
    await edge.process.wait()
    server.thaw()
    if journal == "lost":
        (tmp_path / "state" / "journal").unlink()
    edge = await serve(**settings)
    first = await wire.request(edge.listen, "GET", "/profile/5/")
    assert first.body == (b"new" if journal == "kept" else b"old"), "the journal makes the difference"


async def test_where_the_disk_is_full_what_is_on_it_already_is_not_struck_out(
    serve: Serve, origin: Origin, server: Redis
):
    origin.script = Names()
    settings = {"MIZAN_EDGE_REDIS": server.url, "MIZAN_CACHE_SECRET": SECRET, "MIZAN_EDGE_ORIGIN_TIMEOUT": "1"}
    edge = await serve(**settings)
    assert (await wire.request(edge.listen, "GET", "/profile/5/")).body == b"old"
    server.freeze()
    # Room for what a mutation may change, which is written first, and not for the purge.
    resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, (200, 200))
    body = json.dumps({"fn": "rename_user", "args": {"user_id": 5}}).encode()
    reply = await wire.request(edge.listen, "POST", "/api/mizan/call/", {"Content-Type": "application/json"}, body)
    assert reply.status == 200
    edge.process.kill()
    assert "a crash before the purge is confirmed would lose it" in (await edge.end(), edge.log)[1]
    server.thaw()
    edge = await serve(**settings)
    assert (await wire.request(edge.listen, "GET", "/profile/5/")).body == b"new"


@pytest.mark.parametrize("intents", ["kept", "lost"])
async def test_a_mutation_that_was_under_way_at_kill_9_is_purged_at_the_next_start(
    serve: Serve, origin: Origin, server: Redis, manifest: Path, tmp_path: Path, intents: str
):
    name = "old"
    changed, answer = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked) -> Says:
        nonlocal name
        if asked.method == "POST":
            name = "new"
            changed.set()
            await answer.wait()
        return Says(name)

    origin.script = script
    settings = {"MIZAN_EDGE_REDIS": server.url, "MIZAN_CACHE_SECRET": SECRET}
    edge = await serve("--origin-timeout", "1", **settings)
    assert (await wire.request(edge.listen, "GET", "/profile/5/")).body == b"old"
    host, _, port = edge.listen.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = b'{"fn": "rename_user", "args": {"user_id": 5}}'
    head = f"POST /api/mizan/call/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    await asyncio.wait_for(changed.wait(), 10)
    edge.process.kill()
    await edge.process.wait()
    writer.close()
    answer.set()
    if intents == "lost":
        for path in (tmp_path / "state").glob("intents-*"):
            path.unlink()
    edge = await serve("--origin-timeout", "1", **settings)
    first = await wire.request(edge.listen, "GET", "/profile/5/")
    assert first.body == (b"new" if intents == "kept" else b"old"), "the file of the intents makes the difference"


async def test_when_the_edge_that_fetches_is_killed_another_takes_over(
    serve: Serve, origin: Origin, server: Redis, tmp_path: Path
):
    answer = asyncio.Event()

    async def script(asked: Asked) -> Says:
        await answer.wait()
        return Says("page")

    origin.script = script
    settings = {"MIZAN_EDGE_REDIS": server.url, "MIZAN_CACHE_SECRET": SECRET}
    leader = await serve(**settings)
    follower = await serve("--state-dir", tmp_path / "other", **settings)
    host, _, port = leader.listen.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /profile/5/ HTTP/1.1\r\nHost: site.test\r\n\r\n")
    await until(lambda: origin.hits == 1)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(wire.request(follower.listen, "GET", "/profile/5/")) for _ in range(20)]
        leader.process.kill()
        await leader.process.wait()
        writer.close()
        await until(lambda: origin.hits == 2)
        answer.set()
    assert {task.result().body for task in waiting} == {b"page"}
    assert origin.hits == 2
