"""`mizan-edge` as a process of its own."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from mizan_edge.cli import main

ROOT = Path(__file__).parents[2]
SERVING = re.compile(r"serving .* on http://(\S+), admin on http://(\S+)")


@dataclass
class Served:
    """A `mizan-edge serve` process."""

    process: Process
    listen: str = ""
    admin: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        return "".join(self.said)

    async def read_until(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Reads the log up to a line that matches."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while line := (await self.process.stderr.readline()).decode():
                self.said.append(line)
                if match := pattern.search(line):
                    return match
        raise AssertionError(f"it ended without {pattern.pattern!r}: {self.log}")

    async def end(self) -> int:
        """Waits for its end; the exit status."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            self.said.append((await self.process.stderr.read()).decode())
            return await self.process.wait()


async def spawn(*arguments: str | Path, inside: Sequence[str] = (), **environment: str) -> Process:
    """`inside` is what the command begins with."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIZAN")}
    return await asyncio.create_subprocess_exec(
        *inside,
        sys.executable,
        "-m",
        "mizan_edge",
        *map(str, arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env=clean | environment,
    )


async def run(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command that ends."""
    process = await spawn(*arguments, **environment)
    out, error = await asyncio.wait_for(process.communicate(stdin), 20)
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def run_here(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """As `run`, in a thread of this process: for many of the same kind, since a process takes a third of a second to
    start."""
    return await asyncio.to_thread(_run_here, ["mizan-edge", *map(str, arguments)], environment)


def _run_here(arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(TextIOWrapper(BytesIO())) as out,
        redirect_stderr(TextIOWrapper(BytesIO())) as error,
    ):
        patch.setattr(sys, "argv", arguments)
        for name in os.environ:
            if name.startswith("MIZAN"):
                patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
    for stream in out, error:
        stream.seek(0)
    return status, out.read(), error.read()


Serve = Callable[..., Awaitable[Served]]
