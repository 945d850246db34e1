"""The blocking client's purge: it returns when no edge can have in memory what it purged, and not later."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from mizan_core.store import LEASE_MS, Ack, Announcement, Namespace, Purged, Store, StoreError
from mizan_core.store.members import acks_channel, purges_channel
from mizan_core.store.operations import SCOPES_AT_ONCE
from tests.core.store.site import SEALING, Site, open_site, scope
from tests.support.killable import Redis
from tests.support.processes import wait_for

USER_5 = scope("user", user_id=5)


@pytest.fixture
def old_site(plain_site: Site) -> Site:
    plain_site.grow_old()
    return plain_site


@pytest.fixture
def store(any_redis_url: str, old_site: Site) -> Iterator[Store]:
    store = Store(any_redis_url, old_site.namespace, timeout_s=5.0)
    yield store
    store.close()


def timed(store: Store) -> tuple[Purged, float]:
    began = time.monotonic()
    return store.purge([USER_5]), time.monotonic() - began


class Member:
    """A member that hears of purges, and acknowledges where a test lets it."""

    def __init__(self, site: Site, session: str) -> None:
        self.session = session
        self.heard: list[Announcement] = []
        self.may_ack = threading.Event()
        self._site = site
        self._listener = site.raw.pubsub()
        self._listener.subscribe(purges_channel(site.namespace))
        assert self._listener.get_message(timeout=5)["type"] == "subscribe"
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self) -> None:
        while (message := self._listener.get_message(timeout=5)) is not None:
            announcement = Announcement.parse(message["data"])
            if announcement is None:
                return
            self.heard.append(announcement)
            assert self.may_ack.wait(5)
            ack = Ack(announcement.incarnation, self.session, announcement.seq)
            self._site.raw.publish(acks_channel(self._site.namespace, announcement.purger), ack.to_bytes())

    def leave(self) -> None:
        self._site.raw.publish(purges_channel(self._site.namespace), b"the end")
        self._thread.join()
        self._listener.close()


@contextmanager
def member(site: Site, session: str, lease_ms: int) -> Iterator[Member]:
    """A registered member that listens."""
    joined = Member(site, session)
    site.register(f"edge of {session}", session, lease_ms=lease_ms)
    try:
        yield joined
    finally:
        joined.may_ack.set()
        joined.leave()


def test_without_members_it_returns_at_once(old_site: Site, store: Store):
    old_site.fill("a", USER_5)
    purged, took_s = timed(store)
    assert purged.entries == 1
    assert old_site.served("a") == set()
    assert took_s < 1


def test_it_returns_when_each_member_has_acknowledged_and_not_before(old_site: Site, store: Store):
    with member(old_site, "s", 60_000) as quick, member(old_site, "t", 60_000) as slow:
        quick.may_ack.set()
        returned = threading.Event()

        def purge() -> None:
            store.purge([USER_5])
            returned.set()

        purger = threading.Thread(target=purge)
        purger.start()
        assert not returned.wait(0.3)
        assert [a.scopes for a in slow.heard] == [("user\n;user_id=5",)]
        slow.may_ack.set()
        assert returned.wait(5)
        purger.join()


def test_many_scopes_are_purged_in_parts_of_which_the_last_must_be_acknowledged(old_site: Site, store: Store):
    scopes = [scope("user", user_id=n) for n in range(2 * SCOPES_AT_ONCE + 50)]
    old_site.fill("first", scopes[0])
    old_site.fill("last", scopes[-1])
    with member(old_site, "s", 60_000) as listening:
        listening.may_ack.set()
        purged = store.purge(scopes)
        assert [len(part.scopes) for part in listening.heard] == [SCOPES_AT_ONCE, SCOPES_AT_ONCE, 50]
        assert listening.heard[-1].seq == purged.seq
    assert (purged.entries, len(purged.scopes)) == (2, len(scopes))
    assert old_site.served("first", "last") == set()


def test_each_purge_waits_for_its_own_acknowledgements(old_site: Site, store: Store):
    with member(old_site, "s", 60_000) as quick:
        quick.may_ack.set()
        purges = [store.purge([USER_5]) for _ in range(20)]
        assert [a.seq for a in quick.heard] == [p.seq for p in purges]
        assert len({a.purger for a in quick.heard}) == 20


def test_it_waits_no_longer_than_for_the_leases_of_those_who_say_nothing(old_site: Site, store: Store):
    with member(old_site, "s", 60_000) as quick:
        quick.may_ack.set()
        old_site.register("b", "silent", lease_ms=400)
        purged, took_s = timed(store)
    remaining_ms = dict(purged.members)["silent"]
    assert remaining_ms > 100
    assert remaining_ms / 1000 <= took_s < 5


def test_in_a_young_incarnation_it_waits_until_that_is_a_lease_old(old_site: Site, store: Store):
    old_site.raw.hset(old_site.named("ctl"), "born", old_site.now_ms() - LEASE_MS + 300)
    purged, took_s = timed(store)
    assert purged.wait_ms > 100
    assert purged.wait_ms / 1000 <= took_s < 2


def test_what_is_no_acknowledgement_is_not_taken_for_one(old_site: Site, store: Store):
    with member(old_site, "s", 400) as confused:
        confused.session = "another one"
        confused.may_ack.set()
        purged, took_s = timed(store)
    assert took_s >= dict(purged.members)["s"] / 1000


def test_when_acknowledgements_cannot_be_heard_any_more_it_waits_for_the_lease(old_site: Site, store: Store):
    # 1. The purge is done. 2. The connection on which acknowledgements come breaks. 3. They are published.
    with member(old_site, "s", 600) as late:
        channels = f"{{{old_site.namespace.name}}}:acks:*"
        took: list[tuple[Purged, float]] = []
        purger = threading.Thread(target=lambda: took.append(timed(store)))
        before = {client["id"] for client in old_site.raw.client_list()}
        purger.start()
        while not (late.heard and old_site.raw.pubsub_channels(channels)):
            time.sleep(0.001)
        (listening,) = [c for c in old_site.raw.client_list() if c["sub"] == "1" and c["id"] not in before]
        old_site.raw.client_kill_filter(_id=listening["id"])
        late.may_ack.set()
        purger.join()
    purged, took_s = took[0]
    assert dict(purged.members)["s"] / 1000 <= took_s < 5


def test_purges_leave_no_subscription_behind(old_site: Site, store: Store):
    for _ in range(5):
        store.purge([USER_5])
    assert wait_for(lambda: old_site.raw.pubsub_channels(f"{{{old_site.namespace.name}}}:*") == [])
    assert store.run(old_site.namespace.bans()) == []


def test_a_purge_that_is_not_confirmed_is_an_error(tmp_path: Path):
    server = Redis(tmp_path, keep=False)
    server.start()
    store = Store(server.url, Namespace("test-acks", SEALING), timeout_s=0.3)
    try:
        server.freeze()
        with pytest.raises(StoreError):
            store.purge([USER_5])
        server.thaw()
        server.kill()
        with pytest.raises(StoreError):
            store.purge([USER_5])
        server.start()
        with open_site(server.url, "test-acks") as site:
            site.grow_old()
            assert store.purge([USER_5]).seq == site.fence().seq
    finally:
        store.close()
        server.kill()


def test_a_replica_confirms_no_purge(tmp_path: Path):
    server = Redis(tmp_path, keep=False)
    server.start()
    store = Store(server.url, Namespace("test-acks", SEALING), timeout_s=5.0)
    try:
        with redis.Redis.from_url(server.url) as raw:
            raw.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreError, match="read only replica"):
            store.purge([USER_5])
    finally:
        store.close()
        server.kill()
