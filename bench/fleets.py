"""What a purge costs as the fleet grows: every edge hears of it, and acknowledges.

The members are what an edge has of them: a session with its subscription, its lease, its board. They share a process,
whose processor time is therefore that of all keepers together.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import redis

from bench.client import percentile
from bench.processes import Processors
from bench.report import table
from bench.servers import open_rig
from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import AsyncStore, Namespace
from mizan_edge.purging.board import Board
from mizan_edge.purging.fleet import Fleet
from mizan_edge.system.tasks import Tasks

SIZES = (1, 2, 10, 30, 100)
_PURGES = 200
_IDLE_S = 2.0
_TIMEOUT_S = 10
_SCOPE = Scope.of("items", {"group": "1"})


@dataclass(frozen=True, slots=True)
class Taken:
    """What purges took, one after the other, among so many edges."""

    edges: int
    times_s: list[float]
    redis_s: float
    """Redis' processor time for each, leases left out,"""
    keepers_s: float
    """and that of all keepers together."""
    leases_s: float
    """Redis' processor time for all leases, in a second."""


def measure(
    processors: Processors, *, sizes: Sequence[int] = SIZES, purges: int = _PURGES, idle_s: float = _IDLE_S
) -> list[Taken]:
    """For each size of a fleet; for `idle_s` before, it does nothing but renew its leases."""
    with open_rig(processors) as rig:
        return [asyncio.run(_among(rig.start_redis(f"fleet-{size}"), size, purges, idle_s)) for size in sizes]


async def _among(url: str, edges: int, purges: int, idle_s: float) -> Taken:
    namespace = Namespace("bench", sealing_key("a secret of thirty-two characters"))
    async with AsyncExitStack() as stack:
        fleets = []
        for number in range(edges):
            store, board, tasks = AsyncStore(url, namespace, timeout_s=_TIMEOUT_S), Board.create(0), Tasks()
            stack.callback(board.close)
            stack.push_async_callback(store.close)
            stack.push_async_callback(tasks.stop)
            fleets.append(
                Fleet(
                    store,
                    board,
                    f"edge-{number}",
                    tasks,
                    may_renew=lambda: True,
                    may_leave=lambda: True,
                    new_incarnation=_nothing,
                    switched=_nothing,
                    woken=lambda key: None,
                )
            )
            await fleets[-1].join()
        with redis.Redis.from_url(url) as client:
            # Older than any lease, or purges wait for members that nobody knows of.
            client.hset(namespace.control, "born", 0)
            idle = _used_s(client)
            await asyncio.sleep(idle_s)
            leases_s = (_used_s(client) - idle) / idle_s
            times_s = []
            began, redis_began, keepers_began = time.perf_counter(), _used_s(client), time.process_time()
            for _ in range(purges):
                at = time.perf_counter()
                await fleets[0].purge(namespace.purge([_SCOPE], purger=fleets[0].id))
                times_s.append(time.perf_counter() - at)
            took_s = time.perf_counter() - began
            redis_s = (_used_s(client) - redis_began - leases_s * took_s) / purges
            keepers_s = (time.process_time() - keepers_began) / purges
        return Taken(edges, times_s, redis_s, keepers_s, leases_s)


async def _nothing() -> None:
    return


def _used_s(client: redis.Redis) -> float:
    info = client.info("cpu")
    return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])


def markdown(taken: Sequence[Taken]) -> str:
    """The table."""
    rows = [
        [
            str(one.edges),
            f"{1000 * statistics.median(one.times_s):.2f}",
            f"{1000 * percentile(sorted(one.times_s), 99):.2f}",
            f"{1e6 * one.redis_s:.0f}",
            f"{1e6 * one.keepers_s:.0f}",
            f"{100 * one.leases_s:.2f}",
        ]
        for one in taken
    ]
    head = ["edges", "median ms", "p99 ms", "Redis us per purge", "keepers us per purge", "leases, % of Redis"]
    return table(head, rows)
