"""For an application's own tests: what was purged, and whether a response may be cached.

    class RenameTests(MizanAssertions, TestCase):
        def test_renaming_purges_the_profile(self):
            with self.assertPurges("user", user_id=5):
                rename(5, "Anna")

    def test_renaming_purges_the_profile(db):
        with recorded_purges() as purges:
            rename(5, "Anna")
        assert purges == ["user;user_id=5"]

Recorded are `purge()`, `@purges`, model signals, `request.mizan.invalidate()` and what mutations say, when the data is
committed: inside Django's TestCase (and pytest-django's `db`), whose transaction never is, as if it were. Meanwhile
nothing leaves for a cache, and none needs to be configured.
"""

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.http import HttpResponseBase

from mizan.cache.recorder import Recorder, active
from mizan.db.commits import conclude_for_test_case, hooks
from mizan.declare.scopes import scopes_of
from mizan.request.headers import NO_STORE, why_refused
from mizan_core.fields import CACHE_CONTROL, SCOPE
from mizan_core.purge import Purge
from mizan_core.scopes import EVERYTHING

__all__ = ["MizanAssertions", "recorded_purges", "why_not_cacheable"]


@contextmanager
def recorded_purges() -> Iterator[list[str]]:
    """A list that holds, after the block, each scope that was purged in it, sorted: "user;user_id=5", "*" for all."""
    recorder, purged = Recorder(), list[str]()
    before = hooks()
    active.append(recorder)
    try:
        yield purged
        conclude_for_test_case(before)
    finally:
        active.remove(recorder)
        purged += sorted({text for purge in recorder.purges for text in _texts(purge)})


def _texts(purge: Purge) -> list[str]:
    return [EVERYTHING] if purge.everything else [str(scope) for scope in purge.scopes]


def why_not_cacheable(response: HttpResponseBase) -> str | None:
    """Why no cache may keep a response of a declared read, or None where the edge may."""
    said = response.headers.get(CACHE_CONTROL, response.headers.get("Cache-Control", ""))
    if response.cookies:
        return f"it sets a cookie ({', '.join(response.cookies)})"
    if refused := why_refused(response):
        return refused
    if SCOPE not in response.headers:
        return f"it has no {SCOPE}, so it is not that of a declared read"
    if NO_STORE in said.lower():
        return f"its {CACHE_CONTROL} is {said!r}: it says so itself, or its request changed something"
    return None


class MizanAssertions(unittest.TestCase):
    """Mix it into a Django TestCase."""

    @contextmanager
    def assertPurges(self, context: str, /, *, for_user: Any = None, **params: object) -> Iterator[None]:
        """Fails unless the block purges exactly this scope, whatever else it purges. Raises ScopeError for a scope that
        nobody declared."""
        (wanted,) = map(str, scopes_of(context, params, for_user=for_user))
        with recorded_purges() as purged:
            yield
        if wanted not in purged:
            self.fail(f"{wanted} was not purged, but {', '.join(purged) or 'nothing'}")

    @contextmanager
    def assertPurgesNothing(self) -> Iterator[None]:
        """Fails if the block purges anything."""
        with recorded_purges() as purged:
            yield
        if purged:
            self.fail(f"nothing was to be purged, and this was: {', '.join(purged)}")

    def assertCacheable(self, response: HttpResponseBase) -> None:
        """Fails, and says why, if no cache may keep the response."""
        if reason := why_not_cacheable(response):
            self.fail(f"the response cannot be cached: {reason}")

    def assertNotCacheable(self, response: HttpResponseBase) -> None:
        """Fails if a cache may keep the response."""
        if why_not_cacheable(response) is None:
            self.fail("the response can be cached")
