"""Access and refresh tokens."""

import time
import uuid
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import pre_save
from django.test import Client, override_settings

from mizan.jwt.models import RefreshToken
from mizan.request import access_tokens as tokens
from mizan_core import mwt
from tests.django.behind_edge import Site
from tests.django.browsers import by_token, identity_of
from tests.django.overrides import atomic_requests
from tests.django.requests import BASE, bundle, call, error_code
from tests.django.site.settings import JWT_SECRET


def obtained(name: str = "ann") -> Any:
    # No CSRF token, and no cookie.
    response = call(Client(enforce_csrf_checks=True), "jwt_obtain", username=name, password=name)
    assert response.status_code == 200, response.content
    return response.json()["result"]


def refreshed(refresh: str) -> Any:
    return call(Client(enforce_csrf_checks=True), "jwt_refresh", refresh=refresh)


class TestAccess:
    def test_it_signs_in_for_calls_contexts_and_pages(self, ann: Any):
        client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {obtained()['access']}"})
        assert call(client, "members_only").json() == {"result": "ann"}
        assert bundle(client, "mine").json() == {"mine": "ann"}
        assert client.get("/members/").content == b"members"
        assert "mizan_mwt" not in bundle(client, "mine").cookies

    def test_its_partition_is_that_of_the_user(self, ann: Any):
        response = bundle(by_token(obtained()["access"]), "mine")
        assert response.headers["X-Mizan-Partition"] == identity_of(ann).partition

    def test_rights_are_those_of_this_moment(self, ann: Any):
        client = by_token(obtained()["access"])
        assert call(client, "staff_only").status_code == 403
        ann.is_staff = True
        ann.save()
        assert call(client, "staff_only").status_code == 200

    @pytest.mark.parametrize("change", ["inactive", "gone", "password"])
    def test_it_ends_with_its_user(self, ann: Any, change: str):
        client = by_token(obtained()["access"])
        if change == "gone":
            ann.delete()
        elif change == "inactive":
            ann.is_active = False
            ann.save()
        else:
            ann.set_password("another")
            ann.save()
        assert call(client, "members_only").status_code == 401

    def test_it_outweighs_the_session(self, ann: Any, bob: Any):
        client = by_token(obtained()["access"])
        client.force_login(bob)
        assert call(client, "members_only").json() == {"result": "ann"}

    def test_what_is_none_signs_nobody_in(self, ann: Any):
        expired = tokens.mint("at+jwt", ann, jti=uuid.uuid4(), lifetime_s=-1)
        with override_settings(MIZAN_JWT_SECRET="another-secret-0123456789abcdefghij"):
            foreign = tokens.mint("at+jwt", ann, jti=uuid.uuid4(), lifetime_s=300)
        mine = mwt.Keyring.parse(JWT_SECRET)
        other_kind = mwt.mint(mine, sub=str(ann.pk), pkey="x", now_s=int(time.time()))
        for token in (obtained()["refresh"], expired, foreign, other_kind, "x", "a.b.c", ""):
            assert call(by_token(token), "members_only").status_code == 401

    def test_secrets_rotate_by_kid(self, ann: Any):
        with override_settings(MIZAN_JWT_SECRET=f"old:{JWT_SECRET}"):
            client = by_token(obtained()["access"])
        new = "new:new-secret-0123456789abcdefghijklmn"
        with override_settings(MIZAN_JWT_SECRET=f"{new},old:{JWT_SECRET}"):
            assert call(client, "members_only").status_code == 200
        with override_settings(MIZAN_JWT_SECRET=new):
            assert call(client, "members_only").status_code == 401


