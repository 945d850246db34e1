"""Functions that work for whatever their types admit: a 500 is the adapter's."""

import datetime as dt
import decimal
import enum
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest
from pydantic import BaseModel, Field, StringConstraints

from mizan.client import ServerFunction, client
from mizan.errors import ApiError

T = TypeVar("T")
UserId = NewType("UserId", int)
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z-]+$", max_length=20)]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    since: dt.date | None = None


class Person(BaseModel):
    id: UserId
    name: str
    addresses: list[Address] = []
    manager: "Person | None" = None


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int


@dataclass
class Point:
    x: float
    y: float = 0.0


@client(context="search")
def found(request: HttpRequest, text: str, page: Annotated[int, Field(ge=1)] = 1) -> Page[Person]:
    return Page(items=[Person(id=UserId(page), name=text)], total=1)


@client(context="search")
def suggestions(request: HttpRequest, text: str, tag: list[Slug] = [], color: Color | None = None) -> list[str]:  # noqa: B006
    return [text, *tag, *([color.value] if color else [])]


@client(context="typed")
def typed(
    request: HttpRequest,
    day: dt.date,
    at: dt.datetime,
    id: uuid.UUID,
    on: bool,
    ratio: float,
    order: Literal["up", "down"] = "up",
    numbers: list[int] | None = None,
) -> dict[str, dt.date | dt.datetime | uuid.UUID | bool | float | str | list[int] | None]:
    return {"day": day, "at": at, "id": id, "on": on, "ratio": ratio, "order": order, "numbers": numbers}


@client(context="local", auth=True)
async def account(request: HttpRequest) -> str:
    return request.user.get_username()


@client(context="local", scope="public", ttl=60)
def anything(request: HttpRequest, value: Any = None) -> Any:
    return value


@client(context="users")
def user(request: HttpRequest, user_id: int) -> str:
    found = User.objects.filter(pk=user_id).first()
    if found is None:
        raise Http404
    return found.get_username()


@client(affects="users", auth="staff")
class RenameUser(ServerFunction):
    def call(self, user_id: int, name: Annotated[str, Field(max_length=20)]) -> int:
        return User.objects.filter(pk=user_id).update(first_name=name.replace("\0", ""))


@client(merge=found)
def change(request: HttpRequest, text: str, page: int, people: list[Person]) -> Page[Person]:
    return Page(items=people, total=len(people))


@client
def nested(
    request: HttpRequest, person: Person, at: dict[str, Point], within: tuple[float, float] | None = None
) -> Person:
    return person


@client
async def exact(request: HttpRequest, amount: decimal.Decimal, wait: dt.timedelta, when: dt.time) -> list[Any]:
    return [amount, wait, when]


@client
def either(request: HttpRequest, value: int | str | list[float] | None) -> Any:
    return value


@client
def failing(request: HttpRequest, how: Literal["missing", "denied", "invalid", "own"]) -> None:
    failures: dict[str, Exception] = {
        "missing": Http404("nothing here"),
        "denied": PermissionDenied(),
        "invalid": ValidationError({"text": ["too short"]}),
        "own": ApiError(400, "conflict", "somebody was faster", details={"version": 2}),
    }
    raise failures[how]
