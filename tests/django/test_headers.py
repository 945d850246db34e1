"""What reads say to caches."""

from typing import Any

import pytest
from django.test import Client, override_settings

from tests.django.requests import bundle, call
from tests.django.site.settings import MIDDLEWARE


def caching(response: Any) -> str:
    return str(response.headers["Mizan-Cache-Control"])


class TestABundle:
    def test_it_names_its_scope_its_partition_and_its_lifetime(self, visitor: Client, ann: Any):
        headers = bundle(visitor, "user", {"user_id": ann.pk}).headers
        assert headers["X-Mizan-Scope"] == f"user;user_id={ann.pk}"
        assert headers["X-Mizan-Partition"] == "anon"
        assert headers["Mizan-Cache-Control"] == "max-age=86400"
        assert headers["Cache-Control"] == "private, no-cache"
        assert headers["ETag"].startswith('"')

    def test_the_scope_has_defaults_and_not_what_is_none(self, visitor: Client):
        assert bundle(visitor, "prefs", {"user_id": 5}).headers["X-Mizan-Scope"] == 'prefs;locale="en";user_id=5'
        assert bundle(visitor, "catalog", {"category": "tea"}).headers["X-Mizan-Scope"] == 'catalog;category="tea"'
        scope = bundle(visitor, "catalog", {"category": "tea", "page": "2"}).headers["X-Mizan-Scope"]
        assert scope == 'catalog;category="tea";page=2'

    def test_the_scope_has_values_as_the_function_got_them(self, visitor: Client):
        assert bundle(visitor, "prefs", {"user_id": "05"}).headers["X-Mizan-Scope"] == 'prefs;locale="en";user_id=5'

    def test_a_public_one_has_no_partition_and_its_functions_lifetimes(self, visitor: Client):
        headers = bundle(visitor, "catalog", {"category": "tea"}).headers
        assert "X-Mizan-Partition" not in headers
        assert headers["Mizan-Cache-Control"] == "max-age=60, stale-while-revalidate=30, stale-if-error=600"
        assert headers["Cache-Control"] == "public, no-cache"
        assert "Vary" not in headers

    def test_a_ttl_of_0_is_not_stored(self, visitor: Client):
        assert caching(bundle(visitor, "never")) == "no-store"

    def test_a_callable_auth_is_not_stored_unless_it_says_for_how_long(self, visitor: Client):
        assert caching(bundle(visitor, "judged")) == "no-store"

    def test_it_is_not_stored_where_a_value_has_no_canonical_text(self, visitor: Client):
        response = call(visitor, "loose", anything={"a": 1})
        assert "X-Mizan-Scope" not in response.headers
        assert caching(response) == "no-store"

    def test_an_error_is_not_stored(self, visitor: Client):
        assert caching(bundle(visitor, "user")) == "no-store"

    def test_a_browser_that_has_it_gets_304_with_all_that_a_cache_needs(self, visitor: Client, ann: Any):
        first = bundle(visitor, "user", {"user_id": ann.pk})
        second = bundle(visitor, "user", {"user_id": ann.pk}, headers={"If-None-Match": first.headers["ETag"]})
        assert (second.status_code, second.content) == (304, b"")
        for name in ("ETag", "Cache-Control", "X-Mizan-Scope", "X-Mizan-Partition", "Mizan-Cache-Control"):
            assert second.headers[name] == first.headers[name]

    @override_settings(MIDDLEWARE=["django.middleware.http.ConditionalGetMiddleware", *MIDDLEWARE])
    def test_the_304_is_the_same_behind_djangos_own_middleware(self, visitor: Client, ann: Any):
        first = bundle(visitor, "user", {"user_id": ann.pk})
        second = bundle(visitor, "user", {"user_id": ann.pk}, headers={"If-None-Match": first.headers["ETag"]})
        assert second.status_code == 304
        assert second.headers["X-Mizan-Scope"] == first.headers["X-Mizan-Scope"]

    def test_a_precondition_that_fails_is_not_stored(self, visitor: Client):
        response = bundle(visitor, "catalog", {"category": "tea"}, headers={"If-Match": '"other"'})
        assert (response.status_code, caching(response)) == (412, "no-store")


class TestACall:
    def test_a_call_of_a_context_function_is_a_read(self, visitor: Client, ann: Any):
        headers = call(visitor, "user_profile", user_id=ann.pk).headers
        assert headers["X-Mizan-Scope"] == f"user;user_id={ann.pk}"
        assert headers["X-Mizan-Partition"] == "anon"
        assert headers["Mizan-Cache-Control"] == "max-age=86400"
        assert headers["Cache-Control"] == "private, no-cache"
        assert "ETag" in headers

    def test_it_names_its_own_arguments_only(self, visitor: Client):
        assert call(visitor, "prefs_summary", user_id=5).headers["X-Mizan-Scope"] == "prefs;user_id=5"

    def test_one_with_untyped_arguments_is_not_stored(self, visitor: Client):
        assert caching(call(visitor, "loose", anything="x")) == "no-store"

    def test_any_other_call_says_nothing_of_contexts(self, visitor: Client):
        headers = call(visitor, "echo", text="x").headers
        assert not [name for name in headers if name.startswith("X-Mizan")]


