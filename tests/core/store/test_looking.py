"""What is stored and was purged, for those who ask: found as a purge would find it, and left as it is."""

import pytest

from mizan_core.scopes import Scope
from mizan_core.store.layout import index_names
from mizan_core.store.replies import PurgeOf
from tests.core.store.site import Site, key_of, scope

ENTRIES = {
    "5": [scope("user", user_id=5)],
    "5de": [scope("user", user_id=5, locale="de")],
    "6": [scope("user", user_id=6), scope("catalog")],
    "books": [scope("catalog", category="books")],
}


def matching(site: Site, *scopes: Scope, limit: int = 100, everything: bool = False) -> set[str]:
    keys = site.runner.run(site.namespace.matching(scopes, limit, everything=everything))
    assert len(keys) == len(set(keys))
    return {name for name in ENTRIES if key_of(name) in keys}


@pytest.mark.parametrize(
    "scopes",
    [
        [scope("user")],
        [scope("user", user_id=5)],
        [scope("user", user_id=5, locale="de")],
        [scope("user", user_id=7)],
        [scope("catalog"), scope("user", user_id=6)],
    ],
)
def test_what_is_found_is_what_a_purge_removes(site: Site, scopes: list[Scope]):
    for name, of in ENTRIES.items():
        site.fill(name, *of)
    found = matching(site, *scopes)
    assert site.served(*ENTRIES) == set(ENTRIES)
    assert site.purge(*scopes).entries == len(found)
    assert site.served(*ENTRIES) == set(ENTRIES) - found
    assert matching(site, *scopes) == set()


def test_everything_is_found_up_to_a_limit_but_nothing_that_is_dead(site: Site):
    for name, of in ENTRIES.items():
        site.fill(name, *of)
    assert matching(site, everything=True) == set(ENTRIES)
    assert len(matching(site, everything=True, limit=2)) == 2
    site.purge(scope("user", user_id=5), visit=0)  # banned: it lies there, and is dead
    assert matching(site, everything=True) == {"6", "books"}


def last_purge(site: Site, *names: str) -> PurgeOf | None:
    found: PurgeOf | int | None = 0
    while isinstance(found, int):
        found = site.runner.run(site.namespace.last_purge(names, found))
    return found


def test_the_last_purge_is_that_of_the_latest_scope_that_matches(site: Site):
    names = index_names([scope("user", user_id=5), scope("catalog")])
    assert last_purge(site, *names) is None
    for other in (scope("user", user_id=6), scope("user", user_id=5, locale="de"), scope("catalogue")):
        site.purge(other)
    assert last_purge(site, *names) is None
    for of, text in ((scope("user", user_id=5), "user\n;user_id=5"), (scope("catalog"), "catalog")):
        seq = site.purge(of).seq
        site.purge(scope("user", user_id=6))
        assert last_purge(site, *names) == PurgeOf(text, seq)


def test_it_is_found_behind_many_others_and_for_what_stands_in_many_indexes(site: Site):
    names = index_names(
        [scope("user", **{f"p{i}": i for i in range(12)})]
    )  # more subsets than are looked up one by one
    seq = site.purge(scope("user", p3=3)).seq
    for start in range(0, 1200, 100):
        site.purge(*(scope("user", p3=n) for n in range(start + 10, start + 110)))
    assert last_purge(site, *names) == PurgeOf("user\n;p3=3", seq)
    assert last_purge(site, *index_names([scope("catalog", **{f"p{i}": i for i in range(12)})])) is None
