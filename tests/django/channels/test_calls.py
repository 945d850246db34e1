"""Calls over a WebSocket: answered as over HTTP, and what they change is purged before the answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client, override_settings

from mizan.declare.compiled import compiled
from tests.django.channels.room import TEA, enter, said
from tests.django.channels.sockets import HOST, speaking
from tests.django.requests import bundle, call
from tests.django.site import rooms
from tests.django.site.rooms import RoomChannel
from tests.support.edge import TOKEN, EdgeFactory, edges
from tests.support.edges import Watch
from tests.support.origin import until
from tests.support.redis_server import purges


@pytest.fixture
def slowly() -> Iterator[None]:
    for event in rooms.entered, rooms.go_on:
        event.clear()
    yield
    rooms.go_on.set()


async def test_the_answer_is_that_of_a_call_over_http(address: str, anns: Client, ann: Any):
    over_http = sync_to_async(call)
    args: dict[str, Any]
    async with speaking(address, anns) as speaker:
        for name, args in (
            ("whisper", {"text": "psst ☃"}),
            ("whisper", {"txt": "psst"}),
            ("who_am_i", {}),
            ("rename_over", {"user_id": ann.pk, "name": "Anna"}),
            ("rename_over", {"user_id": "x", "name": "Anna"}),
            ("rename_over", {"user_id": ann.pk, "name": "boom"}),
        ):
            assert await speaker.ask(call=name, args=args) == (await over_http(anns, name, **args)).json()
        renamed = await speaker.ask(call="rename_over", args={"user_id": ann.pk, "name": "Anne"})
        profile = {"user_id": ann.pk, "name": "Anne"}
        assert renamed == {
            "result": profile,
            "invalidate": [f"user;user_id={ann.pk}"],
            "merge": [{"context": "user", "slot": "user_profile", "params": {"user_id": ann.pk}, "value": profile}],
        }
    assert (await User.objects.aget(pk=ann.pk)).first_name == "Anne"


async def test_only_what_is_declared_for_it_is_called(address: str):
    async with speaking(address) as speaker:
        for name in "echo", "nothing", "profile_page":
            assert await speaker.code(call=name) == "not_found"
        assert await speaker.code(call="whisper", args=[]) == "malformed"
        assert await speaker.code(call="whisper", args={"text": 5}) == "invalid_arguments"
        assert await speaker.code(call="who_am_i") == "unauthenticated"
        deep = '{"id": 1, "call": "whisper", "args": {"text": %s}}' % ("[" * 900 + "]" * 900)
        assert (await speaker.raw(deep))["error"]["code"] in ("malformed", "invalid_arguments")


async def test_a_flood_is_answered_one_by_one(address: str):
    texts = [str(number) for number in range(100)]
    async with speaking(address) as speaker:
        for text in texts:
            await speaker.ws.send_json({"id": text, "call": "whisper", "args": {"text": text}})
        assert [await speaker.hear() for _ in texts] == [{"id": text, "result": text} for text in texts]


async def test_whoever_has_signed_out_calls_as_nobody(address: str, anns: Client):
    async with speaking(address, anns) as speaker:
        assert await speaker.ask(call="who_am_i") == {"result": "ann"}
        await sync_to_async(anns.get)("/logout/")
        assert await speaker.code(call="who_am_i") == "unauthenticated"


async def test_a_session_is_kept_and_none_is_begun(address: str, anns: Client, ann: Any):
    async with speaking(address, anns) as speaker:
        assert [await speaker.ask(call="count_in_session") for _ in range(2)] == [{"result": 1}, {"result": 2}]
    assert await sync_to_async(lambda: anns.session["count"])() == 2
    async with speaking(address) as speaker:
        assert await speaker.code(call="enter", args={"user_id": ann.pk}) == "needs_http"
        assert await speaker.code(call="who_am_i") == "unauthenticated"
    assert [session.pk async for session in Session.objects.all()] == [anns.cookies["sessionid"].value]


async def test_a_client_that_leaves_in_the_middle_keeps_nothing_from_being_done_and_purged(
    stored: None, redis_url: str, namespace: str, address: str, anns: Client, ann: Any, slowly: None
):
    async with speaking(address, anns) as speaker, speaking(address, anns) as other:
        await enter(speaker)
        await enter(other)
        asked = {"id": 1, "call": "rename_slowly", "args": {"user_id": ann.pk, "name": "Anna"}}
        await speaker.ws.send_json(asked)
        assert await asyncio.to_thread(rooms.entered.wait, 10)
        speaker.cut()
        # What is said to a client that is gone ends its connection.
        for text in "gone?", "gone":
            await RoomChannel.asend({"text": text, "user": "site"}, TEA)
            assert await other.hear() == said(text, "site")
    assert purges(redis_url, namespace) == 0
    rooms.go_on.set()
    await until(lambda: purges(redis_url, namespace) == 1)
    assert (await User.objects.aget(pk=ann.pk)).first_name == "Anna"


async def test_connections_do_not_wait_for_each_other(address: str, ann: Any, slowly: None):
    async with speaking(address) as one, speaking(address) as other:
        await one.ws.send_json({"id": 1, "call": "rename_slowly", "args": {"user_id": ann.pk, "name": "Anna"}})
        assert await asyncio.to_thread(rooms.entered.wait, 10)
        assert await other.ask(call="whisper", args={"text": "x"}) == {"result": "x"}
        rooms.go_on.set()
        assert (await one.hear())["id"] == 1


async def test_async_functions_find_threads_of_the_loop_free(address: str):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    rooms.meeting[:] = [asyncio.Barrier(2)]
    async with speaking(address) as one, speaking(address) as other:
        answers = await asyncio.gather(one.ask(call="meet"), other.ask(call="meet"))
        assert [answer["result"] for answer in answers] == ["met", "met"]


@pytest.mark.parametrize("name", ["Anna", "boom"])
async def test_what_was_changed_is_purged_before_the_answer_also_when_it_raised(
    stored: None, address: str, visitor: Client, ann: Any, name: str
):
    look = sync_to_async(bundle)
    asked = {"user_id": ann.pk}
    assert (await look(visitor, "user", asked)).json()["user_profile"]["name"] == "Ann"
    async with speaking(address) as speaker:
        await speaker.ask(call="rename_over", args={"user_id": ann.pk, "name": name})
        assert (await look(visitor, "user", asked)).json()["user_profile"]["name"] == name


async def test_a_purge_that_is_not_confirmed_is_an_error(address: str, ann: Any, caplog: pytest.LogCaptureFixture):
    with override_settings(MIZAN_CACHE_REDIS_URL="unix:///nowhere/redis.sock"):
        async with speaking(address) as speaker:
            assert await speaker.code(call="rename_over", args={"user_id": ann.pk, "name": "Anna"}) == "not_purged"
    assert f"purging user;user_id={ann.pk} was not confirmed" in caplog.text


class TestThroughTheEdge:
    @pytest.fixture
    async def edge_of(self, address: str, redis_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Any]:
        async with edges(f"http://{address}", redis_url, namespace, tmp_path) as start:
            yield start

    async def test_a_room_is_entered_through_its_tunnel(self, edge_of: EdgeFactory, anns: Client, bobs: Client):
        edge = await edge_of(compiled().document)
        async with (
            speaking(edge.address, anns) as ann,
            speaking(edge.address, bobs) as bob,
            speaking(edge.address) as nobody,
        ):
            await enter(ann)
            await enter(bob)
            assert await nobody.code(subscribe="room_channel", params=TEA) == "unauthenticated"
            await ann.ask(send="room_channel", params=TEA, message={"text": "through"})
            assert await bob.hear() == said("through")
            await RoomChannel.asend({"text": "to both", "user": "site"}, TEA)
            assert await bob.hear() == said("to both", "site")

    @pytest.mark.parametrize("way", ["store", "admin"])
    async def test_a_call_purges_what_the_edge_has_in_memory(
        self, redis_url: str, namespace: str, edge_of: EdgeFactory, ann: Any, way: str
    ):
        edge = await edge_of(compiled().document)
        ways = {
            "store": {"MIZAN_CACHE_REDIS_URL": redis_url, "MIZAN_CACHE_NAMESPACE": namespace},
            "admin": {"MIZAN_EDGE_ADMIN_URL": f"http://{edge.admin}", "MIZAN_EDGE_ADMIN_TOKEN": TOKEN},
        }
        target = f"/api/mizan/ctx/user/?user_id={ann.pk}"
        watch = Watch(redis_url, namespace)

        async def name() -> Any:
            return (await edge.get(target, host=HOST)).json["user_profile"]["name"]

        try:
            assert await name() == "Ann"
            await until(lambda: watch.asked("store") > 0)
            assert (await edge.get(target, host=HOST)).hit
            watch.reset()
            reply = await edge.get(target, host=HOST)
            assert reply.hit and watch.asked("read", "lead") == 0, "it is in memory"
            with override_settings(**ways[way]):
                async with speaking(edge.address) as speaker:
                    await speaker.ask(call="rename_over", args={"user_id": ann.pk, "name": "Anna"})
                    assert await name() == "Anna"
                    assert (await edge.get(target, host=HOST)).hit
                    await speaker.ask(call="rename_over", args={"user_id": ann.pk, "name": "boom"})
                    assert await name() == "boom"
        finally:
            watch.close()

    @pytest.mark.parametrize("url", [None, "memory://"])
    async def test_where_nothing_could_be_purged_nothing_is_changed(
        self, edge_of: EdgeFactory, ann: Any, url: str | None
    ):
        edge = await edge_of(compiled().document)
        args = {"user_id": ann.pk, "name": "Anna"}
        with override_settings(MIZAN_CACHE_REDIS_URL=url):
            async with speaking(edge.address) as speaker:
                assert await speaker.code(call="rename_over", args=args) == "no_cache"
                assert await speaker.ask(call="whisper", args={"text": "x"}) == {"result": "x"}
                assert (await User.objects.aget(pk=ann.pk)).first_name == "Ann"
                # That one is no mutation, and says only when it is done that it changed something.
                assert await speaker.code(call="rename_unannounced", args=args) == "not_purged"
