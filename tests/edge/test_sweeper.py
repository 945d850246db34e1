"""The sweeper's endless tasks: what is dead or has expired goes without anybody asking for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, Namespace
from mizan_edge.counters import Counters
from mizan_edge.sweeper import collect_forever, sweep_forever
from mizan_edge.tasks import Tasks
from tests.core.store.site import SEALING, Site, key_of, open_site, scope
from tests.support.killable import Redis

SECONDS = 10.0


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.stop()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def expire(site: Site, count: int) -> None:
    site.raw.zadd(site.named("i:user"), {key_of(f"{n}"): 1 for n in range(count)})


async def test_what_a_ban_has_made_dead_is_deleted(redis_url: str, namespace: str, tasks: Tasks):
    store, counters = AsyncStore(redis_url, Namespace(namespace, SEALING), timeout_s=5.0), Counters()
    with open_site(redis_url, namespace) as site:
        site.fill("a", scope("user", user_id=5))
        site.purge(Scope.of("user", {}), visit=0)
        tasks.start(sweep_forever(store, counters), "sweep")
        await until(lambda: site.bans() == [])
        assert not site.raw.exists(site.entry_key("a"))
    await until(lambda: counters.snapshot().get("swept_entries") == 1)
    await tasks.stop()
    await store.close()


async def test_what_has_expired_is_collected_faster_than_it_is_looked_for(redis_url: str, namespace: str, tasks: Tasks):
    store, counters = AsyncStore(redis_url, Namespace(namespace, SEALING), timeout_s=5.0), Counters()
    with open_site(redis_url, namespace) as site:
        expire(site, 700)
        tasks.start(collect_forever(store, counters), "collect")
        began = time.monotonic()
        await until(lambda: not site.raw.exists(site.named("i:user")))
        assert time.monotonic() - began < 12  # fourteen slices, which would be 14 s at the pace of looking
    await until(lambda: counters.snapshot().get("collected_entries") == 700)
    await tasks.stop()
    await store.close()


async def test_collecting_goes_on_when_redis_is_back(tmp_path, tasks: Tasks):
    server, counters = Redis(tmp_path, keep=False), Counters()
    store = AsyncStore(server.url, Namespace("n", SEALING), timeout_s=0.2)
    tasks.start(collect_forever(store, counters), "collect")
    await asyncio.sleep(1.1)  # one slice that finds nobody there
    server.start()
    try:
        with open_site(server.url, "n") as site:
            expire(site, 1)
            await until(lambda: not site.raw.exists(site.named("i:user")))
    finally:
        await tasks.stop()
        await store.close()
        server.kill()
