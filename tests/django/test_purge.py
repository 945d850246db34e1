"""`mizan.cache.purge`: for Celery, the admin and shells."""

import json
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import Client, TestCase, override_settings

from mizan.cache import NoCacheError, PurgeError, purge, purge_all
from mizan_core.scopes import ScopeError
from mizan_core.store import Namespace, Store, audit
from tests.django.browsers import by_token, token_of
from tests.django.overrides import by_hand
from tests.django.requests import bundle
from tests.django.site.clients import ran
from tests.support.gate import Gate
from tests.support.redis_server import purges


@pytest.fixture
def second() -> Iterator[None]:
    """This thread uses the second database as well."""
    connections["second"].ensure_connection()
    yield
    connections["second"].close()
    del connections["second"]


class TestThroughTheStore:
    pytestmark = pytest.mark.usefixtures("stored")

    async def test_in_async_code_it_belongs_to_the_thread_of_the_queries(self):
        for purging in (partial(purge, "prefs", user_id=5), purge_all):
            with pytest.raises(SynchronousOnlyOperation, match="await sync_to_async"):
                purging()
            await sync_to_async(purging)()
        await sync_to_async(connections.close_all)()

    def test_it_removes_what_its_parameters_match(self, visitor: Client):
        for user_id in (5, 6):
            bundle(visitor, "prefs", {"user_id": user_id})
            bundle(visitor, "catalog", {"category": f"tea {user_id}"})
        ran.clear()
        purge("catalog", category="tea 5")
        for user_id in (5, 6):
            bundle(visitor, "catalog", {"category": f"tea {user_id}"})
        assert ran["products"] == 1

    def test_it_stands_in_the_audit(self, redis_url: str, namespace: str):
        purge("catalog", category="tea")
        store = Store(redis_url, Namespace(namespace, b""), timeout_s=5)
        (record,) = store.run(audit.read(store.namespace, 10)).purges
        store.close()
        assert record.by["source"] == "django"
        assert record.scopes == ('catalog\n;category="tea"',)
        assert record.acknowledged_ms is not None

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

    @pytest.mark.parametrize("before", [True, False])
    def test_a_hook_of_the_site_that_raises_does_not_keep_it_from_happening(self, visitor: Client, before: bool):
        bundle(visitor, "catalog", {"category": "tea"})

        @transaction.atomic
        def change() -> None:
            if before:
                transaction.on_commit(broken_hook)
            purge("catalog")
            transaction.on_commit(broken_hook)

        with pytest.raises(ZeroDivisionError):
            change()
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 2

    def test_of_several_each_is_tried(self, visitor: Client, caplog: pytest.LogCaptureFixture):
        bundle(visitor, "catalog", {"category": "tea"})

        @transaction.atomic
        def change() -> None:
            with override_settings(MIZAN_CACHE_REDIS_URL="unix:///nowhere/redis.sock"):
                purge("user", user_id=5)
            purge("catalog")

        with pytest.raises(PurgeError):
            change()
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 2
        assert caplog.text.count("purging user;user_id=5 was not confirmed") == 1

    def test_a_savepoint_that_is_rolled_back_drops_its_own_only(self, visitor: Client):
        for category in ("tea", "coffee"):
            bundle(visitor, "catalog", {"category": category})
        with transaction.atomic():
            purge("catalog", category="tea")
            with transaction.atomic():
                purge("catalog", category="coffee")
                transaction.set_rollback(True)
            transaction.on_commit(dict)
        bundle(visitor, "catalog", {"category": "coffee"})
        assert ran["products"] == 2
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 3

    @pytest.mark.usefixtures("second")
    def test_it_happens_once_for_each_transaction(self, redis_url: str, namespace: str):
        with transaction.atomic(), transaction.atomic(using="second"):
            purge("catalog")
        assert purges(redis_url, namespace) == 2

    @pytest.mark.usefixtures("second")
    def test_one_that_fails_now_is_repeated_after_the_open_transaction(self, redis_url: str, visitor: Client):
        bundle(visitor, "catalog", {"category": "tea"})
        gate = Gate(redis_url)
        with gate, override_settings(MIZAN_CACHE_REDIS_URL=gate.url), transaction.atomic():
            gate.shut()
            with pytest.raises(PurgeError):
                purge("catalog")
            gate.open()
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 2

    @pytest.mark.usefixtures("second")
    def test_a_test_case_captures_it_and_none_of_the_hooks_before(self, redis_url: str, namespace: str):
        class Case(TestCase):
            databases = "__all__"

            def runTest(self) -> None:
                transaction.on_commit(broken_hook)
                with self.captureOnCommitCallbacks(execute=True) as hooks:
                    purge("catalog")
                assert len(hooks) == 1

        result = unittest.TestSuite([Case()]).run(unittest.TestResult())
        assert (result.errors, result.failures) == ([], [])
        assert purges(redis_url, namespace) == 1

    @pytest.mark.parametrize("block", [nullcontext, transaction.atomic])
    def test_with_autocommit_off_it_says_when_to_call_it(self, redis_url: str, namespace: str, block: Any):
        with by_hand():
            with block(), pytest.raises(TransactionManagementError, match="after the commit"):
                purge("catalog")
            transaction.commit()
        assert purges(redis_url, namespace) == 0
        purge("catalog")
        assert purges(redis_url, namespace) == 1

    def test_what_is_wrong_is_said_before_the_commit(self):
        with transaction.atomic(), pytest.raises(ScopeError):
            purge("nothing")


def test_the_url_alone_is_enough_to_purge(redis_url: str, namespace: str):
    with override_settings(MIZAN_CACHE_REDIS_URL=redis_url, MIZAN_CACHE_NAMESPACE=namespace):
        purge("user", user_id=5)
    assert purges(redis_url, namespace) == 1


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

    def test_an_edge_that_asks_whether_that_is_meant_is_told_so(self):
        with (
            admin(409) as (url, requests),
            override_settings(MIZAN_EDGE_ADMIN_URL=url),
            pytest.raises(PurgeError, match="409"),
        ):
            purge("user", user_id=5)
        assert [body for _, _, body in requests] == [
            {"scopes": ["user;user_id=5"]},
            {"scopes": ["user;user_id=5"], "confirm": True},
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


def broken_hook() -> None:
    raise ZeroDivisionError


def seen_by_another_thread(look: Any) -> None:
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
