"""Where a mutation says that its result may be put."""

from typing import Any

import pytest
from django.test import Client
from pydantic import BaseModel, Field

from mizan.http.output import json_bytes
from mizan_core.compiling import compile_registry
from mizan_core.merging import Place, places
from mizan_core.registry import Registry, spec_of
from tests.django.requests import bundle, call


def test_the_slot_is_the_function_of_the_same_type_once_and_the_purge_remains(visitor: Client, ann: Any):
    response = call(visitor, "rename_account", user_id=str(ann.pk), name="Anna")
    anna = {"user_id": ann.pk, "name": "Anna"}
    assert response.json() == {
        "result": anna,
        "invalidate": [f"account;user_id={ann.pk}"],
        "merge": [{"context": "account", "slot": "account", "value": anna, "params": {"user_id": ann.pk}}],
    }
    assert response.headers["X-Mizan-Invalidate"] == f"account;user_id={ann.pk}"
    # Spliced, the bundle is what the origin would say.
    assert bundle(visitor, "account", {"user_id": ann.pk}).json()["account"] == anna


def test_an_entry_has_every_parameter_of_its_slot_where_the_purge_has_fewer(visitor: Client):
    response = call(visitor, "turn_page", user_id=5, page=2).json()
    assert response == {
        "result": [5, 2],
        "invalidate": ["account;user_id=5"],
        "merge": [
            {"context": "account", "slot": "account_page", "value": [5, 2], "params": {"page": 2, "user_id": 5}},
        ],
    }


def test_a_slot_without_parameters_needs_none_and_one_whose_parameters_are_not_known_is_no_slot(visitor: Client):
    assert call(visitor, "set_motto", text="upwards").json() == {
        "result": "upwards",
        "invalidate": ["motto", "prefs", "user"],
        "merge": [{"context": "motto", "slot": "motto", "value": "upwards"}],
    }


def test_the_parameters_are_those_that_the_call_had_whatever_the_function_does_to_them(visitor: Client):
    (entry,) = call(visitor, "relabel", label=["b", "a"]).json()["merge"]
    assert (entry["value"], entry["params"]) == (["a", "b"], {"label": ["b", "a"]})


@pytest.mark.parametrize(("fn", "args"), [("rename_account", {}), ("turn_page", {"user_id": 5})])
def test_a_result_that_does_not_say_whose_it_is_is_merged_nowhere(visitor: Client, fn: str, args: Any):
    response = call(visitor, fn, **args).json()
    assert response.keys() == {"result", "invalidate"}
    assert response["invalidate"] == ["account" + (";user_id=5" if args else "")]


@pytest.mark.parametrize(
    ("fn", "args", "slot", "value"),
    [
        ("promote", {"name": "Bob"}, "leader", {"name": "Bob"}),
        ("promote", {}, "leader", None),
        ("hire", {"names": ["Bob"]}, "people", [{"name": "Bob"}]),
        ("turn", {}, "paged", {"items": [{"name": "Bob"}]}),
    ],
)
def test_a_result_that_is_more_than_the_slot_takes_is_written_as_the_slot_s_own_type(
    visitor: Client, fn: str, args: Any, slot: str, value: Any
):
    response = call(visitor, fn, team=1, **args).json()
    assert response["merge"] == [{"context": "team", "slot": slot, "value": value, "params": {"team": 1}}]
    assert ("salary" in str(response["result"])) is (value is not None)


def test_what_is_read_but_once_or_is_not_what_it_was_said_to_be_is_merged_nowhere(visitor: Client):
    renamed = call(visitor, "rename", team=1).json()
    assert renamed == {"result": [{"name": "Bob", "salary": 100}], "invalidate": ["team;team=1"]}
    assert call(visitor, "misdescribed", team=1).json() == {"result": "no leader", "invalidate": ["team;team=1"]}


class TestPlaces:
    def of(self, registry: Registry, mutation: Any, **arguments: object) -> tuple[Place, ...]:
        compiled, spec = compile_registry(registry), spec_of(mutation)
        assert spec is not None
        return places(spec, arguments, compiled.contexts, compiled.coverage)

    def test_a_function_that_is_named_is_the_slot_among_several_and_without_a_type(self):
        registry = Registry()

        @registry.client(context="c")
        def first(request: Any) -> list[int]: ...  # type: ignore[empty-body]

        @registry.client(context="c")
        def second(request: Any) -> list[int]: ...  # type: ignore[empty-body]

        def untyped(request):
            return [1]

        assert self.of(registry, registry.client(merge=second)(typed)) == (Place("c", "second", {}),)
        assert self.of(registry, registry.client(merge=[first, "c"])(untyped)) == (Place("c", "first", {}),)

    def test_a_function_that_returns_another_type_or_a_page_is_no_slot(self):
        registry = Registry()

        @registry.client(context="c")
        def text(request: Any) -> str: ...  # type: ignore[empty-body]

        @registry.client(context="c", route="/page/")
        def page(request: Any) -> list[int]: ...  # type: ignore[empty-body]

        assert self.of(registry, registry.client(merge=[text, page, "c"])(typed)) == ()

    def test_what_is_declared_to_return_anything_is_found_by_its_name_alone(self):
        registry = Registry()

        @registry.client(context="c")
        def anything(request: Any) -> Any: ...

        def change(request: Any) -> Any: ...

        assert self.of(registry, registry.client(merge="c")(change)) == ()
        assert self.of(registry, registry.client(merge=anything)(change)) == (Place("c", "anything", {}),)

    def test_the_very_same_type_is_the_slot_before_one_that_takes_it(self):
        registry = Registry()

        @registry.client(context="c")
        def some(request: Any) -> int | None: ...

        @registry.client(context="c")
        def one(request: Any) -> int: ...  # type: ignore[empty-body]

        def change(request: Any) -> int: ...  # type: ignore[empty-body]

        def perhaps(request: Any) -> int | None: ...

        assert self.of(registry, registry.client(merge="c")(change)) == (Place("c", "one", {}),)
        assert self.of(registry, registry.client(merge="c")(perhaps)) == (Place("c", "some", {}),)

    def test_a_value_is_written_by_the_names_that_it_has_in_a_bundle(self):
        registry = Registry()

        class Named(BaseModel):
            first_name: str = Field(serialization_alias="firstName")

        @registry.client(context="c")
        def perhaps(request: Any) -> Named | None: ...

        def change(request: Any) -> Named: ...  # type: ignore[empty-body]

        (place,) = self.of(registry, registry.client(merge="c")(change))
        ann = Named(first_name="Ann")
        assert place.written(ann) == json_bytes(ann) == b'{"firstName":"Ann"}'

    def test_a_value_that_the_slot_could_not_have_is_merged_nowhere(self):
        registry = Registry()

        @registry.client(context="c")
        def read(request: Any, a: int) -> list[int]: ...  # type: ignore[empty-body]

        def change(request: Any, a: str) -> list[int]: ...  # type: ignore[empty-body]

        mutation = registry.client(merge="c")(change)
        assert self.of(registry, mutation, a="5") == (Place("c", "read", {"a": "5"}),)
        for value in ("05", "five"):
            assert self.of(registry, mutation, a=value) == ()


def typed(request: Any) -> list[int]:
    return [1]
