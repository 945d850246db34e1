"""Purging from anywhere: views, Celery tasks, the admin, shells.

`purge("user", user_id=5)` goes through the store that the edge uses as well (MIZAN_CACHE_REDIS_URL), else through the
edge's admin listener (MIZAN_EDGE_ADMIN_URL); see `door`. `origin` is the origin's own cache of bundles.
"""

import logging
from typing import Any

from mizan.cache.door import NoCacheError, PurgeError, door
from mizan.cache.origin import bundles
from mizan.declared import declared
from mizan.transactions import after_commit
from mizan_core.resolve import strict
from mizan_core.scopes import USER, Scope, ScopeError

__all__ = ["NoCacheError", "PurgeError", "purge", "purge_all"]

logger = logging.getLogger("mizan.cache")


def purge(context: str, /, *, for_user: Any = None, **params: object) -> None:
    """Purges what depends on a context, narrowed by the context's own parameters: `purge("user", user_id=5)`.

    All given parameters must match; one that is None is not given. `for_user` (a user or its primary key) narrows to
    what was made for that signed-in user: `purge("orders", for_user=request.user)`, on the wire `orders;*user=5`.

    Inside a transaction it happens after the commit, and not at all when that is rolled back. Raises ScopeError (a
    ValueError, which names the nearest valid name) for a context or parameter that nobody declared, NoCacheError where
    neither a store nor an edge is configured, PurgeError where it was not confirmed; after a commit this last one
    comes out of the `atomic` block, when every other purge of it has been tried. With autocommit off it raises
    Django's TransactionManagementError, since nothing tells when that commits: call it after the commit.
    """
    contexts = declared().manifest.contexts
    if for_user is not None and context in contexts and "for_user" in contexts[context].params:
        raise ScopeError(f"the context {context!r} has a parameter named for_user, which purge() keeps for itself")
    user = getattr(for_user, "pk", for_user)
    scope = Scope.of(context, {**params, **({USER: str(user)} if user is not None else {})})
    _purge(strict([str(scope)], contexts))


def purge_all() -> None:
    """Purges everything, of every context. When and with which errors: as `purge`."""
    _purge(())


def _purge(scopes: tuple[Scope, ...]) -> None:
    way = door()

    def run() -> None:
        try:
            way.purge(scopes, everything=not scopes)
        except PurgeError:
            named = ", ".join(map(str, scopes)) or "everything"
            bundles().owe(scopes or tuple(map(Scope, declared().manifest.contexts)))
            logger.exception("purging %s was not confirmed: what depends on it may be out of date", named)
            raise

    after_commit(run)
