"""Contexts, calls and the session endpoint: what they answer, and what they refuse."""

import json
from typing import Any

import pytest
from django.test import Client, override_settings

from mizan_core import mwt
from tests.django.requests import BASE, bundle, call, error_code
from tests.django.site.clients import ran
from tests.django.site.settings import MWT_SECRET


def test_a_context_answers_with_the_result_of_each_of_its_functions(visitor: Client, ann: Any):
    response = bundle(visitor, "user", {"user_id": ann.pk})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"user_notes": [], "user_profile": {"user_id": ann.pk, "name": "Ann"}}


def test_a_context_fails_as_a_whole_when_one_function_refuses(visitor: Client):
    response = bundle(visitor, "guarded")
    assert (response.status_code, error_code(response)) == (401, "unauthenticated")
    assert ran == {}


def test_a_context_names_every_argument_that_does_not_fit_before_anything_runs(visitor: Client):
    response = bundle(visitor, "prefs", {"user_id": "five"})
    assert (response.status_code, error_code(response)) == (422, "invalid_arguments")
    assert [problem["loc"] for problem in response.json()["error"]["details"]] == [["user_id"]]


def test_an_unknown_context_is_404(visitor: Client):
    assert (bundle(visitor, "nothing").status_code, error_code(bundle(visitor, "nothing"))) == (404, "not_found")


def test_a_context_is_only_read(visitor: Client):
    response = visitor.post(f"{BASE}ctx/user/")
    assert (response.status_code, error_code(response)) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD"


def test_a_repeated_query_parameter_is_a_list_where_a_list_is_declared(visitor: Client):
    response = bundle(visitor, "loose", {"tag": ["a", "b"], "anything": "x"})
    assert response.json()["tags"] == ["a", "b"]


def test_a_call_answers_with_its_result(visitor: Client):
    response = call(visitor, "echo", text="hello")
    assert (response.status_code, response.json()) == (200, {"result": "hello"})


def test_an_async_function_is_called_like_any_other(visitor: Client):
    assert call(visitor, "echo_later", text="x").json() == {"result": "later: x"}
    assert call(visitor, "echo_hidden", text="x").json() == {"result": "hidden: x"}


def test_a_function_registered_under_another_name_answers_to_that_name_alone(visitor: Client):
    assert call(visitor, "say_it").json() == {"result": "said"}
    assert call(visitor, "say").status_code == 404


def test_results_are_json_of_models_dataclasses_uuids_and_dates(visitor: Client):
    first, second = call(visitor, "moment"), call(visitor, "moment")
    assert first.json()["result"] == [
        {"id": "00000000-0000-0000-0000-000000000007", "day": "2024-02-29", "at": "2024-02-29T12:00:00Z"}
    ]
    assert first.content == second.content


def test_a_result_without_json_is_an_internal_error_that_says_nothing(
    visitor: Client, caplog: pytest.LogCaptureFixture
):
    response = call(visitor, "unspeakable")
    assert (response.status_code, error_code(response)) == (500, "internal")
    assert "object" not in response.content.decode()
    assert "has no JSON" in caplog.text


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed"),
        (b"\xff", "application/json", 400, "malformed"),
        (b"[" * 100_000, "application/json", 400, "malformed"),
        (b'{"fn": "echo", "args": {"text": NaN}}', "application/json", 400, "malformed"),
        (b"[]", "application/json", 400, "malformed"),
        (b'{"fn": 5}', "application/json", 400, "malformed"),
        (b'{"fn": "echo", "args": []}', "application/json", 400, "malformed"),
        (b'{"fn": "echo"}', "text/plain", 415, "unsupported_media_type"),
        (b'{"fn": "nothing"}', "application/json", 404, "not_found"),
        (b'{"fn": "profile_page", "args": {"user_id": 1}}', "application/json", 404, "not_found"),
        (b'{"fn": "echo"}', "application/json", 422, "invalid_arguments"),
        (b'{"fn": "echo", "args": {"text": "x", "more": 1}}', "application/json", 422, "invalid_arguments"),
        (b'{"fn": "members_only"}', "application/json", 401, "unauthenticated"),
    ],
)
def test_a_bad_call_gets_a_json_error(visitor: Client, body: bytes, content_type: str, status: int, code: str):
    response = visitor.post(f"{BASE}call/", body, content_type=content_type)
    assert (response.status_code, error_code(response)) == (status, code)
    assert response.headers["Mizan-Cache-Control"] == "no-store"


def test_a_call_is_a_post(visitor: Client):
    response = visitor.get(f"{BASE}call/")
    assert (response.status_code, error_code(response)) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
