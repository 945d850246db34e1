"""The store for asyncio: for the edge."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import redis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mizan_core.store.connection import check_server, from_url, info, options, translate
from mizan_core.store.link import Command, Link
from mizan_core.store.operations import Namespace, Operation, StoreError
from mizan_core.store.subscription import FAILURES, Subscription, subscribed

T = TypeVar("T")

# More would not have Redis answer sooner.
_LINKS = 64


class AsyncStore:
    """Runs operations on one Redis. Every failure is a StoreError; a retry in silence would hide it, and wait.

    # mutable state: `_turns`, how many more may ask at once; `_free`, the links that nobody uses.
    """

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float) -> None:
        """Connects at the first operation. Raises StoreUnusable for a URL that is none of Redis."""
        self.namespace = namespace
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(_LINKS)
        self._free: list[Link] = []
        # It makes connections, and never holds one.
        self._connections: Any = from_url(
            ConnectionPool.from_url, url, retry=Retry(NoBackoff(), 0), **options(timeout_s)
        )

    async def run(self, operation: Operation[T]) -> T:
        """The operation's result. Raises StoreError."""
        replies = await self._ask(*operation.commands())
        if isinstance(replies[-1], redis.exceptions.NoScriptError):
            replies = await self._ask(*operation.commands(cached=False))
        return operation.parse(*map(_no_error, replies))

    async def check(self) -> None:
        """Raises StoreUnusable for a server that can never serve, StoreError for one that does not answer."""
        (reply,) = await self._ask(("INFO",))
        check_server(info(_no_error(reply)))

    async def answers(self) -> bool:
        """Whether Redis answers at all at the moment."""
        try:
            (reply,) = await self._ask(("PING",))
        except StoreError:
            return False
        return not isinstance(reply, Exception)

    def subscription(self, *channels: str) -> AbstractAsyncContextManager[Subscription]:
        """Enters when Redis has confirmed each channel; what is published from then on can be read, as (channel, data).

        Whatever breaks it raises StoreError, and it is never mended in silence: anything may have been missed.
        """
        return subscribed(self._connections.make_connection(), channels, self._timeout_s)

    async def publish(self, channel: str, data: bytes) -> None:
        """Publishes on a channel. Raises StoreError."""
        (reply,) = await self._ask(("PUBLISH", channel, data))
        _no_error(reply)

    async def close(self) -> None:
        """Closes the connections."""
        while self._free:
            await self._free.pop().close()

    async def _ask(self, *commands: Command) -> list[Any]:
        """The reply to each command, errors among them. Raises StoreError where not all came."""
        try:
            async with self._turns:
                link = self._take() or await Link.open(self._connections.make_connection(), self._timeout_s)
                try:
                    return await link.ask(commands)
                finally:
                    if link.free:  # even where the caller has left: his replies had come
                        self._free.append(link)
        except FAILURES as error:
            raise translate(error) from error

    def _take(self) -> Link | None:
        """A link that nobody uses. Those that have broken meanwhile are let go."""
        while self._free:
            link = self._free.pop()
            if link.free:
                return link
        return None


def _no_error(reply: Any) -> Any:
    if isinstance(reply, redis.RedisError):
        raise translate(reply) from reply
    return reply
