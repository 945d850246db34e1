"""Look-ups share round trips without sharing an answer older than the question, and a silent Redis costs nothing."""

import asyncio
import hashlib
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import redis

from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, Namespace, StoreError
from mizan_edge.serving.breaker import SHORTEST_S
from mizan_edge.serving.reads import Look, Reads
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks
from tests.support.killable import Redis
from tests.support.origin import until
from tests.support.proxy import linked, talking

SEALING = hashlib.sha256(b"a sealing key for tests").digest()
USER = Scope.of("user", {})
SILENT = "has not answered lately"
KEYS, BATCHES = 64, 4
"""What one batch holds, and how many may be in flight."""
SHORT_S = 0.2
# Machines that run tests stall: where nothing is meant to time out, nothing does.
LONG_S = 10.0


class Site:
    """A namespace on a real Redis, filled and looked into beside the connection that is tested."""

    def __init__(self, url: str, namespace: Namespace, raw: "redis.Redis") -> None:
        self.url = url
        self.namespace = namespace
        self.raw = raw

    async def fill(self, *keys: str) -> None:
        """Stores an entry under each key, with the key as payload."""
        store = AsyncStore(self.url, self.namespace, timeout_s=LONG_S)
        try:
            await store.run(self.namespace.adopt({"user": "shape"}))
            now = await store.run(self.namespace.read([]))
            for key in keys:
                operation = self.namespace.store(
                    key,
                    key.encode(),
                    fence=now.fence,
                    scopes=[USER],
                    shapes={"user": "shape"},
                    retention_ms=3_600_000,
                    began_ms=now.now_ms,
                )
                assert await store.run(operation) == "stored"
        finally:
            await store.close()

    def script_calls(self) -> int:
        """How many scripts Redis has been asked to run."""
        stats = self.raw.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))

    def script_calls_exceed(self, before: int) -> bool:
        return self.script_calls() > before


class Held:
    """A way to Redis on which commands pass and replies can be held back."""

    def __init__(self, socket: str) -> None:
        self.url = ""
        self.connections = 0
        """How many there have been."""
        self.open = 0
        self.replies = asyncio.Event()
        self.replies.set()
        self._socket = socket

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)

        async def forth() -> None:
            while data := await reader.read(65536):
                there_writer.write(data)
            there_writer.close()

        async def back() -> None:
            while data := await there_reader.read(65536):
                await self.replies.wait()
                writer.write(data)

        try:
            await asyncio.gather(forth(), back())
        finally:
            await there_writer.wait_closed()
            self.open -= 1


@asynccontextmanager
async def holding(site: Site) -> AsyncIterator[Held]:
    """A way to the site's Redis. Its users close their connections first."""
    link = Held(site.url.removeprefix("unix://"))
    async with talking(link.talk) as address:
        link.url = f"redis://{address}"
        yield link
        link.replies.set()
        await until(lambda: link.open == 0)


