"""The cache of bundles in the memory of one process: MIZAN_CACHE_REDIS_URL = "memory://".

For a site that runs as a single process, such as a development server. Another process would never hear of a purge.

A purge and a bundle that is being made meet as in Redis: `look` gives the number of the last purge, and `keep` refuses
a body if a later one, or one whose hold lasts, matches it. Purges that are too old to be remembered refuse everything
that began before them.
"""

import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from mizan.cache.bundle_cache import MAX_RETENTION_S, BundleKey, Hit, Miss
from mizan.db.commits import in_transaction
from mizan_core.purge import Purge
from mizan_core.scopes import Scope
from mizan_core.store import Fence

MEMORY_URL = "memory://"
MAX_BYTES = 64 * 2**20
MAX_PURGES = 1000

Terms = Mapping[str, frozenset[tuple[str, str]]]
"""For each context the parameters by which an entry is found."""


@dataclass(frozen=True, slots=True)
class _Kept:
    body: bytes
    made_s: float
    until_s: float
    terms: Terms


@dataclass(frozen=True, slots=True)
class _Purged:
    number: int
    purge: Purge
    held_until_s: float

    def matches(self, terms: Terms) -> bool:
        scopes = self.purge.scopes
        return self.purge.everything or any(
            s.context in terms and terms[s.context].issuperset(s.params) for s in scopes
        )


class MemoryBundles:
    """The cache of one process."""

    # Shared between threads, under the lock: `_kept`, the entries by key, least recently used first; `_bytes`, what
    # their bodies weigh; `_purges`, the last ones; `_number`, of the last one; `_forgotten`, that of the last one which
    # is not in `_purges` any more; `_held_until_s`, until when one of those may hold.

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic, max_bytes: int = MAX_BYTES) -> None:
        self._now_s = now_s
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._purges: deque[_Purged] = deque()
        self._number = 0
        self._forgotten = 0
        self._held_until_s = 0.0

    def look(self, bundle: BundleKey, *, fresh: bool) -> Hit | Miss | None:
        if in_transaction():
            return None
        key = json.dumps([bundle.context, sorted(bundle.params.items()), bundle.partition, bundle.rev, bundle.variant])
        now_s = self._now_s()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or fresh or kept.until_s <= now_s:
                return Miss(key, Fence("memory", self._number), int(now_s * 1000))
            self._kept.move_to_end(key)
            return Hit(kept.body, int(now_s - kept.made_s))

    def keep(self, miss: Miss, body: bytes, *, scopes: tuple[Scope, ...], context: str, retention_s: int) -> None:
        began_s = miss.now_ms / 1000
        kept = _Kept(body, began_s, began_s + min(retention_s, MAX_RETENTION_S), _terms(scopes))
        with self._lock:
            if miss.fence.seq < self._forgotten or began_s < self._held_until_s:
                return
            late = (p for p in self._purges if p.number > miss.fence.seq or began_s < p.held_until_s)
            if any(purged.matches(kept.terms) for purged in late):
                return
            self._drop(miss.key)
            self._kept[miss.key] = kept
            self._bytes += len(body)
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def purge(self, purge: Purge) -> None:
        with self._lock:
            self._number += 1
            purged = _Purged(self._number, purge, self._now_s() + purge.hold_s if purge.hold_s else 0.0)
            self._purges.append(purged)
            if len(self._purges) > MAX_PURGES:
                oldest = self._purges.popleft()
                self._forgotten = oldest.number
                self._held_until_s = max(self._held_until_s, oldest.held_until_s)
            for key in [key for key, kept in self._kept.items() if purged.matches(kept.terms)]:
                self._drop(key)

    def owe(self, purge: Purge) -> None:
        # It was the edge that has not confirmed; here nothing can fail.
        self.purge(purge)

    def _drop(self, key: str) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self._bytes -= len(kept.body)


def _terms(scopes: tuple[Scope, ...]) -> Terms:
    terms: dict[str, frozenset[tuple[str, str]]] = {}
    for scope in scopes:
        terms[scope.context] = terms.get(scope.context, frozenset()) | set(scope.params)
    return terms


_caches: dict[str, MemoryBundles] = {}
_lock = Lock()


def memory(namespace: str) -> MemoryBundles:
    """The cache of this process, begun at its first use."""
    with _lock:
        return _caches.setdefault(namespace, MemoryBundles())
