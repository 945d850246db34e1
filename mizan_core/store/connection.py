"""What both clients share: how they connect, what failures mean, and which servers can be used."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import redis

from mizan_core.store.replies import StoreError, StoreUnusable

T = TypeVar("T")

MIN_VERSION = (6, 2)
NOT_REDIS = "the server at the Redis URL does not answer like Redis: check host and port"

# What no waiting mends, as opposed to a server that is down, loading or failing over.
_UNUSABLE = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.NoPermissionError,
)


def options(timeout_s: float | None) -> dict[str, Any]:
    """Keyword arguments for redis-py, sync or asyncio; the retry policy differs in type and is the client's own."""
    # Else each connection reads the client's own version off the disk, to tell it to Redis: a millisecond.
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "protocol": 2, "driver_info": None}


def from_url(connect: Callable[..., T], url: str, **settings: Any) -> T:
    """`connect(url, ...)`, redis-py's from_url of either client. Raises StoreUnusable for what is no such URL."""
    try:
        return connect(url, **settings)
    except ValueError:  # whose text may quote a part of the password
        raise StoreUnusable(
            "the Redis URL cannot be read: it is one of redis://HOST, rediss://HOST, unix:///PATH, "
            "redis+cluster://NODE,NODE or redis+sentinel://SENTINEL,SENTINEL/NAME, and special characters of a "
            "password stand there percent-encoded"
        ) from None


def translate(error: Exception) -> StoreError:
    """A failure of redis-py in this project's words."""
    # What goes wrong while connecting comes wrapped from the asyncio client.
    if isinstance(error, redis.ConnectionError) and isinstance(error.__cause__, redis.RedisError):
        return translate(error.__cause__)
    # redis-py reads INFO's reply as text, whatever came.
    if isinstance(error, (redis.exceptions.InvalidResponse, AttributeError)):
        return StoreUnusable(NOT_REDIS)
    if isinstance(error, _UNUSABLE) or str(error).startswith("NOAUTH"):
        return StoreUnusable(f"Redis refuses this client ({error}): correct the password or user in its URL")
    if isinstance(error, (redis.exceptions.AskError, redis.exceptions.TryAgainError)):  # MOVED is an AskError here
        return StoreError("Redis: the site's slot of the cluster is on its way to another node", answered=True)
    answered = isinstance(error, redis.ResponseError)
    return StoreError(f"Redis: {str(error) or type(error).__name__}", answered=answered)


def info(reply: Any) -> dict[str, str]:
    """The fields of a raw reply to INFO. Raises StoreUnusable for what is none."""
    if not isinstance(reply, bytes):
        raise StoreUnusable(NOT_REDIS)
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def check_server(info: Mapping[str, object], *, clustered: bool = False) -> None:
    """Raises StoreUnusable for a server that is too old, or that evicts indexes, or that is a node of a cluster where
    none was named (`clustered`); StoreError for a replica, which may yet be promoted. `info` is the reply of INFO."""
    version = str(info.get("redis_version", ""))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(parts) < 2:
        raise StoreUnusable(NOT_REDIS)
    if parts < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise StoreUnusable(f"Redis {version} is too old: {wanted} or newer is needed")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        raise StoreUnusable(
            f"Redis evicts any key when memory is full (maxmemory-policy {policy}), indexes among them, and purges "
            "would miss entries: set `maxmemory-policy volatile-lru`"
        )
    if str(info.get("cluster_enabled", 0)) == "1" and not clustered:
        raise StoreUnusable("the server at the Redis URL is a node of a cluster: write redis+cluster:// instead")
    if info.get("role", "master") != "master":
        raise StoreError("Redis: the server at its URL is a replica, which cannot be written to: name the primary")
