"""How contexts are indexed: what could not be purged exactly is purged as a whole, or not stored."""

from tests.core.store.site import Site, scope

USER_5 = scope("user", user_id=5)


def test_a_context_that_the_store_knows_under_another_shape_is_purged_as_a_whole(site: Site):
    site.fill("five", USER_5)
    site.fill("six", scope("user", user_id=6))
    other = site.namespace.purge([scope("user", user_id=5, locale="de")], shapes={"user": "another shape"})
    done = site.runner.run(other)
    assert (done.entries, done.scopes) == (2, ("user",))
    assert site.served("five", "six") == set()


def test_what_nobody_has_said_how_to_index_is_not_stored(plain_site: Site):
    fence = plain_site.fence()
    operation = plain_site.namespace.store(
        "key", b"x", fence=fence, scopes=[USER_5], shapes={"user": "shape"}, retention_ms=1000, began_ms=0
    )
    assert plain_site.runner.run(operation) == "unadopted"
    plain_site.adopt({"user": "shape"})
    assert plain_site.runner.run(operation) == "stored"
