"""The OpenAPI document: valid, the same bytes each time, and what the site really answers."""

import json
import subprocess
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import QuerySet
from django.test import Client, override_settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import InstanceOf, create_model

from mizan.declare import schema
from mizan_core.registry import Registry
from tests.django.requests import bundle, call
from tests.django.site.models import Note


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The site's own document, as the command writes it."""
    path = tmp_path_factory.mktemp("schema") / "openapi.json"
    call_command("export_mizan_schema", output=str(path))
    return json.loads(path.read_bytes())


def function(document: Any, name: str) -> Any:
    (found,) = [entry for entry in document["x-mizan-functions"] if entry["name"] == name]
    return found


def matches(document: Any, value: object, schema: Any) -> bool:
    """Whether a value is one of a schema of the document."""
    return bool(Draft202012Validator({**schema, "components": document["components"]}).is_valid(value))


class Opaque: ...


class TestDocument:
    def test_a_public_validator_finds_it_valid(self, document: Any):
        validate(document)
        assert document["openapi"].startswith("3.1.")
        validate(schema.openapi(Registry()))

    def test_each_context_is_a_path_with_its_parameters(self, document: Any):
        operation = document["paths"]["/api/mizan/ctx/prefs/"]["get"]
        assert [(each["name"], each["in"], each["required"]) for each in operation["parameters"]] == [
            ("locale", "query", False),
            ("user_id", "query", True),
        ]
        assert operation["parameters"][0]["schema"] == {"type": "string", "default": "en", "title": "Locale"}
        assert "/api/mizan/ctx/words/" not in document["paths"]  # of pages alone

    def test_a_query_has_no_null(self, document: Any):
        (category, page) = document["paths"]["/api/mizan/ctx/catalog/"]["get"]["parameters"]
        assert (category["name"], page["name"]) == ("category", "page")
        assert page["schema"] == {"type": "integer", "title": "Page"}

    def test_what_the_site_answers_is_what_the_document_says(self, document: Any, visitor: Client, ann: Any):
        operation = document["paths"]["/api/mizan/ctx/user/"]["get"]
        answers = {
            "200": bundle(visitor, "user", {"user_id": ann.pk}),
            "422": bundle(visitor, "user", {"user_id": "five"}),
        }
        for status, response in answers.items():
            described = operation["responses"][status]
            if "$ref" in described:
                described = document["components"]["responses"][status]
            said = described["content"]["application/json"]["schema"]
            assert (str(response.status_code), matches(document, response.json(), said)) == (status, True)
            assert not matches(document, {"user_profile": 5}, said)

    @pytest.mark.parametrize(
        ("fn", "args"),
        [
            ("echo", {"text": "x"}),
            ("moment", {}),
            ("rename_account", {"user_id": 5, "name": "x"}),
            ("promote", {"team": 1, "name": "x"}),
            ("turn_page", {"user_id": 5}),
            ("greet", {"name": "x"}),
        ],
    )
    def test_calls_fit_their_arguments_and_results_their_output(
        self, document: Any, visitor: Client, fn: str, args: dict[str, Any]
    ):
        described = function(document, fn)
        body = document["components"]["schemas"][f"{fn}.call"]
        assert matches(document, {"fn": fn, "args": args}, body)
        assert not matches(document, {"fn": "other", "args": args}, body)
        assert matches(document, args, described["input"])
        assert not matches(document, {**args, "unknown": 1}, described["input"])
        result = call(visitor, fn, **args).json()
        assert matches(document, result, {"$ref": "#/components/schemas/mizan.CallResult"})
        assert matches(document, result["result"], described["output"])

    def test_a_function_is_described_with_all_that_it_declares(self, document: Any):
        read = function(document, "products")
        assert read == {
            "name": "products",
            "kind": "context",
            "path": "rpc",
            "description": "",
            "context": "catalog",
            "local": False,
            "affects": [],
            "merge": [],
            "params": [
                {"name": "category", "type": "string", "required": True},
                {"name": "page", "type": "integer", "required": False},
            ],
            "input": {"$ref": "#/components/schemas/products_arguments"},
            "output": {"type": "array", "items": {"type": "string"}},
            "auth": False,
            "websocket": False,
            "route": None,
            "rev": 0,
        }
        mutation = function(document, "rename_account")
        assert (mutation["kind"], mutation["affects"], mutation["merge"]) == (
            "mutation",
            [{"context": "account", "params": ["user_id"]}],
            [{"context": "account", "slot": "account", "params": ["user_id"]}],
        )
        page = function(document, "by_hand")
        assert (page["path"], page["route"], page["output"], page["description"]) == (
            "view",
            "/number/<int:number>/",
            None,
            "A page.",
        )
        assert [function(document, name)["auth"] for name in ("members_only", "staff_only", "with_a_pass", "echo")] == [
            True,
            "staff",
            "custom",
            False,
        ]
        assert (function(document, "note_count")["context"], function(document, "note_count")["local"]) == (
            "note_count",
            True,
        )

    def test_types_that_share_a_name_stay_apart(self):
        registry = Registry()
        types: list[tuple[str, Any]] = [("first", int), ("second", str)]
        for module, type_ in types:
            output = create_model("Thing", __module__=module, value=(type_, ...))

            def fn(request: Any) -> None: ...

            fn.__name__, fn.__annotations__["return"] = module, output
            registry.client(fn)
        document = schema.openapi(registry)
        first, second = (function(document, name)["output"] for name in ("first", "second"))
        assert matches(document, {"value": 1}, first) and not matches(document, {"value": "x"}, first)
        assert matches(document, {"value": "x"}, second) and not matches(document, {"value": 1}, second)

    def test_an_application_may_have_models_that_are_called_like_the_documents_own(self):
        registry = Registry()

        def fn(request: Any) -> None: ...

        fn.__annotations__["return"] = create_model("Error", value=(int, ...))
        registry.client(fn)
        document = schema.openapi(registry)
        assert matches(document, {"value": 1}, function(document, "fn")["output"])
        assert matches(
            document,
            {"error": {"code": "not_found", "message": "no"}},
            document["components"]["responses"]["404"]["content"]["application/json"]["schema"],
        )

    def test_what_has_no_schema_is_anything(self):
        registry = Registry()

        @registry.client
        def take(request: Any, thing: InstanceOf[Opaque], at: Any = object()) -> dict[str, Any]: ...  # type: ignore[empty-body]  # noqa: B008

        @registry.client
        def notes(request: Any) -> QuerySet[Note]: ...  # type: ignore[empty-body]

        @registry.client
        def things(request: Any) -> list[InstanceOf[Opaque]]: ...  # type: ignore[empty-body]

        document = schema.openapi(registry)
        validate(document)
        assert matches(document, {"thing": "anything"}, function(document, "take")["input"])
        assert function(document, "notes")["output"] == {}
        assert function(document, "things")["output"] == {"type": "array", "items": {}}

    def test_a_function_may_have_any_name(self):
        registry = Registry()

        def größe(request: Any, text: str) -> str: ...  # type: ignore[empty-body]

        registry.register(registry.client(größe), "form größe.submit")
        document = schema.openapi(registry)
        validate(document)
        assert function(document, "form größe.submit")["params"][0]["name"] == "text"

    def test_what_else_a_site_has_stands_in_sections_of_their_own(self, document: Any):
        assert "contact" in [form["name"] for form in document["x-mizan-forms"]]
        assert "news" in [channel["name"] for channel in document["x-mizan-channels"]]
        own = schema.openapi(Registry(), sections={"forms": [{"name": "contact"}]})
        assert own["x-mizan-forms"] == [{"name": "contact"}]
        validate(own)


class TestCommand:
    def test_it_has_the_release_and_the_mount_point(self, capsys: pytest.CaptureFixture[str]):
        with override_settings(MIZAN_RELEASE="2024-02-29", ROOT_URLCONF="tests.django.site.elsewhere"):
            call_command("export_mizan_schema")
        document = json.loads(capsys.readouterr().out)
        assert document["info"]["version"] == "2024-02-29"
        assert {"/elsewhere/call/", "/elsewhere/session/", "/elsewhere/ctx/user/"} <= document["paths"].keys()

    def test_contradictions_are_a_clear_error(self, registry: Registry):
        @registry.client(affects="nothing")
        def change(request: Any) -> None: ...

        with pytest.raises(CommandError, match="'change' affects 'nothing'"):
            call_command("export_mizan_schema")


def test_schemathesis_finds_no_error_of_the_server_and_no_answer_that_the_document_does_not_tell_of():
    """150 requests to a site of every type, in a process of its own; `make schemathesis` makes 2,000."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.django.wide.conformance", "--examples", "150"],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
