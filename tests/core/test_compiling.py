"""From the registry to the manifest."""

from typing import Any

import pytest

from mizan_core.compiling import compile_registry
from mizan_core.manifest import Context, dump_manifest
from mizan_core.registry import Options, Registry, RegistryError
from mizan_core.scopes import Scope
from mizan_core.scoping import invalidated
from mizan_core.view_urls import ViewUrlError, parse_view_urls


@pytest.fixture
def registry() -> Registry:
    return Registry()


def context(registry: Registry, name: str = "c") -> dict[str, Any]:
    compiled = compile_registry(registry)
    assert compiled.warnings == ()
    return dict(compiled.document["contexts"][name])


class TestDocument:
    def test_the_contract_s_own_example(self, registry: Registry):
        @registry.client(context="user")
        def user_profile(request: Any, user_id: int) -> None: ...

        @registry.client(context="user", route="/profile/<int:user_id>/")
        def profile_page(request: Any, user_id: int) -> None: ...

        @registry.client(affects="user")
        def rename_user(request: Any, user_id: int, name: str) -> None: ...

        assert compile_registry(registry).document == {
            "version": 1,
            "contexts": {
                "user": {
                    "functions": [
                        {"name": "profile_page", "path": "view"},
                        {"name": "user_profile", "path": "rpc"},
                    ],
                    "endpoints": ["/api/mizan/ctx/user/"],
                    "params": ["user_id"],
                    "param_types": {"user_id": "integer"},
                    "views": ["/profile/:user_id/"],
                }
            },
            "mutations": {"rename_user": {"path": "rpc", "affects": [{"context": "user", "params": ["user_id"]}]}},
        }

    def test_it_does_not_depend_on_the_order_of_declaration(self):
        def a(request: Any, x: int) -> None: ...

        def b(request: Any, y: str) -> None: ...

        def c(request: Any, x: int) -> None: ...

        def bytes_of(*declarations: tuple[Any, dict[str, Any]]) -> bytes:
            registry = Registry()
            for fn, options in declarations:
                registry.client(**options)(fn)
            return dump_manifest(compile_registry(registry).document)

        declarations: list[tuple[Any, dict[str, Any]]] = [
            (a, {"context": "one"}),
            (b, {"context": "two"}),
            (c, {"affects": ["two", "one"]}),
        ]
        assert bytes_of(*declarations) == bytes_of(*reversed(declarations))

    def test_another_base_moves_endpoints_and_calls(self, registry: Registry):
        @registry.client(context="c")
        def fn(request: Any) -> None: ...

        document = compile_registry(registry, base="rpc").document
        assert document["contexts"]["c"]["endpoints"] == ["/rpc/ctx/c/"]
        assert document["calls"] == ["/rpc/call/"]

    def test_a_context_of_views_alone_has_no_endpoint(self, registry: Registry):
        @registry.client(context="c", route="/a/")
        def fn(request: Any) -> None: ...

        assert context(registry)["endpoints"] == []

    def test_calls_with_untyped_arguments_and_those_that_say_so_are_not_cached(self, registry: Registry):
        @registry.client(context="c")
        def a(request: Any, anything: Any) -> None: ...

        @registry.client(context="c", cache=False)
        def b(request: Any, typed: int) -> None: ...

        @registry.client(context="c", cache=False, route="/v/")
        def v(request: Any) -> None: ...

        compiled = context(registry)
        assert [function.get("cache", True) for function in compiled["functions"]] == [False, False, False]
        assert compiled["param_types"] == {"typed": "integer"}
        assert compiled["views"] == []


class TestMerging:
    def test_every_option_that_a_context_has_as_well_gets_there(self, registry: Registry):
        said: dict[str, Any] = {
            "scope": "public",
            "rev": 1,
            "ttl": 60,
            "swr": 2,
            "sie": 3,
            "hold": 4,
            "purge": "soft",
            "ignore_query": ["utm_*"],
        }
        assert said.keys() == Options.__optional_keys__ & Context.model_fields.keys()

        @registry.client(context="c", **said)
        def a(request: Any) -> None: ...

        assert said.items() <= context(registry).items()

    def test_rev_is_the_sum_ttl_swr_and_sie_the_least_and_hold_the_greatest(self, registry: Registry):
        @registry.client(context="c", rev=1, ttl=60, swr=30, sie=20, hold=1)
        def a(request: Any) -> None: ...

        @registry.client(context="c", rev=2, ttl=90, swr=40, sie=10, hold=5)
        def b(request: Any) -> None: ...

        compiled = context(registry)
        assert {key: compiled[key] for key in ("rev", "ttl", "swr", "sie", "hold")} == {
            "rev": 3,
            "ttl": 60,
            "swr": 30,
            "sie": 10,
            "hold": 5,
        }

    def test_user_beats_public_and_so_does_a_function_that_says_nothing(self, registry: Registry):
        @registry.client(context="c", scope="public", purge="soft")
        def a(request: Any) -> None: ...

        assert (context(registry)["scope"], context(registry)["purge"]) == ("public", "soft")

        @registry.client(context="c")
        def b(request: Any) -> None: ...

        assert not {"scope", "purge"} & context(registry).keys()

    def test_a_callable_auth_has_a_ttl_of_0_unless_it_says_another(self, registry: Registry):
        @registry.client(context="c", auth=lambda request: True)
        def a(request: Any) -> None: ...

        @registry.client(context="d", auth=lambda request: True, ttl=60)
        def b(request: Any) -> None: ...

        @registry.client(context="e", auth="staff")
        def c(request: Any) -> None: ...

        assert context(registry)["ttl"] == 0
        assert context(registry, "d")["ttl"] == 60
        assert "ttl" not in context(registry, "e")

    @pytest.mark.parametrize(("other", "expected"), [(None, "heuristic"), (60, "heuristic"), (0, 0)])
    def test_a_heuristic_ttl_gives_way_to_nothing_but_0(self, registry: Registry, other: Any, expected: Any):
        @registry.client(context="c", ttl="heuristic")
        def a(request: Any) -> None: ...

        @registry.client(context="c", ttl=other)
        def b(request: Any) -> None: ...

        assert context(registry)["ttl"] == expected


