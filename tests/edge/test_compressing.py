"""Copies are made beside the requests, stored into the entry that they were made of, and fall with it."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mizan_core.manifest import parse_manifest
from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import AsyncStore, Namespace
from mizan_core.store.replies import StoreReply
from mizan_edge.http.message import Request, Response
from mizan_edge.memory.memory import Memory
from mizan_edge.purging.board import Board, clocks
from mizan_edge.rules import policy, storing
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.identity import PUBLIC, Partition
from mizan_edge.rules.routes import Resource
from mizan_edge.rules.site import InUse, Rules, Site
from mizan_edge.rules.storing import Storable
from mizan_edge.running.config import load_settings, rules_of
from mizan_edge.serving.cache import Cache, Found, Reading
from mizan_edge.serving.compressing import Compressor
from mizan_edge.serving.reads import Reads
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks
from tests.support.edge import MANIFEST, SECRET
from tests.support.edges import Valve, Watch
from tests.support.origin import until
from tests.support.proxy import talking
from tests.support.redis_server import established

BODY = json.dumps([{"id": n, "name": f"product {n}"} for n in range(200)]).encode()
CATALOG = Scope.of("catalog", {"category": "shoes"})
# Machines that run tests stall; nothing here is meant to time out.
TIMEOUT_S = 5.0


@dataclass
class Process:
    """What a worker has to do with the cache, without its listener and its origin."""

    in_use: InUse
    memory: Memory
    cache: Cache
    compressor: Compressor
    counters: Counters
    store: AsyncStore

    def reading(self, *fields: tuple[str, str], target: str = "/catalog/shoes/") -> Reading:
        request = Request("GET", target, "site.test", (("Host", "site.test"), *fields))
        resource = self.in_use.site.router.match(target)
        assert isinstance(resource, Resource)
        lookup = policy.plan(request, resource, Partition(PUBLIC), named=False)
        assert isinstance(lookup, policy.Lookup)
        return Reading(self.in_use.site, request, lookup, request)

    async def look_up(self, reading: Reading) -> Found:
        mark = self.memory.mark()
        assert mark is not None
        return await self.cache.look_up(reading, mark)

    async def keep(self, reading: Reading, body: bytes = BODY, *fields: tuple[str, str]) -> StoredResponse:
        """Stores what the origin would have given."""
        found = await self.look_up(reading)
        head = Response(200, (("Content-Type", "application/json"), ("Cache-Control", "max-age=600"), *fields))
        verdict = self.storable(reading, head)
        stored = StoredResponse.of(head, body, found.now_ms, verdict.lifetime)
        assert await self.cache.keep(reading, found, stored, verdict) == "stored"
        return stored

    def storable(self, reading: Reading, head: Response) -> Storable:
        verdict = storing.storable(reading.request, reading.lookup, head, reading.site.manifest.contexts)
        assert isinstance(verdict, Storable)
        return verdict

    async def stored(self, reading: Reading) -> StoredResponse | None:
        """What lies in Redis."""
        return (await self.look_up(reading)).stored

    def recalled(self, reading: Reading) -> StoredResponse | None:
        """What lies in memory."""
        mark = self.memory.mark()
        assert mark is not None
        recalled = self.cache.recall(reading, mark)
        return recalled.kept.unpacked() if recalled is not None else None

    async def compressed(self, times: int = 1) -> None:
        """Returns when as many responses have been stored with their copies."""
        await until(lambda: self.counters.snapshot().get("compressed.catalog") == times)

    async def refused(self, reply: StoreReply) -> None:
        """Returns when Redis has refused to store a response with its copies."""
        await until(lambda: self.counters.snapshot().get(f"store_refused.{reply}") == 1)


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
def rules(manifest: Path) -> Rules:
    return rules_of(load_settings({"origin": "http://127.0.0.1:9", "manifest": manifest}, None), SECRET.encode())


@asynccontextmanager
async def running(url: str, namespace: Namespace, site: Site, rules: Rules) -> AsyncIterator[Process]:
    store, tasks, counters, board = (
        AsyncStore(url, namespace, timeout_s=TIMEOUT_S),
        Tasks(),
        Counters(),
        Board.create(0),
    )

    async def adopt() -> None:
        await store.run(namespace.adopt(site.manifest.shapes(), site.manifest.digests()))

    try:
        await adopt()
        asked, now = clocks(), await store.run(namespace.read([]))
        board.begin_session()
        board.grant(asked, 60, now.now_ms)
        memory = Memory(board, max_bytes=1 << 20)
        cache = Cache(
            Reads(store, tasks, counters, timeout_s=TIMEOUT_S), memory, namespace, rules, counters, adopt=adopt
        )
        in_use = InUse(site)
        compressor = Compressor(in_use, memory=memory, cache=cache, counters=counters, tasks=tasks)
        yield Process(in_use, memory, cache, compressor, counters, store)
    finally:
        await tasks.stop()
        await store.close()
        board.close()


@pytest.fixture
async def start(redis_url: str, namespace: str, rules: Rules) -> AsyncIterator[Start]:
    """Starts processes on one Redis; `await start(url)` reaches it another way."""
    established(redis_url, namespace)
    parsed, _ = parse_manifest(json.dumps(MANIFEST).encode(), source="the test's manifest")
    site = Site.of(parsed, rules, {})
    async with AsyncExitStack() as stack:

        async def one(url: str = redis_url) -> Process:
            names = Namespace(namespace, sealing_key(SECRET.encode()))
            return await stack.enter_async_context(running(url, names, site, rules))

        yield one


@pytest.fixture
def watch(redis_url: str, namespace: str) -> Iterator[Watch]:
    watch = Watch(redis_url, namespace)
    yield watch
    watch.close()


@pytest.fixture
async def valve(redis_url: str) -> AsyncIterator[tuple[Valve, str]]:
    """A way to Redis that can hold a reply back, and its URL."""
    valve = Valve(redis_url.removeprefix("unix://"))
    async with talking(valve.talk) as address:
        yield valve, f"redis://{address}"
        valve.go.set()


@pytest.mark.parametrize("times", [1, 10], ids=["small", "large"])
async def test_copies_are_stored_with_the_response(start: Start, times: int):
    process = await start()
    reading = process.reading()
    stored = await process.keep(reading, BODY * times)
    process.compressor.offer(reading, stored)
    await process.compressed()
    found = await process.stored(reading)
    assert found is not None and found.encoded is not None
    assert found.encoded.keys() == {"br", "zstd", "gzip"}
    assert found == stored.compressed(found.encoded)
    assert process.recalled(reading) == found


async def test_each_variant_has_its_own(start: Start):
    process = await start()
    german, english = (process.reading(("Accept-Language", language)) for language in ("de", "en"))
    for reading, body in ((german, BODY), (english, BODY + b"\n")):
        process.compressor.offer(reading, await process.keep(reading, body, ("Vary", "Accept-Language")))
    await process.compressed(2)
    for reading, body in ((german, BODY), (english, BODY + b"\n")):
        found = await process.stored(reading)
        assert found is not None and found.body == body and found.encoded


async def test_what_is_offered_again_meanwhile_is_compressed_once(start: Start, watch: Watch):
    process = await start()
    reading = process.reading()
    stored = await process.keep(reading)
    watch.reset()
    for _ in range(5):
        process.compressor.offer(reading, stored)
    await process.compressed()
    assert (watch.asked("read"), watch.asked("store")) == (1, 1)
    found = process.recalled(reading)
    assert found is not None
    process.compressor.offer(reading, found)
    # It would have to look it up before this.
    await process.stored(reading)
    assert (watch.asked("read"), watch.asked("store")) == (2, 1)


async def test_what_another_process_has_compressed_is_taken_from_there(start: Start, watch: Watch):
    one, two = await start(), await start()
    reading = one.reading()
    stored = await one.keep(reading)
    await two.stored(reading)
    one.compressor.offer(reading, stored)
    await one.compressed()
    watch.reset()
    two.compressor.offer(reading, stored)
    await until(lambda: two.recalled(reading) != stored)
    assert two.recalled(reading) == one.recalled(reading)
    assert watch.asked("store") == 0


async def test_what_was_in_vain_is_not_tried_again(start: Start, watch: Watch):
    process = await start()
    reading = process.reading()
    stored = await process.keep(reading, secrets.token_bytes(2000))
    process.compressor.offer(reading, stored)
    await process.compressed()
    found = await process.stored(reading)
    assert found is not None and found.body == stored.body
    watch.reset()
    process.compressor.offer(reading, found)
    # It would have to look it up before this.
    await process.stored(reading)
    assert watch.asked("read") == 1


async def test_an_offer_says_whether_it_need_not_be_made_again(start: Start):
    process = await start()
    reading = process.reading()
    stored = await process.keep(reading)
    assert process.compressor.offer(reading, stored)
    assert process.compressor.offer(reading, stored)
    await process.compressed()
    found = process.recalled(reading)
    assert found is not None and not process.compressor.offer(reading, found)


async def test_a_purge_is_not_undone(start: Start, valve: tuple[Valve, str]):
    held, url = valve
    other, process = await start(), await start(url)
    reading = process.reading()
    stored = await process.keep(reading)
    held.next = "read"
    process.compressor.offer(reading, stored)
    await held.held.wait()
    # It has been found, and is about to be compressed.
    purged = await other.store.run(other.store.namespace.purge([CATALOG]))
    assert purged.entries == 1
    held.go.set()
    await process.refused("overtaken")
    assert await other.stored(reading) is None


async def test_what_has_taken_its_place_stays(start: Start, valve: tuple[Valve, str]):
    held, url = valve
    other, process = await start(), await start(url)
    reading = process.reading()
    stored = await process.keep(reading)
    held.next = "read"
    process.compressor.offer(reading, stored)
    await held.held.wait()
    newer = await other.keep(reading, b"[]")
    held.go.set()
    await process.refused("changed")
    assert await other.stored(reading) == newer


async def test_a_redis_that_takes_nothing_is_not_asked_at_each_hit(start: Start, watch: Watch):
    process = await start()
    reading = process.reading()
    stored = await process.keep(reading)
    # Matching fills that begin within the next minute are not stored.
    await process.store.run(process.store.namespace.purge([CATALOG], hold_s=60))
    found = await process.look_up(reading)
    verdict = process.storable(reading, stored.response)
    later = replace(found, now_ms=found.now_ms + 120_000)
    assert await process.cache.keep(reading, later, stored, verdict) == "stored"
    watch.reset()
    process.compressor.offer(reading, stored)
    await process.refused("held")
    for _ in range(5):
        process.compressor.offer(reading, stored)
        await process.stored(reading)
    assert watch.asked("store") == 1


async def test_under_another_manifest_nothing_is_stored_for_the_former_one(
    start: Start, valve: tuple[Valve, str], watch: Watch
):
    held, url = valve
    process = await start(url)
    former = process.reading()
    stored = await process.keep(former)
    process.in_use.site = replace(former.site)
    current = process.reading()
    watch.reset()
    process.compressor.offer(former, stored)
    await until(lambda: watch.asked("read") == 1)
    held.next = "read"

    def looked_up() -> bool:
        process.compressor.offer(current, stored)
        return held.held.is_set()

    # It is taken only when the former one is through.
    await until(looked_up)
    assert watch.asked("store") == 0
    held.go.set()
    await process.compressed()
