"""Indexes that nobody passes by any more: what has expired there goes, in small slices, and nothing else does."""

import pytest

from mizan_core.store import Namespace
from mizan_core.store.replies import Slice
from tests.core.store.site import HOUR_MS, Site, full_memory, key_of, scope

USER_5 = scope("user", user_id=5)


def collect(site: Site) -> list[int]:
    """Slices until the database has been looked through and nothing is left; how much each dropped."""
    done, dropped = Slice(), []
    while True:
        done = site.runner.run(site.namespace.collect(done))
        dropped.append(done.deleted)
        if done.cursor == "0" and done.deleted == 0:
            return dropped


def expire(site: Site, index: str, count: int) -> None:
    """`count` members of an index whose entries have expired."""
    site.raw.zadd(site.named(f"i:{index}"), {key_of(f"{index} {n}"): 1 for n in range(count)})


def test_what_has_expired_goes_and_what_lives_stays(site: Site):
    site.fill("lives", USER_5)
    assert site.store("dies", USER_5, scope("other"), retention_ms=1) == "stored"
    now = site.now_ms()
    while site.now_ms() <= now + 1:
        pass
    collect(site)
    assert site.index_members() == {key_of("lives")}
    assert site.served("lives", "dies") == {"lives"}
    assert not site.raw.exists(site.named("i:other"))


def test_an_entry_that_a_clock_set_back_would_revive_goes_with_its_member(plain_site: Site):
    plain_site.fill("a", USER_5)
    for index in ("user", "user;user_id=5"):
        plain_site.raw.zadd(plain_site.named(f"i:{index}"), {key_of("a"): 1})
    collect(plain_site)
    assert plain_site.served("a") == set()
    assert plain_site.index_members() == set()


def test_a_slice_drops_a_bounded_number_and_the_rest_goes_with_the_next_ones(plain_site: Site):
    expire(plain_site, "user", 2000)
    for n in range(40):
        expire(plain_site, f"user;user_id={n}", 60)
    dropped = collect(plain_site)
    assert max(dropped) <= 500
    assert sum(dropped) == 2000 + 40 * 60
    assert plain_site.index_members() == set()


def test_a_cursor_goes_through_a_database_that_is_mostly_of_others(plain_site: Site):
    strangers = {f"{plain_site.namespace.name}-stranger:{n}": "x" for n in range(5000)}
    plain_site.raw.mset(strangers)
    expire(plain_site, "user", 1)
    try:
        dropped = collect(plain_site)
        assert sum(dropped) == 1
        assert len(dropped) > 4
        assert plain_site.raw.exists(*strangers) == len(strangers)
    finally:
        plain_site.raw.delete(*strangers)


def test_a_slice_of_the_database_is_left_only_when_nothing_is_left_there(plain_site: Site):
    # Otherwise an index with a million members would need a million passes through all of the database.
    strangers = {f"{plain_site.namespace.name}-stranger:{n}": "x" for n in range(5000)}
    plain_site.raw.mset(strangers)
    try:
        slices = len(collect(plain_site))
        expire(plain_site, "user", 220)
        dropped = collect(plain_site)
        assert sum(dropped) == 220
        # The database twice, where what is dropped is on its last page.
        assert len(dropped) <= 2 * slices + 6
    finally:
        plain_site.raw.delete(*strangers)


@pytest.mark.parametrize("name", ["test-[ab]", "test-*", "test-a?", "test-\\a"])
def test_the_name_of_a_namespace_is_not_a_pattern(plain_site: Site, name: str):
    mine = Site(plain_site.runner, Namespace(name, b""), plain_site.raw)
    others = Site(plain_site.runner, Namespace("test-ab", b""), plain_site.raw)
    expire(mine, "user", 1)
    expire(others, "user", 1)
    try:
        assert sum(collect(mine)) == 1
        assert not plain_site.raw.exists(mine.named("i:user"))
        assert plain_site.raw.exists(others.named("i:user"))
    finally:
        plain_site.raw.delete(others.named("i:user"))


def test_another_type_in_place_of_an_index_is_left_to_purges(plain_site: Site):
    plain_site.raw.set(plain_site.named("i:user"), "x")
    expire(plain_site, "catalog", 1)
    assert sum(collect(plain_site)) == 1
    assert plain_site.raw.get(plain_site.named("i:user")) == b"x"


def test_it_works_in_a_full_memory(plain_site: Site):
    expire(plain_site, "user", 100)
    with full_memory(plain_site):
        assert sum(collect(plain_site)) == 100


def test_purges_find_what_lives_after_a_collection(site: Site):
    for n in range(5):
        site.fill(f"{n}", scope("user", user_id=n))
    expire(site, "user", 120)
    collect(site)
    assert site.purge(scope("user", user_id=3)).entries == 1
    assert site.purge(scope("user")).entries == 4
    assert site.store("3", scope("user", user_id=3), retention_ms=HOUR_MS) == "stored"
