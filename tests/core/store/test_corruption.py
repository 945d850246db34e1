"""Whatever another hand does to the store, no wrong value is read and no purge is kept from working."""

from collections.abc import Callable

import pytest

from mizan_core.store import StoreError
from tests.core.store.site import Site, key_of, scope

USER_5 = scope("user", user_id=5, user_="5")


def flip(site: Site, name: str, position: int) -> None:
    value = site.raw.get(site.entry_key(name))
    assert isinstance(value, bytes)
    changed = bytearray(value)
    changed[position] ^= 0x01
    site.raw.set(site.entry_key(name), bytes(changed), keepttl=True)


def test_any_flipped_byte_makes_a_miss_and_leaves_purges_working(plain_site: Site):
    plain_site.fill("a", USER_5)
    good = plain_site.raw.get(plain_site.entry_key("a"))
    assert good is not None
    assert len(good) < 120
    outcomes = set()
    for position in range(len(good)):
        plain_site.raw.set(plain_site.entry_key("a"), good)
        flip(plain_site, "a", position)
        lookup = plain_site.read("a")
        assert lookup.entries == (None,), position
        outcomes.add(sum(lookup.corrupt))
        assert plain_site.purge(USER_5, dry_run=True).entries <= 1
    # A header of another incarnation is a plain miss; everything else is counted.
    assert 1 in outcomes
    plain_site.purge(USER_5)
    plain_site.fill("a", USER_5)
    assert plain_site.served("a") == {"a"}


@pytest.mark.parametrize("position", [0, 31, 32, 33, 40, -1], ids="byte {}".format)
def test_a_flipped_byte_is_counted_over_both_clients(site: Site, position: int):
    site.fill("a", USER_5)
    flip(site, "a", position)
    lookup = site.read("a", "nothing")
    assert lookup.entries == (None, None)
    assert sum(lookup.corrupt) <= 1
    site.fill("a", USER_5)
    assert site.served("a") == {"a"}
    assert site.purge(USER_5).entries == 1
    assert site.served("a") == set()


def test_entries_swapped_between_two_keys_are_both_misses(site: Site):
    site.fill("mine", USER_5)
    site.fill("yours", USER_5)
    mine, yours = (site.raw.get(site.entry_key(name)) for name in ("mine", "yours"))
    assert mine is not None
    assert yours is not None
    site.raw.set(site.entry_key("mine"), yours)
    site.raw.set(site.entry_key("yours"), mine)
    lookup = site.read("mine", "yours")
    assert lookup.entries == (None, None)
    assert sum(lookup.corrupt) == 2


@pytest.mark.parametrize("length", [0, 1, 32, 33, 34, 35, 60, -1], ids="{} bytes".format)
def test_a_truncated_entry_is_a_miss(plain_site: Site, length: int):
    plain_site.fill("a", USER_5)
    value = plain_site.raw.get(plain_site.entry_key("a"))
    assert value is not None
    plain_site.raw.set(plain_site.entry_key("a"), value[:length])
    assert plain_site.read("a").entries == (None,)
    assert plain_site.read("a").corrupt == (True,)
    plain_site.purge(USER_5)
    plain_site.fill("a", USER_5)
    assert plain_site.served("a") == {"a"}


PUT: dict[str, Callable[[Site, str], object]] = {
    "a list": lambda site, key: site.raw.rpush(key, "x"),
    "a hash": lambda site, key: site.raw.hset(key, "x", "y"),
    "a zset": lambda site, key: site.raw.zadd(key, {"x": 1}),
    "a set": lambda site, key: site.raw.sadd(key, "x"),
    "a string": lambda site, key: site.raw.set(key, "x"),
    "a long string": lambda site, key: site.raw.set(key, b"\xff" * 100_000),
}


@pytest.mark.parametrize("kind", PUT)
def test_an_entry_replaced_by_something_else_is_a_counted_miss(site: Site, kind: str):
    site.fill("a", USER_5)
    site.fill("b", USER_5)
    site.raw.delete(site.entry_key("a"))
    PUT[kind](site, site.entry_key("a"))
    lookup = site.read("a", "b")
    assert [entry.payload if entry else None for entry in lookup.entries] == [None, b"b"]
    assert sum(lookup.corrupt) == 1
    assert site.purge(USER_5).entries == 1
    assert not site.raw.exists(site.entry_key("a"))
    site.fill("a", USER_5)
    assert site.served("a", "b") == {"a"}


OTHER_TYPES = [kind for kind in PUT if kind not in ("a zset", "a long string")]
INDEXES = {"user": scope("user"), "user;user_id=5": scope("user", user_id=5), "user;*user=5": scope("user", user_="5")}


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_an_index_replaced_by_something_else_does_not_keep_a_purge_from_working(
    plain_site: Site, kind: str, index: str
):
    plain_site.fill("a", USER_5)
    plain_site.raw.delete(plain_site.named(f"i:{index}"))
    PUT[kind](plain_site, plain_site.named(f"i:{index}"))
    plain_site.purge(INDEXES[index])
    assert plain_site.served("a") == set()
    sweep_until_done(plain_site)
    assert plain_site.served("a") == set()
    purge_and_store_work(plain_site)


def sweep_until_done(site: Site) -> None:
    for _ in range(3):
        for ban in site.bans():
            site.sweep(ban)
    assert site.bans() == []


