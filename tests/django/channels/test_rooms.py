"""Channels over real WebSockets and a real Redis: who hears what, and who does not any more."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client, override_settings
from pydantic import ValidationError

from tests.django.channels.room import TEA, TEA_THERE, enter, said
from tests.django.channels.sockets import PUBSUB, layered, serving, speaking
from tests.django.site.rooms import Notices, RoomChannel, at_the_door, banned

CORE = "channels_redis.core.RedisChannelLayer"


@pytest.mark.parametrize("channel_layer", [PUBSUB, CORE], indirect=True)
async def test_two_in_a_room_hear_each_other_and_one_in_another_room_does_not(address: str, anns: Client, bobs: Client):
    async with speaking(address, anns) as ann, speaking(address, bobs) as bob, speaking(address, anns) as other:
        await enter(ann)
        await enter(bob)
        await enter(other, floor=2)
        assert await ann.ask(send="room_channel", params=TEA, message={"text": "hello ☃"}) == {"result": None}
        assert await ann.hear() == await bob.hear() == said("hello ☃")
        await bob.ask(send="room_channel", params=TEA, message={"text": "hi"})
        assert await ann.hear() == said("hi", "bob")
        await other.ask(send="room_channel", params={"room": "tea", "floor": 2}, message={"text": "alone"})
        assert await other.hear() == said("alone", floor=2)


async def test_who_may_not_enter_hears_nothing_and_is_told_why(address: str, anns: Client, bobs: Client):
    banned.add("bob")
    async with speaking(address, anns) as ann, speaking(address, bobs) as bob, speaking(address) as nobody:
        await enter(ann)
        assert await bob.code(subscribe="room_channel", params=TEA) == "forbidden"
        assert await nobody.code(subscribe="room_channel", params=TEA) == "unauthenticated"
        assert await bob.code(send="room_channel", params=TEA, message={"text": "x"}) == "not_subscribed"
        await ann.ask(send="room_channel", params=TEA, message={"text": "hello"})
        assert await ann.hear() == said("hello")
        banned.clear()
        await enter(bob)
        await ann.ask(send="room_channel", params=TEA, message={"text": "again"})
        assert await bob.hear() == said("again")


async def test_one_connection_has_many_subscriptions_and_may_end_each(address: str, anns: Client):
    async with speaking(address, anns) as ann:
        for floor in 1, 2, 2:
            await enter(ann, floor=floor)
        assert await ann.ask(unsubscribe="room_channel", params=TEA) == {"result": None}
        assert await ann.ask(unsubscribe="room_channel", params=TEA) == {"result": None}
        for floor in 1, 2:
            await RoomChannel.asend({"text": f"to {floor}", "user": "site"}, {"room": "tea", "floor": floor})
        assert await ann.hear() == said("to 2", "site", floor=2)
        await RoomChannel.asend({"text": "once", "user": "site"}, {"room": "tea", "floor": 2})
        assert await ann.hear() == said("once", "site", floor=2)


async def test_the_server_sends_from_anywhere_to_a_room_and_to_a_user(address: str, anns: Client, bobs: Client):
    def somewhere() -> None:
        user = User.objects.get(username="ann")
        Notices.send(Notices.DjangoMessage(text="for you"), for_user=user)
        RoomChannel.send(RoomChannel.DjangoMessage(text="for all", user="site"), RoomChannel.Params(room="tea"))

    async with speaking(address, anns) as ann, speaking(address, bobs) as bob:
        for speaker in ann, bob:
            await enter(speaker)
            assert await speaker.ask(subscribe="news") == {"result": {"params": {}}}
        await sync_to_async(somewhere)()
        heard = [await ann.hear(), await ann.hear()]
        assert {"channel": "news", "params": {}, "message": {"text": "for you"}} in heard
        assert said("for all", "site") in heard
        assert await bob.hear() == said("for all", "site")


async def test_in_a_transaction_it_is_sent_after_the_commit_and_a_rollback_drops_it(address: str, anns: Client):
    committing, commit = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def change(text: str, *, fail: bool) -> None:
        with transaction.atomic():
            RoomChannel.send({"text": text, "user": "site"}, TEA)
            loop.call_soon_threadsafe(committing.set)
            asyncio.run_coroutine_threadsafe(commit.wait(), loop).result(10)
            transaction.set_rollback(fail)

    async with speaking(address, anns) as ann:
        await enter(ann)
        commit.set()
        await sync_to_async(change)("never", fail=True)
        commit.clear()
        committing.clear()
        change_ = asyncio.gather(sync_to_async(change)("changed", fail=False))
        await committing.wait()
        await ann.ask(send="room_channel", params=TEA, message={"text": "before"})
        assert await ann.hear() == said("before")
        commit.set()
        await change_
        assert await ann.hear() == said("changed", "site")


async def test_of_several_transactions_the_last_commit_counts_and_one_that_fails_drops_it(address: str, anns: Client):
    def change(text: str, *, fail: bool) -> None:
        with transaction.atomic(), transaction.atomic(using="second"):
            RoomChannel.send({"text": text, "user": "site"}, TEA)
            transaction.set_rollback(fail, using="second")

    async with speaking(address, anns) as ann:
        await enter(ann)
        await sync_to_async(change)("never", fail=True)
        await sync_to_async(change)("once", fail=False)
        await RoomChannel.asend({"text": "afterwards", "user": "site"}, TEA)
        assert [(await ann.hear())["message"]["text"] for _ in range(2)] == ["once", "afterwards"]


async def test_a_group_that_looks_at_the_user_needs_one():
    with pytest.raises(ValueError, match="for_user=user"):
        await Notices.asend({"text": "for whom?"})


async def test_what_does_not_fit_is_raised_where_it_is_sent():
    with pytest.raises(ValidationError):
        await RoomChannel.asend({"text": "no user"}, TEA)


@pytest.mark.parametrize("ending", ["sign-out", "expiry", "deactivated", "password"])
async def test_whoever_is_signed_out_hears_no_more(address: str, anns: Client, ann: Any, ending: str):
    def end() -> None:
        if ending == "sign-out":
            anns.get("/logout/")
        elif ending == "expiry":
            anns.session.delete()
        elif ending == "deactivated":
            User.objects.update(is_active=False)
        else:
            ann.set_password("other")
            ann.save()

    async with speaking(address, anns) as speaker:
        await enter(speaker)
        await sync_to_async(end)()
        await RoomChannel.asend({"text": "secret", "user": "site"}, TEA)
        assert await speaker.closed() == 4401


async def test_whoever_is_signed_out_says_no_more(address: str, anns: Client, bobs: Client):
    async with speaking(address, anns) as ann, speaking(address, bobs) as bob:
        await enter(ann)
        await enter(bob)
        await sync_to_async(anns.get)("/logout/")
        await ann.ws.send_json({"id": 9, "send": "room_channel", "params": TEA, "message": {"text": "still me"}})
        assert await ann.closed() == 4401
        await bob.ask(send="room_channel", params=TEA, message={"text": "mine"})
        assert await bob.hear() == said("mine", "bob")


async def test_whoever_is_not_authorized_any_more_is_told_and_keeps_the_rest(address: str, anns: Client):
    async with speaking(address, anns) as ann:
        await enter(ann)
        await ann.ask(subscribe="news")
        banned.add("ann")
        await RoomChannel.asend({"text": "secret", "user": "site"}, TEA)
        ended = await ann.hear()
        assert (ended["channel"], ended["params"], ended["error"]["code"]) == ("room_channel", TEA_THERE, "forbidden")
        user = await User.objects.aget()
        await Notices.asend({"text": "still here"}, for_user=user)
        assert (await ann.hear())["message"] == {"text": "still here"}


async def test_whoever_leaves_while_the_application_is_asked_hears_nothing(address: str, anns: Client):
    asked, answered = threading.Event(), threading.Event()
    async with speaking(address, anns) as ann:
        await enter(ann)
        at_the_door.extend([asked.set, lambda: answered.wait(10)])
        await RoomChannel.asend({"text": "too late", "user": "site"}, TEA)
        assert await asyncio.to_thread(asked.wait, 10)
        await ann.ask(unsubscribe="room_channel", params=TEA)
        at_the_door.clear()
        answered.set()
        await enter(ann, floor=2)
        await RoomChannel.asend({"text": "in time", "user": "site"}, {"room": "tea", "floor": 2})
        assert await ann.hear() == said("in time", "site", floor=2)


class SlowToLeave(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer that discards when it is let.

    # mutable state: whether a group was `added` since somebody began to leave one.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.leaving, self.let, self.added = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def group_add(self, group: str, channel: str) -> None:
        await super().group_add(group, channel)
        if self.leaving.is_set():
            self.added.set()

    async def group_discard(self, group: str, channel: str) -> None:
        self.leaving.set()
        await self.let.wait()
        await super().group_discard(group, channel)


async def test_who_enters_again_while_the_layer_still_lets_go_hears(anns: Client):
    backend = {"BACKEND": f"{__name__}.SlowToLeave"}
    with override_settings(CHANNEL_LAYERS={"default": backend}):
        layer = get_channel_layer()
        async with serving(recheck_s=0) as address, speaking(address, anns) as ann:
            await enter(ann)
            banned.add("ann")
            await RoomChannel.asend({"text": "secret", "user": "site"}, TEA)
            await layer.leaving.wait()
            banned.clear()
            await ann.ws.send_json({"id": 9, "subscribe": "room_channel", "params": TEA})
            # It must not be added yet.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(layer.added.wait(), 0.2)
            layer.let.set()
            assert {(await ann.hear()).get("id"), (await ann.hear()).get("id")} == {None, 9}
            await RoomChannel.asend({"text": "heard", "user": "site"}, TEA)
            assert await ann.hear() == said("heard", "site")


class Deaf(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer whose connection has broken off."""

    async def receive(self, channel: str) -> Any:
        raise ConnectionError("gone")


