"""One connection to Redis, for asyncio: as little as can stand between a look-up and the socket.

redis-py makes the connection, with all that a URL may ask for (TLS, a user, a database), and gives its socket away.
From then on hiredis packs what is sent and reads what comes, in the very calls of the event loop: redis-py's pool,
stream and parser take some 100 us of CPU for each command.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Self

import hiredis
import redis
from redis._parsers import BaseParser

Command = tuple[str | bytes | int, ...]


async def opened(connection: Any) -> Any:
    """A connection of redis-py's asyncio client, open; or closed again, if it raises what that raises."""
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


class Link(asyncio.Protocol):
    """Asked by one caller at a time. What breaks it breaks it for good.

    # mutable state: `_caller`, who waits; `_replies`, what has come for him, of `_expected`; `_timer`, which ends his
    # wait; `_broken`; `_lost`, once its socket is closed.
    """

    def __init__(self, writer: asyncio.StreamWriter, url: str, timeout_s: float) -> None:
        """`writer` is of an open connection to the server at `url`, of which nobody else knows."""
        self.url = url
        # The writer is kept: it closes its transport when it is collected.
        self._writer = writer
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=redis.exceptions.InvalidResponse,
            replyError=BaseParser.parse_error,
        )
        self._caller: asyncio.Future[list[Any]] | None = None
        self._replies: list[Any] = []
        self._expected = 0
        self._timer: asyncio.TimerHandle | None = None
        self._broken = False
        self._lost = asyncio.Event()
        writer.transport.set_protocol(self)

    @classmethod
    async def open(cls, connection: Any, url: str, timeout_s: float) -> Self:
        """Over a new connection of redis-py's asyncio client. Raises what that raises."""
        await opened(connection)
        # A connection that is collected complains of a socket that it still has.
        writer, connection._writer, connection._reader = connection._writer, None, None
        return cls(writer, url, timeout_s)

    @property
    def free(self) -> bool:
        """Whether it can be asked now."""
        return self._caller is None and not self._broken

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The reply to each command; one that is an error is among them as a redis-py exception.

        Raises redis.TimeoutError where they have not all come in time, redis.RedisError or OSError where the connection
        has broken. A caller who leaves breaks it: nobody else can make use of his replies.
        """
        caller: asyncio.Future[list[Any]] = self._loop.create_future()
        self._caller = caller
        self._replies, self._expected = [], len(commands)
        self._timer = self._loop.call_later(self._timeout_s, self._expired)
        try:
            # Its annotations know commands of one word only.
            packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
            self._writer.transport.write(b"".join(packed))
            return await caller
        finally:
            self._timer.cancel()
            if not self.free:
                await self.close()

    def abort(self) -> None:
        """Breaks it."""
        self._break(redis.ConnectionError("the connection was closed"))

    async def close(self) -> None:
        """Returns when the connection is closed."""
        self.abort()
        await self._lost.wait()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except redis.RedisError as error:
            self._break(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(exc or redis.ConnectionError("the server has closed the connection"))
        self._lost.set()

    def _take(self, reply: Any) -> None:
        caller = self._caller
        if caller is None:
            raise redis.exceptions.InvalidResponse("a reply that nobody has asked for")
        self._replies.append(reply)
        if len(self._replies) == self._expected:
            self._caller = None
            if not caller.done():
                caller.set_result(self._replies)

    def _expired(self) -> None:
        self._break(redis.TimeoutError("Timeout reading from the server"))

    def _break(self, error: Exception) -> None:
        self._broken = True
        self._writer.transport.abort()
        caller, self._caller = self._caller, None
        if caller is not None and not caller.done():
            caller.set_exception(error)
