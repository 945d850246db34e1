"""The store over redis-py's asyncio client: for the edge."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mizan_core.store.connection import check_server, from_url, options, translate
from mizan_core.store.operations import Namespace, Operation
from mizan_core.store.subscription import FAILURES, Subscription, subscribed

T = TypeVar("T")

# More would not have Redis answer sooner; and redis-py has a limit too, beyond which it fails at once.
_CONNECTIONS = 64


class AsyncStore:
    """Runs operations on one Redis. Every failure is a StoreError; a retry in silence would hide it, and wait."""

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float) -> None:
        """Connects at the first operation. Raises StoreUnusable for a URL that is none of Redis."""
        self.namespace = namespace
        self._timeout_s = timeout_s
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._redis = from_url(Redis.from_url, url, retry=Retry(NoBackoff(), 0), **options(timeout_s))

    async def run(self, operation: Operation[T]) -> T:
        """The operation's result. Raises StoreError."""
        script = operation.script
        arguments: list[Any] = [*operation.keys, *operation.args]
        try:
            async with self._connections:
                try:
                    reply = await self._redis.evalsha(script.sha, len(operation.keys), *arguments)
                except redis.exceptions.NoScriptError:
                    reply = await self._redis.eval(script.text, len(operation.keys), *arguments)
        except FAILURES as error:
            raise translate(error) from error
        return operation.parse(reply)

    async def check(self) -> None:
        """Raises StoreUnusable for a server that can never serve, StoreError for one that does not answer."""
        try:
            info = await self._redis.info()
        except (*FAILURES, AttributeError) as error:
            raise translate(error) from error
        check_server(info)

    async def answers(self) -> bool:
        """Whether Redis answers at all at the moment."""
        try:
            await self._redis.ping()
        except FAILURES:
            return False
        return True

    def subscription(self, *channels: str) -> AbstractAsyncContextManager[Subscription]:
        """Enters when Redis has confirmed each channel; what is published from then on can be read, as (channel, data).

        Whatever breaks it raises StoreError, and it is never mended in silence: anything may have been missed.
        """
        pool: Any = self._redis.connection_pool
        return subscribed(pool.make_connection(), channels, self._timeout_s)

    async def publish(self, channel: str, data: bytes) -> None:
        """Publishes on a channel. Raises StoreError."""
        try:
            await self._redis.publish(channel, data)
        except FAILURES as error:
            raise translate(error) from error

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()
