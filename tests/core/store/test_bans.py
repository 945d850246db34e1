"""Wide purges: what is banned is dead at once, and swept later in slices that never take what was stored since."""

import pytest

from mizan_core.store.replies import Slice
from tests.core.store.site import Site, key_of, scope

WIDE = 300
NAMES = [f"{n}" for n in range(WIDE)]


@pytest.fixture
def wide(site: Site) -> Site:
    """A site with more entries of `user` in locale `en` than the visits that these tests allow."""
    fence = site.fence()
    for n, name in enumerate(NAMES):
        assert site.store(name, scope("user", user_id=n, locale="en"), fence=fence) == "stored"
    site.fill("other", scope("user", user_id=0, locale="de"))
    return site


def test_a_banned_scope_is_dead_at_once_and_says_how_many_there_were(wide: Site):
    done = wide.purge(scope("user", locale="en"), visit=10)
    assert (done.entries, done.banned) == (WIDE, 1)
    assert wide.served("other", *NAMES) == {"other"}


def test_a_fill_that_began_before_a_ban_is_refused(site: Site):
    fence = site.fence()
    site.fill("a", scope("user", user_id=5))
    site.purge(scope("user"), visit=0)
    assert site.store("b", scope("user", user_id=6), fence=fence) == "overtaken"


def test_the_narrowest_index_decides_whether_a_scope_is_wide(wide: Site):
    done = wide.purge(scope("user", locale="en", user_id=7), visit=2)
    assert (done.entries, done.banned) == (1, 0)


def test_a_sweep_deletes_the_dead_leaves_the_living_and_lifts_the_ban(wide: Site):
    wide.purge(scope("user", locale="en"), visit=10)
    (ban,) = wide.bans()
    assert wide.sweep(ban) == WIDE
    assert wide.bans() == []
    assert wide.served("other", *NAMES) == {"other"}
    assert wide.index_members() == {key_of("other")}


def test_what_is_stored_again_between_two_slices_stays(wide: Site):
    wide.purge(scope("user", locale="en"), visit=10)
    (ban,) = wide.bans()
    again: set[str] = set()
    for _ in wide.slices(ban):
        for name in NAMES[len(again) :][:20]:
            wide.fill(name, scope("user", user_id=int(name), locale="en"))
            again.add(name)
    assert len(again) > 20, "the sweep took one slice"
    assert wide.bans() == []
    assert wide.served("other", *NAMES) == again | {"other"}
    assert wide.index_members() == {key_of(name) for name in again | {"other"}}


def test_a_sweep_does_not_lift_a_newer_ban_on_the_same_scope(wide: Site):
    wide.purge(scope("user", locale="en"), visit=10)
    (old,) = wide.bans()
    slices = wide.slices(old)
    next(slices)
    wide.fill("1", scope("user", user_id=1, locale="en"))
    wide.purge(scope("user", locale="en"), visit=0)
    list(slices)
    assert wide.served("other", *NAMES) == {"other"}
    (new,) = wide.bans()
    assert int(new.seq) > int(old.seq)
    wide.sweep(new)
    assert wide.bans() == []
    assert wide.served("other", *NAMES) == {"other"}


def test_lifting_one_ban_leaves_the_others(site: Site):
    site.fill("a", scope("user", user_id=5, locale="en"))
    site.fill("b", scope("user", user_id=6, locale="en"))
    site.purge(scope("user", user_id=5), scope("user", locale="en"), visit=0)
    by_id = next(ban for ban in site.bans() if "user_id" in ban.scope)
    assert site.sweep(by_id) == 1
    assert len(site.bans()) == 1
    assert site.served("a", "b") == set()


def test_purging_everything_is_swept_context_by_context(site: Site):
    site.fill("a", scope("user", user_id=5))
    site.fill("b", scope("catalog"))
    site.purge_everything()
    site.fill("c", scope("user", user_id=5))
    for ban in site.bans():
        site.sweep(ban)
    assert site.bans() == []
    assert site.served("a", "b", "c") == {"c"}
    assert site.index_members() == {key_of("c")}


def test_a_ban_is_checked_however_many_later_bans_there_are(plain_site: Site):
    names = [f"{n}" for n in range(100)]
    fence = plain_site.fence()
    for name in names:
        assert plain_site.store(name, scope("user", user_id=int(name)), fence=fence) == "stored"
    plain_site.purge(*(scope("user", user_id=n) for n in range(99)), visit=0)
    assert plain_site.served(*names) == {"99"}


def test_a_budget_spent_on_one_scope_bans_the_next(plain_site: Site):
    for n in range(8):
        plain_site.fill(f"{n}", scope("user", user_id=n, locale="en" if n < 4 else "de"))
    done = plain_site.purge(scope("user", locale="en"), scope("user", locale="de"), visit=5)
    assert (done.entries, done.banned) == (8, 1)
    assert plain_site.served(*map(str, range(8))) == set()


def test_a_sweep_of_a_ban_that_is_gone_deletes_nothing_that_lives(plain_site: Site):
    plain_site.fill("a", scope("user", user_id=5))
    plain_site.purge(scope("user"), visit=0)
    (ban,) = plain_site.bans()
    plain_site.sweep(ban)
    plain_site.fill("b", scope("user", user_id=5))
    assert plain_site.sweep(ban) == 0
    assert plain_site.runner.run(plain_site.namespace.sweep(ban, Slice(cursor="12345"))).cursor == "0"
    assert plain_site.served("b") == {"b"}
