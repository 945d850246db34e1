"""What is announced of purges, how it reads, and whom a purger waits for."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.store import Ack, Announcement, Awaited, Namespace, Purged
from mizan_core.store.members import acks_channel, purges_channel
from tests.core.store.site import Site, scope

USER_5 = scope("user", user_id=5)
INC = "i" * 16


def announced(site: Site, *actions: Callable[[], object]) -> list[Announcement | None]:
    """What is published on the channel of announcements meanwhile."""
    marker = b"the end"
    channel = purges_channel(site.namespace)
    with site.raw.pubsub() as listener:
        listener.subscribe(channel)
        assert listener.get_message(timeout=5)["type"] == "subscribe"
        for action in actions:
            action()
        site.raw.publish(channel, marker)
        messages = []
        while (message := listener.get_message(timeout=5)) is not None and message["data"] != marker:
            messages.append(Announcement.parse(message["data"]))
        assert message is not None
        return messages


def test_a_purge_is_announced_with_its_scopes_and_its_place_in_the_sequence(site: Site):
    fence = site.fence()
    scopes = [USER_5, scope("catalog"), scope("user", locale="e\n\n", user_id=5)]
    purge = site.namespace.purge(scopes, purger="me")
    (heard,) = announced(site, lambda: site.runner.run(purge))
    texts = ("user\n;user_id=5", "catalog", 'user\n;locale=%"e%0a%0a"\n;user_id=5')
    assert heard == Announcement(fence.incarnation, fence.seq + 1, "me", texts)


def test_each_raise_of_the_sequence_is_announced_once(site: Site):
    site.register("a", "s")
    site.fill("a", USER_5)
    fence = site.fence()

    def come_back() -> None:
        site.lapse("edges", "a")
        assert site.register("b", "t").flushed

    heard = announced(
        site,
        lambda: site.purge(USER_5),
        lambda: site.purge(scope("nothing")),
        lambda: site.purge(),
        lambda: site.purge(scope("user"), visit=0),
        lambda: site.purge(USER_5, dry_run=True),
        site.purge_everything,
        lambda: site.adopt({"user": "another shape", "new": "one"}),
        lambda: site.adopt({"user": "another shape"}),
        come_back,
    )
    expected = [("user\n;user_id=5",), ("nothing",), (), ("user",), ("",), ("user",), ("",)]
    assert heard == [
        Announcement(fence.incarnation, fence.seq + n, "", scopes) for n, scopes in enumerate(expected, start=1)
    ]


def test_what_is_announced_is_what_was_purged_and_not_what_was_asked_for(site: Site):
    site.adopt({"user": "one shape"})
    purge = site.namespace.purge([USER_5, scope("catalog", category="tea")], shapes={"user": "another shape"})
    (heard,) = announced(site, lambda: site.runner.run(purge))
    assert heard is not None
    assert heard.scopes == ("user", 'catalog\n;category="tea"')


def test_a_purge_that_begins_an_incarnation_is_announced_in_it(plain_site: Site):
    plain_site.fill("a", USER_5)
    plain_site.raw.delete(plain_site.named("i:user;user_id=5"))
    plain_site.raw.set(plain_site.named("i:user;user_id=5"), "x")
    before = plain_site.fence()
    (heard,) = announced(plain_site, lambda: plain_site.purge(USER_5))
    assert heard is not None
    assert heard.incarnation == plain_site.fence().incarnation != before.incarnation


words = st.text(st.characters(codec="utf-8", exclude_characters=" \n"))
scope_texts = st.one_of(st.just(""), st.lists(words.filter(bool), min_size=1).map("\n".join))


@given(st.builds(Announcement, words, st.integers(), words, st.lists(scope_texts).map(tuple)))
def test_an_announcement_reads_as_it_was_spelled(announcement: Announcement):
    head = f"{announcement.incarnation} {announcement.seq} {announcement.purger}"
    assert Announcement.parse("\n\n".join([head, *announcement.scopes]).encode()) == announcement


@given(st.builds(Ack, words, words, st.integers()))
def test_an_acknowledgement_reads_as_it_was_spelled(ack: Ack):
    assert Ack.parse(ack.to_bytes()) == ack


@pytest.mark.parametrize("message", [b"", b"x", b"a b", b"a b c", b"a 1", b"\xff 1 x", b"a b c d", b"\n\n"])
def test_another_message_is_none_of_ours(message: bytes):
    assert Announcement.parse(message) is None
    assert Ack.parse(message) is None


def test_channels_are_those_of_the_namespace():
    namespace = Namespace("shop", b"")
    assert purges_channel(namespace) == "{shop}:purges"
    assert acks_channel(namespace, "me") == "{shop}:acks:me"


def purged(*members: tuple[str, int], wait_ms: int = 0) -> Purged:
    return Purged(7, 0, 0, INC, wait_ms, members)


def test_a_purge_without_members_is_done_with_its_reply():
    awaited = Awaited()
    assert not awaited.done
    awaited.replied(purged(), 10.0)
    assert awaited.done
    assert awaited.deadline_s() == 10.0


def test_a_purge_is_done_when_all_have_acknowledged():
    awaited = Awaited()
    awaited.replied(purged(("a", 500), ("b", 2000)), 10.0)
    assert awaited.deadline_s() == 12.0
    awaited.heard(Ack(INC, "b", 7))
    assert not awaited.done
    assert awaited.deadline_s() == 10.5
    awaited.heard(Ack(INC, "a", 9))
    assert awaited.done
    assert awaited.deadline_s() == 10.0


@pytest.mark.parametrize("ack", [Ack(INC, "a", 6), Ack("another", "a", 7), Ack(INC, "b", 7)], ids=str)
def test_what_acknowledges_less_is_not_enough(ack: Ack):
    awaited = Awaited()
    awaited.heard(ack)
    awaited.replied(purged(("a", 2000)), 10.0)
    awaited.heard(ack)
    assert not awaited.done


def test_an_acknowledgement_may_be_faster_than_the_reply():
    awaited = Awaited()
    awaited.heard(Ack(INC, "a", 7))
    awaited.heard(Ack(INC, "a", 5))  # another connection's, that was slower
    assert not awaited.done
    awaited.replied(purged(("a", 2000)), 10.0)
    assert awaited.done


def test_nobody_waits_for_himself():
    awaited = Awaited("me")
    awaited.replied(purged(("me", 2000)), 10.0)
    assert awaited.done


def test_a_young_incarnation_is_waited_for_whoever_acknowledges():
    awaited = Awaited()
    awaited.replied(purged(("a", 500), wait_ms=1500), 10.0)
    awaited.heard(Ack(INC, "a", 7))
    assert not awaited.done
    assert awaited.deadline_s() == 11.5


def test_before_the_reply_there_is_no_deadline():
    with pytest.raises(ValueError, match="no deadline"):
        Awaited().deadline_s()