class Clock:
    """A monotonic clock that stands still unless a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def reading(
    url: str,
    site: Site,
    *,
    timeout_s: float = LONG_S,
    wait_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    incarnation: Callable[[], int] | None = None,
) -> AsyncIterator[Reads]:
    """Reads over a connection to `url`; a wait in the queue ends after `wait_s`, where that is another."""
    tasks, store = Tasks(), AsyncStore(url, site.namespace, timeout_s=timeout_s)
    try:
        yield Reads(store, tasks, Counters(), timeout_s=wait_s or timeout_s, incarnation=incarnation, clock=clock)
    finally:
        await tasks.stop()
        await store.close()


@pytest.fixture
def site(redis_url: str, namespace: str) -> Iterator[Site]:
    with redis.Redis.from_url(redis_url) as raw:
        yield Site(redis_url, Namespace(namespace, SEALING), raw)


@pytest.fixture
async def reads(site: Site) -> AsyncIterator[Reads]:
    """Reads that have run their script once, so that Redis knows it."""
    async with reading(site.url, site) as opened:
        await opened.look("warm")
        yield opened


@pytest.fixture
async def held(site: Site) -> AsyncIterator[tuple[Held, Reads]]:
    """Reads whose replies a test holds back, with a queue that nobody waits in for longer than SHORT_S."""
    async with holding(site) as link, reading(link.url, site, wait_s=SHORT_S) as opened:
        await opened.look("warm")
        yield link, opened


def names(count: int) -> list[str]:
    return [f"key{n}" for n in range(count)]


async def all_of(reads: Reads, keys: Sequence[str]) -> list[Look | BaseException]:
    return await asyncio.gather(*map(reads.look, keys), return_exceptions=True)


def payload(look: Look | BaseException) -> bytes | None:
    assert isinstance(look, Look), look
    return look.entry.payload if look.entry else None


async def answers(looks: Sequence[asyncio.Future[Look]]) -> list[bytes | None]:
    """The payloads; fails the test where an answer never comes."""
    async with asyncio.timeout(LONG_S):
        return [payload(look) for look in await asyncio.gather(*looks)]


def asking(reads: Reads, key: str) -> asyncio.Future[Look]:
    return reads.look(key)


# Batches.


async def test_look_ups_of_one_turn_are_one_script_call_and_each_gets_its_own_answer(site: Site, reads: Reads):
    await site.fill(*names(40)[::2])
    before = site.script_calls()
    looks = await all_of(reads, names(40))
    assert site.script_calls() - before == 1
    assert [payload(look) for look in looks] == [
        name.encode() if n % 2 == 0 else None for n, name in enumerate(names(40))
    ]


async def test_a_look_gives_what_the_store_gives(site: Site, reads: Reads):
    await site.fill("a")
    (found, missed) = await all_of(reads, ["a", "b"])
    store = AsyncStore(site.url, site.namespace, timeout_s=LONG_S)
    try:
        lookup = await store.run(site.namespace.read(["a", "b"]))
    finally:
        await store.close()
    assert isinstance(found, Look) and isinstance(missed, Look)
    assert (found.entry, missed.entry) == lookup.entries
    assert (found.seal, missed.seal) == lookup.seals
    assert found.fence == missed.fence == lookup.fence
    assert 0 <= lookup.now_ms - found.now_ms < 10_000
    assert not found.corrupt and not missed.corrupt


async def test_the_same_key_in_one_turn_is_read_once_and_all_get_the_same_look(site: Site, reads: Reads):
    await site.fill("a")
    before = site.script_calls()
    first, *others = await all_of(reads, ["a"] * 10)
    assert site.script_calls() - before == 1
    assert payload(first) == b"a"
    assert all(other is first for other in others)


async def test_more_keys_than_a_batch_holds_are_several_batches(site: Site, reads: Reads):
    keys = names(3 * KEYS + 1)
    await site.fill(keys[0], keys[-1])
    before = site.script_calls()
    looks = await all_of(reads, keys)
    assert site.script_calls() - before == 4
    assert [payload(look) for look in looks] == [keys[0].encode(), *[None] * (len(keys) - 2), keys[-1].encode()]


async def test_no_more_than_four_batches_are_in_flight_and_the_rest_waits_for_a_free_one(
    site: Site, held: tuple[Held, Reads]
):
    link, reads = held
    link.replies.clear()
    before = site.script_calls()
    keys = names(BATCHES * KEYS + 10)
    looks = [asking(reads, key) for key in keys]
    await until(lambda: link.connections >= BATCHES)
    link.replies.set()
    assert await answers(looks) == [None] * len(keys)
    assert site.script_calls() - before == BATCHES + 1
    # One connection for each that was ever in flight together with others.
    assert link.connections == BATCHES


async def test_fewer_keys_than_a_batch_holds_wait_for_one_of_two_and_share_the_next(
    site: Site, held: tuple[Held, Reads]
):
    link, reads = held
    link.replies.clear()
    before = site.script_calls()
    looks = []
    for sent, key in enumerate(["a", "b"]):
        looks.append(asking(reads, key))
        await until(partial(site.script_calls_exceed, before + sent))
    looks += [asking(reads, key) for key in names(10)]
    link.replies.set()
    assert await answers(looks) == [None] * 12
    assert site.script_calls() - before == 3
    assert link.connections == 2


async def test_who_is_called_back_gets_what_others_get_and_one_that_fails_takes_nothing_from_them(
    site: Site, reads: Reads, caplog: pytest.LogCaptureFixture
):
    await site.fill("a")
    called: list[Look | StoreError] = []

    def fail(found: Look | StoreError) -> None:
        raise ValueError("of no use")

    before = site.script_calls()
    reads.call("a", fail)
    reads.call("a", called.append)
    look = await reads.look("a")
    assert called == [look] and payload(look) == b"a"
    assert site.script_calls() - before == 1
    assert "of no use" in caplog.text


async def test_nobody_waits_longer_for_a_free_batch_than_the_timeout(site: Site, held: tuple[Held, Reads]):
    link, reads = held
    link.replies.clear()
    begun = time.monotonic()
    keys = names(BATCHES * KEYS + 10)
    looks = [asking(reads, key) for key in keys]
    late = await asyncio.gather(*looks[-10:], return_exceptions=True)
    assert SHORT_S * 0.9 < time.monotonic() - begun < SHORT_S + 3
    assert all(isinstance(error, StoreError) and "too many look-ups" in str(error) for error in late)
    # Those that were sent are still waited for, by the store's own timeout, and one that comes later gets its turn.
    assert not any(look.done() for look in looks[:-10])
    later = asking(reads, "later")
    link.replies.set()
    assert await answers([*looks[:-10], later]) == [None] * (len(keys) - 9)


# What is stored between two questions.


async def test_a_look_up_never_joins_a_batch_that_has_been_sent(site: Site, held: tuple[Held, Reads]):
    link, reads = held
    link.replies.clear()
    before = site.script_calls()
    first = asking(reads, "a")
    await until(partial(site.script_calls_exceed, before))  # Redis has read "a", and the answer is on its way
    await site.fill("a")
    second = asking(reads, "a")
    link.replies.set()
    assert payload(await first) is None
    assert payload(await second) == b"a"


# Callers that leave.


async def test_a_caller_that_leaves_takes_neither_the_others_answers_nor_the_connection_with_it(
    site: Site, held: tuple[Held, Reads]
):
    link, reads = held
    await site.fill(*names(10))
    for turns in range(4):
        link.replies.clear()
        before = site.script_calls()
        # The first one's question begins the batch, and each key has one who leaves and one who stays.
        leaving = [asking(reads, key) for key in names(10)]
        staying = [asking(reads, key) for key in names(10)]
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns == 3:
            await until(partial(site.script_calls_exceed, before))
        for task in leaving:
            task.cancel()
        link.replies.set()
        assert await answers(staying) == [key.encode() for key in names(10)]
        assert all(
            isinstance(left, asyncio.CancelledError) for left in await asyncio.gather(*leaving, return_exceptions=True)
        )
        assert site.script_calls() - before == 1
    assert link.connections == 1


async def test_what_everybody_has_left_before_it_was_sent_is_not_read(site: Site, reads: Reads):
    before = site.script_calls()
    task = asking(reads, "a")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await reads.look("b")
    assert site.script_calls() - before == 1


async def test_who_waits_when_the_process_stops_is_told_so(site: Site):
    async with holding(site) as link:
        link.replies.clear()
        async with reading(link.url, site) as reads:
            waiting = asking(reads, "a")
            await until(lambda: link.connections == 1)
        with pytest.raises(StoreError):
            await answers([waiting])


# A Redis that does not answer.


async def silence(reads: Reads) -> None:
    """Asks until the breaker is open."""
    async with asyncio.timeout(10):
        while True:
            try:
                await reads.look("a")
            except StoreError as error:
                if SILENT in str(error):
                    return


async def answer(ask: Callable[[], Awaitable[object]]) -> None:
    """Asks until there is an answer."""
    async with asyncio.timeout(10):
        while True:
            try:
                await ask()
                return
            except StoreError:
                await asyncio.sleep(0.005)


async def test_with_a_frozen_redis_all_are_answered_within_about_the_timeout_until_it_thaws(site: Site):
    await site.fill("a")
    async with linked(site.url.removeprefix("unix://")) as link, reading(link.url, site, timeout_s=SHORT_S) as reads:
        assert payload(await reads.look("a")) == b"a"
        link.freeze()
        begun = time.monotonic()
        errors = await all_of(reads, names(2 * BATCHES * KEYS))
        assert all(isinstance(error, StoreError) for error in errors)
        assert time.monotonic() - begun < 2 * SHORT_S + 2
        await silence(reads)
        link.thaw()
        await answer(lambda: reads.look("a"))
        assert [payload(look) for look in await all_of(reads, ["a"] * 10)] == [b"a"] * 10


async def test_a_batch_that_fails_is_one_failure_however_many_waited_for_it(site: Site):
    async with linked(site.url.removeprefix("unix://")) as link, reading(link.url, site, timeout_s=SHORT_S) as reads:
        link.cut()
        for _ in range(2):
            errors = await all_of(reads, names(50))
            assert all(isinstance(error, StoreError) and SILENT not in str(error) for error in errors)
        link.mend()
        assert payload(await reads.look("a")) is None


async def test_while_redis_is_silent_a_look_up_fails_without_waiting_for_anything(site: Site):
    clock = Clock()
    async with linked(site.url.removeprefix("unix://")) as link, reading(link.url, site, clock=clock) as reads:
        link.cut()
        await silence(reads)
        link.mend()
        with pytest.raises(StoreError, match=SILENT):
            reads.look("a").result()
        told: asyncio.Future[Look | StoreError] = asyncio.get_running_loop().create_future()
        reads.call("a", told.set_result)
        assert SILENT in str(await told)
        with pytest.raises(StoreError, match=SILENT):
            reads.run(site.namespace.read(["a"])).send(None)
        clock.now += SHORTEST_S
        assert payload(await reads.look("a")) is None


async def test_while_redis_is_silent_one_probe_at_a_time_is_sent(site: Site):
    clock = Clock()
    async with holding(site) as link, reading(link.url, site, timeout_s=SHORT_S, clock=clock) as reads:
        link.replies.clear()
        await silence(reads)
        clock.now += SHORTEST_S
        before = link.connections
        probe = asking(reads, "a")
        await until(lambda: link.connections > before)
        assert all(SILENT in str(error) for error in await all_of(reads, names(5)))
        with pytest.raises(StoreError) as caught:
            await probe
        assert SILENT not in str(caught.value)
        assert link.connections == before + 1


async def test_a_redis_that_died_is_used_again_when_it_is_back(site: Site, server: Redis):
    other = Site(server.url, site.namespace, site.raw)
    async with reading(server.url, other, timeout_s=SHORT_S) as reads:
        await reads.look("a")
        server.kill()
        await silence(reads)
        server.start()
        await other.fill("a")
        await answer(lambda: reads.look("a"))
        assert payload(await reads.look("a")) == b"a"


async def test_other_operations_go_through_the_same_breaker(site: Site):
    async with linked(site.url.removeprefix("unix://")) as link, reading(link.url, site, timeout_s=SHORT_S) as reads:
        assert (await reads.run(site.namespace.read(["a"]))).entries == (None,)
        link.cut()
        for _ in range(3):
            with pytest.raises(StoreError, match="^Redis: "):
                await reads.run(site.namespace.read(["a"]))
        with pytest.raises(StoreError, match=SILENT):
            await reads.look("a")
        link.mend()
        await answer(lambda: reads.run(site.namespace.read(["a"])))
        assert payload(await reads.look("a")) is None


async def test_an_error_that_redis_answers_with_is_no_silence(site: Site, reads: Reads):
    site.raw.set(f"{{{site.namespace.name}}}:shapes", "not a hash")
    fence = (await reads.look("a")).fence
    operation = site.namespace.store(
        "a", b"", fence=fence, scopes=[USER], shapes={"user": "shape"}, retention_ms=1000, began_ms=0
    )
    for _ in range(5):
        with pytest.raises(StoreError, match="^Redis: "):
            await reads.run(operation)
    assert payload(await reads.look("a")) is None


# What another hand has put there.


async def test_altered_and_foreign_values_are_misses_and_told_from_what_is_not_there(site: Site, reads: Reads):
    await site.fill(*names(12))
    entries = {name: site.namespace.entry(name) for name in names(12)}
    site.raw.append(entries["key1"], b"more")
    site.raw.setrange(entries["key2"], 0, b"\0\0\0\0")
    site.raw.delete(*(entries[name] for name in ("key3", "key4", "key5", "key8", "key11")))
    site.raw.rpush(entries["key4"], "a list")
    site.raw.set(entries["key5"], "a string")
    site.raw.copy(entries["key0"], entries["key6"], replace=True)
    site.raw.hset(entries["key11"], "a", "hash")
    looks = dict(zip(names(12), await all_of(reads, names(12)), strict=True))
    assert {name for name, look in looks.items() if payload(look) is None} == {
        f"key{n}" for n in (1, 2, 3, 4, 5, 6, 8, 11)
    }
    assert all(payload(look) in (None, name.encode()) for name, look in looks.items())
    corrupt = {name for name, look in looks.items() if isinstance(look, Look) and look.corrupt}
    assert corrupt == {f"key{n}" for n in (1, 2, 4, 5, 6, 11)}


async def test_an_entry_under_another_secret_is_a_corrupt_miss(site: Site):
    await site.fill("a")
    stranger = Site(site.url, Namespace(site.namespace.name, b"x" * 32), site.raw)
    async with reading(site.url, stranger) as reads:
        look = await reads.look("a")
        assert look.entry is None
        assert look.corrupt


async def test_what_another_store_holds_than_the_one_that_has_granted_the_lease_is_not_read(site: Site):
    await site.fill("a")
    granted = int(site.raw.hget(site.namespace.control, "inc") or b"", 16)
    async with reading(site.url, site, incarnation=lambda: granted) as reads:
        assert payload(await reads.look("a")) == b"a"
        granted += 1
        look = await reads.look("a")
        assert payload(look) is None and look.seal, "it lies there, and is of no use"
