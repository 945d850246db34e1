"""The ways to the cache from a process of the application: the shared store, or the edge's admin listener."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from mizan.cache import recorder
from mizan.cache.memory import MEMORY_URL, MemoryBundles, memory
from mizan.conf import Conf, conf
from mizan.declared import declared
from mizan_core.errors import MizanError
from mizan_core.keys import secret_bytes
from mizan_core.resolve import Purge
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store, StoreError

PURGE_TIMEOUT_S = 2.0
# A purge that the store does not confirm is answered one lease later, and a lease is about 2 s.
ADMIN_TIMEOUT_S = 15.0


class NoCacheError(MizanError, RuntimeError):
    """Neither a store nor an edge is configured, so nothing can be purged."""


class PurgeError(MizanError, RuntimeError):
    """A purge that was not confirmed: it may or may not have happened."""


class Door(Protocol):
    """A way to purge."""

    def purge(self, purge: Purge) -> None:
        """Raises PurgeError unless it is confirmed."""


@dataclass(frozen=True, slots=True)
class StoreDoor:
    """Purges in the store that the edge uses as well."""

    store: Store

    def purge(self, purge: Purge) -> None:
        shapes = declared().manifest.shapes()
        try:
            self.store.purge(purge.scopes, everything=purge.everything, hold_s=purge.hold_s, shapes=shapes)
        except StoreError as error:
            raise PurgeError(f"the purge was not confirmed: {error}") from error


@dataclass(frozen=True, slots=True, repr=False)
class AdminDoor:
    """Asks the edge at its admin listener."""

    url: str
    token: str | None

    def purge(self, purge: Purge) -> None:
        body = {"all": True} if purge.everything else {"scopes": [str(scope) for scope in purge.scopes]}
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)  # noqa: S310 checked in door()
        try:
            with urllib.request.urlopen(request, timeout=ADMIN_TIMEOUT_S):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(2000).decode(errors="replace")
            raise PurgeError(f"the edge answered the purge with {error.code}: {reason}") from error
        except OSError as error:
            raise PurgeError(f"the edge at {self.url} cannot be asked to purge: {error}") from error


@dataclass(frozen=True, slots=True)
class MemoryDoor:
    """Purges in this process, and asks the edge where there is one."""

    here: MemoryBundles
    edge: AdminDoor | None

    def purge(self, purge: Purge) -> None:
        self.here.purge(purge)
        if self.edge is not None:
            self.edge.purge(purge)


def door() -> Door:
    """The configured way. Raises NoCacheError where there is none."""
    if recorder.active:
        return recorder.Recording()
    here = conf()
    if here.cache_redis_url == MEMORY_URL:
        return MemoryDoor(memory(here.cache_namespace), _admin(here) if here.edge_admin_url else None)
    if here.cache_redis_url:
        return StoreDoor(store(here.cache_redis_url, here, PURGE_TIMEOUT_S))
    return _admin(here)


def edge_door() -> Door:
    """The configured way, if it reaches an edge as well. Raises NoCacheError where there is none."""
    way = door()
    if isinstance(way, MemoryDoor) and way.edge is None:
        raise NoCacheError(
            f"MIZAN_CACHE_REDIS_URL is {MEMORY_URL!r}, which no edge hears of: set MIZAN_EDGE_ADMIN_URL with "
            "MIZAN_EDGE_ADMIN_TOKEN"
        )
    return way


def _admin(here: Conf) -> AdminDoor:
    if not here.edge_admin_url:
        raise NoCacheError(
            "there is no cache to purge: set MIZAN_CACHE_REDIS_URL, or MIZAN_EDGE_ADMIN_URL with MIZAN_EDGE_ADMIN_TOKEN"
        )
    if not here.edge_admin_url.startswith(("http://", "https://")):
        raise NoCacheError(f"MIZAN_EDGE_ADMIN_URL is not an http(s) URL: {here.edge_admin_url!r}")
    return AdminDoor(here.edge_admin_url.rstrip("/") + "/purge", here.edge_admin_token)


_stores: dict[tuple[str, str, str | None, float], Store] = {}
_lock = Lock()


def store(url: str, here: Conf, timeout_s: float) -> Store:
    """The store at a Redis URL, one for each process and timeout."""
    key = (url, here.cache_namespace, here.cache_secret, timeout_s)
    with _lock:
        if key not in _stores:
            # Purging reads no entry, so it works without the secret that seals them.
            sealing = sealing_key(secret_bytes(here.cache_secret)) if here.cache_secret else b""
            _stores[key] = Store(url, Namespace(here.cache_namespace, sealing), timeout_s=timeout_s)
        return _stores[key]
