"""A thousand clients at once, one missing key: `python -m pytest -s tests/proofs/crowds.py`."""

import asyncio
import os
import signal
import time
from collections import Counter

from tests.support.edge import RunningEdge
from tests.support.edges import Start, somebody_waits
from tests.support.killable import Redis
from tests.support.origin import Asked, Origin, Says, until

VIEW = "/profile/5/"
CLIENTS = 1000
FETCH_S = 0.3


async def answered(edge: RunningEdge) -> bytes | None:
    """The body that one client gets; None where the connection broke."""
    try:
        reply = await edge.get(VIEW)
    except (ConnectionError, asyncio.IncompleteReadError, ValueError):
        return None
    return reply.body if reply.status == 200 else None


async def test_a_thousand_clients_of_four_workers_cost_one_request(start_edge: Start, origin: Origin):
    async def script(asked: Asked) -> Says:
        await asyncio.sleep(FETCH_S)
        return Says("page")

    origin.script = script
    edges = [await start_edge(), await start_edge()]
    began_s = time.monotonic()
    bodies = Counter(await asyncio.gather(*(answered(edges[n % 2]) for n in range(CLIENTS))))
    print(f"\n{CLIENTS} clients, 2 edges of 2 workers: {origin.hits} request, {time.monotonic() - began_s:.2f} s")
    assert bodies == {b"page": CLIENTS}
    assert origin.hits == 1


async def test_when_the_worker_that_fetches_for_them_is_killed_it_costs_two(
    start_edge: Start, origin: Origin, server: Redis
):
    killed = asyncio.Event()

    async def script(asked: Asked) -> Says:
        await killed.wait()
        await asyncio.sleep(FETCH_S)
        return Says("page")

    origin.script = script
    edges = [await start_edge(), await start_edge()]
    leader = await edges[0].client()
    async with asyncio.TaskGroup() as group:
        group.create_task(_lost(leader.get(VIEW)))
        await until(lambda: origin.hits == 1)
        crowd = [group.create_task(answered(edges[n % 2])) for n in range(CLIENTS)]
        await until(lambda: somebody_waits(server.url))
        os.kill(leader.pid, signal.SIGKILL)
        killed.set()
        began_s = time.monotonic()
    bodies = Counter(task.result() for task in crowd)
    print(
        f"\nits worker killed: {origin.hits} requests, {time.monotonic() - began_s:.2f} s, {bodies[None]} died with it"
    )
    assert set(bodies) <= {b"page", None}
    # The other edge has lost nobody, and at this one those whom the other worker serves.
    assert bodies[b"page"] > CLIENTS / 2
    assert all(task.result() == b"page" for task in crowd[1::2])
    assert origin.hits <= 2


async def _lost(work) -> None:
    try:
        await work
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    raise AssertionError("the worker that was killed has answered")
