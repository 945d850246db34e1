"""`mizan-edge` in a terminal, as a person has it."""

import asyncio
import fcntl
import os
import signal
import sys
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.served import ROOT


@dataclass
class Terminal:
    """A command that runs in a terminal."""

    process: Process
    _ours: int

    async def read_until(self, wanted: str) -> str:
        """What it shows, up to something."""
        shown = ""
        async with asyncio.timeout(20):
            while wanted not in shown:
                shown += (await asyncio.to_thread(os.read, self._ours, 65536)).decode()
        return shown

    def write(self, text: str) -> None:
        """Types something."""
        os.write(self._ours, text.encode())

    async def end(self) -> int:
        """Waits for its end; the exit status."""
        async with asyncio.timeout(20):
            # What it still says is read, since a full terminal would keep it from ending.
            with suppress(OSError):  # nobody has the other side open any more
                while await asyncio.to_thread(os.read, self._ours, 65536):
                    pass
            return await self.process.wait()


def _as_a_shell_does() -> None:
    """So that Ctrl-C reaches it, and ends it: what runs in the background ignores that, and so would what it starts."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def in_terminal(*arguments: str | Path, **environment: str) -> AsyncIterator[Terminal]:
    """Runs a command in a terminal; it is killed when the block ends."""
    ours, theirs = os.openpty()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIZAN")}
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "mizan_edge", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=_as_a_shell_does,
        start_new_session=True,
        cwd=ROOT,
        env={**clean, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", **environment},
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()
