"""The store for asyncio: for the edge."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import redis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mizan_core.store.connection import check_server, from_url, info, options, translate
from mizan_core.store.link import Command, Link, opened
from mizan_core.store.operations import Namespace, Operation
from mizan_core.store.primary import ASKED, FOLLOWED, Search
from mizan_core.store.replies import StoreError
from mizan_core.store.subscription import FAILURES, Subscription, subscribed

T = TypeVar("T")

# More would not have Redis answer sooner.
_LINKS = 64


class AsyncStore:
    """Runs operations on one Redis. Every failure is a StoreError; a retry in silence would hide it, and wait.

    # mutable state: `_turns`, how many more may ask at once; `_search`, where the primary is; `_free`, the links to it
    # that nobody uses.
    """

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float) -> None:
        """Connects at the first operation. Raises StoreUnusable for a URL that is none of Redis."""
        self.namespace = namespace
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(_LINKS)
        self._free: list[Link] = []
        self._search = from_url(Search, url, namespace=namespace.name)
        self._searching = asyncio.Lock()
        if self._search.certain:
            self._connection(url)

    @property
    def searches(self) -> bool:
        """Whether its primary may be one server now and another later."""
        return self._search.guides.kind != "itself"

    async def run(self, operation: Operation[T]) -> T:
        """The operation's result. Raises StoreError."""
        replies = await self._ask(*operation.commands())
        if isinstance(replies[-1], redis.exceptions.NoScriptError):
            replies = await self._ask(*operation.commands(cached=False))
        return operation.parse(*map(_no_error, replies))

    async def check(self) -> None:
        """Raises StoreUnusable for a server that can never serve, StoreError for one that does not answer."""
        (reply,) = await self._ask(("INFO",))
        check_server(info(_no_error(reply)), clustered=self._search.guides.kind == "cluster")

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
        return subscribed(self._connected, channels, self._timeout_s)

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
        search, primary, replies = self._search, "", []
        try:
            async with self._turns:
                for _ in range(FOLLOWED):
                    if not search.certain:
                        await self._find()
                    primary = search.primary
                    link = self._take(primary) or await Link.open(self._connection(primary), primary, self._timeout_s)
                    try:
                        replies = await link.ask(commands)
                    finally:
                        if link.free and link.url == search.primary:
                            self._free.append(link)  # even where the caller has left: his replies had come
                        else:
                            link.abort()
                    if not isinstance(replies[-1], redis.RedisError) or not search.leads_on(replies[-1], primary):
                        break
                return replies
        except FAILURES as error:
            search.failed(primary)
            raise translate(error) from error

    async def _find(self) -> None:
        """Returns when it is known where the primary is. Raises StoreError, or what redis-py raises."""
        search = self._search
        async with self._searching:
            for left in reversed(range(ASKED)):
                if search.certain:
                    return
                node = search.next()
                try:
                    link = await Link.open(self._connection(node), node, self._timeout_s)
                    try:
                        (reply,) = await link.ask([search.guides.question])
                    finally:
                        await link.close()
                    search.told(reply, node)
                except (*FAILURES, StoreError):
                    if not left:
                        raise

    async def _connected(self) -> Any:
        """A new connection to the primary, of which nobody else knows. Raises StoreError."""
        primary = ""
        try:
            if not self._search.certain:
                await self._find()
            primary = self._search.primary
            return await opened(self._connection(primary))
        except FAILURES as error:
            self._search.failed(primary)
            raise translate(error) from error

    def _connection(self, url: str) -> Any:
        """A connection to a server, not yet open. Raises StoreUnusable for what is no URL of Redis."""
        pool: Any = from_url(ConnectionPool.from_url, url, retry=Retry(NoBackoff(), 0), **options(self._timeout_s))
        return pool.make_connection()

    def _take(self, primary: str) -> Link | None:
        """A link that nobody uses. Those that have broken meanwhile, or lead elsewhere, are let go."""
        if self._free and self._free[0].url != primary:
            for link in self._free:
                link.abort()
            self._free.clear()
        while self._free:
            link = self._free.pop()
            if link.free:
                return link
        return None


def _no_error(reply: Any) -> Any:
    if isinstance(reply, redis.RedisError):
        raise translate(reply) from reply
    return reply