class TestTypes:
    def test_functions_that_disagree_are_an_error_that_names_both(self, registry: Registry):
        @registry.client(context="c")
        def a(request: Any, x: int) -> None: ...

        @registry.client(context="c")
        def b(request: Any, x: str) -> None: ...

        with pytest.raises(RegistryError, match="'x' is of type integer in 'a' and of type string in 'b'"):
            compile_registry(registry)

    def test_a_converter_says_what_the_function_leaves_open(self, registry: Registry):
        @registry.client(context="c", route="/a/<int:x>/<uuid:y>/<z>/<slug:w>/")
        def a(request, x, y, z, w): ...

        compiled = context(registry)
        assert compiled["views"] == ["/a/:x/:y/:z/:w/"]
        assert compiled["param_types"] == {"x": "integer", "y": "uuid"}

    def test_lists_are_types_of_their_own(self, registry: Registry):
        @registry.client(context="c")
        def a(request: Any, x: list[int]) -> None: ...

        assert context(registry)["param_types"] == {"x": {"list": "integer"}}


class TestViews:
    @pytest.mark.parametrize("route", ["/f/<path:x>/", "/f/<custom:x>/", "/f/a-<int:x>/", "/f/%/<int:x>/"])
    def test_a_route_that_no_pattern_can_express_is_left_out_with_a_warning(self, registry: Registry, route: str):
        @registry.client(context="c", route=route)
        def fn(request: Any, x: str) -> None: ...

        compiled = compile_registry(registry)
        assert compiled.document["contexts"]["c"]["views"] == []
        (warning,) = compiled.warnings
        assert "'fn'" in warning

    def test_two_views_of_one_url_are_an_error(self, registry: Registry):
        @registry.client(context="c", route="/a/<int:x>/")
        def a(request: Any, x: int) -> None: ...

        @registry.client(context="d", route="a/<int:y>/")
        def b(request: Any, y: int) -> None: ...

        with pytest.raises(RegistryError, match="matches the same paths"):
            compile_registry(registry)

    def test_a_mutation_at_a_url_of_its_own_says_which(self, registry: Registry):
        @registry.client(context="c")
        def a(request: Any, x: int) -> None: ...

        @registry.client(affects=a, route="/change/<int:x>/")
        def change(request, x): ...

        assert compile_registry(registry).document["mutations"] == {
            "change": {"path": "view", "affects": [{"context": "c", "params": ["x"]}], "views": ["/change/:x/"]}
        }


class TestViewUrls:
    """URLs of views that are not declared."""

    @pytest.fixture
    def profiles(self, registry: Registry) -> Registry:
        @registry.client(context="user")
        def profile(request: Any, user_id: int) -> None: ...

        @registry.client(affects="user")
        def rename(request: Any, user_id: int) -> None: ...

        return registry

    def test_they_are_views_of_the_context_with_types_by_their_converters(self, profiles: Registry):
        urls = parse_view_urls({"user": ["/p/<int:user_id>/<uuid:tab>/", "/p/:user_id/"]}, source="VIEW_URLS")
        compiled = compile_registry(profiles, view_urls=urls)
        context = compiled.document["contexts"]["user"]
        assert context["views"] == ["/p/:user_id/", "/p/:user_id/:tab/"]
        assert (context["params"], context["param_types"]) == (
            ["tab", "user_id"],
            {"tab": "uuid", "user_id": "integer"},
        )
        affects = compiled.document["mutations"]["rename"]["affects"]
        assert affects == [{"context": "user", "params": ["user_id"]}]

    def test_where_a_url_does_not_say_whose_it_is_a_mutation_purges_the_whole_context(self, profiles: Registry):
        compiled = compile_registry(
            profiles, view_urls=parse_view_urls({"user": ["/p/<str:username>/"]}, source="VIEW_URLS")
        )
        assert compiled.document["mutations"]["rename"]["affects"] == [{"context": "user", "params": []}]
        spec = profiles.get("rename")
        assert spec is not None
        assert invalidated(spec, {"user_id": 5}, compiled.coverage) == (Scope("user"),)

    @pytest.mark.parametrize(
        ("urls", "said"),
        [
            ({"user": ["/p/<uuid:user_id>/"]}, "is of type integer in 'profile' and of type uuid in '/p/:user_id/'"),
            ({"usr": ["/p/"]}, "VIEW_URLS names 'usr', and no function is in a context of that name"),
        ],
    )
    def test_what_contradicts_the_declarations_is_an_error(self, profiles: Registry, urls: Any, said: str):
        with pytest.raises(RegistryError, match=said):
            compile_registry(profiles, view_urls=parse_view_urls(urls, source="VIEW_URLS"))

    @pytest.mark.parametrize("urls", [["p/"], ["/p/<path:rest>/"], ["/p/<int:no-name>/"], "/p/"])
    def test_what_cannot_be_read_is_an_error(self, urls: Any):
        with pytest.raises(ViewUrlError):
            parse_view_urls({"user": urls}, source="VIEW_URLS")


