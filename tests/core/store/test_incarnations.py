"""Redis may forget: whenever it may have lost purges, everything older is dead and no older fill is stored."""

from collections.abc import Callable

import pytest

from mizan_core.store import Fence
from tests.core.store.site import Site, scope

USER_5 = scope("user", user_id=5)


def restart_with_old_data(site: Site) -> None:
    site.raw.hset(site.named("ctl"), "run", "0" * 40)


def lose_everything(site: Site) -> None:
    site.raw.flushall()


def lose_the_control_record(site: Site) -> None:
    site.raw.delete(site.named("ctl"))


def damage_the_control_record(site: Site) -> None:
    site.raw.set(site.named("ctl"), "something else")


def lose_the_sequence(site: Site) -> None:
    site.raw.hdel(site.named("ctl"), "seq")


def lose_the_epoch(site: Site) -> None:
    site.raw.hset(site.named("ctl"), "epoch", "soon")


LOSSES = [
    restart_with_old_data,
    lose_everything,
    lose_the_control_record,
    damage_the_control_record,
    lose_the_sequence,
    lose_the_epoch,
]


@pytest.fixture(params=LOSSES, ids=lambda loss: loss.__name__.replace("_", " "))
def lose(request: pytest.FixtureRequest) -> Callable[[Site], None]:
    return request.param  # type: ignore[no-any-return]


def test_older_entries_are_dead_and_stay_dead(site: Site, lose: Callable[[Site], None]):
    site.purge(scope("other"))
    site.fill("a", USER_5)
    lose(site)
    assert site.served("a") == set()
    site.purge(scope("other"))
    assert site.served("a") == set()


def test_older_fences_are_refused(site: Site, lose: Callable[[Site], None]):
    site.purge(scope("other"))
    fence = site.fence()
    lose(site)
    assert site.store("a", USER_5, fence=fence) == "incarnation"
    assert site.fence().incarnation != fence.incarnation
    assert site.store("a", USER_5) == "stored"
    assert site.served("a") == {"a"}


def test_a_purge_after_the_loss_finds_what_was_stored_after_it(site: Site, lose: Callable[[Site], None]):
    site.fill("old", USER_5)
    lose(site)
    site.fill("new", USER_5)
    assert site.purge(USER_5).entries == 1
    assert site.served("old", "new") == set()
    assert site.store("new", USER_5) == "stored"


def test_a_purge_may_be_the_first_to_notice(site: Site, lose: Callable[[Site], None]):
    site.fill("a", USER_5)
    fence = site.fence()
    lose(site)
    site.purge(USER_5)
    assert site.store("a", USER_5, fence=fence) == "incarnation"
    assert site.served("a") == set()


def test_the_sequence_goes_on_when_redis_still_knows_it(site: Site):
    done = site.purge(scope("other"))
    restart_with_old_data(site)
    assert site.purge(scope("other")).seq == done.seq + 1


def test_bans_of_an_earlier_incarnation_do_not_reach_the_next(site: Site):
    site.fill("a", USER_5)
    site.purge(USER_5, visit=0)
    restart_with_old_data(site)
    site.fill("a", USER_5)
    assert site.bans() == []
    assert site.served("a") == {"a"}


def test_a_sweep_clears_what_an_earlier_incarnation_left(plain_site: Site):
    plain_site.fill("old", scope("user", user_id=4))
    restart_with_old_data(plain_site)
    plain_site.fill("new", USER_5)
    plain_site.purge(scope("user", user_id=6), scope("user", user_id=4), visit=0)
    for ban in plain_site.bans():
        plain_site.sweep(ban)
    assert plain_site.served("old", "new") == {"new"}
    assert not plain_site.raw.exists(plain_site.entry_key("old"))


def test_two_readers_after_a_loss_agree_on_the_incarnation(site: Site):
    lose_everything(site)
    first, second = site.fence(), site.fence()
    assert first == second
    assert first != Fence("", 0)
