"""A keeper and its workers, as real processes: what one of them knows or leaves behind concerns all."""

import asyncio
import json
import os
import signal
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from mizan_core.scopes import Scope
from mizan_edge.serving.leads import TELL_S
from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.edges import LEASE_S, NAMESPACE, Client, Start, Watch, outside, somebody_waits, starting
from tests.support.killable import Redis
from tests.support.origin import Asked, Names, Origin, Says, until
from tests.support.processes import alive
from tests.support.served import Serve

VIEW = "/profile/5/"
RENAME = json.dumps({"fn": "rename_user", "args": {"user_id": 5}}).encode()
JSON = {"Content-Type": "application/json"}
CHANGED = [("X-Mizan-Invalidate", "user;user_id=5")]


async def clock_until(client: Client, body: bytes, *, within_s: float) -> float:
    """How long it takes until a worker answers with `body`."""
    clock = asyncio.get_running_loop().time
    since_s = clock()
    async with asyncio.timeout(within_s):
        while (await client.get(VIEW)).body != body:
            pass
    return clock() - since_s


async def test_all_workers_serve_and_stats_are_of_all(start_edge: Start, origin: Origin):
    edge = await start_edge()
    one, two = await edge.clients()
    assert {one.pid, two.pid} == set(edge.workers)
    assert not (await one.get(VIEW)).hit
    assert (await two.get(VIEW)).hit
    assert (await one.get(VIEW)).hit
    assert origin.hits == 1
    counters = await edge.counters()
    assert counters["requests.user.miss"] == 1
    assert counters["requests.user.hit"] == 2


async def test_a_purge_is_in_the_memory_of_all_workers_of_all_edges_before_it_is_answered(
    start_edge: Start, make_edge: EdgeFactory, origin: Origin, server: Redis
):
    name = "old"

    def script(asked: Asked) -> Says:
        nonlocal name
        if asked.method == "POST":
            name = asked.body.decode()
            return Says("done", headers=CHANGED)
        return Says(name)

    origin.script = script
    clients: list[Client | RunningEdge] = [*await (await start_edge()).clients()]
    clients.append(await make_edge(redis=server.url, namespace=NAMESPACE))
    with closing(Watch(server.url)) as watch:

        async def remembered() -> None:
            assert [(await client.get(VIEW)).body for client in clients] == [name.encode()] * 3
            watch.reset()
            assert all([(await client.get(VIEW)).hit for client in clients])
            assert watch.asked("read") == 0

        await remembered()
        for number, client in enumerate(clients):
            assert (await client.request("POST", "/x", body=f"by {number}".encode())).status == 200
            await remembered()
    async with outside(server) as purge:
        name = "from outside"
        await purge(Scope("user", (("user_id", "5"),)))
        assert [(await client.get(VIEW)).body for client in clients] == [b"from outside"] * 3


async def test_a_manifest_that_is_reloaded_is_used_by_all_workers_when_the_reload_is_answered(
    start_edge: Start, origin: Origin
):
    edge = await start_edge()
    clients = await edge.clients()
    assert [(await client.get("/catalog/a/")).status for client in clients] == [200, 200]
    edge.manifest_path.write_text(json.dumps({**MANIFEST, "contexts": {"user": MANIFEST["contexts"]["user"]}}))
    assert (await edge.admin_request("POST", "/reload")).status == 200
    assert [(await client.get("/catalog/a/")).cache for client in clients] == ["fwd=bypass; detail=undeclared"] * 2


async def test_sigterm_lets_all_workers_finish_their_requests(start_edge: Start, origin: Origin):
    answer = asyncio.Event()

    async def script(asked: Asked) -> Says:
        await answer.wait()
        return Says("whole")

    origin.script = script
    edge = await start_edge()
    clients = await edge.clients()
    pids = edge.workers
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(client.request("POST", "/x", body=b"")) for client in clients]
        await until(lambda: origin.hits == 2)
        edge.served.process.terminate()
        await refused(edge.address)
        # Whoever balances the load is told; and that it lives, so that nobody kills it meanwhile.
        probes = [await edge.admin_request("GET", target) for target in ("/readyz", "/healthz")]
        answer.set()
    assert [probe.status for probe in probes] == [503, 200]
    assert [task.result().body for task in asked] == [b"whole"] * 2
    assert await asyncio.wait_for(edge.served.process.wait(), 10) == 0
    assert not any(map(alive, pids))


