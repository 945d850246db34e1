"""Which results stand where another function's result stands."""

import dataclasses
import datetime as dt
import inspect
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Dict, Generic, List, NewType, Optional, TypeVar, Union  # noqa: UP035

import pytest
from pydantic import BaseModel, Field

from mizan_core.fitting import fits, same

T = TypeVar("T")


class Animal(BaseModel):
    name: str


class Cat(Animal):
    lives: int


class Box(BaseModel, Generic[T]):
    content: T


class CatBox(Box[Cat]):
    pass


@dataclasses.dataclass
class Point:
    x: int


class Pixel(Point):
    pass


Name = NewType("Name", str)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Cat, Cat),
        (List[int], list[int]),  # noqa: UP006
        (Dict[str, Cat], dict[str, Cat]),  # noqa: UP006
        (Optional[Cat], Cat | None),  # noqa: UP045
        (Union[Cat, None, int], int | Cat | None),  # noqa: UP007
        (Annotated[int, Field(ge=1)], int),
        (list[Annotated[int, "a"]], list[int]),
        (Box[Cat], Box[Cat]),
        (tuple[int, ...], tuple[int, ...]),
        (None, type(None)),
    ],
)
def test_one_type_may_be_spelled_in_several_ways(a: Any, b: Any):
    assert same(a, b) and same(b, a)
    assert fits(a, b) and fits(b, a)


@pytest.mark.parametrize(
    ("returned", "place"),
    [
        (Cat, Animal),
        (Cat, Animal | None),
        (Cat | None, Animal),
        (Cat | None, Cat),
        (Cat, Cat | int),
        (list[Cat], list[Animal]),
        (dict[str, list[Cat]], dict[str, list[Animal | None]]),
        (Box[Cat], Box[Animal]),
        (CatBox, Box[Cat]),
        (Pixel, Point),
        (Name, str),
        (Iterator[Cat], Iterator[Animal]),
    ],
)
def test_a_result_fits_where_more_is_taken(returned: Any, place: Any):
    assert fits(returned, place)
    assert not same(returned, place)


@pytest.mark.parametrize(
    ("returned", "place"),
    [
        (Animal, Cat),
        (Cat | int, Animal),
        (list[Animal], list[Cat]),
        (list[Cat | None], list[Cat]),
        (list[int], list),
        (list[int], Sequence[int]),
        (str, Name),
        (bool, int),
        (dt.datetime, dt.date),
        (Cat, BaseModel),
        (Cat, object),
        (None, Cat),
        (Cat, Any),
        (Any, Cat),
        (Any, Any),
        (inspect.Signature.empty, inspect.Signature.empty),
    ],
)
def test_where_there_is_doubt_it_fits_not(returned: Any, place: Any):
    assert not fits(returned, place)
