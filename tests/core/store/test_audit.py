"""The audit in Redis: written with the purge, bounded, and in nobody's way."""

import pytest

from mizan_core.purge import By
from mizan_core.scopes import Scope
from mizan_core.store import audit
from mizan_core.store.audit import Acknowledged, Audited
from mizan_core.store.layout import scope_argument
from tests.core.store.site import Site, full_memory, scope

BY = By(source="admin", request="POST /purge", token="purge")


def purge(site: Site, *scopes: Scope, everything: bool = False, dry_run: bool = False) -> int:
    operation = site.namespace.purge(scopes, everything=everything, dry_run=dry_run, by=BY)
    return site.runner.run(operation).seq


def audited(site: Site, count: int = 100, before: str = "") -> list[Audited]:
    return list(site.runner.run(audit.read(site.namespace, count, before)).purges)


def test_each_purge_leaves_who_asked_and_what_went(site: Site):
    site.fill("five", scope("user", user_id=5))
    seqs = [purge(site, scope("user", user_id=5), scope("catalog")), purge(site, everything=True)]
    purge(site, scope("user"), dry_run=True)
    site.purge(scope("user"))  # by nobody who says so: the origin's own cache
    everything, first = audited(site)
    assert [first.seq, everything.seq] == seqs
    assert first.by == everything.by == {"source": "admin", "request": "POST /purge", "token": "purge"}
    assert (first.entries, first.count, first.scopes) == (1, 2, ("user\n;user_id=5", "catalog"))
    assert everything.scopes == ("",)
    assert abs(first.at_ms - site.now_ms()) < 10_000


def test_it_is_read_in_pages(site: Site):
    seqs = [purge(site, scope("user", user_id=n)) for n in range(5)]
    found: list[int] = []
    before = ""
    while page := audited(site, 2, before):
        assert len(page) <= 2
        found += [record.seq for record in page]
        before = page[-1].id
    assert found == seqs[::-1]


def test_acknowledgements_come_later_and_belong_to_their_own_incarnation(site: Site):
    first, second = purge(site, scope("user")), purge(site, scope("catalog"))
    incarnation = site.fence().incarnation
    acks = [Acknowledged(incarnation, first, 7), Acknowledged("another", second, 9)]
    site.runner.run(audit.acknowledged(site.namespace, acks))
    assert [record.acknowledged_ms for record in audited(site)] == [None, 7]


def test_it_is_bounded(plain_site: Site):
    with plain_site.raw.pipeline(transaction=False) as pipeline:
        for n in range(audit.KEPT + 500):
            pipeline.xadd(plain_site.named("audit"), {"inc": "a", "seq": n, "by": "{}"})
            pipeline.zadd(plain_site.named("acked"), {f"a {n} 1": n})
        pipeline.execute()
    seq = purge(plain_site, *(scope("user", user_id=n, locale="x" * 100) for n in range(100)))
    plain_site.runner.run(
        audit.acknowledged(plain_site.namespace, [Acknowledged(plain_site.fence().incarnation, seq + audit.KEPT, 1)])
    )
    assert audit.KEPT <= plain_site.raw.xlen(plain_site.named("audit")) <= audit.KEPT + 100
    assert plain_site.raw.zcard(plain_site.named("acked")) == audit.KEPT
    (last,) = audited(plain_site, 1)
    assert last.count == 100
    assert 0 < sum(map(len, last.scopes)) <= 1024


def test_a_scope_is_told_whole_or_not_at_all(site: Site):
    long = {"alike": "x" * 500, "locale": "y" * 486, "user_id": 123456}
    purge(site, scope("user", **long), scope("catalog"))
    (told,) = audited(site)
    # Cut off, it would be that of another user.
    assert (told.scopes, told.count) == ((scope_argument(scope("user", **long)),), 2)


@pytest.mark.parametrize("name", ["audit", "acked"])
def test_where_another_hand_has_put_something_else_purges_are_done_and_audited_again(site: Site, name: str):
    site.fill("five", scope("user", user_id=5))
    site.raw.set(site.named(name), "x")
    if name == "audit":
        assert audited(site) == []
    seq = purge(site, scope("user", user_id=5))
    assert site.served("five") == set()
    site.runner.run(audit.acknowledged(site.namespace, [Acknowledged(site.fence().incarnation, seq, 3)]))
    assert [(record.seq, record.acknowledged_ms) for record in audited(site)] == [(seq, 3)]


def test_in_a_full_memory_purges_are_done_and_audited(plain_site: Site):
    plain_site.fill("five", scope("user", user_id=5))
    with full_memory(plain_site):
        seq = purge(plain_site, scope("user", user_id=5))
    assert plain_site.served("five") == set()
    assert [record.seq for record in audited(plain_site)] == [seq]


def test_what_the_store_purges_of_its_own_accord_is_audited_too(site: Site):
    site.adopt({"user": "one"})
    site.adopt({"user": "another"})
    (changed,) = audited(site)
    assert (changed.by, changed.scopes) == ({"source": "other manifest"}, ("user",))
    site.register("a", "1", lease_ms=1)
    site.lapse("edges", "a")
    site.register("b", "2")
    assert audited(site)[0].by == {"source": "lapsed edge"}
    assert audited(site)[0].scopes == ("",)