async def refused(address: str) -> None:
    """Returns when nobody listens there any more."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                continue  # it was waiting to be accepted when the socket was closed
            writer.close()


async def test_with_its_keeper_an_edge_is_gone_at_once(start_edge: Start, origin: Origin):
    edge = await start_edge()
    pids = edge.workers
    assert all(map(alive, pids))
    await edge.kill()
    async with asyncio.timeout(1):
        await refused(edge.address)
    await until(lambda: not any(map(alive, pids)), seconds=1)


async def test_a_mutation_whose_worker_was_killed_is_purged_by_the_keeper(start_edge: Start, origin: Origin):
    name, answer = "old", asyncio.Event()

    async def script(asked: Asked) -> Says:
        nonlocal name
        if asked.method == "POST":
            name = "new"
            await answer.wait()
        return Says(name)

    origin.script = script
    edge = await start_edge("--origin-timeout", "1")
    one, two = await edge.clients()
    assert [(await client.get(VIEW)).body for client in (one, two, two)] == [b"old"] * 3
    async with asyncio.TaskGroup() as group:
        lost = group.create_task(_broken(one.request("POST", "/api/mizan/call/", JSON, RENAME)))
        await until(lambda: name == "new")
        assert (await two.get(VIEW)).hit
        os.kill(one.pid, signal.SIGKILL)
        took_s = await clock_until(two, b"new", within_s=LEASE_S)
        answer.set()
        assert await lost
    assert took_s < 1
    await until(lambda: len(edge.workers) == 2)
    # Another one takes its place, and what it serves is new as well.
    assert [(await client.get(VIEW)).body for client in await edge.clients()] == [b"new"] * 2


async def _broken(work) -> bool:
    """Whether the connection of a request was broken."""
    try:
        await work
    except (ConnectionError, asyncio.IncompleteReadError):
        return True
    return False


async def test_a_fill_under_way_whose_worker_was_killed_is_taken_over_at_once(
    start_edge: Start, server: Redis, origin: Origin
):
    answer = asyncio.Event()

    async def script(asked: Asked) -> Says:
        await answer.wait()
        return Says("page")

    origin.script = script
    edge = await start_edge()
    leader, waiting = await edge.clients()
    others = [waiting]
    while len(others) < 5:
        client = await edge.client()
        if client.pid == waiting.pid:
            others.append(client)
    clock = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as group:
        lost = group.create_task(_broken(leader.get(VIEW)))
        await until(lambda: origin.hits == 1)
        crowd = [group.create_task(client.get(VIEW)) for client in others]
        await until(lambda: somebody_waits(server.url))
        under_way_s = clock()
        await until(lambda: clock() - under_way_s > 10 * TELL_S)
        os.kill(leader.pid, signal.SIGKILL)
        since_s = clock()
        await until(lambda: origin.hits == 2)
        took_s = clock() - since_s
        answer.set()
        assert await lost
    assert {task.result().body for task in crowd} == {b"page"}
    assert origin.hits == 2
    assert took_s < LEASE_S / 2, "its lease was ended, and not waited for"


async def test_a_worker_that_was_frozen_during_a_purge_serves_nothing_old(start_edge: Start, origin: Origin):
    name = "old"
    origin.script = lambda _: Says(name)
    edge = await start_edge()
    frozen, other = await edge.clients()
    assert [(await client.get(VIEW)).body for client in (frozen, other)] == [b"old"] * 2
    os.kill(frozen.pid, signal.SIGSTOP)
    name = "new"
    # Its keeper acknowledges for it, so nobody waits.
    async with asyncio.timeout(LEASE_S / 2):
        assert (await edge.purge("user;user_id=5")).status == 200
    assert (await other.get(VIEW)).body == b"new"
    frozen.send("GET", VIEW)
    os.kill(frozen.pid, signal.SIGCONT)
    assert (await frozen.receive()).body == b"new"


async def test_a_worker_that_stays_frozen_is_replaced(start_edge: Start, origin: Origin):
    edge = await start_edge()
    frozen, other = edge.workers
    os.kill(frozen, signal.SIGSTOP)
    await until(lambda: not alive(frozen))
    await until(lambda: len(edge.workers) == 2)
    assert other in edge.workers
    assert [(await client.get(VIEW)).status for client in await edge.clients()] == [200, 200]


@pytest.mark.parametrize("outage", ["frozen", "restarted"])
async def test_a_purge_in_the_journal_comes_before_any_read(
    serve: Serve, make_edge: EdgeFactory, origin: Origin, manifest: Path, tmp_path: Path, outage: str
):
    """The purger is killed, and Redis comes back with its old data."""
    origin.script = Names()
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as home:
        redis = Redis(Path(home), keep=True)
        redis.start()
        try:
            async with starting(serve, redis, manifest, tmp_path) as start:
                impatient = {"MIZAN_EDGE_REDIS_TIMEOUT": "0.25", "MIZAN_EDGE_PURGE_TIMEOUT": "0.25"}
                edge = await start(**impatient)
                other = await make_edge(redis=redis.url, namespace=NAMESPACE, redis_timeout=0.25, purge_timeout=0.25)
                clients: list[Client | RunningEdge] = [*await edge.clients(), other]
                assert [(await client.get(VIEW)).body for client in clients] == [b"old"] * 3
                if outage == "frozen":
                    redis.freeze()
                else:
                    redis.kill()
                assert (await clients[0].request("POST", "/x", body=b"")).status == 200
                await edge.kill()
                if outage == "frozen":
                    redis.thaw()
                else:
                    redis.start()
                assert (await other.get(VIEW)).body == b"new"
                back = await start(state=edge.state, **impatient)
                assert [(await client.get(VIEW)).body for client in await back.clients()] == [b"new"] * 2
                # And it is in use again, for what it has now.
                async with asyncio.timeout(10):
                    while not (reply := await other.get(VIEW)).hit:
                        assert reply.body == b"new"
                assert reply.body == b"new"
        finally:
            redis.kill()