async def test_a_layer_that_fails_under_a_subscription_ends_the_connection(
    anns: Client, caplog: pytest.LogCaptureFixture
):
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": f"{__name__}.Deaf"}}):
        async with serving() as address, speaking(address, anns) as ann:
            await enter(ann)
            assert await ann.closed() == 1011
    assert "the channel layer is not heard any more" in caplog.text


async def test_for_a_few_seconds_nobody_is_asked_again(channel_layer: None, anns: Client):
    async with serving(recheck_s=600) as address, speaking(address, anns) as ann:
        await enter(ann)
        banned.add("ann")
        await RoomChannel.asend({"text": "soon not", "user": "site"}, TEA)
        assert await ann.hear() == said("soon not", "site")


async def test_subscriptions_of_one_connection_are_bounded(channel_layer: None, anns: Client):
    async with serving(max_subscriptions=2) as address, speaking(address, anns) as ann:
        for floor in 1, 2, 1:
            await enter(ann, floor=floor)
        assert await ann.code(subscribe="room_channel", params={"room": "tea", "floor": 3}) == "too_many"
        await ann.ask(unsubscribe="room_channel", params=TEA)
        await enter(ann, floor=3)


async def test_without_a_channel_layer_the_answer_says_that_channels_are_away(
    anns: Client, caplog: pytest.LogCaptureFixture
):
    with override_settings(CHANNEL_LAYERS={}):
        async with serving() as address, speaking(address, anns) as ann:
            assert await ann.code(subscribe="room_channel", params=TEA) == "unavailable"
            assert "CHANNEL_LAYERS" in caplog.text
            assert await ann.ask(call="whisper", args={"text": "x"}) == {"result": "x"}


async def test_a_redis_that_is_away_is_an_answer_and_its_return_is_noticed(
    redis_url: str, namespace: str, anns: Client
):
    with layered("unix:///nowhere/redis.sock", namespace):
        async with serving() as address, speaking(address, anns) as ann:
            assert await ann.code(subscribe="room_channel", params=TEA) == "unavailable"
            with layered(redis_url, namespace):
                await enter(ann)