class TestRefresh:
    def test_each_gives_another_and_the_old_one_is_worth_nothing(self, ann: Any):
        first = obtained()
        second = refreshed(first["refresh"]).json()["result"]
        assert call(by_token(second["access"]), "members_only").json() == {"result": "ann"}
        third = refreshed(second["refresh"]).json()["result"]
        assert len({first["refresh"], second["refresh"], third["refresh"]}) == 3

    @pytest.mark.parametrize("atomic", [False, True])
    def test_a_second_use_ends_all_that_came_of_the_sign_in(self, ann: Any, atomic: bool):
        first, elsewhere = obtained(), obtained()
        second = refreshed(first["refresh"]).json()["result"]
        if atomic:
            with atomic_requests():
                response = refreshed(first["refresh"])
        else:
            response = refreshed(first["refresh"])
        assert (response.status_code, error_code(response)) == (401, "invalid_token")
        assert refreshed(second["refresh"]).status_code == 401
        assert refreshed(elsewhere["refresh"]).status_code == 200

    def test_a_second_use_while_the_first_is_answered_ends_that_as_well(self, ann: Any):
        # 1. used for the first time; 2. used again, which ends the family; 3. issued.
        first = obtained()["refresh"]
        seen: list[int] = []

        def use_again(**_: Any) -> None:
            pre_save.disconnect(use_again, RefreshToken)
            seen.append(refreshed(first).status_code)

        pre_save.connect(use_again, RefreshToken)
        seen.append(refreshed(first).status_code)
        assert (seen, RefreshToken.objects.count()) == ([401, 401], 0)

    @pytest.mark.parametrize("change", ["inactive", "password"])
    def test_it_ends_with_its_user(self, ann: Any, change: str):
        token = obtained()["refresh"]
        ann.is_active = change != "inactive"
        if change == "password":
            ann.set_password("another")
        ann.save()
        assert refreshed(token).status_code == 401
        assert not RefreshToken.objects.exists()

    def test_revoking_ends_it_and_says_nothing_of_others(self, ann: Any):
        first, elsewhere = obtained(), obtained()
        second = refreshed(first["refresh"]).json()["result"]
        for token in (second["refresh"], second["refresh"], "x"):
            assert call(Client(enforce_csrf_checks=True), "jwt_revoke", refresh=token).json() == {"result": None}
        assert refreshed(second["refresh"]).status_code == 401
        assert refreshed(elsewhere["refresh"]).status_code == 200

    def test_an_access_token_or_an_expired_one_refreshes_nothing(self, ann: Any):
        assert refreshed(obtained()["access"]).status_code == 401
        with override_settings(MIZAN_JWT_REFRESH_LIFETIME=-1):
            assert refreshed(obtained()["refresh"]).status_code == 401
        obtained()
        # Those that have expired are forgotten at the next sign-in.
        assert RefreshToken.objects.count() == 2


def test_a_wrong_password_says_no_more_than_that(ann: Any):
    for name, password in (("ann", "wrong"), ("nobody", "ann")):
        response = call(Client(), "jwt_obtain", username=name, password=password)
        assert (response.status_code, error_code(response)) == (401, "invalid_credentials")


def test_without_a_secret_the_site_does_not_start():
    from django.apps import apps

    with override_settings(MIZAN_JWT_SECRET=None), pytest.raises(ImproperlyConfigured, match="set MIZAN_JWT_SECRET"):
        apps.get_app_config("mizan_jwt").ready()


class TestExchange:
    def test_the_session_endpoint_gives_a_mizan_token_that_does_not_outlive_it(self, ann: Any):
        with override_settings(MIZAN_JWT_ACCESS_LIFETIME=100):
            client = by_token(obtained()["access"])
        body = client.get(f"{BASE}session/").json()
        assert 90 <= body["expires_in"] <= 100
        assert call(by_token(body["mwt"]), "members_only").json() == {"result": "ann"}
        assert by_token(body["mwt"]).get(f"{BASE}session/").json()["mwt"] is None


class TestBehindTheEdge:
    def test_nobody_gets_what_was_made_for_another(self, running: Site, ann: Any, bob: Any):
        path = f"{BASE}ctx/mine/"
        running.browser().get(path)
        for name in ("ann", "bob", "ann"):
            reply = running.browser().get(path, Authorization=f"Bearer {obtained(name)['access']}")
            assert (reply.json, "bypass" in reply.cache_status) == ({"mine": name}, True)
        anonymous = running.browser().get(path)
        assert (anonymous.json, "hit" in anonymous.cache_status) == ({"mine": ""}, True)

    def test_exchanged_it_hits(self, running: Site, ann: Any):
        access = obtained()["access"]
        token = running.browser().get(f"{BASE}session/", Authorization=f"Bearer {access}").json["mwt"]
        for expected in ("stored", "hit"):
            reply = running.browser().get(f"{BASE}ctx/mine/", Authorization=f"Bearer {token}")
            assert (reply.json, expected in reply.cache_status) == ({"mine": "ann"}, True)
