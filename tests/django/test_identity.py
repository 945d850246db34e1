"""Who is asking, from the origin's side."""

import time
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, override_settings

from mizan.request.identity import permission_key
from mizan_core import mwt
from tests.django.browsers import KEYS, by_token, identity_in, identity_of, signed_in, token_of
from tests.django.overrides import WITH_MIDDLEWARE
from tests.django.requests import BASE, bundle, call


def as_bob(get_response: Any) -> Any:
    """A middleware by which everybody sees what Bob sees."""

    def middleware(request: Any) -> Any:
        request.user = User.objects.get(username="bob")
        return get_response(request)

    return middleware


def partition_of(client: Client) -> str:
    return str(bundle(client, "mine").headers["X-Mizan-Partition"])


class TestBearer:
    def test_a_token_signs_in_for_calls_contexts_and_pages(self, ann: Any):
        client = by_token(token_of(ann))
        assert call(client, "members_only").json() == {"result": "ann"}
        assert bundle(client, "mine").json() == {"mine": "ann"}
        assert client.get("/members/").content == b"members"

    def test_a_token_outweighs_the_session(self, ann: Any, bob: Any):
        client = by_token(token_of(ann))
        client.force_login(bob)
        assert call(client, "members_only").json() == {"result": "ann"}

    def test_the_scheme_is_read_in_any_case(self, ann: Any):
        client = Client(headers={"Authorization": f"bearer {token_of(ann)}"})
        assert call(client, "members_only").status_code == 200

    def test_an_inactive_user_is_nobody(self, ann: Any):
        client = by_token(token_of(ann))
        ann.is_active = False
        ann.save()
        assert call(client, "members_only").status_code == 401

    def test_a_token_made_for_an_inactive_user_is_nobodys(self, ann: Any):
        ann.is_active = False
        ann.save()
        token = mwt.mint(KEYS, sub=str(ann.pk), pkey=permission_key(ann), now_s=int(time.time()))
        assert call(by_token(token), "members_only").status_code == 401

    def test_a_user_who_is_gone_is_nobody(self, ann: Any):
        client = by_token(token_of(ann))
        ann.delete()
        assert call(client, "members_only").status_code == 401

    @pytest.mark.parametrize("sub", ["not a number", "99999999999999999999999999", "\0"])
    def test_an_id_that_no_user_can_have_is_nobody(self, sub: str):
        token = mwt.mint(KEYS, sub=sub, pkey="x", now_s=int(time.time()))
        assert call(by_token(token), "members_only").status_code == 401

    def test_an_expired_token_signs_nobody_in(self, ann: Any):
        old = identity_of(ann)
        token = mwt.mint(KEYS, sub=old.sub, pkey=old.pkey, now_s=int(time.time()) - 301)
        assert call(by_token(token), "members_only").status_code == 401

    def test_a_token_from_before_a_change_of_rights_signs_nobody_in(self, ann: Any):
        ann.is_staff = True
        ann.save()
        client = by_token(token_of(ann))
        assert call(client, "staff_only").status_code == 200
        ann.is_staff = False
        ann.save()
        assert call(client, "members_only").status_code == 401

    def test_a_token_does_not_renew_itself(self, ann: Any):
        assert by_token(token_of(ann)).get(f"{BASE}session/").json()["mwt"] is None

    def test_the_cookie_signs_nobody_in(self, ann: Any):
        client = Client()
        client.cookies["mizan_mwt"] = token_of(ann)
        assert call(client, "members_only").status_code == 401
        assert partition_of(client) == "anon"


