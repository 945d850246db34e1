"""Channels, and functions that may be called over a WebSocket."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from pydantic import BaseModel

from mizan.channels import ReactChannel
from mizan.client import client
from tests.django.site.clients import Profile, user_profile

entered = threading.Event()
go_on = threading.Event()
"""`rename_slowly` sets the one and waits for the other."""
meeting: list[asyncio.Barrier] = []
"""Where those who `meet` wait for each other."""
banned: set[str] = set()
at_the_door: list[Callable[[], object]] = []
"""What happens while somebody is authorized to chat."""


class RoomChannel(ReactChannel):
    class Params(BaseModel):
        room: str
        floor: int = 1

    class DjangoMessage(BaseModel):
        text: str
        user: str

    class ReactMessage(BaseModel):
        text: str

    def authorize(self, params: Any) -> bool:
        for action in at_the_door:
            action()
        return bool(self.user.is_authenticated) and self.user.get_username() not in banned

    def group(self, params: Any) -> str:
        return f"chat {params.room} ☃ {params.floor}"

    def receive(self, params: Any, message: Any) -> None:
        if message.text == "boom":
            raise RuntimeError("the password is hunter2")
        self.send({"text": message.text, "user": self.user.get_username()}, params)


class Notices(ReactChannel):
    name = "news"

    class DjangoMessage(BaseModel):
        text: str

    async def authorize(self, params: Any) -> bool:
        return await User.objects.filter(pk=self.user.pk).aexists()

    def group(self, params: Any) -> str:
        return f"user {self.user.pk}"


@client(websocket=True)
def whisper(request: HttpRequest, text: str) -> str:
    return text


@client(websocket=True, auth=True)
def who_am_i(request: HttpRequest) -> str:
    return request.user.get_username()


@client(websocket=True, affects="user", merge=user_profile)
def rename_over(request: HttpRequest, user_id: int, name: str) -> Profile:
    with transaction.atomic():
        User.objects.filter(pk=user_id).update(first_name=name)
    if name == "boom":
        raise RuntimeError("after the change")
    return Profile(user_id=user_id, name=name)


@client(websocket=True)
def rename_unannounced(request: HttpRequest, user_id: int, name: str) -> None:
    User.objects.filter(pk=user_id).update(first_name=name)
    request.mizan.invalidate("user", user_id=user_id)  # type: ignore[attr-defined]


@client(websocket=True, affects="user")
async def rename_slowly(request: HttpRequest, user_id: int, name: str) -> None:
    entered.set()
    await asyncio.to_thread(go_on.wait, 10)
    await User.objects.filter(pk=user_id).aupdate(first_name=name)


@client(websocket=True)
async def meet(request: HttpRequest) -> str:
    await meeting[0].wait()
    return await asyncio.to_thread(str, "met")


@client(websocket=True)
def enter(request: HttpRequest, user_id: int) -> None:
    login(request, User.objects.get(pk=user_id))


@client(websocket=True)
def count_in_session(request: HttpRequest) -> int:
    request.session["count"] = int(request.session.get("count", 0)) + 1
    return int(request.session["count"])
