"""The origin's own cache of bundles in memory: what holds of that in Redis, and what is its own."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core import checks
from django.test import Client, override_settings

from mizan.cache import PurgeError, purge, purge_all
from mizan.cache.bundle_cache import MAX_RETENTION_S, BundleKey, Hit, Miss
from mizan.cache.memory_bundles import MAX_PURGES, MEMORY_URL, MemoryBundles, memory
from mizan.cache.purging import purge_of
from mizan_core.scopes import USER, Scope
from tests.django import test_origin_cache as in_redis
from tests.django import test_purge as through_redis
from tests.django.requests import bundle
from tests.django.site.clients import ran

pytestmark = pytest.mark.usefixtures("stored")


@pytest.fixture
def stored() -> Iterator[None]:
    with override_settings(MIZAN_CACHE_REDIS_URL=MEMORY_URL, MIZAN_CACHE_NAMESPACE=secrets.token_hex(6)):
        yield


class TestHits(in_redis.TestHits):
    # What Redis holds, by itself.
    test_the_lifetime_of_a_hit_is_what_is_left_of_it = None  # type: ignore[assignment]
    test_nothing_is_kept_longer_than_its_ttl_or_a_day = None  # type: ignore[assignment]


class TestPurges(in_redis.TestPurges):
    test_a_purge_from_anywhere_removes_what_the_edge_has_stored_as_well = None  # type: ignore[assignment]


class TestRaces(in_redis.TestRaces):
    pass


class TestPurge:
    test_it_removes_what_its_parameters_match = (
        through_redis.TestThroughTheStore.test_it_removes_what_its_parameters_match
    )
    test_it_narrows_to_one_user = through_redis.TestThroughTheStore.test_it_narrows_to_one_user
    test_everything_goes_with_purge_all = through_redis.TestThroughTheStore.test_everything_goes_with_purge_all

    def test_it_asks_the_edge_as_well(self, visitor: Client):
        bundle(visitor, "catalog", {"category": "tea"})
        with through_redis.admin(200) as (url, requests), override_settings(MIZAN_EDGE_ADMIN_URL=url):
            purge("catalog")
        assert requests == [("/purge", None, {"scopes": ["catalog"]})]
        with override_settings(MIZAN_EDGE_ADMIN_URL="http://127.0.0.1:1"), pytest.raises(PurgeError):
            purge_all()
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 2


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def kept(cache: MemoryBundles, number: int = 0, *, body: bytes = b"body", retention_s: int = 60) -> Miss:
    miss = cache.look(of(number), fresh=False)
    assert isinstance(miss, Miss)
    scopes = (Scope("slow", (("user_id", str(number)),)), Scope("slow", ((USER, "7"),)))
    cache.keep(miss, body, scopes=scopes, context="slow", retention_s=retention_s)
    return miss


def of(number: int = 0) -> BundleKey:
    return BundleKey("slow", {"user_id": [str(number)]}, "user:7:x", 0, None)


class TestByItself:
    @pytest.mark.parametrize(("retention_s", "lives_s"), [(60, 60), (10 * MAX_RETENTION_S, MAX_RETENTION_S)])
    def test_it_keeps_nothing_longer_than_its_ttl_or_a_day(self, retention_s: int, lives_s: int):
        clock = Clock()
        cache = MemoryBundles(now_s=clock)
        kept(cache, retention_s=retention_s)
        clock.now_s += lives_s - 1
        assert cache.look(of(), fresh=False) == Hit(b"body", lives_s - 1)
        clock.now_s += 1
        assert isinstance(cache.look(of(), fresh=False), Miss)

    def test_what_was_used_longest_ago_makes_room(self):
        cache = MemoryBundles(max_bytes=20)
        kept(cache, 1, body=b"x" * 10), kept(cache, 2, body=b"x" * 10)
        assert isinstance(cache.look(of(1), fresh=False), Hit)
        kept(cache, 3, body=b"x" * 10)
        assert [isinstance(cache.look(of(number), fresh=False), Hit) for number in (1, 2, 3)] == [True, False, True]
        kept(cache, 4, body=b"x" * 21)
        assert isinstance(cache.look(of(4), fresh=False), Miss)

    def test_parameters_and_user_must_all_match(self):
        cache = MemoryBundles()
        kept(cache, 5)
        for params in ({"user_id": "6", USER: "7"}, {"user_id": "5", USER: "8"}):
            cache.purge(purge_of((Scope("slow", tuple(sorted(params.items()))),)))
        assert isinstance(cache.look(of(5), fresh=False), Hit)
        cache.purge(purge_of((Scope("slow", ((USER, "7"), ("user_id", "5"))),)))
        assert isinstance(cache.look(of(5), fresh=False), Miss)

    def test_nothing_that_begins_while_a_purge_holds_is_kept(self):
        clock = Clock()
        cache = MemoryBundles(now_s=clock)
        cache.purge(purge_of((Scope("lagging", (("number", "5"),)),)))
        for later_s, number, is_kept in [(0, 5, False), (0, 6, True), (29, 5, False), (2, 5, True)]:
            clock.now_s += later_s
            asked = BundleKey("lagging", {"number": [str(number)]}, "anon", 0, None)
            miss = cache.look(asked, fresh=True)
            assert isinstance(miss, Miss)
            scopes = (Scope("lagging", (("number", str(number)),)),)
            cache.keep(miss, b"body", scopes=scopes, context="lagging", retention_s=60)
            assert isinstance(cache.look(asked, fresh=False), Hit) is is_kept

    def test_what_began_before_a_purge_that_is_forgotten_is_not_kept(self):
        cache = MemoryBundles()
        miss = cache.look(of(5), fresh=False)
        assert isinstance(miss, Miss)
        for _ in range(MAX_PURGES + 1):
            cache.purge(purge_of((Scope("user"),)))
        cache.keep(miss, b"old", scopes=(Scope("slow"),), context="slow", retention_s=60)
        assert isinstance(cache.look(of(5), fresh=False), Miss)
        kept(cache, 5)
        assert isinstance(cache.look(of(5), fresh=False), Hit)


def test_however_many_threads_begin_it_there_is_one():
    namespace = secrets.token_hex(6)
    with ThreadPoolExecutor(16) as threads:
        assert len({id(cache) for cache in threads.map(memory, [namespace] * 200)}) == 1


def test_a_deploy_is_warned_of_it():
    def ids(**how: Any) -> list[str | None]:
        return [message.id for message in checks.run_checks(**how)]

    assert ("mizan.W033" in ids(include_deployment_checks=True), "mizan.W033" in ids()) == (True, False)
