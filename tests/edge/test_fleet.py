"""Edges that share a Redis: whom a purge waits for, for how long, and what an edge forgets that was away."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.edges import LEASE_S, NAMESPACE, Deaf, Start, Watch, outside
from tests.support.killable import Redis
from tests.support.origin import Origin, Says
from tests.support.proxy import talking
from tests.support.redis_server import established

VIEW = "/profile/5/"


@pytest.fixture
def watch(server: Redis) -> Iterator[Watch]:
    watch = Watch(server.url)
    yield watch
    watch.close()


async def seconds(work) -> float:
    """How long something takes."""
    clock = asyncio.get_running_loop().time
    since_s = clock()
    await work
    return clock() - since_s


async def joined(edge: RunningEdge) -> None:
    """Returns when it serves hits."""
    async with asyncio.timeout(10):
        while not (await edge.get(VIEW)).hit:
            pass


@pytest.mark.parametrize("frozen", ["keeper", "edge"])
async def test_a_purge_waits_for_a_frozen_edge_as_long_as_that_may_serve_from_memory(
    start_edge: Start, make_edge: EdgeFactory, server: Redis, origin: Origin, frozen: str
):
    name = "old"
    origin.script = lambda _: Says(name)
    edge, other = await make_edge(redis=server.url, namespace=NAMESPACE), await start_edge()
    clients = await other.clients()
    await joined(edge)
    assert [(await client.get(VIEW)).body for client in clients * 2] == [b"old"] * 4
    pids = [other.pid, *(other.workers if frozen == "edge" else [])]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        name = "new"
        took_s = await seconds(edge.purge("user;user_id=5"))
        assert LEASE_S / 2 < took_s < 2 * LEASE_S
        if frozen == "keeper":
            assert [(await client.get(VIEW)).body for client in clients] == [b"new"] * 2
        for client in clients:
            client.send("GET", VIEW)
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    assert [(await client.receive()).body for client in clients] == [b"new"] * 2
    async with asyncio.timeout(10):
        while not (reply := await clients[0].get(VIEW)).hit:
            assert reply.body == b"new"
    assert reply.body == b"new"
    # It takes part again, and is not waited for any more.
    assert await seconds(edge.purge("user;user_id=5")) < LEASE_S / 2


async def test_an_edge_that_was_stopped_cleanly_is_not_waited_for(
    start_edge: Start, make_edge: EdgeFactory, server: Redis, origin: Origin
):
    edge, other = await make_edge(redis=server.url, namespace=NAMESPACE), await start_edge(workers=1)
    await joined(edge)
    await joined(other)
    other.served.process.terminate()
    assert await asyncio.wait_for(other.served.process.wait(), 10) == 0
    assert await seconds(edge.purge("user;user_id=5")) < LEASE_S / 2
    # Nor does anybody take it for one that died with purges of its own.
    await joined(edge)
    again = await start_edge(workers=1, state=other.state)
    assert (await again.get(VIEW)).hit


async def remembers(edge: RunningEdge, watch: Watch) -> bool:
    """Whether a hit comes from memory."""
    watch.reset()
    return (await edge.get(VIEW)).hit and watch.asked("read") == 0


async def test_with_its_subscription_an_edge_loses_its_memory(
    make_edge: EdgeFactory, server: Redis, watch: Watch, origin: Origin
):
    established(server.url, NAMESPACE)
    edge = await make_edge(redis=server.url, namespace=NAMESPACE)
    await joined(edge)
    assert await remembers(edge, watch)
    with server.client() as client:
        assert client.client_kill_filter(_type="pubsub") == 1
    watch.reset()
    async with asyncio.timeout(10):
        # Without a lease it asks neither memory nor Redis, and then it asks Redis.
        while watch.asked("read") == 0 or not (await edge.get(VIEW)).hit:
            await edge.get(VIEW)
    assert await remembers(edge, watch)


@pytest.mark.parametrize("loss", ["flushed", "restarted", "restarted with its data"])
async def test_what_redis_has_forgotten_is_in_no_memory_after_a_lease(
    make_edge: EdgeFactory, origin: Origin, loss: str
):
    name = "old"
    origin.script = lambda _: Says(name)
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as home:
        redis = Redis(Path(home), keep=loss == "restarted with its data")
        redis.start()
        try:
            established(redis.url, NAMESPACE)
            edges = [await make_edge(redis=redis.url, namespace=NAMESPACE) for _ in range(2)]
            for edge in edges:
                await joined(edge)
            # Nobody says so. A purge may have been forgotten that did.
            name = "new"
            clock = asyncio.get_running_loop().time
            if loss == "flushed":
                with redis.client() as client:
                    client.flushall()
            else:
                redis.kill()
                redis.start()
            since_s = clock()
            async with asyncio.timeout(10), outside(redis) as purge:
                # The members that it has forgotten may have had a lease for as long as this.
                purging = asyncio.get_running_loop().create_task(purge(everything=True))
                for edge in edges:
                    while (await edge.get(VIEW)).body == b"old":
                        pass
                assert clock() - since_s < LEASE_S
                await purging
                assert clock() - since_s > LEASE_S * 0.9
            for edge in edges:
                await joined(edge)
                assert (await edge.get(VIEW)).body == b"new"
        finally:
            redis.kill()


async def test_an_edge_whose_subscription_is_dead_without_its_knowing_is_told_by_its_renewals(
    make_edge: EdgeFactory, server: Redis, origin: Origin, watch: Watch
):
    name = "old"
    origin.script = lambda _: Says(name)
    established(server.url, NAMESPACE)
    way = Deaf(str(server.socket))
    async with talking(way.talk) as address, outside(server) as purge:
        edge = await make_edge(redis=f"redis://{address}", namespace=NAMESPACE)
        await joined(edge)
        assert await remembers(edge, watch)
        way.deaf = True
        for _ in range(2):
            name += "er"
            took_s = await purge(everything=True)
            assert took_s < LEASE_S * 1.1
            assert (await edge.get(VIEW)).body == name.encode()
            assert (await edge.get(VIEW)).body == name.encode()
