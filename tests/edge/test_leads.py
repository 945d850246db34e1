"""A fill that lasts is kept alive in Redis, and made known; one that is soon over is neither."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import redis

from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, Namespace
from mizan_core.store.fills import lead
from mizan_edge.serving.leads import LEASE_MS, Lead, Leads
from mizan_edge.serving.reads import Reads
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks
from tests.support.origin import until

SEALING = hashlib.sha256(b"a sealing key for tests").digest()
SHORT_MS = LEASE_MS - 500


class Told:
    """Who hears of the fills of a process."""

    def __init__(self) -> None:
        self.said: list[tuple[Sequence[Lead], Sequence[Lead]]] = []

    def __call__(self, begun: Sequence[Lead], over: Sequence[Lead]) -> None:
        self.said.append((begun, over))


@asynccontextmanager
async def leading(redis_url: str, namespace: Namespace, told: Told) -> AsyncIterator[tuple[AsyncStore, Leads]]:
    tasks, store = Tasks(), AsyncStore(redis_url, namespace, timeout_s=10)
    try:
        yield store, Leads(Reads(store, tasks, Counters(), timeout_s=10), namespace, tasks, told=told)
    finally:
        await tasks.stop()
        await store.close()


async def test_a_lease_is_renewed_for_as_long_as_its_fill_lasts(redis_url: str, namespace: str):
    names, told = Namespace(namespace, SEALING), Told()
    async with leading(redis_url, names, told) as (store, leads):
        with redis.Redis.from_url(redis_url) as raw:
            for key in ("lasts", "ends"):
                scopes = [Scope.of("user", {})]
                turn = await store.run(lead(names, key, key, scopes=scopes, seen=b"", lease_ms=SHORT_MS))
                assert turn.what == "lead"
                leads.begin(key, key)
            leads.end("ends")
            await until(lambda: raw.pttl(f"{{{namespace}}}:f:lasts") > SHORT_MS)
            assert raw.pttl(f"{{{namespace}}}:f:ends") <= SHORT_MS
            leads.end("lasts")


async def test_fills_that_last_are_told_together_and_those_that_are_soon_over_never(redis_url: str, namespace: str):
    told = Told()
    async with leading(redis_url, Namespace(namespace, SEALING), told) as (_, leads):
        for token in ("1", "2", "3"):
            leads.begin("a key", token)
        leads.end("2")
        await until(lambda: bool(told.said))
        assert told.said == [([("a key", "1"), ("a key", "3")], [])]
        leads.end("1")
        leads.begin("another", "4")
        await until(lambda: len(told.said) > 1)
        assert told.said[1:] == [([("another", "4")], [("a key", "1")])]
