"""Variants of a resource: counted as they are stored, and the oldest beyond a limit deleted."""

from typing import Any

import pytest

from mizan_core.store import Fence, StoreError
from mizan_core.store.replies import StoreReply
from tests.core.store.site import HOUR_MS, MINUTE_MS, SHAPE, Site, full_memory, key_of, scope

USER_5 = scope("user", user_id=5)


def store(
    site: Site,
    name: str,
    *,
    resource: str = "page",
    limit: int = 3,
    retention_ms: int = HOUR_MS,
    fence: Fence | None = None,
) -> tuple[StoreReply, list[str]]:
    storing = site.namespace.store(
        key_of(name),
        name.encode(),
        fence=fence or site.fence(),
        scopes=[USER_5],
        shapes={"user": SHAPE},
        retention_ms=retention_ms,
        began_ms=site.now_ms(),
    )
    return site.runner.run(site.namespace.as_variant(storing, key_of(resource), limit))


def keep(site: Site, *names: str, **how: Any) -> list[str]:
    """Stores variants; the keys of those that had to go."""
    site.adopt({"user": SHAPE})
    gone = []
    for name in names:
        reply, oldest = store(site, name, **how)
        assert reply == "stored"
        gone += oldest
    return gone


def listed(site: Site) -> str:
    return site.named(f"v:{key_of('page')}")


def test_the_oldest_variants_go_first_and_leave_nothing_behind(site: Site):
    assert keep(site, "a", "b", "c") == []
    assert keep(site, "d", "e") == [key_of("a"), key_of("b")]
    assert site.served("a", "b", "c", "d", "e") == {"c", "d", "e"}
    assert site.index_members() == {key_of(name) for name in ("c", "d", "e")}
    assert site.raw.zcard(listed(site)) == 3


def test_what_is_stored_again_is_the_youngest(plain_site: Site):
    keep(plain_site, "a", "b", "c", "a")
    assert keep(plain_site, "d") == [key_of("b")]
    assert plain_site.served("a", "b", "c", "d") == {"a", "c", "d"}


def test_the_variants_of_another_resource_do_not_count(plain_site: Site):
    keep(plain_site, "a", "b", "c")
    assert keep(plain_site, "other", resource="another page") == []
    assert plain_site.served("a", "b", "c", "other") == {"a", "b", "c", "other"}


def test_what_was_purged_makes_room_before_what_is_there(plain_site: Site):
    keep(plain_site, "a", "b", "c")
    plain_site.purge(USER_5)
    keep(plain_site, "d", "e", "f")
    assert plain_site.served("d", "e", "f") == {"d", "e", "f"}


def test_a_lower_limit_holds_from_the_next_variant_on(plain_site: Site):
    keep(plain_site, "a", "b", "c")
    assert keep(plain_site, "d", limit=1) == [key_of("a"), key_of("b"), key_of("c")]
    assert plain_site.served("a", "b", "c", "d") == {"d"}


@pytest.mark.parametrize("first", [HOUR_MS, MINUTE_MS])
def test_the_list_lasts_as_long_as_the_longest_of_its_variants(plain_site: Site, first: int):
    keep(plain_site, "a", retention_ms=first)
    keep(plain_site, "b", retention_ms=HOUR_MS + MINUTE_MS - first)
    assert HOUR_MS - MINUTE_MS < plain_site.raw.pttl(listed(plain_site)) <= HOUR_MS


def test_a_clock_that_was_set_back_makes_nothing_older(plain_site: Site):
    keep(plain_site, "a", "b", "c")
    ahead_ms = plain_site.now_ms() + HOUR_MS
    plain_site.raw.zadd(
        listed(plain_site), {key_of("a"): ahead_ms, key_of("b"): ahead_ms + 1, key_of("c"): ahead_ms + 2}
    )
    assert keep(plain_site, "d") == [key_of("a")]
    assert plain_site.served("b", "c", "d") == {"b", "c", "d"}


def test_what_another_hand_has_put_in_its_place_is_no_list(plain_site: Site):
    plain_site.raw.set(listed(plain_site), "something else")
    assert keep(plain_site, "a", "b", "c", "d") == [key_of("a")]


def test_a_full_memory_refuses_it_and_leaves_what_was_there(plain_site: Site):
    keep(plain_site, "a", "b", "c")
    before = plain_site.dump()
    with full_memory(plain_site), pytest.raises(StoreError):
        store(plain_site, "d")
    assert plain_site.dump() == before


def test_a_variant_that_is_refused_takes_nobodys_place(plain_site: Site):
    keep(plain_site, "a", "b", "c")
    fence = plain_site.fence()
    plain_site.purge(USER_5)
    keep(plain_site, "a", "b", "c")
    before = plain_site.dump()
    assert store(plain_site, "d", fence=fence) == ("overtaken", [])
    assert plain_site.dump() == before
