"""Forms as server functions: what a client gets from NAME.validate and NAME.submit, and what has happened then."""

import datetime as dt
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client, override_settings
from django.utils import timezone, translation

from tests.django.requests import BASE, call, error_code, result
from tests.django.site.forms import sent

VERBS = ("schema", "validate", "submit")
LETTER = {"name": "Ann", "email": "ann@site.test", "message": "Hello"}


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    sent.clear()


def test_a_valid_form_is_submitted_and_answers_with_what_its_hook_returns(visitor: Client):
    answer = result(call(visitor, "contact.submit", data=LETTER))
    assert answer == {"valid": True, "errors": {}, "data": {"sent": True}}
    assert sent == [LETTER]


def test_an_invalid_one_says_what_is_wrong_by_field_and_its_other_hook_runs(visitor: Client):
    answer = result(call(visitor, "contact.submit", data={"name": "Ann", "email": "nobody"}))
    assert answer == {
        "valid": False,
        "errors": {"email": ["Enter a valid email address."], "message": ["This field is required."]},
        "data": {"wrong": 2},
    }
    assert sent == []


def test_what_is_said_of_the_form_as_a_whole_has_a_name_of_its_own(visitor: Client):
    answer = result(call(visitor, "contact.submit", data=LETTER | {"name": "Nobody"}))
    assert answer["errors"] == {"__all__": ["Somebody has to write."]}


