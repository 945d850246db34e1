"""NAME.schema: what a client learns of a form before anybody has typed anything."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import translation

from mizan.declare.schema import openapi
from mizan.forms.declared import describe_forms
from mizan_core.registry import default
from tests.django.requests import bundle, call
from tests.django.site.forms import Saved

KINDS = [
    ("boolean", "boolean", "CheckboxInput", "checkbox"),
    ("choice", "choice", "Select", "select"),
    ("lazy", "choice", "RadioSelect", "radio"),
    ("combo", "string", "TextInput", "text"),
    ("date", "date", "DateInput", "text"),
    ("day", "date", "SelectDateWidget", "select"),
    ("datetime", "datetime", "DateTimeInput", "text"),
    ("decimal", "decimal", "NumberInput", "number"),
    ("duration", "duration", "TextInput", "text"),
    ("email", "email", "EmailInput", "email"),
    ("number", "number", "NumberInput", "number"),
    ("ip", "ip", "TextInput", "text"),
    ("integer", "integer", "NumberInput", "number"),
    ("json", "json", "Textarea", None),
    ("choices", "choices", "CheckboxSelectMultiple", "checkbox"),
    ("null", "null_boolean", "NullBooleanSelect", "select"),
    ("regex", "string", "TextInput", "text"),
    ("slug", "slug", "TextInput", "text"),
    ("time", "time", "TimeInput", "text"),
    ("typed", "choice", "Select", "select"),
    ("several", "choices", "SelectMultiple", "select"),
    ("url", "url", "URLInput", "url"),
    ("uuid", "uuid", "TextInput", "text"),
    ("when", "parts", "SplitDateTimeWidget", None),
    ("user", "choice", "Select", "select"),
    ("groups", "choices", "SelectMultiple", "select"),
    ("secret", "string", "PasswordInput", "password"),
    ("hidden", "string", "HiddenInput", "hidden"),
]
"""A field's name, its type, its widget, and that one's input type."""


def schema(client: Client, name: str, **args: Any) -> dict[str, Any]:
    response = call(client, f"{name}.schema", **args)
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()["result"]
    return found


def fields(client: Client, name: str, **args: Any) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in schema(client, name, **args)["fields"]}


def test_it_says_what_the_form_says_of_itself_with_its_fields_in_order(visitor: Client):
    found = schema(visitor, "contact")
    assert (found["name"], found["title"], found["submit_label"]) == ("contact", "Contact Us", "Send")
    assert [field["name"] for field in found["fields"]] == ["name", "email", "message"]


def test_a_field_is_described_in_full(visitor: Client):
    assert fields(visitor, "every")["char"] == {
        "name": "char",
        "type": "string",
        "required": True,
        "disabled": False,
        "label": "A name",
        "help_text": "As in your passport",
        "initial": None,
        "choices": None,
        "min_length": 2,
        "max_length": 20,
        "min_value": None,
        "max_value": None,
        "step": None,
        "max_digits": None,
        "decimal_places": None,
        "patterns": [],
        "input_formats": None,
        "widget": {
            "type": "TextInput",
            "input_type": "text",
            "hidden": False,
            "attrs": {"maxlength": "20", "minlength": "2", "required": True, "aria-describedby": "id_char_helptext"},
        },
        "parts": None,
    }


def test_every_field_has_a_type_and_a_widget(visitor: Client):
    found = fields(visitor, "every")
    for name, type_, widget, input_type in KINDS:
        field = found[name]
        assert (field["type"], field["widget"]["type"], field["widget"]["input_type"]) == (type_, widget, input_type)
        assert field["widget"]["hidden"] is (name == "hidden")


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("char", {"min_length": 2, "max_length": 20}),
        ("combo", {"max_length": 30}),
        ("checked", {"max_length": 4}),
        ("decimal", {"max_value": 100, "max_digits": 5, "decimal_places": 2}),
        ("integer", {"min_value": 1, "max_value": 9}),
        ("number", {"min_value": 0.5, "step": 0.5}),
        ("boolean", {}),
    ],
)
def test_limits_are_those_of_the_validators(visitor: Client, name: str, limits: dict[str, Any]):
    known = ("min_length", "max_length", "min_value", "max_value", "step", "max_digits", "decimal_places")
    field = fields(visitor, "every")[name]
    assert {limit: field[limit] for limit in known if field[limit] is not None} == limits


def test_patterns_come_with_their_messages(visitor: Client):
    found = fields(visitor, "every")
    digits = {"source": r"^\d+$", "ignore_case": False, "message": "Digits, please."}
    assert found["checked"]["patterns"] == [digits]
    assert [pattern["source"] for pattern in found["regex"]["patterns"]] == ["^[a-c]+$"]
    assert found["url"]["patterns"] == []


def test_widgets_keep_their_attributes(visitor: Client):
    attrs = fields(visitor, "every")["checked"]["widget"]["attrs"]
    assert (attrs["class"], attrs["data-kind"]) == ("wide", "code")


def test_dates_say_how_they_are_written(visitor: Client):
    found = fields(visitor, "every")
    assert found["date"]["input_formats"] == ["%d.%m.%Y"]
    assert "%Y-%m-%d" in found["day"]["input_formats"]
    with translation.override("de"):
        assert fields(visitor, "every")["day"]["input_formats"][0] == "%d.%m.%Y"


def test_parts_are_fields_of_their_own(visitor: Client):
    parts = fields(visitor, "every")["when"]["parts"]
    assert [(part["name"], part["type"], part["widget"]["type"]) for part in parts] == [
        ("when_0", "date", "DateInput"),
        ("when_1", "time", "TimeInput"),
    ]


class TestChoices:
    def test_they_may_be_grouped(self, visitor: Client):
        with translation.override("en"):
            found = fields(visitor, "every")["choice"]["choices"]
        assert found == [
            {"label": "warm", "choices": [{"value": "r", "label": "Red"}, {"value": "y", "label": "Yellow"}]},
            {"label": "cold", "choices": [{"value": "b", "label": "Blue"}]},
            {"value": "", "label": "None"},
        ]

    def test_values_keep_their_type(self, visitor: Client):
        found = fields(visitor, "every")
        assert [choice["value"] for choice in found["several"]["choices"]] == [1, 2]
        assert [choice["value"] for choice in found["typed"]["choices"]] == [True, False]

    def test_they_are_evaluated_each_time(self, visitor: Client):
        def labels(name: str) -> list[str]:
            return [choice["label"] for choice in fields(visitor, "every")[name]["choices"]]

        assert (labels("lazy"), labels("user"), labels("groups")) == (["0 users"], ["---------"], [])
        User.objects.create_user("ann")
        Group.objects.create(name="readers")
        assert labels("lazy") == ["0 users", "1 users"]
        assert (labels("user"), labels("groups")) == (["---------", "ann"], ["readers"])

    def test_those_of_the_database_have_the_key_by_which_they_are_sent(self, visitor: Client):
        user, _ = User.objects.create_user("ann"), Group.objects.create(name="readers")
        found = fields(visitor, "every")
        assert found["user"]["choices"][1] == {"value": user.pk, "label": "ann"}
        assert found["groups"]["choices"] == [{"value": "readers", "label": "readers"}]


class TestInitialValues:
    def test_they_can_be_sent_back_as_they_are(self, visitor: Client):
        initial = {name: field["initial"] for name, field in fields(visitor, "every").items()}
        given = {name: value for name, value in initial.items() if value is not None}
        assert given.keys() >= {"day", "datetime", "duration", "integer", "json", "choices", "uuid", "when", "hidden"}
        response = call(visitor, "every.validate", data=given, fields=list(given))
        assert response.json()["result"] == {"valid": True, "errors": {}}

    def test_a_password_has_none(self, visitor: Client):
        response = call(visitor, "every.schema")
        assert "hunter2" not in response.content.decode()

    def test_a_models_form_has_those_of_the_object(self, visitor: Client, ann: Any):
        group = Group.objects.create(name="readers")
        ann.groups.add(group)
        visitor.force_login(ann)
        found = fields(visitor, "profile", user_id=ann.pk)
        assert {name: field["initial"] for name, field in found.items()} == {
            "username": "ann",
            "first_name": "Ann",
            "groups": [group.pk],
        }


class TestCaching:
    def test_a_schema_is_not_kept_by_anybody(self, visitor: Client):
        response = call(visitor, "every.schema")
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert not {"X-Mizan-Scope", "Mizan-Cache-Control"} & set(response.headers)
        spec = default.get("every.schema")
        assert spec is not None and spec.context is None

    def test_one_in_a_context_is_a_read_of_it(self, visitor: Client):
        response = call(visitor, "team.schema")
        assert response.headers["X-Mizan-Scope"] == "teams"
        assert response.headers["Mizan-Cache-Control"] == "max-age=86400"
        assert bundle(visitor, "teams").json().keys() == {"team.schema"}

    @pytest.mark.usefixtures("stored")
    def test_it_is_purged_by_what_affects_the_context(self, visitor: Client):
        def labels() -> list[str]:
            (field,) = bundle(visitor, "teams").json()["team.schema"]["fields"]
            return [choice["label"] for choice in field["choices"]]

        assert labels() == ["---------"]
        Group.objects.create(name="unseen")
        assert labels() == ["---------"]
        assert call(visitor, "group.submit", data={"name": "readers"}).json()["invalidate"] == ["teams"]
        assert labels() == ["---------", "unseen", "readers"]


class TestForAnExport:
    """The three functions describe themselves in their signatures, as other functions do."""

    def test_arguments_are_those_of_the_form(self):
        spec = default.get("every.submit")
        assert spec is not None
        data = spec.signature.model.model_json_schema()["properties"]["data"]
        text = {"type": ["string", "integer", "number", "null"]}
        assert data["properties"]["char"] == text
        assert data["properties"]["boolean"] == {"type": ["boolean", "string", "null"]}
        assert data["properties"]["json"] == {}
        assert data["properties"]["choices"]["items"] == {"type": ["string", "integer", "number", "boolean"]}
        assert data["properties"]["when"]["prefixItems"] == [text, text]

    def test_a_models_fields_are_among_them_and_those_of_the_hook(self):
        spec = default.get("profile.submit")
        assert spec is not None
        arguments = spec.signature.model.model_json_schema()["properties"]
        assert arguments["data"]["properties"].keys() == {"username", "first_name", "groups"}
        assert arguments["user_id"]["type"] == "integer"

    def test_results_are_models_and_a_hook_may_say_what_it_returns(self):
        submit, described = default.get("profile.submit"), default.get("invites.submit")
        assert submit is not None and described is not None
        assert submit.signature.output.model_fields["data"].annotation == (Saved | None)
        rows = described.signature.model.model_json_schema()["properties"]["data"]
        assert rows["items"]["properties"].keys() == {"email", "role"}
        assert described.signature.output.model_fields["data"].annotation == (list[str] | None)


def test_the_schema_of_the_site_names_the_functions_of_each_form():
    document = openapi(default, sections={"forms": describe_forms(default)})
    forms = {form["name"]: form for form in document["x-mizan-forms"]}
    assert forms["contact"] == {
        "name": "contact",
        "formset": False,
        "schema": "contact.schema",
        "validate": "contact.validate",
        "submit": "contact.submit",
    }
    assert any(form["formset"] for form in forms.values())
    functions = {function["name"] for function in document["x-mizan-functions"]}
    assert all({form["schema"], form["validate"], form["submit"]} <= functions for form in forms.values())
