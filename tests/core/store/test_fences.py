"""What a purge has overtaken is not stored, whether or not an entry existed when the purge ran."""

import pytest

from mizan_core.store import Fence
from mizan_core.store.operations import LOG_LIMIT
from tests.core.store.site import SHAPE, Site, key_of, scope

USER_5 = scope("user", user_id=5)
BOTH = scope("user", user_id=5, locale="en")


@pytest.mark.parametrize("existed", [True, False], ids=["an entry existed", "no entry existed"])
@pytest.mark.parametrize("purged", [scope("user"), USER_5, scope("user", locale="en"), BOTH], ids=str)
def test_a_fill_that_began_before_a_matching_purge_is_refused(site: Site, purged, existed: bool):
    if existed:
        site.fill("a", BOTH)
    fence = site.fence()
    site.purge(purged)
    assert site.store("a", BOTH, fence=fence) == "overtaken"
    assert site.served("a") == set()
    assert site.store("a", BOTH) == "stored"


@pytest.mark.parametrize(
    "purged",
    [scope("user", user_id=6), scope("user", user_id=5, locale="de"), scope("users"), scope("user", other=5)],
    ids=str,
)
def test_a_purge_that_does_not_match_refuses_no_fill(site: Site, purged):
    fence = site.fence()
    site.purge(purged)
    assert site.store("a", BOTH, fence=fence) == "stored"
    assert site.served("a") == {"a"}


def test_a_purge_of_everything_refuses_every_fill_before_it(site: Site):
    fence = site.fence()
    site.purge_everything()
    assert site.store("a", BOTH, fence=fence) == "overtaken"


def test_a_match_through_an_additional_scope_alone_refuses_the_fill(site: Site):
    fence = site.fence()
    site.purge(USER_5)
    assert site.store("a", scope("profile", username="ada"), USER_5, fence=fence) == "overtaken"


def test_a_purge_by_partition_refuses_that_partition_alone(site: Site):
    fence = site.fence()
    site.purge(scope("orders", user_="5"))
    assert site.store("a", scope("orders", user_="5"), fence=fence) == "overtaken"
    assert site.store("b", scope("orders", user_="6"), fence=fence) == "stored"


@pytest.mark.parametrize("later", [0, 10, 63, 64, 65, 200], ids="{} purges later".format)
def test_a_match_is_found_behind_any_number_of_later_purges(plain_site: Site, later: int):
    fence = plain_site.fence()
    plain_site.purge(BOTH)
    for n in range(later):
        plain_site.purge(scope("user", user_id=1000 + n))
    assert plain_site.store("a", BOTH, fence=fence) == "overtaken"
    assert plain_site.store("b", scope("user", user_id=7, locale="en"), fence=fence) == "stored"


@pytest.mark.parametrize("width", [1, 5, 6, 7, 12], ids="{} parameters".format)
def test_a_match_is_found_for_entries_with_few_and_many_parameters(plain_site: Site, width: int):
    params = {f"p{n}": n for n in range(width)}
    fence = plain_site.fence()
    plain_site.purge(scope("user", **dict(list(params.items())[::2])))
    plain_site.purge(*(scope("user", p0=1000 + n) for n in range(100)))
    assert plain_site.store("a", scope("user", **params), fence=fence) == "overtaken"
    assert plain_site.store("b", scope("user", **params | {"p0": -1}), fence=fence) == "stored"


def test_a_match_is_found_where_one_parameters_name_begins_anothers(plain_site: Site):
    # Sorted by name and sorted by text, these stand in different orders.
    both = scope("user", page=1, page2=2)
    fence = plain_site.fence()
    plain_site.purge(both)
    plain_site.purge(*(scope("user", page=1000 + n) for n in range(100)))
    assert plain_site.store("a", both, fence=fence) == "overtaken"


def test_a_fence_taken_after_the_purge_stores(site: Site):
    site.purge(BOTH)
    fence = site.fence()
    assert site.store("a", BOTH, fence=fence) == "stored"


def test_a_purge_refuses_a_fill_that_began_before_it_and_not_the_next_one(site: Site):
    before = site.fence()
    site.purge(BOTH)
    site.fill("a", BOTH)
    assert site.store("a", BOTH, fence=before, payload=b"stale") == "overtaken"
    assert site.served("a") == {"a"}


def test_a_fence_of_the_future_is_refused(site: Site):
    fence = site.fence()
    assert site.store("a", BOTH, fence=Fence(fence.incarnation, fence.seq + 1)) == "incarnation"


def test_a_fence_of_another_incarnation_is_refused(site: Site):
    fence = site.fence()
    assert site.store("a", BOTH, fence=Fence("0123456789abcdef", fence.seq)) == "incarnation"


def test_a_fence_older_than_the_log_is_refused(plain_site: Site):
    old = plain_site.fence()
    plain_site.purge(BOTH)
    for batch in range(2):
        base = batch * LOG_LIMIT
        plain_site.purge(*(scope("other", n=base + n) for n in range(LOG_LIMIT // 2 + 1)))
    assert plain_site.raw.zcard(plain_site.named("log")) <= LOG_LIMIT
    assert plain_site.store("a", BOTH, fence=old) == "trimmed"
    assert plain_site.store("a", BOTH, fence=plain_site.fence()) == "stored"


def test_an_entry_indexed_in_another_way_is_refused(site: Site):
    site.fill("a", BOTH)
    assert site.store("b", BOTH, shape="another shape") == "shape"
    assert site.served("a", "b") == {"a"}


def test_adopting_another_shape_purges_the_context_and_its_fills(site: Site):
    site.fill("a", BOTH)
    site.fill("c", scope("catalog"))
    fence = site.fence()
    assert site.adopt({"user": "another shape", "catalog": SHAPE, "new": SHAPE}) == ["user"]
    assert site.served("a", "c") == {"c"}
    assert site.store("a", BOTH) == "shape"
    assert site.store("a", BOTH, fence=fence, shape="another shape") == "overtaken"
    assert site.store("a", BOTH, shape="another shape") == "stored"


def test_adopting_the_same_shapes_again_changes_nothing(site: Site):
    site.fill("a", BOTH)
    before = site.dump()
    assert site.adopt({"user": SHAPE}) == []
    assert site.dump() == before


@pytest.mark.parametrize("stored", [b"old", b"new"])
def test_what_takes_the_place_of_a_value_that_has_been_read_is_not_answered_as_that_value(site: Site, stored: bytes):
    # 1. A value is read. 2. It is purged, and another is stored (the same bytes, even). 3. What lies there is judged.
    assert site.store("a", USER_5, payload=b"old") == "stored"
    read, judge = site.namespace.read([key_of("a")]).commands(cached=False)
    values = site.raw.execute_command(*read)
    site.purge(USER_5)
    assert site.store("a", USER_5, payload=stored) == "stored"
    lookup = site.namespace.read([key_of("a")]).parse(values, site.raw.execute_command(*judge))
    assert lookup.entries == (None,)
    assert lookup.corrupt == (False,)
    assert lookup.fence == site.fence()
