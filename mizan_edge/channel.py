"""Two processes that ask each other things over a Unix stream socket.

A frame is a length (4 bytes, big-endian) and that many bytes of JSON, one of:

    ["call", number, name, argument]    answered by one of the next two, under the same number
    ["done", number, value]
    ["failed", number, text]
    ["tell", name, argument]            not answered

It reads and writes the socket itself, not through a transport: a purge waits for two of these frames, and uvloop's
transports send what is written only at the end of the turn.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from mizan_core.errors import MizanError
from mizan_edge.tasks import Tasks

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[Any]]

MAX_FRAME_BYTES = 16 << 20
_LENGTH_BYTES = 4
_READ_BYTES = 256 << 10


class ChannelClosed(MizanError):
    """The process at the other end has gone; whether it has done what it was asked is not known."""


class CallFailed(MizanError):
    """The handler at the other end has failed; the text is its."""


class Channel:
    """One end. Make it inside the event loop, and have `run()` running: it is what hears answers, calls and the end.

    A handler gets the argument and returns the answer, both JSON values. Calls are handled side by side. What is told
    is handled one after another, in the order in which it was told.

    # mutable state: `_received` and `_unsent` bytes, the futures of `_open` calls, what was `_told`, and `_closed`.
    """

    def __init__(self, sock: socket.socket, handlers: Mapping[str, Handler], tasks: Tasks) -> None:
        """Takes over `sock`, and runs the handlers of calls in `tasks`: they outlive the channel."""
        sock.setblocking(False)
        self._sock = sock
        self._handlers = handlers
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._received = bytearray()
        self._unsent = bytearray()
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._told: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the other end has gone, or `run()` has been cancelled."""
        return self._closed

    async def call(self, name: str, argument: Any = None) -> Any:
        """The other end's answer. Raises ChannelClosed, CallFailed, and ValueError for an argument of over 16 MiB."""
        if self._closed:
            raise ChannelClosed(f"{name}: the other process has gone")
        number = next(self._numbers)
        answer = self._open[number] = self._loop.create_future()
        try:
            self._send(["call", number, name, argument])
            return await answer
        finally:
            del self._open[number]

    def tell(self, name: str, argument: Any = None) -> None:
        """Has the other end handle it, if it is still there. What it does not read is kept in memory meanwhile."""
        self._send(["tell", name, argument])

    async def run(self) -> None:
        """Reads until the other end has gone and what it told has been handled. Closes the socket, if cancelled too."""
        self._loop.add_reader(self._sock, self._read)
        try:
            while (told := await self._told.get()) is not None:
                await self._hear(*told)
        finally:
            self._close()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        self._received += data
        try:
            self._take_frames()
        except ValueError as error:
            log.error("a channel is closed, for the other end does not speak its language: %s", error)
            self._close()

    def _take_frames(self) -> None:
        start, held = 0, len(self._received)
        while held - start >= _LENGTH_BYTES:
            begin = start + _LENGTH_BYTES
            length = int.from_bytes(self._received[start:begin], "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            if held - begin < length:
                break
            start = begin + length
            self._take(orjson.loads(self._received[begin:start]))
        del self._received[:start]

    def _take(self, frame: Any) -> None:
        match frame:
            case ["call", int(number), str(name), argument]:
                self._tasks.start(self._answer(number, name, argument), f"answer-{name}")
            case ["tell", str(name), argument]:
                self._told.put_nowait((name, argument))
            case ["done", int(number), value]:
                if answer := self._waiting(number):
                    answer.set_result(value)
            case ["failed", int(number), str(text)]:
                if answer := self._waiting(number):
                    answer.set_exception(CallFailed(text))
            case _:
                raise ValueError("a frame of an unknown shape")

    def _waiting(self, number: int) -> "asyncio.Future[Any] | None":
        """The future of a call, unless its caller has been cancelled."""
        answer = self._open.get(number)
        return answer if answer and not answer.done() else None

    async def _answer(self, number: int, name: str, argument: Any) -> None:
        handler = self._handlers.get(name)
        if handler is None:
            self._send(["failed", number, f"nothing here is called {name!r}"])
            return
        try:
            self._send(["done", number, await handler(argument)])
        except asyncio.CancelledError:
            self._send(["failed", number, f"{name}: this process is ending"])
            raise
        except MizanError as error:
            self._fail(number, str(error))
        except Exception as error:
            log.exception("a call of %s has failed", name)
            self._fail(number, f"{name}: {type(error).__name__}: {error}")

    def _fail(self, number: int, text: str) -> None:
        # A text with lone surrogates (of a path, say) is no JSON, and would leave the caller waiting.
        self._send(["failed", number, text.encode("utf-8", "backslashreplace").decode()])

    async def _hear(self, name: str, argument: Any) -> None:
        try:
            await self._handlers[name](argument)
        except Exception:
            log.exception("what was told as %s could not be handled", name)

    def _send(self, frame: list[Any]) -> None:
        if self._closed:
            return
        body = orjson.dumps(frame)
        if len(body) > MAX_FRAME_BYTES:
            raise ValueError(f"{frame[0]}: a frame has at most {MAX_FRAME_BYTES} bytes, not {len(body)}")
        data = len(body).to_bytes(_LENGTH_BYTES, "big") + body
        if self._unsent:
            self._unsent += data
            return
        self._unsent += data[self._write(data) :]
        if self._unsent:
            self._loop.add_writer(self._sock, self._flush)

    def _flush(self) -> None:
        del self._unsent[: self._write(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._sock)

    def _write(self, data: bytes | bytearray) -> int:
        """How many bytes are dealt with."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # The other end has gone. Its last frames may still wait to be read, so the end comes with the EOF.
            return len(data)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(ChannelClosed("the other process has gone before it answered"))
        self._told.put_nowait(None)
