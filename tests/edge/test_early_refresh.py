"""A response in demand is fetched anew before it expires, so that nobody waits for it."""

import asyncio
import math
import random
import time

import pytest

from mizan_edge.http.freshness import Lifetime
from mizan_edge.http.message import Response
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.policy import refresh_early
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says

VIEW = "/catalog/hats/"


def stored(took_ms: int, ttl_s: int = 60) -> StoredResponse:
    return StoredResponse(Response(200, ()), b"", 0, 0, Lifetime(ttl_s), took_ms=took_ms)


@pytest.mark.parametrize("took_ms", [0, 10, 1000])
def test_how_likely_it_is_depends_on_what_is_left_in_fetches(took_ms: int):
    chance = random.Random(took_ms)
    for left in (0.5, 1, 3):
        now_ms = 60_000 - int(left * took_ms)
        found = sum(refresh_early(stored(took_ms), now_ms, 1 - chance.random()) for _ in range(20_000)) / 20_000
        assert found == pytest.approx(math.exp(-left) if took_ms else 1, abs=0.02)


def test_what_has_long_to_live_is_left_alone():
    assert not any(refresh_early(stored(1000), 0, 1 - random.random()) for _ in range(10_000))


@pytest.mark.parametrize("near", [0, 1 << 20])
async def test_a_response_in_demand_never_expires(make_edge: EdgeFactory, origin: Origin, near: int):
    # It takes 200 ms, and lives for 2 s.
    async def script(asked: Asked) -> Says:
        await asyncio.sleep(0.2)
        return Says(f"#{origin.hits}", headers=[("Cache-Control", "max-age=2")])

    origin.script = script
    edge = await make_edge(near=near)
    await edge.get(VIEW)
    until_s = time.monotonic() + 4.5

    async def reader() -> list[str]:
        said = []
        while time.monotonic() < until_s:
            said.append((await edge.get(VIEW)).cache)
        return said

    for said in await asyncio.gather(*(reader() for _ in range(4))):
        assert len(said) > 100
        assert all(cache.startswith("hit") for cache in said)
    # The more often it is asked for, the earlier: of 10,000 reads in a second one is likely 1.5 s before the end.
    assert 3 <= origin.hits <= 12, "one fetch for each lifetime, somewhat early"


async def test_what_was_purged_is_not_brought_back_by_an_early_refresh(edge: RunningEdge, origin: Origin):
    began, go_on = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked) -> Says:
        if origin.hits == 1:
            await asyncio.sleep(0.2)
            return Says("old", headers=[("Cache-Control", "max-age=1")])
        if origin.hits == 2:
            began.set()
            await go_on.wait()
            return Says("old", headers=[("Cache-Control", "max-age=60")])
        return Says("new", headers=[("Cache-Control", "max-age=60")])

    origin.script = script
    reading = asyncio.get_running_loop().create_task(edge.get(VIEW))
    await reading
    while not began.is_set():
        reading = asyncio.get_running_loop().create_task(edge.get(VIEW))
        began_now = asyncio.get_running_loop().create_task(began.wait())
        await asyncio.wait([reading, began_now], return_when=asyncio.FIRST_COMPLETED)
    assert (await edge.purge("catalog;category=hats")).status == 200
    assert (await edge.get(VIEW)).body == b"new"
    go_on.set()
    await reading
    reply = await edge.get(VIEW)
    assert (reply.hit, reply.body) == (True, b"new")
