"""`request.mizan`: what a view changes and depends on, said at run time; and responses that stream."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.db import transaction
from django.test import AsyncClient, Client, RequestFactory, override_settings

from mizan.request.request_mizan import NoMizanError
from mizan.test import recorded_purges
from mizan_core.resolve import widen
from mizan_core.scopes import bounded
from tests.django.behind_edge import Site
from tests.django.overrides import WITH_MIDDLEWARE, atomic_requests
from tests.django.requests import bundle, call, invalidated
from tests.django.site import clients
from tests.django.site.clients import ran
from tests.django.site.models import Note
from tests.django.site.settings import MIDDLEWARE


class TestInvalidate:
    @WITH_MIDDLEWARE
    def test_a_plain_view_says_what_it_changed_beside_what_it_says_itself(self, visitor: Client, ann: Any):
        with recorded_purges() as purged:
            response = visitor.get(f"/plain/rename/{ann.pk}/?name=Anna")
        assert invalidated(response) == f"catalog, user;user_id={ann.pk}"
        assert response.headers["Mizan-Cache-Control"] == "no-store"
        assert purged == [f"user;user_id={ann.pk}"]

    @WITH_MIDDLEWARE
    def test_also_when_it_raised(self, ann: Any):
        response = Client(raise_request_exception=False).get(f"/plain/rename/{ann.pk}/?name=Anna&fail=1")
        assert (response.status_code, invalidated(response)) == (500, f"user;user_id={ann.pk}")

    @pytest.mark.parametrize(("fail", "status"), [(False, 200), (True, 500)])
    def test_a_function_that_is_no_mutation_says_it(self, visitor: Client, ann: Any, fail: bool, status: int):
        response = call(visitor, "note", user_id=ann.pk, fail=fail)
        assert (response.status_code, invalidated(response)) == (status, f"user;user_id={ann.pk}")

    def test_a_mutation_says_it_beside_its_own(self, visitor: Client):
        response = call(visitor, "note_prefs", user_id=5)
        assert response.json()["invalidate"] == ["prefs;user_id=5", "user;user_id=5"]
        assert invalidated(response) == "prefs;user_id=5, user;user_id=5"

    @pytest.mark.usefixtures("stored")
    def test_it_purges_the_origins_own_cache(self, visitor: Client, ann: Any):
        assert bundle(visitor, "user", {"user_id": ann.pk}).json()["user_notes"] == []
        call(visitor, "note", user_id=ann.pk)
        assert bundle(visitor, "user", {"user_id": ann.pk}).json()["user_notes"] == ["noted"]

    def test_under_atomic_requests_a_rollback_leaves_nothing_and_purges_anyway(self, visitor: Client, ann: Any):
        with atomic_requests():
            response = call(visitor, "note", user_id=ann.pk, fail=True)
        assert (invalidated(response), Note.objects.count()) == (f"user;user_id={ann.pk}", 0)

    def test_what_nobody_declared_helps(self):
        request: Any = RequestFactory().get("/")
        with pytest.raises(NoMizanError, match=r"needs 'mizan.middleware.MizanMiddleware' in MIDDLEWARE"):
            request.mizan.invalidate("user")
        assert getattr(request, "mizan", None) is None

    @WITH_MIDDLEWARE
    def test_a_name_that_nobody_declared_is_an_error(self, visitor: Client):
        with pytest.raises(ValueError, match="the nearest is 'user_id'"):
            visitor.get("/plain/many/", {"count": "1", "name": "x"}).wsgi_request.mizan.depends("user", userid="5")  # type: ignore[attr-defined]


class TestDepends:
    def test_a_bundle_a_call_and_a_page_say_it(self, visitor: Client, ann: Any):
        said = f"squad;squad_id={ann.pk}, user;user_id={ann.pk}"
        page = visitor.get("/squad/ann/")
        assert page.headers["X-Mizan-Scope"] == f"squad;name=ann, user;user_id={ann.pk}".replace("=ann", '="ann"')
        assert call(visitor, "squad", squad_id=ann.pk).headers["X-Mizan-Scope"] == said

    def test_a_mutation_of_the_other_context_is_seen_at_once(self, running: Site, ann: Any):
        browser = running.browser()
        browser.get("/api/mizan/session/")
        for name in ("Ann", "Anna"):
            for expected in ("stored", "hit"):
                page = browser.get("/squad/ann/")
                assert (page.text, expected in page.cache_status) == (name, True)
            call_ = {"fn": "rename_user", "args": {"user_id": ann.pk, "name": "Anna"}}
            assert browser.post_json("/api/mizan/call/", call_).status == 200

    @pytest.mark.usefixtures("stored")
    def test_the_origin_keeps_no_body_whose_dependence_it_could_not_say_again(self, visitor: Client, ann: Any):
        for _ in range(2):
            visitor.get("/api/mizan/ctx/squad/", {"squad_id": ann.pk, "name": "ann"})
        assert ran["squad"] == 2


@pytest.mark.parametrize(("page", "name"), [("rename", "X-Mizan-Invalidate"), ("shown", "X-Mizan-Scope")])
def test_what_is_said_to_caches_is_not_lost_in_a_304(visitor: Client, ann: Any, page: str, name: str):
    installed = ["django.middleware.http.ConditionalGetMiddleware", *MIDDLEWARE, "mizan.middleware.MizanMiddleware"]
    with override_settings(MIDDLEWARE=installed):
        first = visitor.get(f"/plain/{page}/{ann.pk}/?name=Anna")
        headers = {"If-None-Match": first.headers["ETag"]}
        second = visitor.get(f"/plain/{page}/{ann.pk}/?name=Anne", headers=headers)
    assert second.headers[name] == first.headers[name]


class TestLength:
    @WITH_MIDDLEWARE
    def test_a_long_list_of_changes_is_widened(self, visitor: Client):
        assert invalidated(visitor.get("/plain/many/?count=2")) == "user;user_id=0, user;user_id=1"
        assert invalidated(visitor.get("/plain/many/?count=1000")) == "user"

    @WITH_MIDDLEWARE
    def test_a_response_that_depends_on_too_much_is_not_kept(self, visitor: Client):
        response = visitor.get("/plain/many/?count=1000")
        assert ("X-Mizan-Scope" in response.headers, response.headers["Mizan-Cache-Control"]) == (False, "no-store")

    @pytest.mark.parametrize(
        ("field", "shorter"),
        [
            ("a;x=1, b;x=1, b;x=22, b;x=333, b;x=4444, b;x=5", "a;x=1, b"),
            ('a;x="' + "y" * 80 + '", b;x=1', "a, b;x=1"),
            (", ".join(f"context_{number}" for number in range(9)), "*"),
            ('a;x="broken, b;x=1', "a, b;x=1"),
            ('a, "', "*"),
            ("a;x=1;x=2, b", "a;x=1;x=2, b"),
        ],
    )
    def test_widening_keeps_what_it_can(self, field: str, shorter: str):
        assert bounded(field, 40) == shorter
        assert widen(bounded(field, 1), {}).everything


class TestStreams:
    """What changes while a body streams changes after its headers have left."""

    def name(self, running: Site, user: Any) -> str:
        page = running.browser().get(f"/profile/{user.pk}/")
        return page.text.removesuffix(" all")

    def test_a_plain_view(self, running: Site, ann: Any, redis_url: str, namespace: str):
        assert self.name(running, ann) == "Ann"
        with override_settings(MIZAN_CACHE_REDIS_URL=redis_url, MIZAN_CACHE_NAMESPACE=namespace):
            assert running.browser().get(f"/plain/rename-streamed/{ann.pk}/?name=Anna").text == "begun done"
        assert self.name(running, ann) == "Anna"

    def test_a_mutation_whose_change_comes_after_somebody_has_fetched_anew(
        self, running: Site, ann: Any, redis_url: str, namespace: str
    ):
        # 1. the head leaves, and purges; 2. somebody fetches the old name; 3. the name is changed; 4. the stream ends.
        clients.meanwhile.append(lambda: seen.append(self.name(running, ann)))
        seen: list[str] = []
        browser = running.browser()
        browser.get("/api/mizan/session/")
        with override_settings(MIZAN_CACHE_REDIS_URL=redis_url, MIZAN_CACHE_NAMESPACE=namespace):
            assert browser.post_form(f"/rename-streamed/{ann.pk}/", {"name": "Anna"}).text == "begun done"
        assert (seen, self.name(running, ann)) == (["Ann"], "Anna")

    @WITH_MIDDLEWARE
    async def test_under_asgi(self, browser: AsyncClient, redis_url: str, namespace: str):
        user = await User.objects.acreate(username="ann")
        with recorded_purges() as purged:
            response: Any = await browser.get(f"/plain/rename-streamed-later/{user.pk}/?name=Anna")
            assert "X-Mizan-Invalidate" not in response.headers
            assert [part async for part in response.streaming_content] == [b"begun ", b"done"]
        assert purged == [f"user;user_id={user.pk}"]

    @WITH_MIDDLEWARE
    async def test_under_asgi_when_the_client_leaves_while_a_part_is_sent(self, browser: AsyncClient):
        user = await User.objects.acreate(username="ann")
        path, begun, stuck = f"/plain/rename-streamed-later/{user.pk}/", asyncio.Event(), asyncio.Event()

        async def receive() -> Any:
            if not begun.is_set():
                begun.set()
                return {"type": "http.request"}
            await stuck.wait()
            return {"type": "http.disconnect"}

        async def send(event: Any) -> None:
            if event.get("body") == b"done":
                stuck.set()
                await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"name=Anna", "headers": []}
        with recorded_purges() as purged, override_settings(ALLOWED_HOSTS=["*"]):
            await ASGIHandler()(scope, receive, send)
        assert purged == [f"user;user_id={user.pk}"]

    @WITH_MIDDLEWARE
    def test_without_a_way_to_purge_it_is_logged(self, visitor: Client, ann: Any, caplog: pytest.LogCaptureFixture):
        response: Any = visitor.get(f"/plain/rename-streamed/{ann.pk}/?name=Anna")
        assert b"".join(response.streaming_content) == b"begun done"
        assert (
            f"user;user_id={ann.pk} may have changed, and no header of a response can say so: there is no cache"
            in caplog.text
        )


@WITH_MIDDLEWARE
@pytest.mark.parametrize("kind", ["plain view", "call", "page"])
async def test_what_was_changed_is_purged_when_the_client_leaves_before_there_is_a_response(
    browser: AsyncClient, kind: str
):
    user = await User.objects.acreate(username="ann")
    sent = {"fn": "rename_and_stay", "args": {"user_id": user.pk, "name": "Anna"}}
    method, path, body = {
        "plain view": ("GET", f"/plain/rename-and-stay/{user.pk}/", b""),
        "call": ("POST", "/api/mizan/call/", json.dumps(sent).encode()),
        "page": ("POST", f"/rename-and-stay/{user.pk}/", b""),
    }[kind]
    clients.staying[:] = [asyncio.Event()]
    events: Iterator[dict[str, Any]] = iter([{"type": "http.request", "body": body}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        event = next(events)
        if event["type"] == "http.disconnect":
            await clients.staying[0].wait()
        return event

    async def send(event: Any) -> None:
        raise AssertionError("nobody is there")

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"name=Anna", "headers": headers}
    with recorded_purges() as purged, override_settings(ALLOWED_HOSTS=["*"]):
        await ASGIHandler()(scope, receive, send)
    await user.arefresh_from_db()
    assert (user.first_name, purged) == ("Anna", [f"user;user_id={user.pk}"])


class TestNeverBeforeTheCommit:
    @WITH_MIDDLEWARE
    @pytest.mark.parametrize("rolled_back", [False, True])
    def test_a_plain_view_in_somebodys_transaction(self, visitor: Client, ann: Any, rolled_back: bool):
        with recorded_purges() as after, transaction.atomic():
            with recorded_purges() as before:
                visitor.get(f"/plain/rename/{ann.pk}/?name=Anna")
            assert before == []
            transaction.set_rollback(rolled_back)
        assert after == ([] if rolled_back else [f"user;user_id={ann.pk}"])

    @pytest.mark.parametrize(("fail", "after"), [(False, "Anna"), (True, "Ann")])
    def test_under_atomic_requests_what_is_fetched_before_the_commit_is_purged_by_it(
        self, running: Site, ann: Any, fail: bool, after: str
    ):
        # 1. the function changes the name; 2. somebody fetches the old one; 3. commit or rollback; 4. the head leaves.
        path, seen = f"/profile/{ann.pk}/", list[str]()
        browser = running.browser()
        browser.get("/api/mizan/session/")
        clients.meanwhile.append(lambda: seen.append(running.browser().get(path).text))
        args = {"user_id": ann.pk, "name": "Anna", "fail": fail}
        with atomic_requests():
            assert browser.get(path).text == "Ann all"
            reply = browser.post_json("/api/mizan/call/", {"fn": "rename_meanwhile", "args": args})
        assert (reply.status, seen) == (500 if fail else 200, ["Ann all"])
        fetched = browser.get(path)
        assert (fetched.text, "stored" in fetched.cache_status) == (f"{after} all", True)
