"""Reloads, recycling and upgrades under load: `python -m pytest -n0 -s tests/proofs/graceful.py` prints the figures."""

import asyncio

from tests.support.edges import Start
from tests.support.origin import Origin
from tests.support.rolling import crowd, recycle, reloading, site, upgrade

SECONDS = 60
ROUNDS = 5


async def test_no_request_fails_in_a_minute_of_reloads_recycling_and_upgrades(start_edge: Start, origin: Origin):
    """A reload every 100 ms; and by turns all workers, and the keeper with them, are replaced. Nobody tries again."""
    origin.script = site
    edge = await start_edge(workers=2)
    clock = asyncio.get_running_loop().time
    until_s = clock() + SECONDS
    async with crowd(edge.address, clients=16, pause_s=0.005) as seen, asyncio.TaskGroup() as group:
        reloads = group.create_task(reloading(edge, lambda: clock() >= until_s))
        rounds = 0
        while clock() < until_s - SECONDS / ROUNDS:
            rounds += 1
            await recycle(edge)
            await upgrade(edge)
            await asyncio.sleep(max(0, until_s - SECONDS + rounds * SECONDS / ROUNDS - clock()))
        await reloads
    print(f"\n{seen.answers.total()} requests over {seen.connections} connections: {dict(seen.answers)}")
    print(f"{reloads.result()} reloads, {rounds} times recycled and upgraded; the longest took {seen.longest_s:.1f} s")
    assert seen.failures == []
    assert rounds >= 2
    assert reloads.result() > 100
