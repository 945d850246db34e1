"""What a mutation says it has changed, and when."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connections, transaction
from django.test import AsyncClient, Client

from mizan.http.route_view import as_view
from mizan_core.registry import Registry
from tests.django.overrides import WITH_MIDDLEWARE, atomic_requests
from tests.django.requests import BASE, call, invalidated
from tests.django.site import clients
from tests.django.site.clients import ran
from tests.django.site.models import Note


def test_an_argument_that_bears_the_name_of_a_parameter_scopes_the_mutation(visitor: Client, ann: Any):
    response = call(visitor, "rename_user", user_id=ann.pk, name="Anna")
    # The page of the same context takes `tab` as well, which the mutation leaves open.
    assert invalidated(response) == f"user;user_id={ann.pk}"
    assert response.json() == {
        "result": {"user_id": ann.pk, "name": "Anna"},
        "invalidate": [f"user;user_id={ann.pk}"],
    }


def test_it_is_scoped_by_what_every_function_carries(visitor: Client):
    assert invalidated(call(visitor, "set_pref", user_id=5, locale="en")) == "prefs;user_id=5"


def test_it_is_said_as_well_where_the_session_has_ended_meanwhile(ann: Any):
    browser = Client(raise_request_exception=False)
    browser.force_login(ann)

    def sign_out_elsewhere() -> None:
        Session.objects.all().delete()

    clients.meanwhile.append(sign_out_elsewhere)
    with WITH_MIDDLEWARE:
        response = call(browser, "rename_and_remember", user_id=ann.pk, name="Anna")
    assert (response.status_code, User.objects.get().first_name) == (400, "Anna")
    assert invalidated(response) == f"user;user_id={ann.pk}"


def test_an_argument_that_is_none_widens_and_merge_targets_are_named(visitor: Client):
    assert invalidated(call(visitor, "touch", user_id=5)) == "prefs;user_id=5, user;user_id=5"
    assert invalidated(call(visitor, "touch", user_id=None)) == "prefs, user"
    response = call(visitor, "touch")
    assert response.json() == {"result": None, "invalidate": ["prefs", "user"]}


def test_a_mutation_that_was_not_entered_names_nothing(visitor: Client):
    assert "X-Mizan-Invalidate" not in call(visitor, "rename_user", user_id="x", name="y").headers
    refused = call(Client(enforce_csrf_checks=True), "touch")
    assert (refused.status_code, "X-Mizan-Invalidate" in refused.headers) == (403, False)
    assert ran == {}


@pytest.mark.parametrize("how", ["unexpected", "missing", "denied", "invalid", "own"])
def test_a_mutation_that_raised_names_what_it_may_have_changed(visitor: Client, ann: Any, how: str):
    response = call(visitor, "note_and_fail", user_id=ann.pk, how=how)
    assert response.status_code >= 400
    assert invalidated(response) == f"user;user_id={ann.pk}"
    assert response.headers["Mizan-Cache-Control"] == "no-store"
    assert Note.objects.count() == 1


def test_a_page_names_what_it_changes(visitor: Client, ann: Any):
    response = visitor.post(f"/rename/{ann.pk}/", {"name": "Anna"})
    assert (response.content, invalidated(response)) == (b"renamed", f"user;user_id={ann.pk}")


def test_a_page_that_raised_names_it_in_djangos_own_answer(ann: Any):
    browser = Client(raise_request_exception=False)
    response = browser.post(f"/rename/{ann.pk}/", {"name": "boom"})
    assert (response.status_code, invalidated(response)) == (500, f"user;user_id={ann.pk}")
    assert "after the change" not in response.content.decode()


@WITH_MIDDLEWARE
def test_a_page_whose_template_fails_names_it_where_the_middleware_is_installed():
    response = Client(raise_request_exception=False).post("/rename-template/")
    assert (response.status_code, invalidated(response)) == (500, "user")


class TestAtomicRequests:
    def test_a_function_that_raises_is_rolled_back(self, visitor: Client, ann: Any):
        with atomic_requests():
            response = call(visitor, "note_and_fail", user_id=ann.pk, how="unexpected")
        assert response.status_code == 500
        assert invalidated(response) == f"user;user_id={ann.pk}"
        assert Note.objects.count() == 0

    def test_a_page_that_raises_is_rolled_back(self, ann: Any):
        with atomic_requests():
            response = Client(raise_request_exception=False).post(f"/rename/{ann.pk}/", {"name": "boom"})
        assert response.status_code == 500
        assert User.objects.get(pk=ann.pk).first_name == "Ann"

    def test_what_returns_is_committed(self, visitor: Client, ann: Any):
        with atomic_requests():
            assert call(visitor, "rename_user", user_id=ann.pk, name="Anna").status_code == 200
        assert User.objects.get(pk=ann.pk).first_name == "Anna"

    def test_what_a_page_itself_opted_out_of_stays_its_own(self):
        @transaction.non_atomic_requests(using="second")
        def page(request: Any) -> None: ...

        as_view(Registry().client(route="/page/")(page))
        assert vars(page)["_non_atomic_requests"] == {"second"}

    @pytest.mark.parametrize("opted_out", [False, True])
    def test_reads_may_opt_out_as_well(
        self, visitor: Client, ann: Any, monkeypatch: pytest.MonkeyPatch, opted_out: bool
    ):
        seen: list[bool] = []
        clients.meanwhile.append(lambda: seen.append(connections["default"].in_atomic_block))
        if opted_out:
            monkeypatch.setattr(clients.slow_user, "_non_atomic_requests", {"default"}, raising=False)
        with atomic_requests():
            assert call(visitor, "slow_user", user_id=ann.pk).status_code == 200
            assert visitor.get(f"{BASE}ctx/slow/", {"user_id": ann.pk}).status_code == 200
        assert seen == [not opted_out] * 2

    async def test_it_works_for_async_pages_as_well(self, browser: AsyncClient):
        with atomic_requests():
            assert (await browser.get("/later/x/")).content == b"later x"


def test_a_client_cannot_purge_by_header(visitor: Client):
    response = visitor.get(f"{BASE}ctx/catalog/", {"category": "tea"}, headers={"X-Mizan-Invalidate": "user"})
    assert "X-Mizan-Invalidate" not in response.headers
