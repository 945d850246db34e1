"""What a purge removes, what it leaves, and what it says it did."""

import pytest

from mizan_core.store import EntryError
from tests.core.store.site import Site, key_of, scope

USER_5 = scope("user", user_id=5)


def test_what_was_stored_is_read_back_with_its_indexes(site: Site):
    site.fill("five", scope("user", user_id=5, user_="7"), scope("catalog"))
    (entry,) = site.read("five").entries
    assert entry is not None
    assert entry.payload == b"five"
    assert entry.names == ("catalog", "user", "user;*user=7", "user;user_id=5")


def test_entries_come_in_the_order_of_the_keys_with_none_for_each_miss(site: Site):
    site.fill("a", scope("user"))
    site.fill("c", scope("user"))
    lookup = site.read("a", "b", "c", "d")
    assert [entry.payload if entry else None for entry in lookup.entries] == [b"a", None, b"c", None]
    assert not any(lookup.corrupt)


def test_an_empty_payload_is_an_entry(site: Site):
    assert site.store("empty", scope("user"), payload=b"") == "stored"
    (entry,) = site.read("empty").entries
    assert entry is not None
    assert entry.payload == b""


def test_an_and_scope_removes_the_entries_that_carry_both_values_in_every_partition(site: Site):
    for partition in ("anon", "7", "8"):
        for user_id in (5, 6):
            for locale in ("en", "de"):
                params = {"user_id": user_id, "locale": locale, "user_": partition}
                site.fill(f"{user_id}{locale}{partition}", scope("user", **params))
    names = [f"{u}{locale}{p}" for u in (5, 6) for locale in ("en", "de") for p in ("anon", "7", "8")]

    done = site.purge(scope("user", user_id=5, locale="en"))

    assert done.entries == 3
    assert site.served(*names) == set(names) - {"5enanon", "5en7", "5en8"}


def test_the_user_parameter_narrows_a_purge_to_one_partition(site: Site):
    site.fill("mine", scope("orders", user_="5"))
    site.fill("yours", scope("orders", user_="6"))
    assert site.purge(scope("orders", user_="5")).entries == 1
    assert site.served("mine", "yours") == {"yours"}


def test_a_whole_context_goes_and_a_context_whose_name_it_begins_stays(site: Site):
    site.fill("a", USER_5)
    site.fill("b", scope("users", user_id=5))
    assert site.purge(scope("user")).entries == 1
    assert site.served("a", "b") == {"b"}


def test_a_purge_by_an_additional_scope_removes_the_entry_from_its_own_indexes_too(site: Site):
    site.fill("page", scope("profile", username="ada"), USER_5)
    assert site.purge(USER_5).entries == 1
    assert site.served("page") == set()
    assert site.index_members() == set()


def test_an_entry_stored_again_under_other_scopes_answers_to_the_new_ones_alone(site: Site):
    site.fill("page", scope("user", user_id=5))
    site.fill("page", scope("user", user_id=6))
    assert site.purge(scope("user", user_id=5)).entries == 0
    assert site.served("page") == {"page"}
    assert site.purge(scope("user", user_id=6)).entries == 1
    assert site.served("page") == set()


@pytest.mark.parametrize(
    "value",
    ["", "my post", 'say "hi"', "a\\b", "été", "\n", "\0", "a;b=c, d", "true", "?0", "x" * 2000, "é" * 2000, "🛒"],
    ids=repr,
)
def test_any_text_can_be_a_parameter(plain_site: Site, value: str):
    plain_site.fill("this", scope("page", slug=value))
    plain_site.fill("other", scope("page", slug=value + "?"))
    assert plain_site.purge(scope("page", slug=value)).entries == 1
    assert plain_site.served("this", "other") == {"other"}


def test_a_list_is_purged_as_one_value(plain_site: Site):
    plain_site.fill("both", scope("search", tags=["a", "b"]))
    plain_site.fill("one", scope("search", tags=["a"]))
    assert plain_site.purge(scope("search", tags=["a", "b"])).entries == 1
    assert plain_site.served("both", "one") == {"one"}


def test_after_a_purge_nothing_of_the_entry_stands_anywhere(plain_site: Site):
    plain_site.fill("a", scope("user", user_id=5, locale="en", user_="5"), scope("team", team_id=1))
    plain_site.purge(scope("user", locale="en"))
    assert plain_site.index_members() == set()
    assert [key for key in plain_site.dump() if ":e:" in key or ":i:" in key] == []


