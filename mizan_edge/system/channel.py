"""Two processes that ask each other things over a Unix stream socket.

A frame is a length (4 bytes, big-endian) and that many bytes of JSON, one of:

    ["call", number, name, argument]    answered by one of the next two, under the same number
    ["done", number, value]
    ["failed", number, text]
    ["tell", name, argument]            not answered

It reads and writes the socket itself, not through a transport: a purge waits for two of these frames, and uvloop's
transports send what is written only at the end of the turn. Each write wakes the other process, so what is said while
frames are read goes out behind the last of them, and what can wait goes out with something else.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import orjson

from mizan_core.errors import MizanError
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

Handler = Callable[[Any], Any]
"""Gets the argument, and returns the answer or a coroutine for it, which is run in a task; both are JSON values. What
is told is handled at once, by plain functions only."""

MAX_FRAME_BYTES = 16 << 20
_LENGTH_BYTES = 4
_READ_BYTES = 256 << 10
# For how long what can wait does.
_COMPANY_S = 0.01


class ChannelClosed(MizanError):
    """The process at the other end has gone; whether it has done what it was asked is not known."""


class CallFailed(MizanError):
    """The handler at the other end has failed; the text is its."""


class Channel:
    """One end. Make it inside the event loop, and have `run()` running: it is what hears answers, calls and the end.

    Calls whose handlers wait are handled side by side, all else in the order in which it was said.

    # mutable state: `_received` and `_unsent` bytes; whether frames are being read (`_is_reading`), or the socket takes
    no more (`_is_blocked`); `_timer`, which sends what waits for company; the futures of `_open` calls; `_ended`, set
    once it is closed.
    """

    def __init__(self, sock: socket.socket, handlers: Mapping[str, Handler], tasks: Tasks) -> None:
        """Takes over `sock`, and runs the coroutines of handlers in `tasks`: they outlive the channel."""
        sock.setblocking(False)
        self._sock = sock
        self._handlers = handlers
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._received = bytearray()
        self._unsent = bytearray()
        self._is_reading = self._is_blocked = False
        self._timer: asyncio.TimerHandle | None = None
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._ended = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the other end has gone, or `run()` has been cancelled."""
        return self._ended.is_set()

    async def call(self, name: str, argument: Any = None) -> Any:
        """The other end's answer. Raises ChannelClosed, CallFailed, and ValueError for an argument of over 16 MiB."""
        if self.closed:
            raise ChannelClosed(f"{name}: the other process has gone")
        number = next(self._numbers)
        answer = self._open[number] = self._loop.create_future()
        try:
            self._send(["call", number, name, argument])
            return await answer
        finally:
            del self._open[number]

    def tell(self, name: str, argument: Any = None, *, can_wait: bool = False) -> None:
        """Has the other end handle it, if it is still there. What it does not read is kept in memory meanwhile.

        `can_wait`: it goes out with the next frame, or some 10 ms later; if this process is killed before, never.
        """
        self._send(["tell", name, argument], can_wait=can_wait)

    async def run(self) -> None:
        """Reads until the other end has gone and what it told has been handled. Closes the socket, if cancelled too."""
        self._loop.add_reader(self._sock, self._read)
        try:
            await self._ended.wait()
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
        self._is_reading = True
        try:
            self._take_frames()
        except ValueError as error:
            log.error("a channel is closed, for the other end does not speak its language: %s", error)
            self._close()
        finally:
            self._is_reading = False
        if self._unsent and self._timer is None and not self.closed:
            self._flush()

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
                self._handle(number, name, argument)
            case ["tell", str(name), argument]:
                self._hear(name, argument)
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

    def _handle(self, number: int, name: str, argument: Any) -> None:
        handler = self._handlers.get(name)
        if handler is None:
            self._fail(number, f"nothing here is called {name!r}")
            return
        try:
            answer = handler(argument)
            if not asyncio.iscoroutine(answer):
                self._send(["done", number, answer])
                return
        except Exception as error:
            self._failed(number, name, error)
            return
        self._tasks.start(self._answer(number, name, answer), f"answer-{name}")

    async def _answer(self, number: int, name: str, answer: Coroutine[Any, Any, Any]) -> None:
        try:
            value = await answer
            self._send(["done", number, value])
        except asyncio.CancelledError:
            self._fail(number, f"{name}: this process is ending")
            raise
        except Exception as error:
            self._failed(number, name, error)

    def _failed(self, number: int, name: str, error: Exception) -> None:
        if isinstance(error, MizanError):
            self._fail(number, str(error))
            return
        log.error("a call of %s has failed", name, exc_info=error)
        self._fail(number, f"{name}: {type(error).__name__}: {error}")

    def _fail(self, number: int, text: str) -> None:
        # A text with lone surrogates (of a path, say) is no JSON, and would leave the caller waiting.
        self._send(["failed", number, text.encode("utf-8", "backslashreplace").decode()])

    def _hear(self, name: str, argument: Any) -> None:
        try:
            self._handlers[name](argument)
        except Exception:
            log.exception("what was told as %s could not be handled", name)

    def _send(self, frame: list[Any], *, can_wait: bool = False) -> None:
        if self.closed:
            return
        body = orjson.dumps(frame)
        if len(body) > MAX_FRAME_BYTES:
            raise ValueError(f"{frame[0]}: a frame has at most {MAX_FRAME_BYTES} bytes, not {len(body)}")
        self._unsent += len(body).to_bytes(_LENGTH_BYTES, "big") + body
        if self._is_blocked:
            return
        if not can_wait:
            self._stop_timer()
            if not self._is_reading:
                self._flush()
        elif self._timer is None and not self._is_reading:
            self._timer = self._loop.call_later(_COMPANY_S, self._flush)

    def _flush(self) -> None:
        self._stop_timer()
        del self._unsent[: self._write(self._unsent)]
        if self._unsent and not self._is_blocked:
            self._loop.add_writer(self._sock, self._flush)
        elif self._is_blocked and not self._unsent:
            self._loop.remove_writer(self._sock)
        self._is_blocked = bool(self._unsent)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
        if self.closed:
            return
        self._flush()  # what has waited for company until now
        self._ended.set()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(ChannelClosed("the other process has gone before it answered"))
