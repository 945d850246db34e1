"""What is published on some channels, for asyncio: without a gap, or not at all.

1. A connection breaks. 2. The client connects and subscribes again, and says nothing. 3. What was published in between
is lost, and nobody knows.

redis-py's PubSub does step 2 in each of its methods. So this reads from a connection itself, which connects only where
something is sent over one that is closed; and here nothing is.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import redis

from mizan_core.store.connection import translate
from mizan_core.store.replies import StoreError

# uvloop raises a RuntimeError where a connection that has broken is written to.
FAILURES = (redis.RedisError, OSError, RuntimeError)

_SILENCE_S = 0.5
_PONG_S = 1.0


class Subscription:
    """An iterator over (channel, data) that ends with a StoreError. One task reads it; it may stop and go on at will.

    What has arrived already is handed out without giving way to other tasks.
    """

    def __init__(self, connection: Any, timeout_s: float) -> None:
        """`connection` is an open one of redis-py's asyncio client, of which nobody else knows."""
        self._connection = connection
        self._timeout_s = timeout_s

    async def subscribe(self, channels: tuple[str, ...]) -> None:
        """Returns when Redis has confirmed each channel. Raises StoreError."""
        await self._send("SUBSCRIBE", *channels)
        for channel in channels:
            reply = await self._read(self._timeout_s)
            if reply is None:
                raise StoreError("Redis: no answer to SUBSCRIBE")
            if reply[:2] != [b"subscribe", channel.encode()]:
                raise StoreError(f"Redis: {reply!r:.100} is no answer to SUBSCRIBE")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        while True:
            reply = await self._read(_SILENCE_S)
            if reply is None:
                reply = await self._ping()
            if reply[0] == b"message":
                return reply[1].decode(), reply[2]

    async def _ping(self) -> Any:
        # A peer that is gone without a word is found out by nothing else.
        await self._send("PING")
        # The second look is for what has come while this process was stopped: its timer has run out by then as well.
        reply = await self._read(_PONG_S) or await self._read(0)
        if reply is None:
            raise StoreError(f"Redis: no answer for {_PONG_S} s on a subscription")
        return reply

    async def _send(self, *command: str) -> None:
        if not self._connection.is_connected:
            raise StoreError("Redis: the subscription's connection is closed")
        try:
            await self._connection.send_command(*command)
        except FAILURES as error:
            raise translate(error) from error

    async def _read(self, timeout_s: float) -> Any:
        try:
            # A reader that is cancelled leaves the connection as it is, and what has come in part is kept.
            return await self._connection.read_response(timeout=timeout_s, disconnect_on_error=False)
        except FAILURES as error:
            raise translate(error) from error


@asynccontextmanager
async def subscribed(
    connected: Callable[[], Awaitable[Any]], channels: tuple[str, ...], timeout_s: float
) -> AsyncIterator[Subscription]:
    """A confirmed subscription on what `connected` gives, an open connection of redis-py's asyncio client, which is
    closed behind it. Raises StoreError."""
    connection = await connected()
    try:
        subscription = Subscription(connection, timeout_s)
        await subscription.subscribe(channels)
        yield subscription
    finally:
        await connection.disconnect(nowait=True)
