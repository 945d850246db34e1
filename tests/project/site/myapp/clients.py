from django.contrib.auth.models import User
from django.http import HttpResponse
from pydantic import BaseModel

from mizan.client import client
from mizan.setup import register

from . import forms  # noqa: F401 declares its form
from .channels import ChatChannel


class EchoOutput(BaseModel):
    message: str


@client
def echo(request, text: str) -> EchoOutput:
    return EchoOutput(message=text)


register(echo, "echo")


class Profile(BaseModel):
    user_id: int
    name: str


@client(context="global")
def current_user(request) -> Profile | None:
    user = request.user
    return Profile(user_id=user.pk, name=user.first_name) if user.is_authenticated else None


@client(context="user")
def user_profile(request, user_id: int) -> Profile:
    return Profile(user_id=user_id, name=User.objects.get(pk=user_id).first_name)


@client(affects="user")
def rename_user(request, user_id: int, name: str) -> None:
    User.objects.filter(pk=user_id).update(first_name=name)


@client(affects=user_profile)
def forget_name(request, user_id: int) -> None:
    User.objects.filter(pk=user_id).update(first_name="")


@client(websocket=True)
def say(request, room: str, text: str) -> None:
    ChatChannel.send({"text": text, "user": request.user.username}, {"room": room})


@client(auth=True)
def members_only(request) -> str:
    return "members"


@client(auth="staff")
def staff_only(request) -> str:
    return "staff"


@client(auth="superuser")
def superusers_only(request) -> str:
    return "superusers"


@client(auth=lambda req: req.user.username == "ann")
def ann_only(request) -> str:
    return "ann"


@client(route="/profile/<id>/")
def profile_page(request, id: str) -> HttpResponse:
    return HttpResponse(f"<h1>{User.objects.get(pk=id).first_name}</h1>")


@client(rev=2)
def greeting(request) -> str:
    return "hello"
