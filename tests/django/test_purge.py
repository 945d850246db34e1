"""`mizan.cache.purge`: for Celery, the admin and shells."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.db import transaction
from django.test import Client, override_settings

from mizan.cache import NoCacheError, PurgeError, purge, purge_all
from mizan_core.scopes import ScopeError
from mizan_core.store import Store
from tests.django.requests import bundle
from tests.django.site.clients import ran
from tests.django.test_identity import by_token, token_of


class TestThroughTheStore:
    pytestmark = pytest.mark.usefixtures("stored")

    def test_it_removes_what_its_parameters_match(self, visitor: Client):
        for user_id in (5, 6):
            bundle(visitor, "prefs", {"user_id": user_id})
            bundle(visitor, "catalog", {"category": f"tea {user_id}"})
        ran.clear()
        purge("catalog", category="tea 5")
        for user_id in (5, 6):
            bundle(visitor, "catalog", {"category": f"tea {user_id}"})
        assert ran["products"] == 1

    def test_a_parameter_that_is_none_widens(self, visitor: Client):
        bundle(visitor, "catalog", {"category": "tea"})
        purge("catalog", category=None)
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 2

    def test_it_narrows_to_one_user(self, ann: Any, bob: Any):
        clients = {user.pk: by_token(token_of(user)) for user in (ann, bob)}
        for client in clients.values():
            bundle(client, "slow", {"user_id": ann.pk})
        purge("slow", for_user=ann)
        bundle(clients[bob.pk], "slow", {"user_id": ann.pk})
        assert ran["slow_user"] == 2
        bundle(clients[ann.pk], "slow", {"user_id": ann.pk})
        assert ran["slow_user"] == 3
        purge("slow", for_user=bob.pk)
        bundle(clients[bob.pk], "slow", {"user_id": ann.pk})
        assert ran["slow_user"] == 4

    def test_everything_goes_with_purge_all(self, visitor: Client, ann: Any):
        bundle(visitor, "catalog", {"category": "tea"})
        bundle(visitor, "slow", {"user_id": ann.pk})
        purge_all()
        bundle(visitor, "catalog", {"category": "tea"})
        bundle(visitor, "slow", {"user_id": ann.pk})
        assert (ran["products"], ran["slow_user"]) == (2, 2)

    @pytest.mark.parametrize(
        ("context", "params", "said"),
        [
            ("usr", {}, "the nearest is 'user'"),
            ("user", {"userid": 5}, "the nearest is 'user_id'"),
            ("user", {"user_id": "05"}, "'05' is not how a value"),
            ("user", {"user_id": "five"}, "'five' is not how a value"),
            ("user", {"user_id": {5}}, "has no canonical text"),
        ],
    )
    def test_what_cannot_be_meant_is_a_value_error_that_helps(self, context: str, params: dict[str, Any], said: str):
        with pytest.raises(ValueError, match=said):
            purge(context, **params)

    def test_in_a_transaction_it_happens_after_the_commit(self, visitor: Client):
        bundle(visitor, "catalog", {"category": "tea"})
        with transaction.atomic():
            purge("catalog")
            seen_by_another_thread(lambda: bundle(Client(), "catalog", {"category": "tea"}))
            assert ran["products"] == 1
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 2

    def test_a_rollback_drops_it(self, visitor: Client):
        bundle(visitor, "catalog", {"category": "tea"})
        with transaction.atomic():
            purge("catalog")
            transaction.set_rollback(True)
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 1

    def test_what_is_wrong_is_said_before_the_commit(self):
        with transaction.atomic(), pytest.raises(ScopeError):
            purge("nothing")


def test_the_url_alone_is_enough_to_purge(redis_url: str, namespace: str):
    with override_settings(MIZAN_CACHE_REDIS_URL=redis_url, MIZAN_CACHE_NAMESPACE=namespace):
        purge("user", user_id=5)
    from mizan_core.store import Namespace

    store = Store(redis_url, Namespace(namespace, b""), timeout_s=5)
    assert store.run(store.namespace.read([])).fence.seq == 1
    store.close()


def test_without_a_cache_it_raises_and_says_what_to_set():
    with pytest.raises(NoCacheError, match="MIZAN_CACHE_REDIS_URL, or MIZAN_EDGE_ADMIN_URL"):
        purge("user", user_id=5)


def test_a_store_that_does_not_confirm_is_an_error_that_is_logged(caplog: pytest.LogCaptureFixture):
    with override_settings(MIZAN_CACHE_REDIS_URL="unix:///nowhere/redis.sock"):
        with pytest.raises(PurgeError):
            purge("user", user_id=5)
        with pytest.raises(PurgeError), transaction.atomic():
            purge("user", user_id=5)
    assert caplog.text.count("purging user;user_id=5 was not confirmed") == 2


class TestThroughTheEdge:
    def test_it_posts_to_the_admin_listener(self):
        with (
            admin(200) as (url, requests),
            override_settings(MIZAN_EDGE_ADMIN_URL=f"{url}/", MIZAN_EDGE_ADMIN_TOKEN="token"),
        ):
            purge("user", user_id=5)
            purge_all()
        assert requests == [
            ("/purge", "Bearer token", {"scopes": ["user;user_id=5"]}),
            ("/purge", "Bearer token", {"all": True}),
        ]

    def test_an_answer_that_is_no_confirmation_is_an_error(self):
        with (
            admin(503) as (url, _),
            override_settings(MIZAN_EDGE_ADMIN_URL=url),
            pytest.raises(PurgeError, match="503"),
        ):
            purge("user", user_id=5)

    def test_an_edge_that_is_not_there_is_an_error(self):
        with (
            override_settings(MIZAN_EDGE_ADMIN_URL="http://127.0.0.1:1"),
            pytest.raises(PurgeError, match="cannot be asked"),
        ):
            purge("user", user_id=5)

    def test_a_url_of_another_kind_is_refused(self):
        with override_settings(MIZAN_EDGE_ADMIN_URL="file:///etc/passwd"), pytest.raises(NoCacheError, match="http"):
            purge("user", user_id=5)


def seen_by_another_thread(look: Any) -> None:
    from django.db import connection

    def run() -> None:
        look()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@contextmanager
def admin(status: int) -> Iterator[tuple[str, list[tuple[str, str | None, Any]]]]:
    """An admin listener that answers every request with `status`, and what it was asked."""
    requests: list[tuple[str, str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.path, self.headers["Authorization"], body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()
