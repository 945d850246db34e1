"""What manifests say of contexts: what was stored under one is not served under another, and the latest one stores."""

from tests.core.store.site import SHAPE, Site, scope

USER = scope("user", user_id=5)
CATALOG = scope("catalog")


def test_a_manifest_that_says_something_else_of_a_context_purges_it(site: Site):
    assert site.declare(user="one", catalog="one") == []
    site.fill("u", USER)
    site.fill("c", CATALOG)
    assert site.declare(user="another", catalog="one", new="one") == ["user"]
    assert site.served("u", "c") == {"c"}
    assert site.store("u", USER, digest="another") == "stored"


def test_the_same_manifest_again_changes_nothing(site: Site):
    site.declare(user="one")
    site.fill("u", USER)
    before = site.dump()
    assert site.declare(user="one") == []
    assert site.dump() == before


def test_where_nothing_is_stored_nothing_is_purged(site: Site):
    site.declare(user="one")
    seq = site.fence().seq
    assert site.declare(user="another") == []
    assert site.fence().seq == seq


def test_what_was_stored_before_anybody_said_anything_of_its_context_is_purged(site: Site):
    """As by an older program, or by the origin for itself."""
    site.adopt({"user": SHAPE})
    site.fill("u", USER)
    assert site.declare(user="one") == ["user"]
    assert site.served("u") == set()


def test_an_edge_with_the_manifest_of_before_stores_nothing_that_outlives_its_own_change(site: Site):
    # 1. B comes with another manifest, which purges. 2. A stores by the old one. 3. A gets the new one as well.
    site.declare(user="old")
    site.declare(user="new")
    assert site.store("a", USER, digest="old") == "shape"
    site.declare(user="new")
    assert site.served("a") == set()


def test_two_manifests_at_once_purge_nothing_between_them(site: Site):
    site.declare(user="old")
    site.declare(user="new")
    assert site.store("b", USER, digest="new") == "stored"
    for _ in range(3):
        assert site.store("a", USER, digest="old") == "shape"
    assert site.served("b") == {"b"}


def test_a_context_that_is_gone_is_purged_and_is_new_when_it_comes_back(site: Site):
    site.declare(user="one", catalog="one")
    site.fill("u", USER)
    assert site.declare(catalog="one") == ["user"]
    assert site.served("u") == set()
    assert site.store("u", USER, digest="one") == "shape"
    site.fill("u", USER)  # an edge of an older program
    assert site.declare(user="one", catalog="one") == ["user"]
    assert site.store("u", USER, digest="one") == "stored"


def test_the_origin_knows_shapes_alone_and_leaves_the_rest(site: Site):
    site.declare(user="one", catalog="one")
    site.fill("u", USER)
    assert site.adopt({"user": SHAPE}) == []
    assert site.served("u") == {"u"}
    assert site.store("u", USER, digest="one") == "stored"


def test_a_redis_that_has_begun_anew_is_told_by_the_edge_although_the_origin_was_first(plain_site: Site):
    plain_site.adopt({"user": SHAPE})
    assert plain_site.store("u", USER, digest="one") == "unadopted"
    plain_site.declare(user="one")
    assert plain_site.store("u", USER, digest="one") == "stored"
