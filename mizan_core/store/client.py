"""The store over redis-py's blocking client: for Django, Celery and shells."""

from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mizan_core.store.connection import check_server, from_url, options, translate
from mizan_core.store.operations import Namespace, Operation

T = TypeVar("T")


class Store:
    """Runs operations on one Redis. Every failure is a StoreError; a retry in silence would hide it, and wait."""

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float) -> None:
        """Connects at the first operation. Raises StoreUnusable for a URL that is none of Redis."""
        self.namespace = namespace
        self._redis = from_url(redis.Redis.from_url, url, retry=Retry(NoBackoff(), 0), **options(timeout_s))

    def run(self, operation: Operation[T]) -> T:
        """The operation's result. Raises StoreError."""
        script = operation.script
        arguments: list[Any] = [*operation.keys, *operation.args]
        try:
            try:
                reply = self._redis.evalsha(script.sha, len(operation.keys), *arguments)
            except redis.exceptions.NoScriptError:
                reply = self._redis.eval(script.text, len(operation.keys), *arguments)
        except (redis.RedisError, OSError) as error:
            raise translate(error) from error
        return operation.parse(reply)

    def check(self) -> None:
        """Raises StoreUnusable for a server that can never serve, StoreError for one that does not answer."""
        try:
            info = self._redis.info()
        except (redis.RedisError, OSError, AttributeError) as error:
            raise translate(error) from error
        check_server(info)

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()
