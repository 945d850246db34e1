"""Formsets as server functions: rows in, errors by row out."""

from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from tests.django.requests import call, error_code, result
from tests.django.site.models import Note


@pytest.fixture(autouse=True)
def english() -> Any:
    with translation.override("en"):
        yield


def emails(*given: str) -> list[dict[str, str]]:
    return [{"email": email} for email in given]


def note(user: Any, text: str) -> Note:
    return Note.objects.create(owner=user.pk, text=text)


def test_a_schema_describes_a_row_and_says_how_many_there_may_be(visitor: Client):
    found = result(call(visitor, "invites.schema"))
    assert [(field["name"], field["type"], field["initial"]) for field in found["fields"]] == [
        ("email", "email", None),
        ("role", "string", "guest"),
    ]
    assert (found["rows"], found["extra"], found["min_num"], found["max_num"]) == ([], 1, 0, 3)
    assert (found["can_delete"], found["can_order"], found["title"]) == (False, False, "Yes")


def test_valid_rows_are_submitted_in_their_order(visitor: Client):
    answer = result(call(visitor, "invites.submit", data=emails("B@site.test", "a@site.test")))
    assert answer == {"valid": True, "errors": {}, "rows": [{}, {}], "data": ["b@site.test", "a@site.test"]}


def test_each_row_has_its_errors(visitor: Client):
    answer = result(call(visitor, "invites.submit", data=emails("a@site.test", "nobody")))
    assert answer == {
        "valid": False,
        "errors": {},
        "rows": [{}, {"email": ["Enter a valid email address."]}],
        "data": None,
    }


def test_what_is_said_of_all_rows_together_has_a_name_of_its_own(visitor: Client):
    answer = result(call(visitor, "invites.validate", data=emails("a@site.test", "a@site.test")))
    assert answer == {"valid": False, "errors": {"__all__": ["Nobody is invited twice."]}, "rows": [{}, {}]}


@pytest.mark.parametrize("count", [4, 2000])
def test_too_many_rows_are_an_error_of_the_whole(visitor: Client, count: int):
    answer = result(call(visitor, "invites.validate", data=emails(*(f"{i}@site.test" for i in range(count)))))
    assert answer["errors"] == {"__all__": ["Please submit at most 3 forms."]}
    assert len(answer["rows"]) == count


def test_rows_may_have_initial_values(visitor: Client):
    invited = ["a@site.test"]
    found = result(call(visitor, "invites.schema", invited=invited))
    assert found["rows"] == [{"email": "a@site.test", "role": "guest"}]
    assert result(call(visitor, "invites.validate", data=found["rows"], invited=invited))["valid"]
    assert result(call(visitor, "invites.validate", data=[], invited=invited))["valid"]
    answer = result(call(visitor, "invites.validate", data=[{}], invited=invited))
    assert answer["rows"] == [{"email": ["This field is required."]}]


def test_of_some_fields_nothing_is_said_of_the_others_or_of_the_whole(visitor: Client):
    answer = result(call(visitor, "invites.validate", data=emails("nobody", "a@site.test"), fields=["role"]))
    assert answer == {"valid": True, "errors": {}, "rows": [{}, {}]}
    answer = result(call(visitor, "invites.validate", data=emails("a@site.test", "nobody"), fields=["email"]))
    assert answer["rows"] == [{}, {"email": ["Enter a valid email address."]}]
    assert call(visitor, "invites.validate", data=[], fields=["emial"]).status_code == 422


def test_rows_of_the_wrong_json_are_a_wrong_call(visitor: Client):
    for data, place in (
        ([{"email": "a@site.test"}, {"email": {}}], ["data", 1, "email"]),
        ({"email": "a@site.test"}, ["data"]),
        (["a@site.test"], ["data", 0]),
        ([{"email": "\ud800"}], ["data"]),
    ):
        response = call(visitor, "invites.validate", data=data)
        assert (response.status_code, error_code(response)) == (422, "invalid_arguments")
        assert response.json()["error"]["details"][0]["loc"] == place


class TestOfModels:
    def test_the_rows_that_there_are_come_with_their_keys(self, visitor: Client, ann: Any, bob: Any):
        first, _ = note(ann, "one"), note(bob, "not hers")
        found = result(call(visitor, "notes.schema", user_id=ann.pk))
        assert [(row["id"], row["owner"], row["text"]) for row in found["rows"]] == [(first.pk, ann.pk, "one")]
        assert found["can_delete"] is True
        fields = {field["name"]: field for field in found["fields"]}
        assert fields["id"]["choices"] is None
        assert fields["id"]["widget"]["hidden"] and fields["DELETE"]["type"] == "boolean"

    def test_a_submit_changes_adds_and_deletes_in_whatever_order(self, visitor: Client, ann: Any):
        kept, gone = note(ann, "kept"), note(ann, "gone")
        rows = [
            {"owner": ann.pk, "text": "new"},
            {"id": gone.pk, "owner": ann.pk, "text": "", "DELETE": True},
            {"id": kept.pk, "owner": ann.pk, "text": "changed"},
        ]
        response = call(visitor, "notes.submit", data=rows, user_id=ann.pk)
        assert result(response) == {"valid": True, "errors": {}, "rows": [{}, {}, {}], "data": None}
        assert response.headers["X-Mizan-Invalidate"] == f"user;user_id={ann.pk}"
        assert list(Note.objects.order_by("text").values_list("text", flat=True)) == ["changed", "new"]
        assert Note.objects.get(text="changed").pk == kept.pk

    def test_errors_stay_with_the_row_that_was_sent(self, visitor: Client, ann: Any):
        kept = note(ann, "kept")
        rows = [{"owner": ann.pk, "text": "x" * 101}, {"id": kept.pk, "owner": ann.pk, "text": ""}]
        answer = result(call(visitor, "notes.submit", data=rows, user_id=ann.pk))
        assert answer["rows"] == [
            {"text": ["Ensure this value has at most 100 characters (it has 101)."]},
            {"text": ["This field is required."]},
        ]
        assert [found.text for found in Note.objects.all()] == ["kept"]

    def test_a_row_outside_the_queryset_is_refused(self, visitor: Client, ann: Any, bob: Any):
        other = note(bob, "not hers")
        rows = [{"id": other.pk, "owner": ann.pk, "text": "taken"}]
        answer = result(call(visitor, "notes.submit", data=rows, user_id=ann.pk))
        stranger = {"id": ["Select a valid choice. That choice is not one of the available choices."]}
        assert (answer["valid"], answer["rows"]) == (False, [stranger])
        other.refresh_from_db()
        assert (other.owner, other.text) == (bob.pk, "not hers")
