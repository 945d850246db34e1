"""Purging from anywhere: views, Celery tasks, the admin, shells.

`purge("user", user_id=5)` goes through the store that the edge uses as well (MIZAN_CACHE_REDIS_URL), else through the
edge's admin listener (MIZAN_EDGE_ADMIN_URL). `@purges("user")` does so when a task has ended.

purging         the one way out of a purge; task and model_contexts are who asks besides `purge()`
doors           the ways to the caches
recorder        what stands in their place while an application's tests look what is purged
bundle_cache    what the origin's own cache of bundles is: in Redis (redis_bundles) or in the process (memory_bundles)
configured      which of all these there are, by the settings
"""

from typing import Any

from mizan.cache.doors import NoCacheError, PurgeError
from mizan.cache.purging import purge_after_commit, purge_of, purge_of_everything
from mizan.cache.task import purges
from mizan.declare.scopes import scopes_of

__all__ = ["NoCacheError", "PurgeError", "purge", "purge_all", "purges"]


def purge(context: str, /, *, for_user: Any = None, **params: object) -> None:
    """Purges what depends on a context, narrowed by the context's own parameters: `purge("user", user_id=5)`.

    All given parameters must match; one that is None is not given. `for_user` (a user or its primary key) narrows to
    what was made for that signed-in user: `purge("orders", for_user=request.user)`, on the wire `orders;*user=5`.

    Inside a transaction it happens after the commit, and not at all when that is rolled back. Raises ScopeError (a
    ValueError, which names the nearest valid name) for a context or parameter that nobody declared, NoCacheError where
    neither a store nor an edge is configured, PurgeError where it was not confirmed; after a commit this last one
    comes out of the `atomic` block, when every other purge of it has been tried. With autocommit off it raises
    Django's TransactionManagementError, since nothing tells when that commits: call it after the commit. In a thread
    that runs an event loop it raises SynchronousOnlyOperation: `await sync_to_async(purge)(...)`.
    """
    purge_after_commit(purge_of(scopes_of(context, params, for_user=for_user)))


def purge_all() -> None:
    """Purges everything, of every context. When and with which errors: as `purge`."""
    purge_after_commit(purge_of_everything())
