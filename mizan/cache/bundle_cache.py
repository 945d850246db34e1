"""What a cache of bundles is: the bodies of `ctx/<context>/`, for the origin itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mizan_core.purge import Purge
from mizan_core.scopes import Scope
from mizan_core.store import Fence

MAX_RETENTION_S = 24 * 3600
"""Nothing is kept longer, whatever its ttl: what no purge has found is gone by then."""


@dataclass(frozen=True, slots=True)
class BundleKey:
    """What tells one bundle from another; see `mizan_core.keys.derive_cache_key`."""

    context: str
    params: Mapping[str, object]
    """Its arguments and every other query parameter, as they were given."""
    partition: str
    rev: int
    variant: str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A kept body, and how long ago it was made."""

    body: bytes
    age_s: int


@dataclass(frozen=True, slots=True)
class Miss:
    """Nothing was kept. `fence` and `now_ms` (by the clock of the cache) belong to what is made now."""

    key: str
    fence: Fence
    now_ms: int


class BundleCache(Protocol):
    """A cache of bundles, and the way to purge it."""

    def look(self, bundle: BundleKey, *, fresh: bool) -> Hit | Miss | None:
        """What is kept of a bundle; None where the cache cannot be used. `fresh` passes over what is there. Never
        raises, nor do `keep` and `owe`."""

    def keep(self, miss: Miss, body: bytes, *, scopes: tuple[Scope, ...], context: str, retention_s: int) -> None:
        """Keeps a body that was made after `miss`."""

    def purge(self, purge: Purge) -> None:
        """Raises PurgeError unless it is confirmed."""

    def owe(self, purge: Purge) -> None:
        """Stays unused until this was purged, which somebody has tried and was not confirmed."""


class NoBundleCache:
    """No cache."""

    def look(self, bundle: BundleKey, *, fresh: bool) -> Hit | Miss | None:
        return None

    def keep(self, miss: Miss, body: bytes, *, scopes: tuple[Scope, ...], context: str, retention_s: int) -> None:
        pass

    def purge(self, purge: Purge) -> None:
        pass

    def owe(self, purge: Purge) -> None:
        pass
