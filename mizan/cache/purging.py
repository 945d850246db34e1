"""Purging the way that is configured, when what was written is committed."""

import asyncio
import logging
from collections.abc import Callable

from django.core.exceptions import SynchronousOnlyOperation

from mizan.cache.door import PurgeError, door
from mizan.cache.origin import bundles
from mizan.declared import declared
from mizan.transactions import after_commit
from mizan_core.scopes import Scope

logger = logging.getLogger("mizan.cache")


def purge_scopes(scopes: tuple[Scope, ...]) -> None:
    """Purges scopes, everything for none, after the commit. Raises what `mizan.cache.purge` raises."""
    _refuse_event_loop()
    after_commit(prepared(scopes))


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


def prepared(scopes: tuple[Scope, ...]) -> Callable[[], None]:
    """The purge as something to call later. Raises NoCacheError now, where later would be too late to say so."""
    way = door()

    def run() -> None:
        try:
            way.purge(scopes, everything=not scopes)
        except PurgeError:
            named = ", ".join(map(str, scopes)) or "everything"
            bundles().owe(scopes or tuple(map(Scope, declared().manifest.contexts)))
            logger.exception("purging %s was not confirmed: what depends on it may be out of date", named)
            raise

    return run
