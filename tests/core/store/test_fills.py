"""Who asks the origin for a missing entry, and what everybody else does."""

from mizan_core.scopes import Scope
from mizan_core.store.fills import Turn, end, lead, renew, wake_channel
from tests.core.store.site import Site, key_of, scope

USER_5 = scope("user", user_id=5)
LEASE_MS = 60_000


def turn(site: Site, token: str, *scopes: Scope, lease_ms: int = LEASE_MS, seen: bytes = b"") -> Turn:
    operation = lead(site.namespace, key_of("a"), token, scopes=scopes or (USER_5,), seen=seen, lease_ms=lease_ms)
    return site.runner.run(operation)


def finish(site: Site, token: str, *, alone_ms: int = 0) -> bool:
    return site.runner.run(end(site.namespace, key_of("a"), token, alone_ms=alone_ms))


def test_one_leads_and_all_others_wait_until_it_has_stored(site: Site):
    first = turn(site, "first")
    others = [turn(site, f"other-{n}") for n in range(3)]
    assert first.what == "lead"
    assert [other.what for other in others] == ["wait"] * 3
    assert all(0 < other.wait_ms <= LEASE_MS for other in others)
    assert site.store("a", USER_5, fence=first.fence, payload=b"new") == "stored"
    assert turn(site, "other-1").what == "entry"
    (entry,) = site.read("a").entries
    assert entry is not None and entry.payload == b"new"


def test_an_entry_that_the_caller_has_seen_and_cannot_use_is_fetched_anew_by_one(site: Site):
    site.fill("a", USER_5)
    (seal,) = site.read("a").seals
    assert seal
    assert turn(site, "first").what == "entry"
    assert [turn(site, token, seen=seal).what for token in ("second", "third")] == ["lead", "wait"]
    assert site.store("a", USER_5, payload=b"newer") == "stored"
    assert turn(site, "third", seen=seal).what == "entry"


def test_nobody_who_comes_after_a_matching_purge_waits_for_a_fill_that_began_before(site: Site):
    old = turn(site, "old")
    site.purge(USER_5)
    new = turn(site, "new")
    assert new.what == "lead" and new.fence.seq > old.fence.seq
    assert site.store("a", USER_5, fence=old.fence) == "overtaken"
    assert not finish(site, "old"), "the lease is no longer its own"
    assert turn(site, "third").what == "wait"


def test_a_purge_that_does_not_match_leaves_the_fill_alone(site: Site):
    turn(site, "first")
    site.purge(scope("user", user_id=6))
    assert turn(site, "second").what == "wait"


def test_a_purge_of_everything_and_a_new_incarnation_take_the_lease_over(plain_site: Site):
    turn(plain_site, "first")
    plain_site.purge_everything()
    assert turn(plain_site, "second").what == "lead"
    plain_site.raw.hset(plain_site.namespace.control, "run", "another server")
    assert turn(plain_site, "third").what == "lead"


def test_a_lease_that_ran_out_is_taken_over_and_a_renewed_one_is_not(plain_site: Site):
    turn(plain_site, "first", lease_ms=1)
    lease = f"{{{plain_site.namespace.name}}}:f:{key_of('a')}"
    while plain_site.raw.exists(lease):
        pass
    assert turn(plain_site, "second", lease_ms=1000).what == "lead"
    assert plain_site.runner.run(renew(plain_site.namespace, key_of("a"), "second", lease_ms=LEASE_MS))
    assert not plain_site.runner.run(renew(plain_site.namespace, key_of("a"), "first", lease_ms=LEASE_MS))
    assert plain_site.raw.pttl(lease) > 1000


def test_what_cannot_be_shared_is_asked_for_alone_and_at_once_for_a_while(plain_site: Site):
    turn(plain_site, "first")
    assert finish(plain_site, "first", alone_ms=LEASE_MS)
    assert [turn(plain_site, f"t{n}").what for n in range(3)] == ["alone"] * 3
    assert 0 < plain_site.raw.pttl(f"{{{plain_site.namespace.name}}}:f:{key_of('a')}") <= LEASE_MS


def test_the_end_of_a_fill_is_published_if_and_only_if_somebody_waits(plain_site: Site):
    subscription = plain_site.raw.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(wake_channel(plain_site.namespace))
    turn(plain_site, "first")
    finish(plain_site, "first")
    turn(plain_site, "second")
    turn(plain_site, "waiting")
    finish(plain_site, "second")
    messages: list[bytes] = []
    while len(messages) < 1:
        if message := subscription.get_message(timeout=1):
            messages.append(message["data"])
    assert messages == [key_of("a").encode()]
    assert subscription.get_message(timeout=0.05) is None
    subscription.close()


def test_who_waited_for_a_fill_that_was_overtaken_is_woken_by_the_one_that_took_over(plain_site: Site):
    turn(plain_site, "old")
    turn(plain_site, "waiting")
    plain_site.purge(USER_5)
    with plain_site.raw.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(wake_channel(plain_site.namespace))
        subscription.get_message(timeout=1)  # the confirmation
        turn(plain_site, "new")
        message = subscription.get_message(timeout=5)
    assert message and message["data"] == key_of("a").encode()


def test_what_is_stored_ends_its_own_fill_and_wakes_who_waits(plain_site: Site):
    led = turn(plain_site, "first")
    turn(plain_site, "waiting")
    with plain_site.raw.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(wake_channel(plain_site.namespace))
        subscription.get_message(timeout=1)  # the confirmation
        assert plain_site.store("a", USER_5, fence=led.fence, lead=(key_of("a"), "first")) == "stored"
        message = subscription.get_message(timeout=5)
    assert message and message["data"] == key_of("a").encode()
    assert not plain_site.raw.exists(f"{{{plain_site.namespace.name}}}:f:{key_of('a')}")
    assert not finish(plain_site, "first"), "it was over"


def test_what_is_not_stored_and_what_another_has_fetched_leave_a_fill_alone(plain_site: Site):
    led = turn(plain_site, "first")
    assert plain_site.store("a", USER_5, fence=led.fence, lead=(key_of("a"), "another")) == "stored"
    plain_site.purge(USER_5)
    second = turn(plain_site, "second")
    assert second.what == "lead"
    assert plain_site.store("a", USER_5, fence=led.fence, lead=(key_of("a"), "second")) == "overtaken"
    assert turn(plain_site, "third").what == "wait"


def test_a_clock_that_was_set_back_makes_no_fill_lease_longer(plain_site: Site):
    turn(plain_site, "first")
    name = f"{{{plain_site.namespace.name}}}:f:{key_of('a')}"
    plain_site.raw.pexpire(name, 3_600_000)
    assert turn(plain_site, "waiting").wait_ms == LEASE_MS
    assert plain_site.raw.pttl(name) <= LEASE_MS


def test_a_lease_of_another_type_is_replaced(plain_site: Site):
    plain_site.raw.set(f"{{{plain_site.namespace.name}}}:f:{key_of('a')}", "x")
    assert turn(plain_site, "first").what == "lead"
