"""What a client gets: written as fast as the client takes it, and no faster."""

import asyncio
import socket
import struct

ONE_WRITE_BYTES = 64 << 10
"""Head and body leave in one write up to this size, and no write is larger. What a write leaves unsent below TLS can be
seen by nobody: a client that takes nothing would pass for one that is idle, and have its whole answer in memory."""


class Writing:
    """The side of a connection that is written to.

    # mutable state: when it can be written to again (`_writable`), if not now; how many bytes were `_unsent` at the
    last look, and since when there are so many (`_unsent_since`); how many were `sent` by `put` and `write`.
    """

    __slots__ = ("_transport", "_unsent", "_unsent_since", "_writable", "sent")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        # Under TLS, eight times as much would wait.
        transport.set_write_buffer_limits(ONE_WRITE_BYTES)
        self._writable: asyncio.Future[None] | None = None
        self._unsent = 0
        self._unsent_since = 0.0
        self.sent = 0

    @property
    def is_open(self) -> bool:
        """Whether the client takes what it is sent, as far as is known now."""
        return self._writable is None and not self._transport.is_closing()

    @property
    def is_paused(self) -> bool:
        """Whether too much waits to be sent."""
        return self._writable is not None

    @property
    def is_closing(self) -> bool:
        """Whether the connection ends, or has ended."""
        return self._transport.is_closing()

    def put(self, data: bytes) -> None:
        """Sends some bytes, however many wait already. Raises ConnectionError where the client has left."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client has left")
        self._transport.write(data)
        self.sent += len(data)

    def interim(self, data: bytes) -> None:
        """Sends an interim response, which is no part of the answer that is `sent`, unless the client has left."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def write(self, data: bytes) -> None:
        """Sends bytes, however many they are, as the client takes them. Raises ConnectionError."""
        for start in range(0, len(data), ONE_WRITE_BYTES):
            self.put(data[start : start + ONE_WRITE_BYTES])
            await self.drain()

    async def drain(self) -> None:
        """Waits until most of what was written is out. Raises ConnectionError."""
        if self._writable is not None:
            await self._writable
            if self._transport.is_closing():
                raise ConnectionResetError("the client has left")

    def pause(self) -> None:
        """Too much waits to be sent."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """Most of it is out, or never will be."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def stands_still_s(self, now_s: float) -> float | None:
        """For how long, as far as was looked, the client has taken nothing of what waits; None where nothing does.

        `now_s` is that of `time.monotonic`.
        """
        if (unsent := self._transport.get_write_buffer_size()) != self._unsent:
            self._unsent, self._unsent_since = unsent, now_s
        return now_s - self._unsent_since if unsent else None

    def reset(self) -> None:
        """Ends the connection in a way that no client takes for the end of a body. RFC 9112 section 8."""
        if (sock := self._transport.get_extra_info("socket")) is not None and not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()
