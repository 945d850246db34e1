"""What a client sends, as it arrives, for whoever reads it: the body of a request, or its way of a tunnel."""

import asyncio
from collections.abc import Callable

from mizan_edge.http.errors import RefusedError

BUFFER_BYTES = 256 << 10


class Arriving:
    """One body, for one reader.

    # mutable state: the `_chunks` that nobody has taken, and their `_size`; whether it has `_ended`, or by which error;
    the `_waiter` of whoever reads.
    """

    __slots__ = ("_chunks", "_ended", "_error", "_size", "_taken", "_waiter", "_wanted")

    def __init__(self, *, wanted: Callable[[], None], taken: Callable[[], None]) -> None:
        """`wanted` is told each time that somebody begins to wait for more; `taken`, that there is room again."""
        self._wanted = wanted
        self._taken = taken
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: RefusedError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether somebody should read before more comes."""
        return self._size > BUFFER_BYTES

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for more."""
        return self._waiter is not None

    def __aiter__(self) -> "Arriving":
        return self

    async def __anext__(self) -> bytes:
        """Some more of the body. Raises RefusedError where it breaks off."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            self._wanted()
            try:
                await self._waiter
            finally:
                self._waiter = None
        taken = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._taken()
        return taken

    def add(self, data: bytes) -> None:
        """Bytes have come."""
        self._chunks.append(data)
        self._size += len(data)
        self._wake()

    def end(self, error: RefusedError | None = None) -> None:
        """Nothing more will come. What has come can still be read."""
        if not self._ended:
            self._ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
