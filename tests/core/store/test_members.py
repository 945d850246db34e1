"""Leases of edges and of their sessions: who may read, who must hear of purges, and what a renewal brings."""

import pytest

from tests.core.store.site import MINUTE_MS, Site, full_memory, scope

USER_5 = scope("user", user_id=5)
EVERYTHING = ("",)


def register(site: Site, edge: str) -> bool:
    """Whether everything was purged."""
    return site.register(edge, f"session of {edge}").flushed


def member(site: Site) -> tuple[str, int]:
    """The session `s` of the edge `a`: the incarnation and the seq that it knows."""
    registered = site.register("a", "s")
    return registered.incarnation, registered.seq


def sessions(site: Site) -> set[str]:
    return {session for session, _ in site.purge().members}


def test_an_edge_that_registers_again_purges_nothing(site: Site):
    register(site, "a")
    site.fill("entry", USER_5)
    assert [register(site, edge) for edge in ("a", "b", "a", "b")] == [False] * 4
    assert site.served("entry") == {"entry"}


@pytest.mark.parametrize("back", ["a", "new"])
def test_who_comes_without_a_lease_and_finds_a_lapsed_one_makes_everything_dead(site: Site, back: str):
    register(site, "a")
    register(site, "b")
    site.fill("entry", USER_5)
    fence = site.fence()
    site.lapse("edges", "a", "b")
    registered = site.register(back, "back")
    assert registered.flushed and registered.seq == fence.seq + 1
    assert site.served("entry") == set()
    assert site.store("entry", USER_5, fence=fence) == "overtaken"
    site.fill("entry", USER_5)
    assert [register(site, edge) for edge in ("a", "b")] == [False, False]
    assert site.served("entry") == {"entry"}


def test_an_edge_that_comes_back_among_live_ones_purges_nothing(site: Site):
    register(site, "a")
    register(site, "b")
    site.fill("entry", USER_5)
    site.lapse("edges", "a")
    assert not register(site, "a")
    assert site.served("entry") == {"entry"}


def test_a_live_edge_does_not_mind_a_lapsed_one(site: Site):
    # It has read under a lease all the time: that is the documented partition.
    incarnation, seq = member(site)
    register(site, "b")
    site.fill("entry", USER_5)
    site.lapse("edges", "b")
    assert not register(site, "a")
    assert site.renew("a", "s", incarnation, seq).scopes == ()
    assert site.served("entry") == {"entry"}


def test_an_edge_that_has_signed_off_is_not_missed(site: Site):
    register(site, "a")
    site.register("b", "s")
    site.fill("entry", USER_5)
    assert site.runner.run(site.namespace.sign_off("b", "s"))
    assert sessions(site) == {"session of a"}
    site.lapse("edges", "a")
    assert not register(site, "a")
    assert site.served("entry") == {"entry"}
    assert not site.runner.run(site.namespace.sign_off("b", "s"))


def test_a_purge_names_the_members_whose_leases_last_and_for_how_long(site: Site):
    assert site.purge(USER_5).members == ()
    site.register("a", "s", lease_ms=2 * MINUTE_MS)
    site.register("b", "t")
    site.register("c", "lapsed")
    site.lapse("members", "lapsed")
    remaining = dict(site.purge(USER_5, lease_ms=2 * MINUTE_MS).members)
    assert remaining.keys() == {"s", "t"}
    assert MINUTE_MS < remaining["s"] <= 2 * MINUTE_MS
    assert 0 < remaining["t"] <= MINUTE_MS
    assert site.raw.zrange(site.named("members"), 0, -1) == [b"t", b"s"]


def test_a_clock_that_was_set_back_makes_no_lease_longer(site: Site):
    site.register("a", "s", lease_ms=60 * MINUTE_MS)
    operation = site.namespace.purge([USER_5], lease_ms=MINUTE_MS)
    assert dict(site.runner.run(operation).members) == {"s": MINUTE_MS}
    assert (site.raw.zscore(site.named("members"), "s") or 0) <= site.now_ms() + MINUTE_MS