def test_messages_are_in_the_language_of_the_request(visitor: Client):
    middleware = [settings.MIDDLEWARE[0], "django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE[1:]]
    with override_settings(MIDDLEWARE=middleware), translation.override("en"):
        answer = call(visitor, "contact.validate", headers={"Accept-Language": "de"}, data={"email": "x"})
        title = result(call(visitor, "invites.schema", headers={"Accept-Language": "de"}))["title"]
    assert result(answer)["errors"]["name"] == ["Dieses Feld ist zwingend erforderlich."]
    assert title == "Ja"


class TestValidate:
    def test_it_judges_as_a_submit_would_and_sends_nothing(self, visitor: Client):
        assert result(call(visitor, "contact.validate", data=LETTER)) == {"valid": True, "errors": {}}
        answer = result(call(visitor, "contact.validate", data=LETTER | {"name": "Nobody"}))
        assert answer == {"valid": False, "errors": {"__all__": ["Somebody has to write."]}}
        assert sent == []

    def test_of_some_fields_nothing_is_said_of_the_others_or_of_the_whole(self, visitor: Client):
        data = {"name": "Nobody", "email": "nobody"}
        answer = result(call(visitor, "contact.validate", data=data, fields=["email"]))
        assert answer == {"valid": False, "errors": {"email": ["Enter a valid email address."]}}
        assert result(call(visitor, "contact.validate", data=data, fields=["name"]))["valid"] is True

    def test_a_field_that_does_not_exist_is_not_valid_but_a_wrong_call(self, visitor: Client):
        response = call(visitor, "contact.validate", data=LETTER, fields=["name", "nme"])
        assert (response.status_code, error_code(response)) == (422, "invalid_arguments")
        assert "'nme'" in response.json()["error"]["details"][0]["msg"]

    def test_a_models_form_sees_that_a_name_is_taken_and_saves_nothing(self, visitor: Client, ann: Any, bob: Any):
        visitor.force_login(ann)
        data = {"username": "bob", "first_name": "Anna"}
        response = call(visitor, "profile.validate", data=data, fields=["username"], user_id=ann.pk)
        assert result(response)["errors"] == {"username": ["A user with that username already exists."]}
        assert result(call(visitor, "profile.validate", data=data | {"username": "anna"}, user_id=ann.pk))["valid"]
        ann.refresh_from_db()
        assert (ann.username, ann.first_name) == ("ann", "Ann")
        assert "X-Mizan-Invalidate" not in response.headers


class TestModels:
    def test_a_submit_saves_and_says_what_it_changed(self, visitor: Client, ann: Any):
        group = Group.objects.create(name="readers")
        visitor.force_login(ann)
        data = {"username": "ann", "first_name": "Anna", "groups": [group.pk]}
        response = call(visitor, "profile.submit", data=data, user_id=ann.pk)
        assert result(response) == {"valid": True, "errors": {}, "data": {"pk": ann.pk}}
        assert response.json()["invalidate"] == [f"user;user_id={ann.pk}"]
        assert response.headers["X-Mizan-Invalidate"] == f"user;user_id={ann.pk}"
        ann.refresh_from_db()
        assert (ann.first_name, [group.name for group in ann.groups.all()]) == ("Anna", ["readers"])

    def test_one_that_is_not_valid_saves_nothing_and_purges_as_well(self, visitor: Client):
        response = call(visitor, "group.submit", data={"name": ""})
        assert result(response)["errors"].keys() == {"name"}
        assert response.headers["X-Mizan-Invalidate"] == "teams"
        assert not Group.objects.exists()

    @pytest.mark.parametrize("atomic", [False, True])
    def test_a_hook_that_fails_rolls_back_where_requests_are_atomic(
        self, visitor: Client, ann: Any, monkeypatch: pytest.MonkeyPatch, atomic: bool
    ):
        from django.db import connections

        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic)
        visitor.force_login(ann)
        response = call(visitor, "profile.submit", data={"username": "ann", "first_name": "boom"}, user_id=ann.pk)
        assert (response.status_code, error_code(response)) == (500, "internal")
        assert response.headers["X-Mizan-Invalidate"] == f"user;user_id={ann.pk}"
        ann.refresh_from_db()
        assert ann.first_name == ("Ann" if atomic else "boom")

    def test_the_hook_for_its_arguments_decides_who_may(self, visitor: Client, ann: Any, bob: Any):
        visitor.force_login(bob)
        data = {"username": "ann", "first_name": "Mallory"}
        for verb in VERBS:
            given = {} if verb == "schema" else {"data": data}
            response = call(visitor, f"profile.{verb}", user_id=ann.pk, **given)
            assert (response.status_code, error_code(response)) == (403, "forbidden")
        ann.refresh_from_db()
        assert ann.first_name == "Ann"

    def test_its_arguments_are_validated_like_those_of_any_function(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        response = call(visitor, "profile.schema", user_id="five")
        assert (response.status_code, error_code(response)) == (422, "invalid_arguments")
        assert call(visitor, "profile.submit", data={}).status_code == 422


class TestWhoMay:
    def test_auth_guards_all_three(self, visitor: Client, ann: Any):
        for verb in VERBS:
            given: dict[str, Any] = {} if verb == "schema" else {"data": {}}
            response = call(visitor, f"profile.{verb}", user_id=ann.pk, **given)
            assert (response.status_code, error_code(response)) == (401, "unauthenticated")

    def test_a_submit_needs_the_csrf_token_as_every_call_does(self):
        browser = Client(enforce_csrf_checks=True)
        response = call(browser, "contact.submit", data=LETTER)
        assert (response.status_code, error_code(response)) == (403, "csrf")
        token = browser.get(f"{BASE}session/").json()["csrf_token"]
        assert result(call(browser, "contact.submit", headers={"X-CSRFToken": token}, data=LETTER))["valid"]
        assert sent == [LETTER]


class TestFieldsByTheRequest:
    def test_hooks_may_be_async_and_see_the_request(self, visitor: Client):
        response = call(visitor, "country.schema", headers={"X-Language": "de"})
        assert [field["label"] for field in result(response)["fields"]] == ["Country (de)"]

    def test_a_form_may_choose_its_fields_by_what_it_is_given(self, visitor: Client):
        assert result(call(visitor, "country.submit", data={"country": "at"}))["data"] == {"country": "at"}
        answer = result(call(visitor, "country.submit", data={"country": "us", "state": "NY", "since": "2024-02-29"}))
        assert answer["data"] == {"country": "us", "state": "NY", "since": "2024-02-29"}
        assert call(visitor, "country.submit", data={"country": "us", "since": {}}).status_code == 422

    def test_a_file_that_shows_only_then_is_refused_and_logged(self, visitor: Client, caplog: pytest.LogCaptureFixture):
        for verb in VERBS:
            given: dict[str, Any] = {} if verb == "schema" else {"data": {}}
            caplog.clear()
            assert call(visitor, f"upload_later.{verb}", **given).status_code == 500
            assert "takes a file in 'photo'" in caplog.text


VALID: dict[str, tuple[Any, Any]] = {
    "boolean": (True, True),
    "char": ("  ab ", "ab"),
    "choice": ("b", "b"),
    "lazy": (0, "0"),
    "combo": ("a@b.test", "a@b.test"),
    "date": ("29.02.2024", dt.date(2024, 2, 29)),
    "day": ("2024-02-29", dt.date(2024, 2, 29)),
    "datetime": ("2024-02-29T12:00:00Z", dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)),
    "decimal": (1.5, "Decimal('1.5')"),
    "duration": ("PT1H", dt.timedelta(hours=1)),
    "email": ("a@b.test", "a@b.test"),
    "number": (1.5, 1.5),
    "ip": ("10.0.0.1", "10.0.0.1"),
    "integer": (5, 5),
    "json": ({"a": [1]}, {"a": [1]}),
    "choices": (["r", "b"], ["r", "b"]),
    "null": (False, False),
    "regex": ("abc", "abc"),
    "slug": ("a-b", "a-b"),
    "time": ("12:00", dt.time(12)),
    "typed": (True, True),
    "several": ([1, 2], [1, 2]),
    "url": ("https://site.test/", "https://site.test/"),
    "uuid": ("00000000-0000-0000-0000-000000000007", "UUID('00000000-0000-0000-0000-000000000007')"),
    "when": (["2024-02-29", "12:00"], None),
    "user": (None, None),
    "groups": ([], "<QuerySet []>"),
    "secret": ("hush", "hush"),
    "hidden": ("seen", "seen"),
    "checked": (1234, "1234"),
}
"""Of every field: what the client sends, and what the form gets."""

