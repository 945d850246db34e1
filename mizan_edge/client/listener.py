"""The public listener: the connections of clients, how many there may be, and their end."""

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

from mizan_edge.client.access import Access
from mizan_edge.client.connection import ClientConnection
from mizan_edge.client.responds import Responds
from mizan_edge.http.forwarding import Trusted
from mizan_edge.http.limits import Limits
from mizan_edge.memory.prepared import Prepared
from mizan_edge.serving.requests import Requests
from mizan_edge.system.addresses import BACKLOG
from mizan_edge.system.tasks import Tasks

# How often connections are looked at, for those that stand still.
_CHECK_S = 1.0
# Connections beyond the limit that are told so; further ones are cut at once.
_TURNED_AWAY = 256


class Listener:
    """Serves clients on sockets that it is given.

    # mutable state: the `_servers`, one for each socket; the `_open` connections, and how many of these are served
    # (`_served`), in all and by address; once it ends, those that it waits for (`_awaited`) and `_all_lost`.
    """

    def __init__(
        self,
        responds: Responds,
        limits: Limits,
        *,
        trusted: Trusted,
        prepared: Prepared,
        requests: Requests,
        access: Access | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`trusted`: proxies, from which come the connections of many clients."""
        self._responds = responds
        self._limits = limits
        self._trusted = trusted
        self._prepared = prepared
        self._requests = requests
        self._access = access
        self._tls = tls
        self._tasks = Tasks()
        self._servers: list[asyncio.Server] = []
        self._open: dict[ClientConnection, bool] = {}
        self._served = 0
        self._addresses: Counter[str] = Counter()
        self._is_ending = False
        self._awaited: set[ClientConnection] = set()
        self._all_lost = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Takes over bound sockets, and serves whoever connects."""
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if self._tls is not None:
            # A handshake is counted as a connection only when it is done, so it has to be quick.
            tls = {
                "ssl": self._tls,
                "ssl_handshake_timeout": self._limits.head_s,
                # Within it the client takes what is left of its answer, too.
                "ssl_shutdown_timeout": self._limits.write_s,
            }
        for sock in sockets:
            self._servers.append(await loop.create_server(self._connection, sock=sock, backlog=BACKLOG, **tls))
        self._tasks.start(self._check_forever(), "check-connections")

    async def drain(self, timeout_s: float, *, grace_s: float = 0) -> None:
        """Takes no more connections, and returns when requests under way are answered, or after `timeout_s`. What is
        left then is cut; so are tunnels, which end with nothing.

        A client whose connection is idle may be sending a request just now, and would not know why it was cut. So for
        `grace_s` its next request is answered, with the word that the connection ends.
        """
        self._is_ending = True
        for server in self._servers:
            server.close()
        for connection in list(self._open):
            connection.stop()
        # What the system has handed over is made known in the next turn; a handshake takes longer, and cannot be seen.
        await asyncio.sleep(grace_s if self._tls is not None else 0)
        with suppress(TimeoutError):
            await self._until_lost([connection for connection in self._open if not connection.is_tunnel], grace_s)
        for connection in list(self._open):
            connection.leave()
        with suppress(TimeoutError):
            await self._until_lost([connection for connection in self._open if not connection.is_tunnel], timeout_s)
        for connection in list(self._open):
            connection.abort()
        await self._until_lost(self._open, None)
        await self._tasks.stop()

    async def _until_lost(self, connections: Iterable[ClientConnection], timeout_s: float | None) -> None:
        self._awaited = set(connections)
        self._all_lost.clear()
        if self._awaited:
            async with asyncio.timeout(timeout_s):
                await self._all_lost.wait()

    def _connection(self) -> asyncio.Protocol:
        scheme = "http" if self._tls is None else "https"
        connection = ClientConnection(
            self._responds,
            self._limits,
            self._tasks,
            scheme=scheme,
            prepared=self._prepared,
            requests=self._requests,
            trusted=self._trusted,
            access=self._access,
            made=self._made,
            lost=self._lost,
        )
        return cast(asyncio.Protocol, connection)

    def _made(self, connection: ClientConnection) -> bool:
        limits, address = self._limits, connection.peer.address
        # Many clients may come from a trusted proxy, or from a Unix socket, which has no address.
        counted = limits.connections_per_address > 0 and address and not connection.peer.trusted
        if len(self._open) >= limits.connections + _TURNED_AWAY:
            connection.abort()
        if self._is_ending:
            # It was accepted before.
            connection.stop()
            self._awaited.add(connection)
        is_served = self._served < limits.connections and not (
            counted and self._addresses[address] >= limits.connections_per_address
        )
        self._open[connection] = is_served
        if is_served:
            self._served += 1
            self._addresses[address] += 1
        return is_served

    def _lost(self, connection: ClientConnection) -> None:
        if self._open.pop(connection):
            address = connection.peer.address
            self._served -= 1
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
        self._awaited.discard(connection)
        if not self._awaited:
            self._all_lost.set()

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(min(_CHECK_S, self._limits.shortest_s / 4))
            now_s = time.monotonic()
            for connection in list(self._open):
                connection.check(now_s)
