"""Mutations whose result is not quite what a read returns: a subclass, perhaps None, a list, a generic."""

from collections.abc import Iterator
from typing import Generic, List, Optional, TypeVar  # noqa: UP035

from django.http import HttpRequest
from pydantic import BaseModel

from mizan.client import client

T = TypeVar("T")


class Person(BaseModel):
    name: str


class Leader(Person):
    salary: int


class Page(BaseModel, Generic[T]):
    items: list[T]


@client(context="team")
def leader(request: HttpRequest, team: int) -> Person | None:
    return Person(name="Ann")


@client(context="team")
def people(request: HttpRequest, team: int) -> List[Person]:  # noqa: UP006
    return [Person(name="Ann")]


@client(context="team")
def paged(request: HttpRequest, team: int) -> Page[Person]:
    return Page[Person](items=[Person(name="Ann")])


@client(context="team")
def named(request: HttpRequest, team: int) -> Iterator[Person]:
    return iter([Person(name="Ann")])


@client(merge="team")
def promote(request: HttpRequest, team: int, name: str | None = None) -> Optional[Leader]:  # noqa: UP045
    return Leader(name=name, salary=100) if name else None


@client(merge="team")
def hire(request: HttpRequest, team: int, names: list[str]) -> list[Leader]:
    return [Leader(name=name, salary=100) for name in names]


@client(merge="team")
def turn(request: HttpRequest, team: int) -> Page[Leader]:
    return Page[Leader](items=[Leader(name="Bob", salary=100)])


@client(merge="team")
def rename(request: HttpRequest, team: int) -> Iterator[Leader]:
    return iter([Leader(name="Bob", salary=100)])


@client(merge=["team"])
def misdescribed(request: HttpRequest, team: int) -> Leader:
    return "no leader"  # type: ignore[return-value]
