"""The journal: purges that Redis has not confirmed, on disk, so that no crash can lose one.

A file of lines, each `crc32 json`. A purge is written, and forced to the disk, before anybody learns that its mutation
was answered; when Redis has confirmed it, a second line says so; and once nothing is open, the file is emptied.

    {"open": 7, "scopes": ["user;user_id=5"]}       {"open": 8, "everything": true}       {"closed": 7}

What does not verify when the file is read again may have been anything, so it stands for a purge of everything.
"""

import json
import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mizan_core.errors import MizanError
from mizan_core.resolve import Purge
from mizan_core.scopes import Scope

log = logging.getLogger(__name__)


class JournalError(MizanError):
    """The journal cannot be written: what it should hold survives only as long as this process."""


@dataclass(frozen=True, slots=True)
class Open:
    """A purge that Redis has not confirmed, and its number in the journal."""

    number: int
    purge: Purge


class Journal:
    """The journal of one edge.

    # mutable state: `_open`, what is not confirmed, by number; `_next`, the next number; the file.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal, or makes one. Raises JournalError."""
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._open, damaged = _replay(_contents(self._file))
            self._next = max(self._open, default=0) + 1
            if damaged:
                log.error("%s: %d lines do not verify: everything is purged", path, damaged)
                self.add(Purge(everything=True))
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}: the journal needs a disk that can be written") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._file)

    @property
    def open(self) -> list[Open]:
        """The purges that are not confirmed, oldest first."""
        return [Open(number, purge) for number, purge in sorted(self._open.items())]

    def add(self, purge: Purge, *, durable: bool = True) -> int:
        """Writes a purge down; its number. Durable: it is on the disk when this returns. Raises JournalError.

        Without, it survives the death of this process, and not that of the machine.
        """
        number = self._next
        self._next += 1
        self._open[number] = purge
        record: dict[str, object] = {"open": number}
        if purge.everything:
            record["everything"] = True
        else:
            record["scopes"] = [[scope.context, scope.params] for scope in purge.scopes]
        self._write(record, durable=durable)
        return number

    def close(self, number: int) -> None:
        """Redis has confirmed this purge. Raises JournalError; then it will only be repeated once more."""
        if self._open.pop(number, None) is None:
            return
        if self._open:
            self._write({"closed": number}, durable=False)
            return
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror}") from error

    def _write(self, record: dict[str, object], *, durable: bool) -> None:
        text = json.dumps(record, separators=(",", ":"))
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        try:
            # One write call: lines of several threads or a crash never interleave inside a line.
            if os.write(self._file, line) != len(line):
                raise JournalError(f"{self._path}: the disk is full")
            if durable:
                os.fsync(self._file)
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror}") from error


def _contents(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as reader:
        reader.seek(0)
        return reader.read()


def _replay(data: bytes) -> tuple[dict[int, Purge], int]:
    """What is open, and how many lines do not verify."""
    found: dict[int, Purge] = {}
    damaged = 0
    for record in _records(data):
        match record:
            case {"open": int(number), "everything": True}:
                found[number] = Purge(everything=True)
            case {"open": int(number), "scopes": list(scopes)}:
                found[number] = Purge(tuple(Scope(c, tuple((n, v) for n, v in params)) for c, params in scopes))
            case {"closed": int(number)}:
                found.pop(number, None)
            case _:
                damaged += 1
    return found, damaged


def _records(data: bytes) -> Iterator[object]:
    """The record of each line, None for one that does not verify. A last line without its end is one of these."""
    lines = data.split(b"\n")
    torn = lines.pop()
    for line in lines:
        crc, _, text = line.partition(b" ")
        yield json.loads(text) if crc == f"{zlib.crc32(text):08x}".encode() else None
    if torn:
        yield None
