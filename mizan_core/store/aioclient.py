"""The store over redis-py's asyncio client: for the edge."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mizan_core.store.connection import check_server, from_url, options, translate
from mizan_core.store.operations import Namespace, Operation

T = TypeVar("T")

_PUBSUB_POLL_S = 1.0
# uvloop raises a RuntimeError where a connection that has broken is written to.
_FAILURES = (redis.RedisError, OSError, RuntimeError)


class AsyncStore:
    """Runs operations on one Redis. Every failure is a StoreError; a retry in silence would hide it, and wait."""

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float) -> None:
        """Connects at the first operation. Raises StoreUnusable for a URL that is none of Redis."""
        self.namespace = namespace
        self._url = url
        self._redis = from_url(Redis.from_url, url, retry=Retry(NoBackoff(), 0), **options(timeout_s))

    async def run(self, operation: Operation[T]) -> T:
        """The operation's result. Raises StoreError."""
        script = operation.script
        arguments: list[Any] = [*operation.keys, *operation.args]
        try:
            try:
                reply = await self._redis.evalsha(script.sha, len(operation.keys), *arguments)
            except redis.exceptions.NoScriptError:
                reply = await self._redis.eval(script.text, len(operation.keys), *arguments)
        except _FAILURES as error:
            raise translate(error) from error
        return operation.parse(reply)

    async def check(self) -> None:
        """Raises StoreUnusable for a server that can never serve, StoreError for one that does not answer."""
        try:
            info = await self._redis.info()
        except (*_FAILURES, AttributeError) as error:
            raise translate(error) from error
        check_server(info)

    async def answers(self) -> bool:
        """Whether Redis answers at all at the moment."""
        try:
            await self._redis.ping()
        except _FAILURES:
            return False
        return True

    async def messages(self, channel: str) -> AsyncIterator[str]:
        """What is published on a channel from now on, on a connection of its own. Raises StoreError when it ends."""
        async with from_url(Redis.from_url, self._url, retry=Retry(NoBackoff(), 0), **options(None)) as client:
            try:
                async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(channel)
                    while True:
                        message = await subscription.get_message(timeout=_PUBSUB_POLL_S)
                        if message is not None:
                            yield message["data"].decode()
            except _FAILURES as error:
                raise translate(error) from error

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()
