"""`mizan.test`: what an application's own tests can say of purges and caching."""

import unittest
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import Client, TestCase, TransactionTestCase

from mizan.cache import purge, purge_all
from mizan.test import MizanAssertions, recorded_purges, why_not_cacheable
from mizan_core.scopes import ScopeError
from tests.django.requests import bundle, call
from tests.django.site.clients import ran
from tests.django.site.tasks import rename


def failures(body: Callable[[Any], None], *bases: type) -> list[str]:
    """What a test method of a TestCase says when it runs."""
    case = type("Case", (MizanAssertions, *bases), {"runTest": body, "databases": "__all__"})
    result = unittest.TestSuite([case()]).run(unittest.TestResult())
    connections["second"].close()
    del connections["second"]  # a purge asks every database that its thread has used
    assert result.errors == []
    return [text.splitlines()[-1] for _, text in result.failures]


BASES = pytest.mark.parametrize("base", [TestCase, TransactionTestCase])


def passing(case: Any) -> None:
    with case.assertPurges("user", user_id=5):
        purge("user", user_id=5)
    with case.assertPurges("user", user_id=5):
        rename(5, "Anna")
    with case.assertPurges("user", user_id=5), case.assertPurges("catalog"):
        with transaction.atomic():
            purge("user", user_id=5)
        purge("catalog")
    with case.assertPurges("prefs", user_id=5):
        call(case.client, "set_pref", user_id=5, locale="en")
    with case.assertPurges("user", for_user=7):
        purge("user", for_user=7)
    with case.assertPurgesNothing():
        bundle(case.client, "catalog", {"category": "tea"})
    case.assertCacheable(bundle(case.client, "catalog", {"category": "tea"}))
    case.assertNotCacheable(bundle(case.client, "never"))


@BASES
def test_what_is_so_passes(base: type):
    assert failures(passing, base) == []


@BASES
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda: purge("user", user_id=6), "user;user_id=5 was not purged, but user;user_id=6"),
        (lambda: purge_all(), "user;user_id=5 was not purged, but *"),
        (lambda: None, "user;user_id=5 was not purged, but nothing"),
    ],
)
def test_a_purge_that_is_missing_fails_and_says_what_came_instead(base: type, body: Callable[[], None], said: str):
    def missing(case: Any) -> None:
        with case.assertPurges("user", user_id=5):
            body()

    assert failures(missing, base) == [f"AssertionError: {said}"]


def test_what_is_rolled_back_is_not_purged():
    def body(case: Any) -> None:
        del connections["second"]
        with case.assertPurgesNothing(), transaction.atomic():
            purge("user")
            transaction.set_rollback(True)

    assert failures(body, TransactionTestCase) == []


def test_a_purge_too_many_fails():
    def too_many(case: Any) -> None:
        with case.assertPurgesNothing():
            purge("catalog")

    assert failures(too_many, TestCase) == ["AssertionError: nothing was to be purged, and this was: catalog"]


def test_a_scope_that_nobody_declared_is_an_error():
    with pytest.raises(ScopeError, match="the nearest is 'user'"), MizanAssertions().assertPurges("usr"):
        pass


def test_the_hooks_of_the_application_are_left_alone():
    ran = []

    def body(case: Any) -> None:
        with case.captureOnCommitCallbacks(execute=True), case.assertPurges("user"):
            transaction.on_commit(lambda: ran.append("hook"))
            purge("user")
            assert ran == []

    assert (failures(body, TestCase), ran) == ([], ["hook"])


def test_an_exception_of_the_block_is_not_hidden():
    with suppress(ZeroDivisionError), recorded_purges() as purged:
        purge("user")
        raise ZeroDivisionError
    assert purged == ["user"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/api/mizan/ctx/never/", "its context has ttl=0"),
        ("/api/mizan/ctx/mine/?look=session", "session data went into it"),
        ("/cookie/", "it sets a cookie (visited)"),
        ("/", "it has no X-Mizan-Scope"),
        ("/profile/0/", "its function raised"),
    ],
)
def test_why_a_response_is_not_cacheable(path: str, why: str):
    from django.test import Client

    reason = why_not_cacheable(Client(raise_request_exception=False).get(path))
    assert reason is not None and reason.startswith(why)


def test_the_log_has_the_reason_as_well(visitor: Client, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("DEBUG", "mizan.cache"):
        visitor.get("/api/mizan/ctx/mine/?look=session")
    assert "no cache may keep the response to /api/mizan/ctx/mine/: session data went into it" in caplog.text


@pytest.mark.usefixtures("stored")
def test_what_is_recorded_leaves_the_cache_alone(visitor: Client, ann: Any):
    for _ in range(2):
        bundle(visitor, "user", {"user_id": ann.pk})
    assert ran["user_profile"] == 1
    with recorded_purges() as purges:
        call(visitor, "rename_user", user_id=ann.pk, name="Anna")
    assert purges == [f"user;user_id={ann.pk}"]
    bundle(visitor, "user", {"user_id": ann.pk})
    assert ran["user_profile"] == 1
