"""The site's room, as clients speak of it."""

from typing import Any

from tests.django.channels.sockets import Speaker

TEA = {"room": "tea"}
TEA_THERE = {"room": "tea", "floor": 1}
"""With the defaults, as the server says it."""


def said(text: str, user: str = "ann", **params: Any) -> dict[str, Any]:
    """What everybody in the room hears."""
    return {"channel": "room_channel", "params": {**TEA_THERE, **params}, "message": {"text": text, "user": user}}


async def enter(speaker: Speaker, **params: Any) -> None:
    """Subscribes, and may."""
    answer = await speaker.ask(subscribe="room_channel", params={**TEA, **params})
    assert answer == {"result": {"params": {**TEA_THERE, **params}}}
