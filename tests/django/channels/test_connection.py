"""One WebSocket: who may open it, what cannot be said on it, and how it ends."""

import asyncio
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError
from asgiref.sync import sync_to_async
from django.test import Client, override_settings

from tests.django.browsers import token_of
from tests.django.channels.room import TEA, enter, said
from tests.django.channels.sockets import HOST, serving, speaking
from tests.django.site.rooms import RoomChannel


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": f"https://{HOST}"},
        {"Origin": f"http://{HOST}:81"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Origin": "", "Authorization": "Bearer no-token"},
    ],
)
async def test_another_sites_page_opens_no_connection(
    address: str, anns: Client, headers: dict[str, str], caplog: pytest.LogCaptureFixture
):
    with pytest.raises(WSServerHandshakeError) as refused:
        async with speaking(address, anns, headers=headers):
            pass
    assert refused.value.status == 403
    assert "a WebSocket to /api/mizan/ws/ was refused" in caplog.text


async def test_a_trusted_origin_and_a_token_open_one(address: str, ann: Any):
    token = await sync_to_async(token_of)(ann)
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://*.friend.example"]):
        async with speaking(address, headers={"Origin": "https://a.friend.example"}) as speaker:
            assert await speaker.ask(call="whisper", args={"text": "x"}) == {"result": "x"}
    async with speaking(address, headers={"Origin": "", "Authorization": f"Bearer {token}"}) as speaker:
        assert await speaker.ask(call="who_am_i") == {"result": "ann"}


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({"subscribe": "nothing"}, "not_found"),
        ({"subscribe": "room_channel"}, "invalid_arguments"),
        ({"subscribe": "room_channel", "params": {"room": "tea", "floor": "x"}}, "invalid_arguments"),
        ({"subscribe": "news", "params": {"room": "tea"}}, "invalid_arguments"),
        ({"subscribe": "room_channel", "params": []}, "malformed"),
        ({"subscribe": 5}, "malformed"),
        ({"subscribe": "news", "call": "whisper"}, "malformed"),
        ({"subscribe": "news", "message": 1}, "malformed"),
        ({}, "malformed"),
        ({"send": "news", "message": {"text": "x"}}, "not_allowed"),
    ],
)
async def test_what_cannot_be_meant_is_a_problem_and_the_connection_stays(
    address: str, anns: Client, what: dict[str, Any], code: str
):
    async with speaking(address, anns) as ann:
        assert await ann.code(**what) == code
        await enter(ann)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "5",
        "NaN",
        '{"id": 1, "subscribe": "\\ud800"}',
        '{"id": 1.5, "subscribe": "news"}',
        '{"subscribe": "news"}',
    ],
)
async def test_what_has_no_id_is_answered_with_none(address: str, anns: Client, text: str):
    async with speaking(address, anns) as ann:
        answer = await ann.raw(text)
        assert answer["id"] is None and answer["error"]["code"] == "malformed"
        await enter(ann)


async def test_a_message_that_does_not_fit_says_where_and_one_that_breaks_says_nothing(
    address: str, anns: Client, caplog: pytest.LogCaptureFixture
):
    async with speaking(address, anns) as ann:
        await enter(ann)
        answer = await ann.ask(send="room_channel", params=TEA, message={"txt": "x"})
        assert answer["error"]["code"] == "invalid_arguments"
        assert answer["error"]["details"][0]["loc"] == ["text"]
        answer = await ann.ask(send="room_channel", params=TEA, message={"text": "boom"})
        assert answer == {"error": {"code": "internal", "message": "something went wrong on the server"}}
        assert "hunter2" in caplog.text
        await ann.ask(send="room_channel", params=TEA, message={"text": "still here"})
        assert await ann.hear() == said("still here")


async def test_a_binary_message_and_one_that_is_too_large_end_the_connection(address: str, anns: Client):
    async with speaking(address, anns) as ann:
        await ann.ws.send_bytes(b"{}")
        assert await ann.closed() == 1003
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100):
        async with speaking(address, anns) as ann:
            await enter(ann)
            await ann.ws.send_str("☃" * 40)
            assert await ann.closed() == 1009


async def test_a_client_that_takes_nothing_is_left_and_the_others_go_on(
    channel_layer: None, anns: Client, bobs: Client, caplog: pytest.LogCaptureFixture
):
    text = "x" * 1_000_000
    async with (
        serving(send_timeout_s=0.1) as address,
        speaking(address, bobs) as bob,
        speaking(address, anns) as ann,
    ):
        await enter(ann)
        await enter(bob)
        ann.stop_reading()
        async with asyncio.timeout(20):
            while "takes no messages" not in caplog.text:
                await RoomChannel.asend({"text": text, "user": "site"}, TEA)
                assert (await bob.hear())["message"]["text"] == text
        ann.cut()
