"""A file of lines that several processes write to, and that may be rotated while they do.

    # mutable state: the lines that wait, and their `_size`; how many were `_lost`; the open `_file`; whether it is
    # `_ending`.

Lines are written in batches, by a thread: a disk, or a pipe that nobody reads, keeps no request waiting. A file that
was renamed is noticed before the next batch, which goes into a new one under the old name; no signal is needed.
"""

import asyncio
import logging
import os
from contextlib import suppress

from mizan_core.errors import MizanError
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

_EVERY_S = 0.25
# What a disk that stands still may take of memory; beyond it, lines are lost and counted.
_WAITING_BYTES = 8 << 20
# POSIX: of several processes that write to one pipe, so many bytes are not mixed with others'. Files that are appended
# to mix nothing.
_PIPE_BYTES = 4096
STDOUT = "-"


class LogFileError(MizanError):
    """A file that lines cannot be appended to."""


class LogFile:
    """The file at a path, or standard output (`-`)."""

    def __init__(self, path: str, tasks: Tasks) -> None:
        """Opens or makes it. Raises LogFileError."""
        self._path = path
        self._file = _opened(path)
        self._waiting: list[bytes] = []
        self._size = self._lost = 0
        self._ending = asyncio.Event()
        self._writing = tasks.start(self._write_forever(), "write-log-file")

    def add(self, line: bytes) -> None:
        """Has a line, with its end, written soon."""
        if self._size + len(line) > _WAITING_BYTES:
            self._lost += 1
            return
        self._waiting.append(line)
        self._size += len(line)

    async def close(self) -> None:
        """Writes what waits, and closes the file."""
        self._ending.set()
        await asyncio.wait([self._writing])
        if self._path != STDOUT:
            os.close(self._file)

    async def _write_forever(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _EVERY_S)
            await self._write()

    async def _write(self) -> None:
        if not self._waiting:
            return
        lines, lost = self._waiting, self._lost
        self._waiting, self._size, self._lost = [], 0, 0
        try:
            await asyncio.to_thread(self._append, lines)
        except (OSError, LogFileError) as error:
            lost += len(lines)
            log.error("%s cannot be written: %s", self._path, error)
        if lost:
            log.error("%s: %d lines are lost", self._path, lost)

    def _append(self, lines: list[bytes]) -> None:
        if self._path != STDOUT and not _is_at(self._file, self._path):
            os.close(self._file)
            self._file = _opened(self._path)
        for batch in _batches(lines) if self._path == STDOUT else [b"".join(lines)]:
            while batch:
                batch = batch[os.write(self._file, batch) :]


def check_log_file(setting: str, path: str) -> None:
    """Raises LogFileError, which names the setting, for a file that cannot be written."""
    try:
        file = _opened(path)
    except LogFileError as error:
        raise LogFileError(f"{setting}: {error}") from None
    if path != STDOUT:
        os.close(file)


def _opened(path: str) -> int:
    if path == STDOUT:
        return 1
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise LogFileError(f"{path}: {error.strerror}: choose a file that this user can write") from error


def _is_at(file: int, path: str) -> bool:
    """Whether an open file is the one at the path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _batches(lines: list[bytes]) -> list[bytes]:
    """The lines in as few pieces as may be, none longer than a pipe keeps together, unless one line is."""
    batches: list[bytes] = []
    batch = b""
    for line in lines:
        if len(batch) + len(line) > _PIPE_BYTES and batch:
            batches.append(batch)
            batch = b""
        batch += line
    return [*batches, batch]