def purge_and_store_work(site: Site) -> None:
    site.store("again", USER_5)  # may be what notices, and refuse
    for _ in range(2):
        site.fill("again", USER_5)
        assert site.served("again") == {"again"}
        assert site.purge(USER_5).entries == 1
        assert site.served("again") == set()


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("purged", [scope("user"), USER_5, scope("user", user_id=5)], ids=str)
def test_a_ban_over_a_replaced_index_is_never_lifted_over_living_entries(plain_site: Site, index: str, purged):
    plain_site.fill("a", USER_5)
    plain_site.purge(purged, visit=0)
    plain_site.raw.delete(plain_site.named(f"i:{index}"))
    plain_site.raw.rpush(plain_site.named(f"i:{index}"), "x")
    sweep_until_done(plain_site)
    assert plain_site.served("a") == set()
    purge_and_store_work(plain_site)


@pytest.mark.parametrize("index", INDEXES)
def test_everything_can_be_purged_while_an_index_is_something_else(plain_site: Site, index: str):
    plain_site.fill("a", USER_5)
    plain_site.raw.delete(plain_site.named(f"i:{index}"))
    plain_site.raw.rpush(plain_site.named(f"i:{index}"), "x")
    plain_site.purge_everything()
    assert plain_site.served("a") == set()
    sweep_until_done(plain_site)
    assert plain_site.served("a") == set()


def test_everything_is_purged_though_the_list_of_contexts_is_lost(plain_site: Site):
    plain_site.fill("a", USER_5)
    plain_site.raw.delete(plain_site.named("contexts"))
    plain_site.purge_everything()
    assert plain_site.served("a") == set()


def test_a_store_that_meets_a_replaced_index_kills_what_stood_in_it(plain_site: Site):
    # 1. `a` stands in the index. 2. Something else takes its place. 3. `b` is stored, and begins the index anew.
    plain_site.fill("a", USER_5)
    plain_site.raw.delete(plain_site.named("i:user;user_id=5"))
    plain_site.raw.rpush(plain_site.named("i:user;user_id=5"), "x")
    assert plain_site.store("b", USER_5) == "incarnation"
    plain_site.purge(scope("user", user_id=5))
    assert plain_site.served("a", "b") == set()


def test_a_store_into_a_replaced_index_leaves_nothing_that_no_purge_finds(plain_site: Site):
    # 1. `page` stands in `old`. 2. It is stored again under `new`, whose index is something else.
    plain_site.fill("page", scope("page", slug="old"))
    plain_site.raw.rpush(plain_site.named('i:page;slug="new"'), "x")
    assert plain_site.store("page", scope("page", slug="new")) == "incarnation"
    assert plain_site.served("page") == set()
    plain_site.fill("page", scope("page", slug="new"))
    assert plain_site.purge(scope("page", slug="new")).entries == 1
    assert plain_site.served("page") == set()


@pytest.mark.parametrize("name", ["log", "bans", "shapes", "contexts"])
def test_a_purge_mends_what_another_hand_has_put_under_our_names(plain_site: Site, name: str):
    plain_site.fill("a", USER_5)
    fence = plain_site.fence()
    plain_site.raw.delete(plain_site.named(name))
    plain_site.raw.set(plain_site.named(name), "x")
    plain_site.purge(USER_5)
    assert plain_site.served("a") == set()
    assert plain_site.store("b", USER_5, fence=fence) == "incarnation"
    purge_and_store_work(plain_site)
    plain_site.purge_everything()
    assert plain_site.served("a") == set()


@pytest.mark.parametrize("name", ["log", "bans", "shapes", "contexts"])
def test_with_another_type_under_our_names_a_read_serves_nothing_that_was_purged(plain_site: Site, name: str):
    plain_site.fill("a", USER_5)
    plain_site.purge(USER_5, visit=0)
    plain_site.raw.delete(plain_site.named(name))
    plain_site.raw.set(plain_site.named(name), "x")
    assert plain_site.served("a") == set()


def test_an_index_member_without_an_entry_is_dropped(plain_site: Site):
    plain_site.fill("a", USER_5)
    plain_site.raw.delete(plain_site.entry_key("a"))
    assert plain_site.purge(scope("user", user_id=5)).entries == 0
    assert plain_site.raw.zcard(plain_site.named("i:user;user_id=5")) == 0


def test_a_foreign_member_of_an_index_harms_nobody(plain_site: Site):
    plain_site.fill("a", USER_5)
    plain_site.fill("other", scope("catalog"))
    plain_site.raw.zadd(plain_site.named("i:user"), {key_of("other"): 4e12, "no key at all": 4e12})
    assert plain_site.purge(scope("user")).entries == 1
    assert plain_site.served("a", "other") == {"other"}


def test_a_sealed_value_of_another_secret_is_a_counted_miss(plain_site: Site):
    plain_site.fill("a", USER_5)
    stranger = Site(plain_site.runner, type(plain_site.namespace)(plain_site.namespace.name, b"x" * 32), plain_site.raw)
    lookup = stranger.read("a")
    assert lookup.entries == (None,)
    assert sum(lookup.corrupt) == 1


def test_a_failure_names_redis_and_has_no_traceback_of_it(plain_site: Site):
    plain_site.fill("a", USER_5)
    plain_site.raw.delete(plain_site.named("shapes"))
    plain_site.raw.set(plain_site.named("shapes"), "x")
    with pytest.raises(StoreError, match="^Redis: "):
        plain_site.store("a", USER_5)