class TestPartition:
    def test_somebody_who_is_not_signed_in_is_anon(self, visitor: Client):
        assert partition_of(visitor) == "anon"

    def test_the_partition_is_that_of_the_token(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        assert partition_of(visitor) == identity_of(ann).partition

    def test_each_user_has_a_partition_of_their_own(self, ann: Any, bob: Any):
        assert partition_of(by_token(token_of(ann))) != partition_of(by_token(token_of(bob)))

    @pytest.mark.parametrize("change", ["staff", "superuser", "group", "permission", "group permission", "password"])
    def test_any_change_of_rights_moves_the_user_to_another_partition(self, ann: Any, change: str):
        before = identity_of(ann)
        group = Group.objects.create(name="editors")
        permission = Permission.objects.order_by("pk")[0]
        match change:
            case "staff":
                ann.is_staff = True
            case "superuser":
                ann.is_superuser = True
            case "group":
                ann.groups.add(group)
            case "permission":
                ann.user_permissions.add(permission)
            case "group permission":
                ann.groups.add(group)
                before = identity_of(ann)
                group.permissions.add(permission)
            case "password":
                ann.set_password("another")
        ann.save()
        after = identity_of(ann)
        assert after.sub == before.sub
        assert after.pkey != before.pkey

    def test_a_change_that_is_no_right_keeps_the_partition(self, ann: Any):
        before = identity_of(ann)
        ann.first_name = "Anna"
        ann.save()
        assert identity_of(ann).pkey == before.pkey


class TestCookie:
    def test_it_is_set_where_the_session_has_none(self, ann: Any):
        cookie = bundle(signed_in(ann), "mine").cookies["mizan_mwt"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
        assert (cookie["secure"], cookie["max-age"]) == ("", 300)

    def test_over_tls_it_is_bound_to_the_host(self, ann: Any):
        browser = Client()
        browser.force_login(ann)
        response = bundle(browser, "mine", secure=True)
        assert "mizan_mwt" not in response.cookies
        cookie = response.cookies["__Host-mizan_mwt"]
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")

    def test_a_valid_one_is_left_alone(self, ann: Any):
        browser = Client()
        browser.force_login(ann)
        bundle(browser, "mine")
        assert "mizan_mwt" not in bundle(browser, "mine").cookies

    def test_one_of_old_rights_is_replaced(self, ann: Any):
        browser = Client()
        browser.force_login(ann)
        old = identity_in(bundle(browser, "mine"))
        ann.is_staff = True
        ann.save()
        assert identity_in(bundle(browser, "mine")).pkey != old.pkey

    def test_one_of_another_user_is_replaced(self, ann: Any, bob: Any):
        browser = Client()
        browser.force_login(bob)
        browser.cookies["mizan_mwt"] = token_of(ann)
        assert identity_in(bundle(browser, "mine")).sub == str(bob.pk)

    def test_who_is_not_signed_in_gets_none(self, visitor: Client):
        assert "mizan_mwt" not in bundle(visitor, "mine").cookies

    def test_who_came_by_a_token_gets_none(self, ann: Any):
        assert "mizan_mwt" not in bundle(by_token(token_of(ann)), "mine").cookies

    def test_it_is_deleted_where_nobody_is_signed_in_any_more(self, visitor: Client, ann: Any):
        visitor.cookies["mizan_mwt"] = token_of(ann)
        assert bundle(visitor, "mine").cookies["mizan_mwt"]["max-age"] == 0

    def test_a_leftover_of_plain_http_goes_with_the_first_secure_answer(self, ann: Any, bob: Any):
        browser = Client()
        browser.force_login(ann)
        browser.cookies["mizan_mwt"] = token_of(bob)
        response = bundle(browser, "mine", secure=True)
        assert response.cookies["mizan_mwt"]["max-age"] == 0
        assert identity_in(response, "__Host-mizan_mwt").sub == str(ann.pk)

    def test_a_mutation_that_signs_in_sets_it(self, ann: Any):
        assert identity_in(bundle(Client(), "mine", {"look": "login"})).sub == str(ann.pk)

    def test_a_function_that_signs_out_deletes_it(self, ann: Any):
        browser = Client()
        browser.force_login(ann)
        bundle(browser, "mine")
        assert bundle(browser, "mine", {"look": "logout"}).cookies["mizan_mwt"]["max-age"] == 0

    def test_pages_outside_mizan_do_not_touch_it_without_the_middleware(self, ann: Any):
        browser = Client()
        browser.force_login(ann)
        assert "mizan_mwt" not in browser.get("/").cookies

    @WITH_MIDDLEWARE
    def test_with_the_middleware_every_page_keeps_it_fresh(self, ann: Any):
        browser = Client()
        assert identity_in(browser.get(f"/login/{ann.pk}/")).sub == str(ann.pk)
        assert "mizan_mwt" not in browser.get("/").cookies
        assert browser.get("/logout/").cookies["mizan_mwt"]["max-age"] == 0

    @WITH_MIDDLEWARE
    def test_a_page_for_somebody_whom_a_middleware_put_in_the_users_place_says_so(self, ann: Any, bob: Any):
        browser = Client()
        browser.get(f"/login/{ann.pk}/")
        assert "X-Mizan-Partition" not in browser.get("/").headers
        with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, f"{__name__}.as_bob"]):
            later = Client()  # the first has its middleware already
            later.cookies = browser.cookies
            assert later.get("/").headers["X-Mizan-Partition"].startswith(f"user:{bob.pk}:")

    @WITH_MIDDLEWARE
    def test_the_middleware_does_not_make_pages_vary_for_who_has_no_cookie(self, visitor: Client):
        assert "Vary" not in visitor.get("/").headers
