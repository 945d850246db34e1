"""The process that renders: started at the first use, shared by all threads, started again when it has died."""

import atexit
import json
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from itertools import count
from pathlib import Path
from typing import IO, cast

from mizan_core.errors import MizanError

_WORKER = Path(__file__).with_name("worker.mjs")
# A component that ends the process ends what others wait for as well, and these ask again.
_ATTEMPTS = 3
_END_S = 1.0


class RenderError(MizanError):
    """A component could not be rendered; the text says why."""


class _DiedError(Exception):
    """The process ended before it had answered."""


class _Process:
    """One process, until it ends.

    # mutable state: the answers that are `_awaited`, by their numbers; whether it has `_ended`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Raises OSError where it cannot be started."""
        self._popen = subprocess.Popen([*command, str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._stdin, self._stdout = cast(IO[bytes], self._popen.stdin), cast(IO[bytes], self._popen.stdout)
        self._input = self._stdin.fileno()
        # A process that does not read must not hold up whoever writes for longer than he wants to wait.
        os.set_blocking(self._input, False)
        self._writing = threading.Lock()
        self._guard = threading.Lock()
        self._awaited: dict[int, Future[str]] = {}
        self._numbers = count(1)
        self._ended = False
        threading.Thread(target=self._read, name="mizan-ssr", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked, as far as is known."""
        return not self._ended

    def ask(self, file: Path, props: str, until_s: float) -> str:
        """The HTML of a component. `props` is JSON; `until_s` is a time of `time.monotonic`.

        Raises RenderError for what the component said, TimeoutError, and _DiedError.
        """
        answer: Future[str] = Future()
        number = next(self._numbers)
        with self._guard:
            if self._ended:
                raise _DiedError
            self._awaited[number] = answer
        line = f'{{"id":{number},"file":{json.dumps(str(file))},"props":{props}}}\n'.encode()
        try:
            self._write(line, until_s)
            return answer.result(max(0.0, until_s - time.monotonic()))
        finally:
            with self._guard:
                self._awaited.pop(number, None)

    def kill(self) -> None:
        """Ends it at once; what is awaited is told."""
        self._popen.kill()

    def close(self) -> None:
        """Ends it, within a second or so."""
        try:
            self._stdin.close()
            self._popen.wait(_END_S)
        except (OSError, subprocess.TimeoutExpired):
            self._popen.kill()
            self._popen.wait()

    def _write(self, line: bytes, until_s: float) -> None:
        left = memoryview(line)
        # One after the other, or lines of two threads would be mixed.
        if not self._writing.acquire(timeout=max(0.0, until_s - time.monotonic())):
            raise TimeoutError
        try:
            if self._ended:
                raise _DiedError
            while left:
                try:
                    left = left[os.write(self._input, left) :]
                except BlockingIOError:
                    wait_s = until_s - time.monotonic()
                    if wait_s <= 0 or not select.select([], [self._input], [], wait_s)[1]:
                        raise TimeoutError from None
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                # What it has got of this line is no line; nothing can follow it.
                self.kill()
                raise
            # The thread that reads learns of it later, and whoever asks again must not be given this one again.
            with self._guard:
                self._ended = True
            self.kill()
            raise _DiedError from error
        finally:
            self._writing.release()

    def _read(self) -> None:
        with self._stdout:
            for line in self._stdout:
                try:
                    said = json.loads(line)
                    number = said["id"]
                except (ValueError, TypeError, KeyError):
                    continue  # something that was printed past the worker's own way
                with self._guard:
                    answer = self._awaited.get(number)
                if answer is not None:
                    _settle(answer, said)
        with self._guard:
            self._ended = True
            awaited = list(self._awaited.values())
        for answer in awaited:
            _settle(answer, None)
        with self._writing:
            self._stdin.close()
        self._popen.wait()


def _settle(answer: Future[str], said: dict[str, str] | None) -> None:
    try:
        if said is None:
            answer.set_exception(_DiedError())
        elif "html" in said:
            answer.set_result(said["html"])
        else:
            answer.set_exception(RenderError(said.get("error", "no reason was given")))
    except InvalidStateError:
        pass


class Renderer:
    """Renders components, from any thread, in one process that lives as long as this one.

    # mutable state: the `_process`, while there is one.
    """

    def __init__(self, command: Sequence[str] | None = None, *, timeout_s: float = 5.0) -> None:
        """`command` runs JavaScript from a file; by default `bun`, where it is installed, else `node`."""
        self._command = command
        self._timeout_s = timeout_s
        self._starting = threading.Lock()
        self._process: _Process | None = None
        atexit.register(self.close)
        # The process belongs to the parent, whose other threads may have held the lock.
        os.register_at_fork(after_in_child=self._forget)

    def render(self, file: Path, props: str) -> str:
        """The HTML of the component in a file; `props` is JSON. Raises RenderError."""
        until_s = time.monotonic() + self._timeout_s
        for _ in range(_ATTEMPTS):
            process = self._alive()
            try:
                return process.ask(file, props, until_s)
            except TimeoutError:
                # What hangs would hang for whoever comes next.
                process.kill()
                raise RenderError(f"{file.name} took longer than {self._timeout_s:g} s to render") from None
            except _DiedError:
                continue
            except RenderError as error:
                raise RenderError(f"{file.name} cannot be rendered: {error}") from None
        raise RenderError(f"the process that renders ended {_ATTEMPTS} times while it rendered {file.name}")

    def close(self) -> None:
        """Ends the process."""
        with self._starting:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _forget(self) -> None:
        self._starting = threading.Lock()
        self._process = None

    def _alive(self) -> _Process:
        with self._starting:
            process = self._process
            if process is None or not process.is_alive:
                self._process = process = self._start()
            return process

    def _start(self) -> _Process:
        command = self._command or [shutil.which("bun") or "node"]
        try:
            return _Process(command)
        except OSError as error:
            raise RenderError(
                f"{command[0]!r} cannot be run ({error.strerror}): install Node or Bun, or name one in the backend's "
                "OPTIONS, such as {'command': ['/usr/bin/node']}"
            ) from None
