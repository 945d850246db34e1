"""The one way out of a purge, whoever asks for it: when what was written is committed, to every cache or to the
origin's own alone.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from django.core.exceptions import SynchronousOnlyOperation

from mizan.cache.configured import bundle_cache, door
from mizan.cache.doors import Door, PurgeError
from mizan.db.commits import after_commit
from mizan.declare.compiled import compiled
from mizan_core.purge import Purge
from mizan_core.scopes import Scope

logger = logging.getLogger("mizan.cache")


def purge_of(scopes: Iterable[Scope]) -> Purge:
    """The purge of these scopes, by what is declared now; of none, it purges nothing."""
    return Purge.of(scopes, compiled().manifest.contexts)


def purge_of_everything() -> Purge:
    """The purge of everything."""
    return Purge.of_everything(compiled().manifest.contexts)


def purge_after_commit(purge: Purge) -> None:
    """Purges the way that is configured, after the commit. Raises what `mizan.cache.purge` raises."""
    if purge.is_empty:
        return
    _refuse_event_loop()
    after_commit(prepared(purge))


def prepared(purge: Purge) -> Callable[[], None]:
    """The same as something to call later. Raises NoCacheError now, where later would be too late to say so."""
    way = door()
    return lambda: _send(purge, way)


def purge_own(purge: Purge, *, at_once: bool) -> None:
    """Purges the origin's own cache after the commit, `at_once` also now: of what a response says to the edge itself.
    What is not confirmed is logged, and made up for before that cache is used again."""

    def run() -> None:
        with suppress(PurgeError):
            _send(purge, bundle_cache())

    after_commit(run, at_once=at_once)


def _send(purge: Purge, way: Door) -> None:
    try:
        way.purge(purge)
    except PurgeError as error:
        bundle_cache().owe(purge)
        logger.error(
            "purging %s was not confirmed, so what depends on it may be out of date; the cache of bundles is not used "
            "until that has been repeated: %s",
            purge,
            error,
        )
        raise


def _refuse_event_loop() -> None:
    # Its thread has none of the connections that the queries use, so it would purge before their commit.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        "a purge waits for the commit of its thread's queries, and in async code those run in another thread: "
        'write `await sync_to_async(purge)("user", user_id=5)`'
    )
