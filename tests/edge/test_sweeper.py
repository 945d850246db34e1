"""The sweeper's endless tasks: what is dead or has expired goes without anybody asking for it."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, Namespace
from mizan_edge.purging.sweeper import collect_forever, sweep_forever
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks
from tests.core.store.site import SEALING, Site, key_of, open_site, scope
from tests.support.killable import Redis
from tests.support.origin import until


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.stop()


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
        # Fourteen slices, which would be 14 s at the pace of looking.
        await until(lambda: not site.raw.exists(site.named("i:user")))
    await until(lambda: counters.snapshot().get("collected_entries") == 700)
    await tasks.stop()
    await store.close()


async def test_collecting_goes_on_when_redis_is_back(tmp_path: Path, tasks: Tasks, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "mizan_edge.purging.sweeper")
    server, counters = Redis(tmp_path, keep=False), Counters()
    store = AsyncStore(server.url, Namespace("n", SEALING), timeout_s=0.2)
    tasks.start(collect_forever(store, counters), "collect")
    await until(lambda: "collecting waits" in caplog.text)
    server.start()
    try:
        with open_site(server.url, "n") as site:
            expire(site, 1)
            await until(lambda: not site.raw.exists(site.named("i:user")))
    finally:
        await tasks.stop()
        await store.close()
        server.kill()
