"""Which caches there are, and the ways to them: by the settings of this moment, which tests override."""

import logging
from threading import Lock

from mizan.cache import recorder
from mizan.cache.bundle_cache import BundleCache, NoBundleCache
from mizan.cache.doors import AdminDoor, Door, MemoryDoor, NoCacheError, StoreDoor
from mizan.cache.memory_bundles import MEMORY_URL, memory
from mizan.cache.redis_bundles import RedisBundles
from mizan.declare.conf import Conf, conf
from mizan_core.errors import MizanError
from mizan_core.keys import secret_bytes
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store

READ_TIMEOUT_S = 0.1
OWN_PURGE_TIMEOUT_S = 0.25
PURGE_TIMEOUT_S = 2.0

logger = logging.getLogger("mizan.cache")

# Shared between threads, under the lock, and begun once for each of their settings.
_lock = Lock()
_stores: dict[tuple[str, str, str | None, float], Store] = {}
_caches: dict[tuple[str, str, str], RedisBundles] = {}
_warned: set[str] = set()


def door() -> Door:
    """The configured way. Raises NoCacheError where there is none."""
    if recorder.active:
        return recorder.RecordingCache()
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


def bundle_cache() -> BundleCache:
    """The cache of the settings of this moment, begun at its first use; one that keeps nothing while purges are only
    recorded."""
    if recorder.active:
        return recorder.RecordingCache()
    here = conf()
    if here.cache_redis_url == MEMORY_URL:
        return memory(here.cache_namespace)
    if not here.cache_secret or not here.cache_redis_url:
        _warn_of_partial(here)
        return NoBundleCache()
    try:
        return _begun(here.cache_redis_url, here.cache_secret, here)
    except MizanError as error:
        logger.error("the cache of bundles cannot be used: %s", error)
        return NoBundleCache()


def _begun(url: str, secret: str, here: Conf) -> BundleCache:
    key = (url, here.cache_namespace, secret)
    reads, purges = store(url, here, READ_TIMEOUT_S), store(url, here, OWN_PURGE_TIMEOUT_S)
    with _lock:
        if key not in _caches:
            _caches[key] = RedisBundles(reads, purges, secret_bytes(secret))
        return _caches[key]


def _warn_of_partial(here: Conf) -> None:
    # The URL alone is complete: it is all that purge() needs.
    if here.cache_secret and "url" not in _warned:
        _warned.add("url")
        logger.warning("MIZAN_CACHE_SECRET is set and MIZAN_CACHE_REDIS_URL is not: the cache of bundles stays off")


def store(url: str, here: Conf, timeout_s: float) -> Store:
    """The store at a Redis URL, one for each process and timeout."""
    key = (url, here.cache_namespace, here.cache_secret, timeout_s)
    with _lock:
        if key not in _stores:
            # Purging reads no entry, so it works without the secret that seals them.
            sealing = sealing_key(secret_bytes(here.cache_secret)) if here.cache_secret else b""
            _stores[key] = Store(url, Namespace(here.cache_namespace, sealing), timeout_s=timeout_s)
        return _stores[key]
