"""An upgrade: this process becomes the program as it is installed now, and keeps the sockets that it listens on.

The edge is stopped as by SIGTERM, and started as by its command line, under the same process id. At no moment are there
two that hold the state directory, the lease or the journal, so nothing has to be exact that is not exact already. Who
connects in between waits in the queue of a socket that stays open, and is served by the new program.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE
from typing import NoReturn

from mizan_core.errors import MizanError
from mizan_edge.system.inherited import hand_over
from mizan_edge.system.processes import interpreter

# What asks a running edge for a reload and for an upgrade, and would end a process that does not handle it.
_REQUESTS = (signal.SIGHUP, signal.SIGUSR2)
# What keeper and workers are made of.
_LOADED = "import mizan_edge.edge, mizan_edge.running.worker"
_TRIAL_S = 30.0

HandedOn = tuple[list[socket.socket], list[socket.socket]]
"""What the public listener and the admin listener leave to the next program."""


class UpgradeFailed(MizanError):
    """The installed program does not run: the one that runs goes on."""


@dataclass(frozen=True, slots=True)
class Program:
    """How this process was started."""

    arguments: tuple[str, ...]
    """The interpreter's, and all that follow."""
    environment: Mapping[str, str]

    @classmethod
    def of_this_process(cls) -> "Program":
        """To be called before the environment is changed."""
        return cls(tuple(sys.orig_argv), dict(os.environ))

    async def try_out(self) -> None:
        """Raises UpgradeFailed for a program that cannot even be loaded."""
        try:
            process = await asyncio.create_subprocess_exec(
                *interpreter(), "-c", _LOADED, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
            )
        except OSError as error:
            raise UpgradeFailed(f"no upgrade: {sys.executable} cannot be started: {error.strerror}") from None
        try:
            async with asyncio.timeout(_TRIAL_S):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise UpgradeFailed("no upgrade: the installed program is not loaded in time") from None
        if process.returncode:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise UpgradeFailed(f"no upgrade: the installed program cannot be loaded: {last}")

    def become(self, sockets: HandedOn) -> NoReturn:
        """Makes this process the installed program, with these sockets. To be called when the edge has ended."""
        told = hand_over(*sockets, os.getpid())
        os.execve(sys.executable, self.arguments, {**self.environment, **told})  # noqa: S606 - what runs already


def ignore_requests() -> None:
    """Has the signals ignored that ask an edge for something, by the program that this process becomes as well: they
    may come before it handles them."""
    for number in _REQUESTS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def requests_heard(received: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Has these signals told to `received` by the event loop while the block runs, and ignored from then on."""
    loop = asyncio.get_running_loop()
    for number in _REQUESTS:
        loop.add_signal_handler(number, received, number)
    try:
        yield
    finally:
        for number in _REQUESTS:
            loop.remove_signal_handler(number)
        ignore_requests()
