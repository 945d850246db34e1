"""A subscription has no gaps: it ends with an error as soon as there may be one."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from mizan_core.store import AsyncStore, Namespace, StoreError, Subscription
from tests.core.store.site import SEALING
from tests.support.killable import Redis
from tests.support.processes import wait_for
from tests.support.proxy import linked

NAMESPACE = Namespace("test-subscription", SEALING)
SECONDS = 5.0


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that this test may freeze and kill."""
    server = Redis(Path(tmp_path_factory.mktemp("r")), keep=False)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[AsyncStore]:
    store = AsyncStore(url, NAMESPACE, timeout_s=SECONDS)
    try:
        yield store
    finally:
        await store.close()


async def first(subscription: Subscription) -> tuple[str, bytes]:
    async with asyncio.timeout(SECONDS):
        return await anext(subscription)


async def nobody_listens(url: str, *channels: str) -> bool:
    """Whether Redis gets to know that nobody does."""
    with redis.Redis.from_url(url) as raw:
        return await asyncio.to_thread(wait_for, lambda: not any(n for _, n in raw.pubsub_numsub(*channels)))


async def test_what_is_published_comes_in_order_with_its_channel(any_redis_url: str, namespace: str):
    a, b = f"{namespace}:a", f"{namespace}:b"
    async with store_at(any_redis_url) as store, store.subscription(a, b) as subscription:
        await store.publish(a, b"1")
        await store.publish(b, b"\xff 2")
        await store.publish(f"{namespace}:c", b"another")
        await store.publish(a, b"")
        assert [await first(subscription) for _ in range(3)] == [(a, b"1"), (b, b"\xff 2"), (a, b"")]


async def test_it_is_confirmed_when_it_is_entered(any_redis_url: str, namespace: str):
    channels = [f"{namespace}:{n}" for n in range(20)]
    with redis.Redis.from_url(any_redis_url) as raw:
        async with store_at(any_redis_url) as store, store.subscription(*channels):
            assert all(count == 1 for _, count in raw.pubsub_numsub(*channels))
        assert await nobody_listens(any_redis_url, *channels)


async def test_what_has_arrived_is_read_without_giving_way(any_redis_url: str, namespace: str):
    count = 50
    async with store_at(any_redis_url) as store, store.subscription(namespace) as subscription:
        with redis.Redis.from_url(any_redis_url) as raw, raw.pipeline(transaction=False) as pipeline:
            for n in range(count):
                pipeline.publish(namespace, n)
            pipeline.execute()
        assert await first(subscription) == (namespace, b"0")
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            loop.call_soon(turn)

        loop = asyncio.get_running_loop()
        loop.call_soon(turn)
        assert [(await first(subscription))[1] for _ in range(count - 1)] == [b"%d" % n for n in range(1, count)]
        assert turns < count / 2


async def test_a_message_that_is_waited_for_when_the_reader_is_cancelled_is_not_lost(redis_url: str, namespace: str):
    async with store_at(redis_url) as store, store.subscription(namespace) as subscription:
        for n in range(30):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.0005 * n):
                    await anext(subscription)
            await store.publish(namespace, b"%d" % n)
            assert await first(subscription) == (namespace, b"%d" % n)


async def test_silence_is_not_an_end(redis_url: str, namespace: str):
    async with store_at(redis_url) as store, store.subscription(namespace) as subscription:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.7):
                await anext(subscription)
        await store.publish(namespace, b"x")
        assert await first(subscription) == (namespace, b"x")


async def test_a_connection_that_redis_closes_is_an_error_and_stays_one(any_redis_url: str, namespace: str):
    # redis-py's own subscription would be back at once, and say nothing of what it has missed.
    with redis.Redis.from_url(any_redis_url) as raw:
        async with store_at(any_redis_url) as store, store.subscription(namespace) as subscription:
            await store.publish(namespace, b"x")
            assert await first(subscription) == (namespace, b"x")
            assert raw.client_kill_filter(_type="pubsub") >= 1
            for _ in range(2):
                with pytest.raises(StoreError):
                    await first(subscription)
            assert raw.pubsub_numsub(namespace) == [(namespace.encode(), 0)]
        async with store_at(any_redis_url) as store, store.subscription(namespace) as subscription:
            await store.publish(namespace, b"y")
            assert await first(subscription) == (namespace, b"y")


async def test_a_frozen_redis_is_an_error_within_two_seconds(server: Redis):
    async with store_at(server.url) as store, store.subscription("c") as subscription:
        server.freeze()
        began = time.monotonic()
        try:
            with pytest.raises(StoreError, match="no answer"):
                await first(subscription)
        finally:
            server.thaw()
        assert 1.0 < time.monotonic() - began < 2.5


async def test_a_link_over_which_no_byte_passes_is_an_error_though_redis_is_well(server: Redis):
    async with linked(str(server.socket)) as link, store_at(link.url) as store:
        async with store.subscription("c") as subscription:
            link.freeze()
            with pytest.raises(StoreError, match="no answer"):
                await first(subscription)
        link.thaw()
        assert await nobody_listens(server.url, "c")


async def test_a_redis_that_dies_is_an_error(server: Redis):
    async with store_at(server.url) as store, store.subscription("c") as subscription:
        server.kill()
        with pytest.raises(StoreError):
            await first(subscription)
        with pytest.raises(StoreError):
            async with store.subscription("c"):
                raise AssertionError("subscribed to nothing")
        with pytest.raises(StoreError):
            await store.publish("c", b"x")


async def test_a_frozen_redis_confirms_no_subscription(server: Redis):
    store = AsyncStore(server.url, NAMESPACE, timeout_s=0.2)
    server.freeze()
    try:
        with pytest.raises(StoreError):
            async with store.subscription("c"):
                raise AssertionError("subscribed to nothing")
    finally:
        server.thaw()
        await store.close()


def stand_still(seconds: float) -> None:
    """As if this process, and nothing else, were stopped meanwhile."""
    time.sleep(seconds)


async def test_who_was_stopped_for_longer_than_a_ping_may_take_has_not_lost_his_subscription(server: Redis):
    # 1. A ping is sent. 2. The reader is stopped. 3. Redis answers. 4. The reader goes on, and its time has run out.
    async with store_at(server.url) as store, store.subscription("c") as subscription, asyncio.TaskGroup() as group:
        server.freeze()
        reading = group.create_task(first(subscription))
        await asyncio.sleep(0.7)
        server.thaw()
        stand_still(1.2)
        await asyncio.sleep(0.1)
        assert not reading.done()
        await store.publish("c", b"x")
        assert await reading == ("c", b"x")
