"""Server functions as classes, and contexts of one function."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel

from mizan.client import ServerFunction, client
from mizan.setup import register
from tests.django.site.models import Note


class Greeting(BaseModel):
    text: str
    by: str


class Greets(ServerFunction):
    """What the greetings share; it is no function itself."""

    word = "Hello"

    def greeting(self, name: str) -> Greeting:
        return Greeting(text=f"{self.word}, {name}", by=self.user.get_username())


@client
class Greet(Greets):
    def call(self, name: str) -> Greeting:
        return self.greeting(name)


@client(auth=True, context="greetings")
class GreetLater(Greet):
    word = "Good evening"

    async def call(self, name: str) -> Greeting:  # type: ignore[override]
        return self.greeting(name)


class Undeclared(Greet):
    """A subclass of a declared class, without a declaration of its own."""


register(Greet, "greet")


@client(context="local")
def note_count(request: HttpRequest, owner: int) -> int:
    return Note.objects.filter(owner=owner).count()


@client(context="local")
class Latest(ServerFunction):
    def call(self, owner: int) -> str | None:
        note = Note.objects.filter(owner=owner).order_by("-pk").first()
        return note.text if note else None


register(Latest, "latest")


@client(affects=[note_count, Latest])
class AddNote(ServerFunction):
    async def call(self, owner: int, text: str) -> bool:
        return await sync_to_async(self._add)(owner, text)

    def _add(self, owner: int, text: str) -> bool:
        """Whether that was within a transaction."""
        Note.objects.create(owner=owner, text=text)
        if text == "too much":
            raise RuntimeError("the note is too much")
        return bool(transaction.get_connection().in_atomic_block)


@client(context="global")
def current_user(request: HttpRequest) -> str:
    return request.user.get_username()


@client(affects="global")
async def rename_current(request: HttpRequest, name: str) -> None:
    user: Any = await request.auser()
    await User.objects.filter(pk=user.pk).aupdate(first_name=name)


@client(context="numbers", route="/class/<int:number>/")
class NumberPage(ServerFunction):
    def call(self, number: int, unit: str = "") -> HttpResponse:
        return HttpResponse(f"number {number}{unit} for {self.request.path}")
