"""The store over redis-py's blocking client: for Django, Celery and shells."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mizan_core.purge import By
from mizan_core.scopes import Scope
from mizan_core.store import audit
from mizan_core.store.audit import Acknowledged
from mizan_core.store.connection import check_server, from_url, options, translate
from mizan_core.store.members import Ack, Awaited, acks_channel
from mizan_core.store.operations import Namespace, Operation, nonce, parts
from mizan_core.store.primary import ASKED, FOLLOWED, Search
from mizan_core.store.replies import Purged, StoreError

T = TypeVar("T")

_FAILURES = (redis.RedisError, OSError)


class Store:
    """Runs operations on one Redis. Every failure is a StoreError; a retry in silence would hide it, and wait.

    # mutable state: `_search`, where the primary is; `_clients`, of each server that was asked, by its URL.
    """

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float) -> None:
        """Connects at the first operation. Raises StoreUnusable for a URL that is none of Redis."""
        self.namespace = namespace
        self._timeout_s = timeout_s
        self._search = from_url(Search, url, namespace=namespace.name)
        self._clients: dict[str, redis.Redis] = {}
        if self._search.certain:
            self._client(url)

    def run(self, operation: Operation[T]) -> T:
        """The operation's result. Raises StoreError."""
        replies = self._ask(operation.commands())
        if isinstance(replies[-1], redis.exceptions.NoScriptError):
            replies = self._ask(operation.commands(cached=False))
        for reply in replies:
            if isinstance(reply, redis.RedisError):
                raise translate(reply) from reply
        return operation.parse(*replies)

    def purge(
        self,
        scopes: Iterable[Scope],
        *,
        everything: bool = False,
        hold_s: int = 0,
        shapes: Mapping[str, str] | None = None,
        by: By | None = None,
    ) -> Purged:
        """Purges as `Namespace.purge` says, and returns when no edge can have any of it in memory.

        Each has acknowledged by then, or its lease has run out. Raises StoreError where the purge was not confirmed.
        """
        purger = nonce()
        operations = [
            self.namespace.purge(part, everything=everything, hold_s=hold_s, shapes=shapes, purger=purger, by=by)
            for part in parts(() if everything else list(scopes)) or [()]
        ]
        # Subscribed first: a member may be faster than the reply.
        with closing(self._acks(acks_channel(self.namespace, purger))) as acks:
            awaited = Awaited()
            began_s = time.monotonic()
            done = [self.run(operation) for operation in operations]
            # Who acknowledges the last one has acknowledged them all.
            awaited.replied(done[-1], time.monotonic())
            while not awaited.done and (left_s := awaited.deadline_s() - time.monotonic()) > 0:
                ack = acks.next(left_s)
                if ack is not None:
                    awaited.heard(ack)
            if by is not None:
                self._acknowledged(done, time.monotonic() - began_s)
            return replace(
                done[-1],
                entries=sum(purged.entries for purged in done),
                banned=sum(purged.banned for purged in done),
                scopes=tuple(scope for purged in done for scope in purged.scopes),
            )

    def _acknowledged(self, done: Sequence[Purged], after_s: float) -> None:
        """Has the audit say so; if it cannot, the purge is done nevertheless."""
        with suppress(StoreError):
            self.run(audit.acknowledged(self.namespace, [Acknowledged.of(purged, after_s) for purged in done]))

    def check(self) -> None:
        """Raises StoreUnusable for a server that can never serve, StoreError for one that does not answer."""
        primary = self._primary()
        try:
            info = self._client(primary).info()
        except (redis.RedisError, OSError, AttributeError) as error:
            self._search.failed(primary)
            raise translate(error) from error
        check_server(info, clustered=self._search.guides.kind == "cluster")

    def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            client.close()

    def _ask(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """The reply to each command, errors among them. Raises StoreError where not all came."""
        replies: list[Any] = []
        for _ in range(FOLLOWED):
            primary = self._primary()
            sent: Any
            try:
                with self._client(primary).pipeline(transaction=False) as sent:
                    for command in commands:
                        sent.execute_command(*command)
                    replies = list(sent.execute(raise_on_error=False))
            except _FAILURES as error:
                self._search.failed(primary)
                raise translate(error) from error
            if not self._search.leads_on(replies[-1], primary):
                break
        return replies

    def _acks(self, channel: str) -> "_Acks":
        """Raises StoreError."""
        primary = self._primary()
        try:
            return _Acks(self._client(primary).connection_pool, channel)
        except StoreError:
            self._search.failed(primary)
            raise

    def _primary(self) -> str:
        """The URL of the primary. Raises StoreError."""
        search = self._search
        for left in reversed(range(ASKED)):
            if search.certain:
                break
            node = search.next()
            try:
                try:
                    asked: Any = self._client(node)
                    reply = asked.execute_command(*search.guides.question)
                except redis.ResponseError as error:
                    reply = error
                search.told(reply, node)
            except StoreError:
                if not left:
                    raise
            except _FAILURES as error:
                if not left:
                    raise translate(error) from error
        return search.primary

    def _client(self, url: str) -> redis.Redis:
        """A client of one server. Raises StoreUnusable for what is no URL of Redis."""
        client = self._clients.get(url)
        if client is None:
            client = from_url(redis.Redis.from_url, url, retry=Retry(NoBackoff(), 0), **options(self._timeout_s))
            self._clients[url] = client
        return client


class _Acks:
    """Acknowledgements that come on one channel, on a connection of its own.

    # mutable state: `_broken`, whether none can come any more.
    """

    # Not redis-py's PubSub, which subscribes again in silence; a connection that nothing is sent over stays closed.

    def __init__(self, pool: redis.ConnectionPool, channel: str) -> None:
        """Returns when Redis has confirmed the subscription. Raises StoreError."""
        self._pool = pool
        self._broken = False
        try:
            self._connection = cast(Any, pool.get_connection())
        except _FAILURES as error:
            raise translate(error) from error
        try:
            self._connection.send_command("SUBSCRIBE", channel)
            self._connection.read_response()
        except _FAILURES as error:
            self.close()
            raise translate(error) from error

    def next(self, timeout_s: float) -> Ack | None:
        """The next acknowledgement; None where none comes in time, or something else does."""
        if self._broken:
            # The purge is done, and no lease lasts longer than this.
            time.sleep(timeout_s)
            return None
        try:
            if not self._connection.can_read(timeout_s):
                return None
            _, _, data = self._connection.read_response()
        except _FAILURES:
            self._broken = True
            return None
        return Ack.parse(data)

    def close(self) -> None:
        """Gives the connection back, closed: whoever gets it next is subscribed to nothing."""
        self._connection.disconnect()
        self._pool.release(self._connection)
