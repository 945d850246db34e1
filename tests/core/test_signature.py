"""What a declaration says of its parameters, and how arguments are read by it."""

import datetime as dt
import enum
import inspect
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType, Optional

import pytest
from pydantic import BeforeValidator, Field, StringConstraints

from mizan_core.canonical import ListOf
from mizan_core.scopes import ScopeError
from mizan_core.signature import ArgumentsError, SignatureError, read_signature


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class AnyCase(enum.Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls(str(value).lower())


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


UserId = NewType("UserId", int)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, "integer"),
        (str, "string"),
        (bool, "boolean"),
        (float, "number"),
        (uuid.UUID, "uuid"),
        (dt.date, "date"),
        (dt.datetime, "datetime"),
        (list[int], ListOf("integer")),
        (list[uuid.UUID], ListOf("uuid")),
        (int | None, "integer"),
        (Optional[str], "string"),  # noqa: UP045
        (list[str] | None, ListOf("string")),
        (Color, "string"),
        (Level, "integer"),
        (Literal["a", "b"], "string"),
        (Literal[1, 2], "integer"),
        (UserId, "integer"),
        (Annotated[int, Field(ge=1)], "integer"),
        (Annotated[int, Field(ge=1)] | None, "integer"),
        (Annotated[str, "a comment"], "string"),
        (Any, None),
        (object, None),
        (int | str, None),
        (int | str | None, None),
        (list[Any], None),
        (list, None),
        (dict[str, int], None),
        (set[int], None),
        (AnyCase, None),
        (Mixed, None),
        (Literal["a", 1], None),
        (Literal[True], None),
        (dt.time, None),
        (bytes, None),
        (Annotated[str, StringConstraints(strip_whitespace=True)], None),
        (Annotated[int, BeforeValidator(lambda value: value)], None),
        (inspect.Parameter.empty, None),
    ],
)
def test_a_parameter_is_typed_where_its_text_can_be_read_in_one_way_only(annotation: Any, expected: Any):
    def fn(request, value): ...

    if annotation is not inspect.Parameter.empty:
        fn.__annotations__ = {"value": annotation}
    assert read_signature(fn).parameters[0].type == expected


@pytest.mark.parametrize(
    ("annotation", "given", "got"),
    [
        (int, "5", 5),
        (bool, "true", True),
        (uuid.UUID, "00000000-0000-0000-0000-000000000007", uuid.UUID(int=7)),
        (dt.date, "2024-02-29", dt.date(2024, 2, 29)),
        (list[int], ["1", "2"], [1, 2]),
        (Literal[1, 2], "2", 2),
        (list[Literal[1, 2]], ["2"], [2]),
        (Level, "1", Level.LOW),
        (Color, "red", Color.RED),
        (int | None, None, None),
    ],
)
def test_query_strings_are_read_laxly(annotation: Any, given: object, got: object):
    def fn(request, value): ...

    fn.__annotations__ = {"value": annotation}
    assert read_signature(fn).bind({"value": given}) == {"value": got}


@pytest.mark.parametrize("given", ["nan", "inf", "-Infinity"])
def test_what_has_no_canonical_text_is_no_number(given: str):
    def fn(request: Any, value: float) -> None: ...

    with pytest.raises(ArgumentsError):
        read_signature(fn).bind({"value": given})


def test_defaults_are_kept_and_problems_are_listed():
    def fn(request: Any, a: int, b: str = "x", c: int | None = None) -> None: ...

    signature = read_signature(fn)
    assert signature.bind({"a": "1"}) == {"a": 1, "b": "x", "c": None}
    with pytest.raises(ArgumentsError) as caught:
        signature.bind({"a": "one", "d": 1})
    assert [(problem["loc"], problem["type"]) for problem in caught.value.details] == [
        (["a"], "int_parsing"),
        (["d"], "extra_forbidden"),
    ]


def test_names_that_pydantic_keeps_for_itself_are_names_like_others():
    def fn(request: Any, model_config: int, _private: int, json: int) -> None: ...

    values = {"model_config": 1, "_private": 2, "json": 3}
    assert read_signature(fn).bind(values) == values


def test_the_annotation_of_the_request_need_not_exist_at_run_time():
    def fn(request: "OnlyForTypeCheckers", user_id: "int") -> "Unknown": ...  # type: ignore[name-defined] # noqa: F821

    signature = read_signature(fn)
    assert signature.parameters[0].type == "integer"
    assert signature.output is inspect.Signature.empty


def test_signatures_that_cannot_be_declared_say_what_to_change():
    def nothing() -> None: ...

    def keyword(*, request: Any) -> None: ...

    def many(request: Any, *values: int) -> None: ...

    def any_(request: Any, **values: int) -> None: ...

    def positional(request: Any, value: int, /) -> None: ...

    def unknown(request: Any, value: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821

    def field(request: Any, value: int = Field(ge=1)) -> None: ...

    class Opaque: ...

    def opaque(request: Any, value: Opaque) -> None: ...

    cases: list[tuple[Callable[..., Any], str]] = [
        (nothing, "takes no request"),
        (keyword, "takes no request"),
        (many, "declare each of them"),
        (any_, "declare each of them"),
        (positional, "by position only"),
        (unknown, "cannot be read"),
        (field, "Annotated"),
        (opaque, "cannot be validated"),
    ]
    for fn, said in cases:
        with pytest.raises(SignatureError, match=said):
            read_signature(fn)


def test_a_parameter_beyond_ascii_is_refused():
    def fn(request: Any, größe: int) -> None: ...

    with pytest.raises(ScopeError, match="größe"):
        read_signature(fn)