def test_each_purge_has_a_place_of_its_own_in_the_sequence(site: Site):
    first, second = site.purge(USER_5), site.purge()
    assert second.seq == first.seq + 1
    assert site.fence().seq == second.seq


def test_an_entry_that_two_scopes_name_counts_once(site: Site):
    site.fill("a", scope("user", user_id=5, locale="en"))
    scopes = scope("user", user_id=5), scope("user", locale="en")
    assert site.purge(*scopes, dry_run=True).entries == 1
    assert site.purge(*scopes).entries == 1


def test_an_entry_that_is_dead_already_does_not_count(site: Site):
    for n in range(3):
        site.fill(f"{n}", scope("user", user_id=n))
    assert site.purge(scope("user"), visit=0).entries == 3
    assert site.purge(scope("user", user_id=1)).entries == 0


def test_a_dry_run_counts_and_changes_nothing(site: Site):
    for n in range(10):
        site.fill(f"{n}", scope("user", user_id=n), scope("catalog"))
    before = site.dump()

    scopes = scope("user"), scope("catalog"), scope("nothing", a=1)
    dry = site.purge(*scopes, dry_run=True)
    wide = site.purge(scope("user"), dry_run=True, visit=3)
    site.runner.run(site.namespace.purge([], everything=True, dry_run=True))

    assert site.dump() == before
    assert (dry.entries, dry.banned, wide.entries, wide.banned) == (10, 0, 10, 1)
    assert dry.seq == site.fence().seq
    assert site.purge(*scopes).entries == dry.entries


def test_everything_goes_and_what_is_stored_afterwards_stays(site: Site):
    site.fill("a", USER_5)
    site.fill("b", scope("catalog"))
    assert site.purge_everything().entries == 2
    site.fill("c", USER_5)
    assert site.served("a", "b", "c") == {"c"}


def test_another_namespace_is_never_touched(site: Site):
    other = Site(site.runner, type(site.namespace)(f"{site.namespace.name}2", site.namespace.sealing), site.raw)
    for each in (site, other):
        each.fill("a", USER_5)
    site.purge(USER_5)
    site.purge_everything()
    assert other.served("a") == {"a"}


def test_an_entry_dies_at_the_end_of_its_retention(plain_site: Site):
    plain_site.fill("a", USER_5)
    scores = [s for key, value in plain_site.dump().items() if ":i:" in key for _, s in value]
    left_ms = plain_site.raw.pttl(plain_site.entry_key("a"))
    now_ms = plain_site.read().now_ms
    # In each index until the very millisecond of its death, give or take the time between these commands.
    assert len(set(scores)) == 1
    assert abs(now_ms + left_ms - scores[0]) < 1000


def test_an_entry_whose_retention_is_over_already_is_not_served(plain_site: Site):
    assert plain_site.store("a", USER_5, retention_ms=-1) == "stored"
    assert plain_site.served("a") == set()
    assert plain_site.purge(USER_5).entries == 0


def test_what_has_expired_is_trimmed_from_the_indexes_that_scripts_pass_by(plain_site: Site):
    gone = [f"gone{n}" for n in range(15)]
    for name in gone:
        plain_site.store(name, USER_5, retention_ms=-1)
    plain_site.fill("a", USER_5)
    assert plain_site.index_members() == {key_of("a")}


def test_trimming_an_entry_from_an_index_deletes_the_entry_as_well(plain_site: Site):
    # Redis' clock was set back: the entry lives, while its place in one index has ended.
    plain_site.fill("a", USER_5)
    plain_site.raw.zadd(plain_site.named("i:user;user_id=5"), {key_of("a"): 1})
    plain_site.fill("b", USER_5)
    assert plain_site.served("a", "b") == {"b"}


def test_an_entry_with_more_scopes_than_a_header_holds_is_refused(plain_site: Site):
    with pytest.raises(EntryError, match="indexes"):
        plain_site.store("a", *(scope("user", user_id=n) for n in range(10_000)))


def test_an_entry_with_very_many_scopes_is_purged_by_each(plain_site: Site):
    scopes = [scope("product", product_id=n, locale="en") for n in range(300)]
    for wanted in (scopes[0], scopes[299], scope("product", locale="en")):
        plain_site.fill("shop", *scopes)
        assert plain_site.purge(wanted).entries == 1
        assert plain_site.served("shop") == set()
        assert plain_site.index_members() == set()