def test_a_body_that_is_too_large_is_413(visitor: Client):
    response = call(visitor, "echo", text="x" * 200)
    assert (response.status_code, error_code(response)) == (413, "too_large")


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("unexpected", 500, "internal"),
        ("missing", 404, "not_found"),
        ("denied", 403, "forbidden"),
        ("invalid", 422, "invalid"),
        ("own", 409, "conflict"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_what_a_function_raises_becomes_json_without_a_traceback(
    visitor: Client, ann: Any, how: str, status: int, code: str, debug: bool
):
    with override_settings(DEBUG=debug):
        response = call(visitor, "note_and_fail", user_id=ann.pk, how=how)
    assert (response.status_code, error_code(response)) == (status, code)
    assert "hunter2" not in response.content.decode()
    assert "Traceback" not in response.content.decode()


def test_an_unexpected_exception_is_logged_with_its_traceback(
    visitor: Client, ann: Any, caplog: pytest.LogCaptureFixture
):
    call(visitor, "note_and_fail", user_id=ann.pk, how="unexpected")
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


class TestSession:
    def test_a_visitor_gets_the_csrf_cookie_and_token_and_no_mwt(self, visitor: Client):
        response = visitor.get(f"{BASE}session/")
        body = response.json()
        assert body.keys() == {"csrf_token", "mwt", "expires_in"}
        assert (body["mwt"], body["expires_in"]) == (None, None)
        assert body["csrf_token"]
        assert "csrftoken" in response.cookies
        assert response.headers["Mizan-Cache-Control"] == "no-store"

    def test_who_is_signed_in_gets_a_token_of_their_own(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        body = visitor.get(f"{BASE}session/").json()
        identity = mwt.verify(mwt.Keyring.parse(MWT_SECRET), body["mwt"], now_s=_now())
        assert identity is not None
        assert identity.sub == str(ann.pk)
        assert body["expires_in"] == 300

    @override_settings(MIZAN_MWT_SECRET=None)
    def test_without_a_secret_there_are_no_tokens(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        response = visitor.get(f"{BASE}session/")
        assert response.json()["mwt"] is None
        assert "mizan_mwt" not in response.cookies

    @override_settings(MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"])
    def test_it_sets_the_csrf_cookie_where_the_middleware_is_missing(self, visitor: Client):
        assert "csrftoken" in visitor.get(f"{BASE}session/").cookies

    def test_it_is_only_read(self, visitor: Client):
        response = visitor.post(f"{BASE}session/")
        assert (response.status_code, error_code(response)) == (405, "method_not_allowed")


class TestCsrf:
    def test_a_call_without_the_token_is_a_json_403(self):
        response = call(Client(enforce_csrf_checks=True), "echo", text="x")
        assert (response.status_code, error_code(response)) == (403, "csrf")
        assert ran == {}

    def test_a_call_with_the_token_of_the_session_endpoint_passes(self):
        browser = Client(enforce_csrf_checks=True)
        token = browser.get(f"{BASE}session/").json()["csrf_token"]
        response = call(browser, "echo", headers={"X-CSRFToken": token}, text="x")
        assert response.json() == {"result": "x"}

    @override_settings(MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"])
    def test_it_is_checked_where_the_middleware_is_missing(self):
        browser = Client(enforce_csrf_checks=True)
        assert call(browser, "echo", text="x").status_code == 403
        token = browser.get(f"{BASE}session/").json()["csrf_token"]
        assert call(browser, "echo", headers={"X-CSRFToken": token}, text="x").status_code == 200

    def test_a_foreign_origin_is_refused(self):
        browser = Client(enforce_csrf_checks=True)
        token = browser.get(f"{BASE}session/").json()["csrf_token"]
        headers = {"X-CSRFToken": token, "Origin": "https://elsewhere.example"}
        assert call(browser, "echo", headers=headers, text="x").status_code == 403

    def test_who_a_token_signs_in_needs_none(self, ann: Any):
        browser = Client()
        browser.force_login(ann)
        token = browser.get(f"{BASE}session/").json()["mwt"]
        machine = Client(enforce_csrf_checks=True)
        response = call(machine, "members_only", headers={"Authorization": f"Bearer {token}"})
        assert response.json() == {"result": "ann"}

    def test_a_token_that_signs_nobody_in_does_not_replace_it(self):
        machine = Client(enforce_csrf_checks=True)
        assert call(machine, "echo", headers={"Authorization": "Bearer nonsense"}, text="x").status_code == 403


class TestAuth:
    @pytest.mark.parametrize(
        "fn", ["members_only", "staff_only", "superusers_only", "with_a_pass", "with_an_awaited_pass"]
    )
    def test_who_is_not_signed_in_gets_401(self, visitor: Client, fn: str):
        response = call(visitor, fn)
        assert (response.status_code, error_code(response)) == (401, "unauthenticated")

    @pytest.mark.parametrize("fn", ["staff_only", "superusers_only", "with_a_pass"])
    def test_who_is_not_allowed_gets_403(self, visitor: Client, ann: Any, fn: str):
        visitor.force_login(ann)
        response = call(visitor, fn)
        assert (response.status_code, error_code(response)) == (403, "forbidden")

    def test_who_is_allowed_passes(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        assert call(visitor, "members_only").json() == {"result": "ann"}
        assert call(visitor, "with_a_pass", headers={"X-Pass": "open"}).json() == {"result": "passed"}
        assert call(visitor, "with_an_awaited_pass", headers={"X-Pass": "open"}).json() == {"result": "passed"}
        ann.is_staff = ann.is_superuser = True
        ann.save()
        assert call(visitor, "staff_only").json() == {"result": "staff"}
        assert call(visitor, "superusers_only").json() == {"result": "superuser"}
        assert bundle(visitor, "guarded").json() == {"guarded": "secret", "unguarded": "open"}

    def test_a_page_answers_who_is_not_signed_in_with_json(self, visitor: Client):
        response = visitor.get("/members/")
        assert (response.status_code, error_code(response)) == (401, "unauthenticated")


def _now() -> float:
    import time

    return time.time()


def test_an_error_is_json_whatever_was_asked_for(visitor: Client):
    response = bundle(visitor, "user", headers={"Accept": "text/html"})
    assert json.loads(response.content)["error"]["code"] == "invalid_arguments"
