"""`@purges`, and a worker process that purges what a real edge holds in memory."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.transaction import TransactionManagementError
from django.test import Client, override_settings

from mizan.cache import NoCacheError, PurgeError, purges
from mizan.cache.task import PurgesError
from mizan.test import recorded_purges
from mizan_core.scopes import ScopeError
from tests.django.behind_edge import Site
from tests.django.overrides import by_hand
from tests.django.requests import bundle
from tests.django.site import tasks
from tests.django.site.clients import ran
from tests.support.edge import TOKEN

ROOT = Path(__file__).parents[2]


def worker(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    home = str(Path(settings.DATABASES["default"]["NAME"]).parent)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIZAN")}
    return subprocess.run(
        [sys.executable, "-m", "tests.django.worker", home, code],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestWorkerProcess:
    """Entries that the edge has in memory go, by a purge of a process that no request has anything to do with."""

    @pytest.mark.parametrize("way", ["store", "admin"])
    def test_purge(self, running: Site, ann: Any, redis_url: str, namespace: str, way: str):
        environment = {
            "store": {"MIZAN_CACHE_REDIS_URL": redis_url, "MIZAN_CACHE_NAMESPACE": namespace},
            "admin": {"MIZAN_EDGE_ADMIN_URL": f"http://{running.edge.admin}", "MIZAN_EDGE_ADMIN_TOKEN": TOKEN},
        }[way]
        self.shows(running, ann, "Ann")
        done = worker(f"rename_and_purge({ann.pk}, 'Anna')", **environment)
        assert done.returncode == 0, done.stderr
        self.shows(running, ann, "Anna")
        assert ran["user_profile"] == 2

    def test_a_decorated_task_that_fails_after_its_commit(
        self, running: Site, ann: Any, redis_url: str, namespace: str
    ):
        self.shows(running, ann, "Ann")
        done = worker(
            f"rename({ann.pk}, 'Anna', fail=True)", MIZAN_CACHE_REDIS_URL=redis_url, MIZAN_CACHE_NAMESPACE=namespace
        )
        assert "ZeroDivisionError" in done.stderr
        self.shows(running, ann, "Anna")

    @staticmethod
    def shows(site: Site, user: Any, name: str) -> None:
        """Fetched, and then a hit."""
        browser = site.browser()
        for expected in ("stored", "hit"):
            reply = browser.get(f"/api/mizan/ctx/user/?user_id={user.pk}")
            assert (reply.json["user_profile"]["name"], expected in reply.cache_status) == (name, True)


@pytest.mark.usefixtures("stored")
class TestPurges:
    def named(self, user: Any) -> str:
        return str(bundle(Client(), "user", {"user_id": user.pk}).json()["user_profile"]["name"])

    def test_it_purges_when_the_function_has_returned(self, ann: Any, bob: Any):
        assert self.named(ann), self.named(bob)
        assert tasks.rename(str(ann.pk), name="Anna") == "Anna"
        assert self.named(ann) == "Anna"
        self.named(bob)
        assert ran["user_profile"] == 3

    def test_and_when_it_has_raised(self, ann: Any):
        self.named(ann)
        with pytest.raises(ZeroDivisionError):
            tasks.rename(ann.pk, "Anna", fail=True)
        assert self.named(ann) == "Anna"

    @pytest.mark.parametrize("fail", [False, True])
    def test_in_a_transaction_of_its_caller_after_the_commit(self, ann: Any, fail: bool):
        with recorded_purges() as after, transaction.atomic():
            with recorded_purges() as before:
                try:
                    tasks.rename(ann.pk, "Anna", fail=fail)
                except ZeroDivisionError:
                    assert fail
            assert before == []
        assert after == [f"user;user_id={ann.pk}"]

    def test_a_rollback_of_its_caller_drops_it(self, ann: Any):
        with recorded_purges() as purged, transaction.atomic():
            tasks.rename(ann.pk, "Anna")
            transaction.set_rollback(True)
        assert purged == []

    def test_what_computes_a_value_is_asked_before(self, ann: Any):
        self.named(ann)
        bundle(Client(), "catalog", {"category": "tea"})
        tasks.remove("ann")
        assert bundle(Client(), "user", {"user_id": ann.pk}).status_code == 500
        bundle(Client(), "catalog", {"category": "tea"})
        assert ran["products"] == 2

    @pytest.mark.parametrize("fail", [False, True])
    def test_an_async_function(self, ann: Any, fail: bool):
        self.named(ann)
        try:
            asyncio.run(tasks.rename_later(ann.pk, "Anna", fail=fail))
        except ZeroDivisionError:
            assert fail
        assert self.named(ann) == "Anna"

    def test_an_async_function_behind_another_decorator(self, ann: Any):
        # It is no coroutine function to look at, and what it returns has not begun.
        @purges("user", user_id="user_id")
        @wraps(tasks.rename_alone)
        def traced(*args: Any) -> Any:
            return tasks.rename_alone(*args)

        async def run() -> tuple[list[str], list[str]]:
            with recorded_purges() as before:
                begun = traced(ann.pk, "Anna")
            with recorded_purges() as after:
                await begun
            return before, after

        assert asyncio.run(run()) == ([], [f"user;user_id={ann.pk}"])

    def test_an_async_function_that_is_cancelled_while_its_purge_waits_for_the_thread(self, ann: Any):
        free, busy = threading.Event(), asyncio.Event()

        async def run() -> None:
            task = asyncio.get_running_loop().create_task(tasks.rename_then(ann.pk, "Anna", occupy))
            await busy.wait()
            await asyncio.sleep(0)
            task.cancel()
            for _ in range(5):  # so many turns of the loop take it to what was cancelled
                await asyncio.sleep(0)
            free.set()
            with pytest.raises(asyncio.CancelledError):
                await task

        async def occupy() -> None:
            asyncio.get_running_loop().create_task(sync_to_async(free.wait)(10))
            await asyncio.sleep(0)
            busy.set()

        with recorded_purges() as purged:
            asyncio.run(run())
        assert purged == [f"user;user_id={ann.pk}"]

    def test_a_value_that_the_parameter_cannot_have_widens(self, ann: Any):
        self.named(ann)
        with pytest.raises(ValueError, match="expected a number"):
            tasks.rename("no number", "Anna")
        self.named(ann)
        assert ran["user_profile"] == 2

    def test_it_reaches_functions_without_one_of_its_parameters(self):
        with recorded_purges() as purged:
            tasks.set_locale(5, "en")
        assert purged == ["prefs;user_id=5"]

    def test_a_purge_that_fails_does_not_hide_why_the_function_did(self, ann: Any, caplog: pytest.LogCaptureFixture):
        with override_settings(MIZAN_CACHE_REDIS_URL="unix:///nowhere/redis.sock"):
            with pytest.raises(ZeroDivisionError):
                tasks.rename(ann.pk, "Anna", fail=True)
            assert f"purging user;user_id={ann.pk} was not confirmed" in caplog.text
            with pytest.raises(PurgeError):
                tasks.rename(ann.pk, "Anna")


class TestRefusals:
    def test_what_is_wrong_is_said_before_the_function_runs(self, ann: Any, redis_url: str):
        with pytest.raises(NoCacheError):
            tasks.rename(ann.pk, "Anna")
        with override_settings(MIZAN_CACHE_REDIS_URL=redis_url):
            for context, params, said in [("usr", {}, "'user'"), ("user", {"userid": "user_id"}, "'user_id'")]:
                with pytest.raises(ScopeError, match=f"the nearest is {said}"):
                    purges(context, **params)(tasks.rename)(ann.pk, "Anna")
            with by_hand(), pytest.raises(TransactionManagementError, match="after the commit"):
                tasks.rename(ann.pk, "Anna")
        ann.refresh_from_db()
        assert ann.first_name == "Ann"

    def test_a_generator_and_an_unknown_argument(self):
        def generator() -> Iterator[int]:
            yield 1

        with pytest.raises(PurgesError, match="call purge\\(\\) at its end"):
            purges("user")(generator)
        with pytest.raises(PurgesError, match="user_id='id' names no argument of it: take one of number"):
            purges("user", user_id="id")(lambda number: None)
        with pytest.raises(PurgesError, match="is none"):
            purges("user")(dict)