class TestMutations:
    def test_an_unknown_context_is_an_error(self, registry: Registry):
        @registry.client(affects="nothing")
        def change(request: Any) -> None: ...

        with pytest.raises(RegistryError, match="'change' affects 'nothing'"):
            compile_registry(registry)

    def test_arguments_of_another_type_do_not_narrow(self, registry: Registry):
        @registry.client(context="c")
        def a(request: Any, x: int) -> None: ...

        @registry.client(affects="c")
        def change(request: Any, x: str) -> None: ...

        assert compile_registry(registry).document["mutations"]["change"]["affects"] == [{"context": "c", "params": []}]


class TestScoping:
    """With these functions of a context, what does a mutation(a, b) purge?"""

    def scopes(self, registry: Registry, **arguments: Any) -> list[str]:
        @registry.client(affects="c")
        def change(request, a=None, b=None): ...

        spec = registry.get("change")
        assert spec is not None
        return [
            str(scope)
            for scope in invalidated(spec, {"a": None, "b": None, **arguments}, compile_registry(registry).coverage)
        ]

    def test_all_share_both_parameters(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int, b: int) -> None: ...

        @registry.client(context="c")
        def g(request: Any, a: int, b: int, more: int) -> None: ...

        assert self.scopes(registry, a=1, b=2) == ["c;a=1;b=2"]
        assert self.scopes(registry, a=1) == ["c;a=1"]
        assert self.scopes(registry) == ["c"]

    def test_one_takes_fewer(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int) -> None: ...

        @registry.client(context="c")
        def g(request: Any, a: int, b: int) -> None: ...

        assert self.scopes(registry, a=1, b=2) == ["c;a=1"]

    def test_each_takes_another(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int) -> None: ...

        @registry.client(context="c")
        def g(request: Any, b: int) -> None: ...

        assert self.scopes(registry, a=1, b=2) == ["c;a=1", "c;b=2"]
        assert self.scopes(registry, a=1) == ["c"]

    def test_calls_that_are_never_cached_need_not_be_reached(self, registry: Registry):
        @registry.client(context="c", cache=False)
        def f(request: Any, a: int) -> None: ...

        @registry.client(context="c")
        def g(request: Any, a: int, b: int) -> None: ...

        assert self.scopes(registry, a=1, b=2) == ["c;a=1;b=2"]

    def test_a_parameter_that_may_be_absent_is_not_carried(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int, b: int | None = None) -> None: ...

        assert self.scopes(registry, a=1, b=2) == ["c;a=1"]

    def test_a_default_is_carried(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int, b: int = 3) -> None: ...

        assert self.scopes(registry, a=1, b=2) == ["c;a=1;b=2"]

    def test_a_view_carries_its_own_parameters(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int) -> None: ...

        @registry.client(context="c", route="/v/<str:name>/")
        def v(request: Any, name: str) -> None: ...

        assert self.scopes(registry, a=1) == ["c"]

    def test_values_that_no_entry_can_carry_widen(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int) -> None: ...

        for value in ("05", "five", {"x": 1}, [1], 1.5):
            assert self.scopes(registry, a=value) == ["c"]
        assert self.scopes(registry, a="5") == ["c;a=5"]

    def test_one_scope_covers_another_from_a_second_context(self, registry: Registry):
        @registry.client(context="c")
        def f(request: Any, a: int) -> None: ...

        @registry.client(context="d")
        def g(request: Any) -> None: ...

        @registry.client(affects=["d", f], merge="c")
        def change(request: Any, a: int) -> None: ...

        spec = registry.get("change")
        assert spec is not None
        assert invalidated(spec, {"a": 1}, compile_registry(registry).coverage) == (
            Scope("c", (("a", "1"),)),
            Scope("d"),
        )
