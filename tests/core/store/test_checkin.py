"""Leases of edges: who comes back after an absence trusts nothing that another absent one may have purged."""

import pytest

from tests.core.store.site import Site, scope

USER_5 = scope("user", user_id=5)
LEASE_MS = 60_000


def check_in(site: Site, edge: str, lease_ms: int = LEASE_MS) -> bool:
    """Whether everything was purged."""
    return site.runner.run(site.namespace.check_in(edge, lease_ms=lease_ms)).flushed


def lapse(site: Site, *edges: str) -> None:
    """As if the leases of these edges had run out."""
    for edge in edges:
        site.raw.zadd(f"{{{site.namespace.name}}}:edges", {edge: 1})


def test_an_edge_that_renews_purges_nothing(site: Site):
    check_in(site, "a")
    site.fill("entry", USER_5)
    assert [check_in(site, edge) for edge in ("a", "b", "a", "b")] == [False] * 4
    assert site.served("entry") == {"entry"}


@pytest.mark.parametrize("back", ["a", "new"])
def test_who_comes_without_a_lease_and_finds_a_lapsed_one_makes_everything_dead(site: Site, back: str):
    check_in(site, "a")
    check_in(site, "b")
    site.fill("entry", USER_5)
    fence = site.fence()
    lapse(site, "a", "b")
    assert check_in(site, back)
    assert site.served("entry") == set()
    assert site.store("entry", USER_5, fence=fence) == "overtaken"
    site.fill("entry", USER_5)
    assert [check_in(site, edge) for edge in ("a", "b")] == [False, False]
    assert site.served("entry") == {"entry"}


def test_an_edge_that_comes_back_among_live_ones_purges_nothing(site: Site):
    check_in(site, "a")
    check_in(site, "b")
    site.fill("entry", USER_5)
    lapse(site, "a")
    assert not check_in(site, "a")
    assert site.served("entry") == {"entry"}


def test_a_live_edge_does_not_mind_a_lapsed_one(site: Site):
    # It has read under a lease all the time: that is the documented partition.
    check_in(site, "a")
    check_in(site, "b")
    site.fill("entry", USER_5)
    lapse(site, "b")
    assert not check_in(site, "a")
    assert site.served("entry") == {"entry"}


def test_an_edge_that_has_signed_off_is_not_missed(site: Site):
    check_in(site, "a")
    check_in(site, "b")
    site.fill("entry", USER_5)
    assert site.runner.run(site.namespace.check_out("b"))
    lapse(site, "a")
    assert not check_in(site, "a")
    assert site.served("entry") == {"entry"}


def test_a_context_that_the_store_knows_under_another_shape_is_purged_as_a_whole(site: Site):
    site.fill("five", USER_5)
    site.fill("six", scope("user", user_id=6))
    other = site.namespace.purge([scope("user", user_id=5, locale="de")], shapes={"user": "another shape"})
    assert site.runner.run(other).entries == 2
    assert site.served("five", "six") == set()


def test_what_nobody_has_said_how_to_index_is_not_stored(plain_site: Site):
    fence = plain_site.fence()
    operation = plain_site.namespace.store(
        "key", b"x", fence=fence, scopes=[USER_5], shapes={"user": "shape"}, retention_ms=1000, began_ms=0
    )
    assert plain_site.runner.run(operation) == "unadopted"
    plain_site.adopt({"user": "shape"})
    assert plain_site.runner.run(operation) == "stored"
