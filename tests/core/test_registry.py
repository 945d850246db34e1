"""`@client`, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest

from mizan_core.registry import FunctionSpec, Registry, RegistryError, spec_of
from mizan_core.scopes import ScopeError


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
