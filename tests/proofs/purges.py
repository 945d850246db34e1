"""How long purges take: `python -m pytest -s tests/proofs/purges.py` prints the figures."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import redis

from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store
from mizan_core.store.operations import Operation
from mizan_core.store.replies import Slice, StoreReply
from tests.support.edge import SECRET
from tests.support.edges import LEASE_S, NAMESPACE, Edge, Start
from tests.support.killable import Redis
from tests.support.origin import Asked, Origin, Says
from tests.support.redis_server import established

VIEW = "/profile/5/"
PURGES = 200
MEDIAN_S = 0.005
HOUR_MS = 3_600_000
SMALL, LARGE = 200, 200_000
ROUNDS = 21
SLOW_US = 5000


def told(what: str, times_s: Sequence[float]) -> float:
    """Prints the median and the 99th percentile; the median."""
    median = statistics.median(times_s)
    print(f"\n{what}: median {1000 * median:.2f} ms, p99 {1000 * statistics.quantiles(times_s, n=100)[-1]:.2f} ms")
    return median


@pytest.mark.parametrize("fleet", [[4], [2, 2]], ids=["an edge of 4 workers", "2 edges of 2 workers"])
async def test_a_purge_of_healthy_edges_takes_milliseconds(start_edge: Start, origin: Origin, fleet: list[int]):
    name = 0

    def script(asked: Asked) -> Says:
        if asked.method == "POST":
            return Says("done", headers=[("X-Mizan-Invalidate", "user;user_id=5")])
        return Says(str(name))

    origin.script = script
    edges = [await start_edge(workers=workers) for workers in fleet]
    clients = [client for edge in edges for client in await edge.clients()]
    by_admin, by_response = [], []
    for number in range(PURGES):
        for client in clients:
            assert (await client.get(VIEW)).body == str(name).encode()
        name += 1
        began_s = time.perf_counter()
        if number % 2:
            assert (await edges[0].purge("user;user_id=5")).status == 200
            by_admin.append(time.perf_counter() - began_s)
        else:
            assert (await clients[0].request("POST", "/x", body=b"")).status == 200
            by_response.append(time.perf_counter() - began_s)
        assert (await clients[-1].get(VIEW)).body == str(name).encode()
    print(f"\nworkers: {fleet}", end="")
    assert told("POST /purge", by_admin) <= MEDIAN_S
    assert told("a mutation, the origin's part included", by_response) <= MEDIAN_S


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_write_waits_no_longer_than_two_leases_for_a_dead_edge(start_edge: Start, origin: Origin, how: int):
    edge, dead = await start_edge(), await start_edge()
    for one in (edge, dead):
        await _hit(one)
    pids = [dead.pid, *dead.workers]
    for pid in pids:
        os.kill(pid, how)
    began_s = time.monotonic()
    assert (await edge.purge("user;user_id=5")).status == 200
    took_s = time.monotonic() - began_s
    for pid in pids if how == signal.SIGSTOP else ():
        os.kill(pid, signal.SIGCONT)
    print(f"\nthe other edge gone by {signal.Signals(how).name}: {took_s:.2f} s")
    assert took_s <= 2 * LEASE_S


async def _hit(edge: Edge) -> None:
    async with asyncio.timeout(10):
        while not (await edge.get(VIEW)).hit:
            pass


def fill(store: Store, server: Redis, context: str, numbers: range) -> None:
    """Stores entries by the store's own operation, a thousand at a time, under a thousand values of a parameter."""
    began = store.run(store.namespace.read([]))
    scopes = [[Scope(context, (("category", str(value)),))] for value in range(1000)]

    def storing(number: int) -> Operation[StoreReply]:
        return store.namespace.store(
            f"{number:064}",
            b"payload",
            fence=began.fence,
            scopes=scopes[number % 1000],
            shapes={context: "shape"},
            began_ms=began.now_ms,
            retention_ms=HOUR_MS,
        )

    assert store.run(storing(numbers[0])) == "stored"  # and the script is known
    with server.client() as client:
        for start in range(0, len(numbers), 1000):
            with client.pipeline(transaction=False) as pipeline:
                for number in numbers[start : start + 1000]:
                    operation = storing(number)
                    pipeline.evalsha(operation.script.sha, len(operation.keys), *operation.keys, *operation.args)
                assert set(pipeline.execute()) == {b"stored"}


async def test_a_purge_of_200_000_entries_is_answered_as_fast_as_one_of_200(server: Redis):
    established(server.url, NAMESPACE)
    namespace = Namespace(NAMESPACE, sealing_key(SECRET.encode()))
    with closing(Store(server.url, namespace, timeout_s=30)) as store, server.client() as client:
        store.run(namespace.adopt({"small": "shape", "large": "shape"}))
        fill(store, server, "large", range(LARGE))

        busy_us: list[float] = []

        def timed(context: str) -> float:
            before_us, began_s = cpu_us(client), time.perf_counter()
            purged = store.purge([Scope(context)])
            took_s = time.perf_counter() - began_s
            busy_us.append(cpu_us(client) - before_us)
            assert purged.entries == (SMALL if context == "small" else LARGE)
            return took_s

        stolen_before_us = stolen_us()
        client.config_set("slowlog-log-slower-than", SLOW_US)
        client.slowlog_reset()
        small, large = [], []
        for _ in range(ROUNDS):
            fill(store, server, "small", range(LARGE, LARGE + SMALL))
            small.append(timed("small"))
            # Nothing is swept yet, so each of these has all of them before it.
            large.append(timed("large"))
        of_small, of_large = told(f"a context of {SMALL:,}", small), told(f"a context of {LARGE:,}", large)
        assert of_large <= of_small * 1.5 + 0.001
        swept, slices, began_s = 0, 0, time.monotonic()
        for ban in store.run(namespace.bans()):
            done = None
            while done is None or done.cursor != "0":
                before_us = cpu_us(client)
                done = store.run(namespace.sweep(ban, done or Slice()))
                busy_us.append(cpu_us(client) - before_us)
                swept, slices = swept + done.deleted, slices + 1
        print(f"\nswept {swept:,} entries in {slices:,} slices, {time.monotonic() - began_s:.1f} s; ", end="")
        slow_us, took_us = [us for us in busy_us if us >= SLOW_US], stolen_us() - stolen_before_us
        print(f"half of the calls took Redis up to {statistics.median(busy_us) / 1000:.2f} ms, ", end="")
        print(f"{len(slow_us)} of {len(busy_us):,} more than {SLOW_US / 1000:.0f} ms; ", end="")
        print(f"its slow log has {client.slowlog_len()}; other machines had the processors for {took_us / 1000:.0f} ms")
        assert swept >= LARGE
        assert store.run(namespace.bans()) == []
        assert not list(client.scan_iter(f"{{{NAMESPACE}}}:[ei]:*", count=10_000))
        # A call is charged with what the host of a virtual machine takes meanwhile.
        assert sum(slow_us) <= took_us


def stolen_us() -> float:
    """The time for which the processors of this virtual machine were given to others. proc(5)"""
    (line,) = (line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu "))
    return 1_000_000 * int(line.split()[8]) / os.sysconf("SC_CLK_TCK")


def cpu_us(client: redis.Redis) -> float:
    """The time that Redis has worked. Its slow log also counts for how long others had the processor."""
    used = client.info("cpu")
    return 1_000_000 * float(used["used_cpu_user"] + used["used_cpu_sys"])
