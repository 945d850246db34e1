"""The origin's own cache of bundles: the bodies of `ctx/<context>/`, kept in the store that the edge uses as well (or
in `memory_bundles`, for a single process).

Its entries lie in the same namespace and indexes under keys of their own, so whatever purges the edge's entries purges
these. Races, and what excludes them:

1. A mutation commits while a bundle is being made from older data. The fence is read before the functions run, outside
   any transaction (`db.transactions`), so no snapshot is older than it; the mutation purges after its commit and before
   its response leaves. Either the purge finds the entry, or the store refuses it: its fence is from before the purge.
2. A bundle is made inside somebody's open transaction (tests, a middleware). It may hold uncommitted data, or a
   snapshot older than the fence. Then the cache is neither read nor written.
3. A purge fails. What it should have removed may still be there, so this process does not use its cache until the
   purge was repeated with success. Other processes are told by the edge, which purges and journals the same scopes.

Every failure is logged and falls through to the functions.
"""

import logging
from collections.abc import Mapping
from threading import Lock

from mizan.cache.bundle_cache import MAX_RETENTION_S, BundleKey, Hit, Miss
from mizan.cache.doors import PurgeError
from mizan.db.commits import in_transaction
from mizan.declare.compiled import compiled
from mizan_core.errors import MizanError
from mizan_core.keys import derive_cache_key
from mizan_core.purge import Purge
from mizan_core.scopes import Scope, widest
from mizan_core.store import Store, StoreError

FUNCTION = "*bundle"
"""Stands in a key where the edge has null, a function's name or a pattern, none of which it can be."""
MAX_OWED = 500
"""Failed purges are remembered by scope up to here, and by context beyond."""

_TIME_BYTES = 8

logger = logging.getLogger("mizan.cache")


class RedisBundles:
    """The cache in Redis."""

    # Shared between threads, under the lock: `_owed`, the scopes whose purge failed, each with the number of its last
    # failure; `_failures`, how many there were; `_adopted`, the shapes that the store has been told of.

    def __init__(self, reads: Store, purges: Store, secret: bytes) -> None:
        self._secret = secret
        self._reads = reads
        self._purges = purges
        self._lock = Lock()
        self._one_mends = Lock()
        self._owed: dict[Scope, int] = {}
        self._failures = 0
        self._adopted: Mapping[str, str] | None = None

    def look(self, bundle: BundleKey, *, fresh: bool) -> Hit | Miss | None:
        if in_transaction() or not self._ready():
            return None
        key = derive_cache_key(
            self._secret,
            bundle.context,
            bundle.params,
            partition=bundle.partition,
            rev=bundle.rev,
            function=FUNCTION,
            variant=bundle.variant,
        )
        try:
            found = self._reads.run(self._reads.namespace.read([key]))
        except StoreError as error:
            logger.warning("the cache of bundles cannot be read: %s", error)
            return None
        if any(found.corrupt):
            logger.warning("the cache of bundles holds something that this site did not write")
        entry = found.entries[0]
        if entry is None or fresh or len(entry.payload) < _TIME_BYTES:
            return Miss(key, found.fence, found.now_ms)
        made_ms = int.from_bytes(entry.payload[:_TIME_BYTES])
        return Hit(entry.payload[_TIME_BYTES:], max(0, found.now_ms - made_ms) // 1000)

    def keep(self, miss: Miss, body: bytes, *, scopes: tuple[Scope, ...], context: str, retention_s: int) -> None:
        operation = self._reads.namespace.store
        shapes = {context: compiled().manifest.contexts[context].shape}
        try:
            reply = self._reads.run(
                operation(
                    miss.key,
                    miss.now_ms.to_bytes(_TIME_BYTES) + body,
                    fence=miss.fence,
                    scopes=scopes,
                    shapes=shapes,
                    retention_ms=min(retention_s, MAX_RETENTION_S) * 1000,
                    began_ms=miss.now_ms,
                )
            )
        except MizanError as error:
            logger.warning("a bundle of %r was not cached: %s", context, error)
            return
        if reply == "unadopted":
            # Redis was emptied, or began anew: the next look tells it the shapes again.
            with self._lock:
                self._adopted = None
        elif reply == "shape":
            logger.warning("bundles of %r are not cached: another deploy declares other parameters for it", context)

    def purge(self, purge: Purge) -> None:
        try:
            self._send(purge)
        except StoreError as error:
            raise PurgeError(f"the cache of bundles was not purged: {error}") from error

    def owe(self, purge: Purge) -> None:
        scopes = tuple(map(Scope, compiled().manifest.contexts)) if purge.everything else purge.scopes
        with self._lock:
            self._failures += 1
            owed = widest((*self._owed, *scopes))
            if len(owed) > MAX_OWED:
                owed = tuple({Scope(scope.context) for scope in owed})
            self._owed = dict.fromkeys(owed, self._failures)

    def _send(self, purge: Purge) -> None:
        operation = self._purges.namespace.purge
        shapes = compiled().manifest.shapes()
        self._purges.run(operation(purge.scopes, everything=purge.everything, hold_s=purge.hold_s, shapes=shapes))

    def _ready(self) -> bool:
        """Whether nothing is owed and the store knows the shapes; else tries to make it so."""
        shapes = compiled().manifest.shapes()
        with self._lock:
            if not self._owed and self._adopted == shapes:
                return True
        # The others need not wait for a Redis that may not answer.
        if not self._one_mends.acquire(blocking=False):
            return False
        try:
            return self._mend(shapes)
        except StoreError as error:
            logger.warning("the cache of bundles cannot be used: %s", error)
            return False
        finally:
            self._one_mends.release()

    def _mend(self, shapes: Mapping[str, str]) -> bool:
        with self._lock:
            owed, adopted = dict(self._owed), self._adopted
        if owed:
            self._send(Purge.of(owed, compiled().manifest.contexts))
        if adopted != shapes:
            self._purges.run(self._purges.namespace.adopt(shapes))
        with self._lock:
            self._adopted = shapes
            # A scope that failed again after it was read above is owed again: its new number says so.
            self._owed = {scope: number for scope, number in self._owed.items() if owed.get(scope) != number}
            return not self._owed
