"""django-allauth's flows as server functions."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings

from demo.browser import Browser
from mizan.allauth.apps import AllauthConfig
from tests.django.behind_edge import Site
from tests.django.overrides import atomic_requests
from tests.django.requests import BASE, bundle, call, error_code

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def backend() -> Iterator[None]:
    cache.clear()  # what allauth has counted
    mail.outbox.clear()
    with override_settings(AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"]):
        yield
    cache.clear()


@pytest.fixture
def ann() -> Any:
    user = User.objects.create_user("ann", "ann@example.org", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def key_in(message: Any, path: str) -> str:
    found = re.search(rf"{path}/([^/\s]+)/", str(message.body))
    assert found is not None, message.body
    return found[1]


def me(client: Client) -> str:
    return str(bundle(client, "mine").json()["mine"])


class TestSignIn:
    def test_it_signs_in_and_sets_the_token(self, visitor: Client, ann: Any):
        response = call(visitor, "auth_sign_in", login="ann", password=PASSWORD)
        assert response.json()["result"]["signed_in"] is True
        assert {"sessionid", "mizan_mwt"} <= response.cookies.keys()
        assert me(visitor) == "ann"

    @pytest.mark.parametrize("atomic", [False, True])
    def test_a_wrong_password_is_an_error_by_field(self, visitor: Client, ann: Any, atomic: bool):
        if atomic:
            with atomic_requests():
                response = call(visitor, "auth_sign_in", login="ann", password="wrong")
        else:
            response = call(visitor, "auth_sign_in", login="ann", password="wrong")
        assert (response.status_code, error_code(response)) == (422, "invalid")
        (said,) = response.json()["error"]["details"]["__all__"]
        assert "not correct" in said
        assert me(visitor) == ""

    def test_attempts_are_limited_as_allauth_says(self, visitor: Client, ann: Any):
        with override_settings(ACCOUNT_RATE_LIMITS={"login_failed": "2/m/key"}):
            for _ in range(2):
                assert call(visitor, "auth_sign_in", login="ann", password="wrong").status_code == 422
            limited = call(visitor, "auth_sign_in", login="ann", password=PASSWORD)
        assert "Too many failed login attempts" in str(limited.json()["error"]["details"])

    def test_requests_are_limited_as_allauth_says(self, visitor: Client, ann: Any):
        with override_settings(ACCOUNT_RATE_LIMITS={"login": "1/m/ip"}):
            call(visitor, "auth_sign_in", login="ann", password="wrong")
            limited = call(visitor, "auth_sign_in", login="ann", password=PASSWORD)
        assert (limited.status_code, error_code(limited)) == (429, "rate_limited")

    def test_it_wants_a_csrf_token(self, ann: Any):
        response = call(Client(enforce_csrf_checks=True), "auth_sign_in", login="ann", password=PASSWORD)
        assert (response.status_code, error_code(response)) == (403, "csrf")

    def test_signing_out_ends_the_session_and_the_token(self, visitor: Client, ann: Any):
        call(visitor, "auth_sign_in", login="ann", password=PASSWORD)
        response = call(visitor, "auth_sign_out")
        assert response.json()["result"]["signed_in"] is False
        assert response.cookies["mizan_mwt"]["max-age"] == 0
        assert me(visitor) == ""


class TestSignUp:
    def test_it_signs_up_and_in(self, visitor: Client):
        response = call(visitor, "auth_sign_up", username="bea", email="bea@example.org", password=PASSWORD)
        assert response.json()["result"]["signed_in"] is True
        assert me(visitor) == "bea"

    def test_what_does_not_fit_is_an_error_by_field(self, visitor: Client, ann: Any):
        response = call(visitor, "auth_sign_up", username="ann", email="no address", password="x")
        assert response.status_code == 422
        assert {"username", "email"} <= response.json()["error"]["details"].keys()
        assert User.objects.count() == 1

    def test_a_verification_that_is_mandatory_stands_before_the_sign_in(self, visitor: Client):
        with override_settings(ACCOUNT_EMAIL_VERIFICATION="mandatory"):
            response = call(visitor, "auth_sign_up", username="bea", email="bea@example.org", password=PASSWORD)
            assert response.json()["result"] == {"signed_in": False, "location": "/accounts/confirm-email/"}
            assert call(visitor, "auth_sign_in", login="bea", password=PASSWORD).json()["result"]["signed_in"] is False
            # But not before a JWT, which the password is enough for.
            assert call(Client(), "jwt_obtain", username="bea", password=PASSWORD).status_code == 200
            key = key_in(mail.outbox[0], "confirm-email")
            assert call(Client(), "auth_verify_email", key=key).status_code == 200
            assert EmailAddress.objects.get().verified
            assert call(Client(), "auth_verify_email", key="nonsense").status_code == 404
            assert call(visitor, "auth_sign_in", login="bea", password=PASSWORD).json()["result"]["signed_in"] is True

    def test_the_adapter_decides_whether_it_is_open(self, visitor: Client):
        with override_settings(ACCOUNT_ADAPTER="tests.django.site.closed.ClosedAdapter"):
            response = call(visitor, "auth_sign_up", username="bea", email="bea@example.org", password=PASSWORD)
        assert (response.status_code, error_code(response)) == (403, "forbidden")
        assert not User.objects.exists()


class TestPasswordReset:
    def test_by_the_key_of_the_mail(self, visitor: Client, ann: Any):
        assert call(visitor, "auth_request_password_reset", email="ann@example.org").status_code == 200
        key = key_in(mail.outbox[0], "password/reset/key")
        weak = call(visitor, "auth_reset_password", key=key, password="")
        assert (weak.status_code, "password1" in weak.json()["error"]["details"]) == (422, True)
        assert call(visitor, "auth_reset_password", key=key, password="another password").status_code == 200
        assert call(visitor, "auth_sign_in", login="ann", password=PASSWORD).status_code == 422
        assert call(visitor, "auth_sign_in", login="ann", password="another password").status_code == 200
        assert call(Client(), "auth_reset_password", key=key, password="a third").status_code == 422

    @pytest.mark.parametrize("key", ["", "x", "1-2", "-"])
    def test_a_key_that_is_none(self, visitor: Client, key: str):
        assert call(visitor, "auth_reset_password", key=key, password=PASSWORD).status_code == 422

    def test_nobody_learns_whether_there_is_such_an_account(self, visitor: Client, ann: Any):
        known, unknown = (
            call(visitor, "auth_request_password_reset", email=f"{name}@example.org").json() for name in ("ann", "bea")
        )
        assert known == unknown


class TestBehindTheEdge:
    def test_after_a_sign_in_the_session_hits_by_the_token(self, running: Site, ann: Any):
        browser = running.browser()
        browser.get(f"{BASE}session/")
        assert self.asked(browser, "auth_sign_in", login="ann", password=PASSWORD)["signed_in"] is True
        assert {"sessionid", "mizan_mwt"} <= browser.cookies.keys()
        for expected in ("stored", "hit"):
            reply = browser.get(f"{BASE}ctx/mine/")
            assert (reply.json, expected in reply.cache_status) == ({"mine": "ann"}, True)
        assert self.asked(browser, "auth_sign_out")["signed_in"] is False
        assert browser.get(f"{BASE}ctx/mine/").json == {"mine": ""}

    @staticmethod
    def asked(browser: Browser, fn: str, **args: Any) -> Any:
        return browser.post_json(f"{BASE}call/", {"fn": fn, "args": args}).json["result"]


def test_without_allauth_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    import mizan.allauth

    config = AllauthConfig("mizan.allauth", mizan.allauth)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "allauth", None)
        with pytest.raises(ImproperlyConfigured, match=r"pip install 'mizan-edge\[allauth\]'"):
            config.ready()
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages"]
    with override_settings(INSTALLED_APPS=apps), pytest.raises(ImproperlyConfigured, match="'allauth.account' in"):
        config.ready()