WRONG: list[tuple[str, Any, list[str | int]]] = [
    ("char", {"a": 1}, ["data", "char"]),
    ("char", True, ["data", "char"]),
    ("date", ["2024-02-29"], ["data", "date"]),
    ("integer", True, ["data", "integer"]),
    ("boolean", [], ["data", "boolean"]),
    ("choices", "r", ["data", "choices"]),
    ("choices", ["r", ["b"]], ["data", "choices", 1]),
    ("when", "2024-02-29", ["data", "when"]),
    ("when", ["2024-02-29", {}], ["data", "when", 1]),
    ("when", ["2024-02-29", "12:00", "more"], ["data", "when"]),
    ("char", "\ud800", ["data"]),
    ("json", ["\ud800"], ["data"]),
]
"""JSON that no field takes, and where the problem is."""

EVERY = {name: given for name, (given, _) in VALID.items()}


class TestValues:
    def test_every_field_takes_the_json_that_one_expects(self, visitor: Client):
        answer = result(call(visitor, "every.submit", data=EVERY))
        assert answer["errors"] == {}
        cleaned = answer["data"]
        assert cleaned.pop("when") == repr(_noon())
        for name, (_, wanted) in VALID.items():
            if name != "when":
                assert cleaned[name] in (wanted, repr(wanted)), name

    def test_a_disabled_field_has_its_initial_value_whatever_is_sent(self, visitor: Client):
        answer = result(call(visitor, "every.submit", data=EVERY | {"fixed": "otherwise"}))
        assert answer["data"]["fixed"] == "'as it is'"

    def test_choices_from_the_database_are_those_of_now(self, visitor: Client, ann: Any):
        assert result(call(visitor, "every.submit", data=EVERY | {"user": ann.pk}))["data"]["user"] == "<User: ann>"
        Group.objects.create(name="readers")
        assert result(call(visitor, "every.submit", data=EVERY | {"groups": ["readers"]}))["valid"]
        User.objects.all().delete()
        answer = result(call(visitor, "every.validate", data=EVERY | {"user": ann.pk}, fields=["user"]))
        assert answer["errors"].keys() == {"user"}

    def test_null_and_nothing_are_empty(self, visitor: Client):
        required = {name for name in VALID if name not in ("boolean", "choice", "null", "user", "groups")}
        for data in ({}, dict.fromkeys(VALID)):
            assert result(call(visitor, "every.validate", data=data))["errors"].keys() == required

    def test_input_that_is_wrong_is_an_error_of_its_field(self, visitor: Client, ann: Any):
        for name, value in (
            ("date", "2024-02-30"),
            ("date", 20240229),
            ("decimal", 1000),
            ("integer", 1.5),
            ("integer", 10**40),
            ("ip", 5),
            ("number", "1e999"),
            ("user", True),
            ("user", 1.5),
            ("user", 10**40),
            ("user", "\0"),
            ("several", [3]),
            ("when", ["2024-02-29"]),
            ("when", ["2024-02-29", "noon"]),
            ("json", "{"),
            ("uuid", 5),
            ("char", "\0\0"),
        ):
            errors = result(call(visitor, "every.validate", data={name: value}, fields=[name]))["errors"]
            assert errors.keys() == {name}, value

    def test_json_that_no_input_could_give_is_a_wrong_call(self, visitor: Client):
        for name, value, place in WRONG:
            response = call(visitor, "every.validate", data={name: value}, fields=[name])
            assert (response.status_code, error_code(response)) == (422, "invalid_arguments")
            assert [problem["loc"] for problem in response.json()["error"]["details"]] == [place]

    def test_what_there_is_no_field_for_is_ignored(self, visitor: Client):
        assert result(call(visitor, "contact.submit", data=LETTER | {"more": {"a": [1]}}))["valid"]
        assert sent == [LETTER]


def _noon() -> dt.datetime:
    return timezone.make_aware(dt.datetime(2024, 2, 29, 12))
