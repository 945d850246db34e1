"""Purging the way that is configured, when what was written is committed."""

import logging
from collections.abc import Callable

from mizan.cache.door import PurgeError, door
from mizan.cache.origin import bundles
from mizan.declared import declared
from mizan.transactions import after_commit
from mizan_core.scopes import Scope

logger = logging.getLogger("mizan.cache")


def purge_scopes(scopes: tuple[Scope, ...]) -> None:
    """Purges scopes, everything for none, after the commit. Raises what `mizan.cache.purge` raises."""
    after_commit(prepared(scopes))


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