def test_the_session_before_is_waited_for_no_longer_when_its_memory_is_gone(site: Site):
    site.register("a", "old")
    site.runner.run(site.namespace.register("a", "new", former="old"))
    assert sessions(site) == {"new"}


def test_who_waits_for_nobody_ends_no_lease(site: Site):
    # An edge whose Redis is its own purges so; it is a member itself.
    incarnation = site.register("a", "s").incarnation
    assert site.purge(USER_5, lease_ms=0).members == ()
    assert site.renew("a", "s", incarnation, 0).what == "ok"


def test_an_edge_that_has_come_back_is_two_members_until_the_first_lease_ends(site: Site):
    site.register("a", "old")
    site.register("a", "new")
    assert sessions(site) == {"old", "new"}


def test_a_dry_run_names_nobody(site: Site):
    site.register("a", "s")
    done = site.purge(USER_5, dry_run=True)
    assert (done.members, done.wait_ms) == ((), 0)


def test_a_renewal_prolongs_both_leases(site: Site):
    incarnation = site.register("a", "s", lease_ms=MINUTE_MS).incarnation
    assert site.renew("a", "s", incarnation, 0, lease_ms=10 * MINUTE_MS).what == "ok"
    for record, name in (("edges", "a"), ("members", "s")):
        ends = site.raw.zscore(site.named(record), name)
        assert isinstance(ends, float)
        assert ends - site.now_ms() > 9 * MINUTE_MS


def test_a_renewal_brings_what_was_purged_since(site: Site):
    incarnation, seq = member(site)
    first = site.purge(USER_5, scope("catalog")).seq
    second = site.purge(scope("user", user_id=5, locale="en")).seq
    renewed = site.renew("a", "s", incarnation, seq)
    assert (renewed.what, renewed.incarnation, renewed.seq) == ("ok", incarnation, second)
    assert set(renewed.scopes) == {"user\n;user_id=5", "catalog", 'user\n;locale="en"\n;user_id=5'}
    assert site.renew("a", "s", incarnation, first).scopes == ('user\n;locale="en"\n;user_id=5',)
    assert site.renew("a", "s", incarnation, second).scopes == ()


def test_a_scope_that_is_purged_again_is_news_again(site: Site):
    incarnation, _ = member(site)
    seq = site.purge(USER_5).seq
    site.purge(USER_5)
    assert site.renew("a", "s", incarnation, seq).scopes == ("user\n;user_id=5",)


@pytest.mark.parametrize("visit", [500, 0], ids=["visited", "banned"])
def test_news_come_of_everything_that_raises_the_sequence(plain_site: Site, visit: int):
    site = plain_site
    site.fill("entry", USER_5)
    incarnation, seq = member(site)
    site.purge(scope("user"), visit=visit)
    assert site.renew("a", "s", incarnation, seq).scopes == ("user",)
    seq = site.fence().seq
    site.adopt({"user": "another shape", "new": "shape"})
    assert site.renew("a", "s", incarnation, seq).scopes == ("user",)
    seq = site.fence().seq
    site.purge_everything()
    assert "" in site.renew("a", "s", incarnation, seq).scopes
    seq = site.fence().seq
    register(site, "b")
    site.lapse("edges", "a", "b")
    assert register(site, "b")
    assert "" in site.renew("a", "s", incarnation, seq).scopes


def test_a_renewal_that_a_trimmed_log_cannot_answer_says_everything(site: Site):
    incarnation, seq = member(site)
    site.purge(USER_5)
    site.raw.hset(site.named("ctl"), "floor", seq + 1)
    assert site.renew("a", "s", incarnation, seq).scopes == EVERYTHING
    assert site.renew("a", "s", incarnation, seq + 1).scopes == ()


def test_a_renewal_from_the_future_says_everything(site: Site):
    incarnation, seq = member(site)
    assert site.renew("a", "s", incarnation, seq + 1).scopes == EVERYTHING