class TestPersonal:
    @pytest.mark.parametrize("look", ["session", "absent", "write", "csrf", "messages", "message", "login"])
    def test_what_is_personal_beyond_the_partition_is_not_stored(self, visitor: Client, ann: Any, look: str):
        assert caching(bundle(visitor, "mine", {"look": look})) == "no-store"

    def test_becoming_somebody_else_on_the_way_is_not_stored(self, visitor: Client, ann: Any, bob: Any):
        visitor.force_login(ann)
        bundle(visitor, "mine")
        assert caching(visitor.get("/mine/")) == "max-age=86400"
        for response in (
            bundle(visitor, "mine", {"look": "become"}),
            call(visitor, "mine", look="become"),
            visitor.get("/mine/", {"look": "become"}),
        ):
            assert b"bob" in response.content
            assert caching(response) == "no-store"

    def test_who_is_signed_in_is_not(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        bundle(visitor, "mine")
        response = bundle(visitor, "mine")
        assert response.json() == {"mine": "ann"}
        assert caching(response) == "max-age=86400"

    def test_signing_out_on_the_way_is(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        assert caching(bundle(visitor, "mine", {"look": "logout"})) == "no-store"

    @override_settings(MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage")
    def test_asking_for_messages_where_there_are_none_is_not(self, visitor: Client):
        assert caching(visitor.get("/template/")) == "max-age=86400"

    @override_settings(MIDDLEWARE=[*MIDDLEWARE, "tests.django.test_headers.with_nonce"])
    @pytest.mark.parametrize(("look", "expected"), [("nonce", "no-store"), ("", "max-age=86400")])
    def test_a_csp_nonce_is_only_where_it_was_taken(self, visitor: Client, look: str, expected: str):
        assert caching(bundle(visitor, "mine", {"look": look})) == expected

    def test_the_session_itself_is_intact(self, visitor: Client):
        bundle(visitor, "mine", {"look": "write"})
        assert visitor.session["cart"] == 1
        assert bundle(visitor, "mine", {"look": "session"}).json() == {"mine": "1"}


class TestAPage:
    def test_it_has_the_headers_of_a_read(self, visitor: Client, ann: Any):
        response = visitor.get(f"/profile/{ann.pk}/")
        assert response.content == b"Ann all"
        assert response.headers["X-Mizan-Scope"] == f'user;tab="all";user_id={ann.pk}'
        assert response.headers["X-Mizan-Partition"] == "anon"
        assert caching(response) == "max-age=86400"
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert "ETag" in response.headers

    def test_it_answers_304(self, visitor: Client, ann: Any):
        etag = visitor.get(f"/profile/{ann.pk}/").headers["ETag"]
        response = visitor.get(f"/profile/{ann.pk}/", headers={"If-None-Match": etag})
        assert response.status_code == 304
        assert response.headers["X-Mizan-Scope"] == f'user;tab="all";user_id={ann.pk}'

    def test_what_it_purges_itself_stands_in_a_304_too(self, visitor: Client):
        etag = visitor.get("/visits/").headers["ETag"]
        response = visitor.get("/visits/", headers={"If-None-Match": etag})
        assert (response.status_code, response.headers.get("X-Mizan-Invalidate")) == (304, "catalog")

    @pytest.mark.parametrize(
        ("show", "expected"),
        [("", "max-age=86400"), ("user", "max-age=86400"), ("csrf", "no-store"), ("session", "no-store")],
    )
    def test_what_its_template_looks_at_counts(self, visitor: Client, show: str, expected: str):
        response = visitor.get("/template/", {"show": show})
        assert b"page" in response.content
        assert caching(response) == expected
        assert "ETag" in response.headers

    def test_messages_that_its_template_shows_count(self, visitor: Client):
        bundle(visitor, "mine", {"look": "message"})
        response = visitor.get("/template/")
        assert b"hello" in response.content
        assert caching(response) == "no-store"

    def test_a_rendered_template_answers_304(self, visitor: Client):
        etag = visitor.get("/template/").headers["ETag"]
        assert visitor.get("/template/", headers={"If-None-Match": etag}).status_code == 304

    def test_one_that_sets_a_cookie_is_not_stored(self, visitor: Client):
        assert caching(visitor.get("/cookie/")) == "no-store"

    def test_one_that_streams_is_not_stored(self, visitor: Client):
        response = visitor.get("/streamed/")
        assert response.getvalue() == b"ab"
        assert caching(response) == "no-store"

    def test_one_that_has_decided_for_itself_keeps_that(self, visitor: Client):
        headers = visitor.get("/decided/").headers
        assert headers["Cache-Control"] == "max-age=5, public"
        assert headers["ETag"] == '"own"'
        assert "Mizan-Cache-Control" not in headers

    @pytest.mark.parametrize("status", [302, 404, 500])
    def test_what_is_no_success_is_not_stored(self, visitor: Client, status: int):
        response = visitor.get("/failing/", {"status": status})
        assert (response.status_code, caching(response)) == (status, "no-store")

    def test_a_post_to_it_is_not_stored(self, visitor: Client, ann: Any):
        assert caching(visitor.post(f"/profile/{ann.pk}/")) == "no-store"


def with_nonce(get_response: Any) -> Any:
    """What django-csp and Django 6 do: a nonce that exists once somebody takes it."""
    from django.utils.functional import SimpleLazyObject

    def middleware(request: Any) -> Any:
        request.csp_nonce = SimpleLazyObject(lambda: "bm9uY2U=")
        return get_response(request)

    return middleware
