"""`@client`, and what it refuses."""

import datetime as dt
import enum
import inspect
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType, Optional

import pytest
from pydantic import BeforeValidator, Field, StringConstraints

from mizan_core.canonical import ListOf
from mizan_core.registry import FunctionSpec, Registry, RegistryError, spec_of
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


def declared(registry: Registry, fn: Callable[..., Any], **options: Any) -> FunctionSpec:
    spec = spec_of(registry.client(**options)(fn))
    assert spec is not None
    return spec


def named(name: str, signature: Callable[..., Any]) -> Callable[..., Any]:
    signature.__name__ = name
    return signature


class TestClient:
    def test_bare_and_with_arguments_it_leaves_the_function_what_it_was(self):
        registry = Registry()

        def read(request: Any, user_id: int) -> str:
            return f"{request} {user_id}"

        assert registry.client(read) is read
        assert registry.client(context="user")(read) is read
        assert read("request", 5) == "request 5"

    def test_every_parameter_is_recorded(self):
        def fn(request: Any) -> None: ...

        def allowed(request: Any) -> bool:
            return True

        registry = Registry()
        spec = declared(
            registry,
            fn,
            context="user",
            auth=allowed,
            route="/a/",
            rev=2,
            websocket=True,
            ttl=60,
            swr=1,
            sie=2,
            scope="user",
            hold=3,
            purge="soft",
            ignore_query=["utm_*"],
            cache=False,
        )
        assert (spec.name, spec.fn, spec.context, spec.auth, str(spec.route)) == ("fn", fn, "user", allowed, "/a/")
        assert (spec.rev, spec.websocket, spec.ttl, spec.swr, spec.sie) == (2, True, 60, 1, 2)
        assert (spec.scope, spec.hold, spec.purge, spec.ignore_query, spec.cache) == (
            "user",
            3,
            "soft",
            ("utm_*",),
            False,
        )
        assert registry.get("fn") is spec

    def test_a_mutation_names_contexts_and_functions(self):
        registry = Registry()

        @registry.client(context="user")
        def read(request: Any) -> None: ...

        def write(request: Any) -> None: ...

        spec = declared(registry, write, affects=[read, "orders"], merge="user")
        assert spec.targets == ("user", "orders")
        assert spec.is_mutation

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"context": "üser"}, "not an ASCII identifier"),
            ({"context": "my user"}, "not an ASCII identifier"),
            ({"context": 5}, "takes a name"),
            ({"context": "a", "affects": "b"}, "only reads"),
            ({"affects": "no-identifier"}, "not an ASCII identifier"),
            ({"affects": print}, "neither the name of a context nor a declared function"),
            ({"merge": [5]}, "neither the name of a context nor a declared function"),
            ({"auth": "admin"}, "auth= takes"),
            ({"route": 5}, "route= takes a path"),
            ({"route": "/a/<int:no-name>/"}, "not an ASCII identifier"),
            ({"rev": -1}, "rev= takes a whole number"),
            ({"rev": True}, "rev= takes a whole number"),
            ({"ttl": "long"}, "ttl= takes seconds"),
            ({"ttl": -1}, "ttl= takes seconds"),
            ({"swr": 1.5}, "swr= takes a whole number"),
            ({"sie": "1"}, "sie= takes a whole number"),
            ({"hold": -1}, "hold= takes a whole number"),
            ({"scope": "all"}, "scope= takes 'user' or 'public'"),
            ({"scope": "public", "auth": True}, "cannot be guarded"),
            ({"purge": "later"}, "purge= takes 'hard' or 'soft'"),
            ({"ignore_query": [5]}, "ignore_query= takes names"),
            ({"ignore_query": "user_*"}, "would ignore its own parameter 'user_id'"),
            ({"cache": "no"}, "cache= takes"),
            ({"websocket": 2}, "websocket= takes"),
            ({"contxt": "user"}, "no parameter 'contxt'"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_where_it_stands(self, options: dict[str, Any], said: str):
        registry = Registry()

        def fn(request: Any, user_id: int) -> None: ...

        with pytest.raises((RegistryError, ScopeError), match=said) as caught:
            registry.client(**options)(fn)
        assert "'fn'" in str(caught.value)
        assert list(registry) == []

    def test_the_first_of_two_functions_of_one_name_keeps_it(self):
        registry = Registry()
        first = registry.client(named("same", lambda request: 1))
        second = registry.client(named("same", lambda request: 2))
        assert [spec.fn for spec in registry] == [first]
        assert [spec.fn for spec in registry.duplicates()["same"]] == [first, second]
        registry.register(first, "another")
        assert [(spec.name, spec.fn) for spec in registry] == [("another", first), ("same", second)]
        assert registry.duplicates() == {}

    def test_a_module_that_is_loaded_again_replaces_its_functions(self):
        registry = Registry()

        def load() -> Callable[..., Any]:
            def fn(request: Any) -> None: ...

            return registry.client(fn)

        load()
        again = load()
        spec = registry.get("fn")
        assert spec is not None
        assert spec.fn is again


class TestRegister:
    def test_under_its_own_name_it_changes_nothing(self):
        registry = Registry()
        fn = registry.client(named("fn", lambda request: 1))
        assert registry.register(fn, "fn") is fn
        assert registry.register(fn, "fn") is fn
        assert [spec.name for spec in registry] == ["fn"]

    def test_another_name_replaces_it(self):
        registry = Registry()
        fn = registry.client(named("fn", lambda request: 1))
        registry.register(fn, "other")
        registry.register(fn, "other")
        assert [spec.name for spec in registry] == ["other"]
        spec = spec_of(fn)
        assert spec is not None
        assert spec.name == "other"

    def test_a_function_that_is_not_declared_is_refused(self):
        with pytest.raises(RegistryError, match="put @client above it"):
            Registry().register(named("fn", lambda request: 1), "fn")


class TestSignature:
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
    def test_a_parameter_is_typed_where_its_text_can_be_read_in_one_way_only(self, annotation: Any, expected: Any):
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
    def test_query_strings_are_read_laxly(self, annotation: Any, given: object, got: object):
        def fn(request, value): ...

        fn.__annotations__ = {"value": annotation}
        assert read_signature(fn).bind({"value": given}) == {"value": got}

    @pytest.mark.parametrize("given", ["nan", "inf", "-Infinity"])
    def test_what_has_no_canonical_text_is_no_number(self, given: str):
        def fn(request: Any, value: float) -> None: ...

        with pytest.raises(ArgumentsError):
            read_signature(fn).bind({"value": given})

    def test_defaults_are_kept_and_problems_are_listed(self):
        def fn(request: Any, a: int, b: str = "x", c: int | None = None) -> None: ...

        signature = read_signature(fn)
        assert signature.bind({"a": "1"}) == {"a": 1, "b": "x", "c": None}
        with pytest.raises(ArgumentsError) as caught:
            signature.bind({"a": "one", "d": 1})
        assert [(problem["loc"], problem["type"]) for problem in caught.value.details] == [
            (["a"], "int_parsing"),
            (["d"], "extra_forbidden"),
        ]

    def test_names_that_pydantic_keeps_for_itself_are_names_like_others(self):
        def fn(request: Any, model_config: int, _private: int, json: int) -> None: ...

        values = {"model_config": 1, "_private": 2, "json": 3}
        assert read_signature(fn).bind(values) == values

    def test_the_annotation_of_the_request_need_not_exist_at_run_time(self):
        def fn(request: "OnlyForTypeCheckers", user_id: "int") -> "Unknown": ...  # type: ignore[name-defined] # noqa: F821

        signature = read_signature(fn)
        assert signature.parameters[0].type == "integer"
        assert signature.output is inspect.Signature.empty

    def test_signatures_that_cannot_be_declared_say_what_to_change(self):
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

    def test_a_parameter_beyond_ascii_is_refused(self):
        def fn(request: Any, größe: int) -> None: ...

        with pytest.raises(ScopeError, match="größe"):
            read_signature(fn)