@pytest.mark.parametrize(("purged", "scopes"), [(1000, 1000), (1001, 1)])
def test_too_many_news_are_everything(plain_site: Site, purged: int, scopes: int):
    incarnation, seq = member(plain_site)
    plain_site.purge(*(scope("user", user_id=n) for n in range(purged)))
    news = plain_site.renew("a", "s", incarnation, seq).scopes
    assert len(news) == scopes
    assert (news == EVERYTHING) == (scopes == 1)


@pytest.mark.parametrize("lost", ["lapsed", "signed off", "never there"])
def test_a_session_without_a_lease_is_not_renewed(site: Site, lost: str):
    incarnation, seq = member(site)
    match lost:
        case "lapsed":
            site.lapse("members", "s")
        case "signed off":
            site.runner.run(site.namespace.sign_off("a", "s"))
        case _:
            site.raw.zrem(site.named("members"), "s")
    renewed = site.renew("a", "s", incarnation, seq)
    assert (renewed.what, renewed.scopes) == ("gone", ())
    assert sessions(site) == set()


def test_a_lease_runs_out_by_the_clock_of_redis(site: Site):
    registered = site.register("a", "s", lease_ms=1)
    while site.now_ms() <= registered.now_ms:
        pass
    assert site.renew("a", "s", registered.incarnation, registered.seq).what == "gone"
    assert sessions(site) == set()


def test_a_session_of_an_earlier_incarnation_is_not_renewed_nor_a_member(site: Site):
    incarnation, seq = member(site)
    site.raw.hset(site.named("ctl"), "run", "0" * 40)
    renewed = site.renew("a", "s", incarnation, seq)
    assert (renewed.what, renewed.scopes) == ("incarnation", ())
    assert renewed.incarnation != incarnation
    assert sessions(site) == set()
    assert site.renew("a", "s", renewed.incarnation, renewed.seq).what == "gone"


def test_purges_wait_until_the_incarnation_is_one_lease_old(site: Site):
    # 1. A member reads under its lease. 2. Redis forgets who the members are. 3. A purge must not be answered before
    # that lease has run out.
    site.grow_old()
    member(site)
    assert site.purge(USER_5).wait_ms == 0
    site.raw.hset(site.named("ctl"), "run", "0" * 40)
    assert 1000 < site.purge(USER_5).wait_ms <= 2000
    site.raw.hincrby(site.named("ctl"), "born", -1500)
    assert 0 < site.purge(USER_5).wait_ms <= 500
    site.raw.hset(site.named("ctl"), "born", site.now_ms() + MINUTE_MS)
    assert site.purge(USER_5).wait_ms == 2000
    assert site.runner.run(site.namespace.purge([USER_5], lease_ms=0)).wait_ms == 0
    assert site.runner.run(site.namespace.purge([USER_5], lease_ms=MINUTE_MS)).wait_ms == MINUTE_MS


@pytest.mark.parametrize("name", ["members", "edges"])
def test_another_type_in_place_of_a_record_of_leases_is_a_new_incarnation(site: Site, name: str):
    # Who the members were is lost, and they may still read.
    site.grow_old()
    incarnation, seq = member(site)
    for again in (
        lambda: site.purge(USER_5).incarnation,
        lambda: site.register("b", "t").incarnation,
        lambda: site.renew("a", "s", incarnation, seq).incarnation,
    ):
        before = site.fence().incarnation
        site.raw.delete(site.named(name))
        site.raw.set(site.named(name), "x")
        assert again() != before
    assert site.purge(USER_5).wait_ms > 0
    assert not register(site, "a")


def test_a_full_memory_keeps_nobody_from_having_a_lease_nor_from_hearing_of_purges(site: Site):
    with full_memory(site):
        incarnation, seq = member(site)
        purged = site.purge(USER_5)
        assert [session for session, _ in purged.members] == ["s"]
        assert site.renew("a", "s", incarnation, seq).scopes == ("user\n;user_id=5",)
        assert site.runner.run(site.namespace.sign_off("a", "s"))
