"""Holds: for a while after a purge, matching fills that begin are not stored."""

import pytest

from tests.core.store.site import Site, scope

USER_5 = scope("user", user_id=5)


@pytest.mark.parametrize("purged", [scope("user"), USER_5], ids=str)
def test_a_fill_that_begins_while_a_matching_hold_lasts_is_not_stored(site: Site, purged):
    site.purge(purged, hold_s=60)
    assert site.store("a", USER_5) == "held"
    assert site.store("a", USER_5, began_ms=site.now_ms() + 61_000) == "stored"


def test_a_hold_that_does_not_match_keeps_nothing_out(site: Site):
    site.purge(scope("user", user_id=6), hold_s=60)
    assert site.store("a", USER_5) == "stored"


def test_a_shorter_hold_does_not_cut_a_longer_one_short(site: Site):
    site.purge(USER_5, hold_s=60)
    site.purge(USER_5, hold_s=1)
    site.purge(USER_5)
    assert site.store("a", USER_5, began_ms=site.now_ms() + 30_000) == "held"


def test_a_hold_on_everything_matches_everything(plain_site: Site):
    plain_site.runner.run(plain_site.namespace.purge([], everything=True, hold_s=60))
    assert plain_site.store("a", USER_5) == "held"


def test_holds_outlive_a_restart_of_redis_and_go_when_they_are_over(plain_site: Site):
    plain_site.purge(USER_5, hold_s=60)
    plain_site.raw.hset(plain_site.namespace.control, "run", "another server")
    assert plain_site.store("a", USER_5) == "held"
    holds = f"{{{plain_site.namespace.name}}}:holds"
    plain_site.raw.zadd(holds, {"over": 1})
    plain_site.purge(scope("other"))
    assert plain_site.raw.zrange(holds, 0, -1) == [b"user\n;user_id=5"]
