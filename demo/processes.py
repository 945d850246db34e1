"""The servers of the demo as children, which end when it ends, however it ends."""

import contextlib
import http.client
import os
import queue
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
_LOOK_SECONDS = 0.5
# Whoever connects to anything is given a port above these, and might have it before the server.
_FREE = range(20_000, 32_768)
TAIL_LINES = 15

# Becomes the server after asking the kernel to kill it when the demo dies. Elsewhere than on Linux only an orderly
# end of the demo ends its servers. The demo may be gone before prctl: hence getppid.
_LAUNCHER = """
import ctypes, os, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the demo is gone")
os.execv(command[0], command)
"""


class ServerError(Exception):
    """A server died or did not get ready; the text says which and shows the end of its log."""


class Server:
    """A running child; its output goes to `log`."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.name, self.log = name, log
        with open(log, "wb") as output:
            output.write(f"$ {shlex.join(command)}\n".encode())
            output.flush()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                # The terminal's Ctrl-C is for the demo, which then stops its servers in order.
                start_new_session=True,
            )

    def failure(self, what: str) -> ServerError:
        tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return ServerError("\n".join([f"{self.name} {what}; the end of {self.log}:", *(f"  {x}" for x in tail)]))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Servers:
    """All children. Use it as `with Servers(...) as servers`; the last one started is the first one stopped."""

    def __init__(self, log_directory: Path, env: Mapping[str, str]) -> None:
        self._log_directory, self._env = log_directory, env
        self._running: list[Server] = []
        self._deaths: queue.SimpleQueue[Server] = queue.SimpleQueue()

    def start(self, name: str, command: Sequence[str], *, ready: tuple[int, str]) -> None:
        """Starts a server and returns once it answers 200 at `ready`, a port and a path. Raises ServerError."""
        server = Server(name, command, self._log_directory / f"{name}.log", self._env)
        self._running.append(server)
        threading.Thread(target=self._watch, args=(server,), daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while not answers(*ready):
            if time.monotonic() > deadline:
                raise server.failure(f"was not ready within {START_SECONDS:.0f} s")
            self.check(timeout=POLL_SECONDS)

    def check(self, *, timeout: float | None) -> None:
        """Waits `timeout` seconds, for ever when None, and raises ServerError as soon as any server dies."""
        while True:
            with contextlib.suppress(queue.Empty):
                # A signal that comes just before a wait without end would only be seen after it.
                dead = self._deaths.get(timeout=_LOOK_SECONDS if timeout is None else timeout)
                raise dead.failure(f"ended with status {dead.process.returncode}")
            if timeout is not None:
                return

    def _watch(self, server: Server) -> None:
        server.process.wait()
        self._deaths.put(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C would leave servers behind; this takes STOP_SECONDS each at most.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while self._running:
            self._running.pop().stop()


def answers(port: int, path: str) -> bool:
    """Whether a server on `port` answers 200 at `path` now."""
    connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def choose_port(wanted: int, *, not_in: Sequence[int] = ()) -> int:
    """`wanted` when nobody listens there, else a free port."""
    for port in (wanted, *(random.choice(_FREE) for _ in range(20))):
        if port == 0:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            # Connections of an earlier run that linger in TIME_WAIT do not take the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            if port not in not_in:
                return port
    raise ServerError(f"no free port on {HOST}")
