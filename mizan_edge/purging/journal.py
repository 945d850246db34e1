"""The journal: purges that Redis has not confirmed, on disk, so that no crash can lose one.

A file of lines, each `crc32 json`. A purge is written, and forced to the disk, before anybody learns that its mutation
was answered; when Redis has confirmed it, a second line says so; and once nothing is open, the file is emptied.

    {"open": 7, "scopes": [["user", [["user_id", "5"]]]], "shapes": {"user": "3f..."}}
    {"open": 8, "everything": true}
    {"closed": 7}

An *intent* is written before a mutation is forwarded, so that what it may change is known if this process dies before
the answer comes.

What does not verify when the file is read again may have been anything, so it stands for a purge of everything.
"""

import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mizan_core.errors import MizanError
from mizan_core.purge import Purge

log = logging.getLogger(__name__)

# While mutations overlap, something is always open, and the file would only grow.
_COMPACT_BYTES = 1 << 20
_JSON = json.JSONEncoder(separators=(",", ":"))


class JournalError(MizanError):
    """The journal cannot be written: what it should hold survives only as long as this process."""


@dataclass(frozen=True, slots=True)
class Open:
    """A purge that Redis has not confirmed, and its number in the journal."""

    number: int
    purge: Purge
    shapes: Mapping[str, str] = field(default_factory=dict)
    """How its contexts were indexed when it was written: by another manifest, its scopes may match nothing."""
    intent: bool = False
    """Whether all that is known is that a mutation was forwarded: it may still be going on."""


class Journal:
    """The journal of one edge.

    # mutable state: `_open`, what is not confirmed, by number; `_next`, the next number; `_file` and its `_size`.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal, or makes one. Raises JournalError."""
        self._path = path
        self._lock = threading.Lock()  # a purge is written in a thread, and a stop may come meanwhile
        try:
            self._file = _opened(path)
            data = _contents(self._file)
            self._open, damaged = _replay(data)
            self._size = len(data)
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
        return [self._open[number] for number in sorted(self._open)]

    def add(self, purge: Purge, shapes: Mapping[str, str] | None = None, *, intent: bool = False) -> int:
        """Writes a purge down, with the shapes of its contexts; its number. Raises JournalError.

        It is on the disk when this returns. An intent may not be: it survives the death of this process, not that of
        the machine, for a disk is too slow to wait for before each mutation.
        """
        with self._lock:
            item = Open(self._next, purge, shapes or {}, intent)
            self._next += 1
            self._write(_line(_record(item)))
            self._open[item.number] = item
        if not intent:
            self._force(item.number)
        return item.number

    def close(self, number: int) -> None:
        """Redis has confirmed this purge. Raises JournalError; then it will only be repeated once more."""
        with self._lock:
            if self._open.pop(number, None) is None:
                return
            try:
                if not self._open:
                    os.ftruncate(self._file, 0)
                    self._size = 0
                elif self._size > _COMPACT_BYTES:
                    self._compact()
                else:
                    self._write(_line({"closed": number}))
            except OSError as error:
                raise JournalError(f"{self._path}: {error.strerror}") from error

    def _force(self, number: int) -> None:
        # Not under the lock: an intent, which the event loop writes, must not wait for the disk.
        try:
            with self._lock:
                # The file may be replaced meanwhile, by one that is on the disk, and has this as well.
                file = os.dup(self._file)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            with self._lock:
                del self._open[number]
            raise JournalError(f"{self._path}: {error.strerror}") from error

    def _write(self, line: bytes) -> None:
        try:
            # One write call: lines of several threads or a crash never interleave inside a line.
            if os.write(self._file, line) != len(line):
                os.ftruncate(self._file, self._size)  # half a line would stand for a purge of everything
                raise JournalError(f"{self._path}: the disk is full")
            self._size += len(line)
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror}") from error

    def _compact(self) -> None:
        """Replaces the file by one with nothing but what is open: at no moment is there a file with less."""
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        file = _opened(new)
        lines = b"".join(_line(_record(item)) for item in self.open)
        if os.write(file, lines) != len(lines):
            os.close(file)
            raise JournalError(f"{self._path}: the disk is full")
        os.fsync(file)
        new.rename(self._path)
        os.close(self._file)
        self._file, self._size = file, len(lines)
        # Else the old file might be there again after a power failure, without what was forced to the disk since.
        _force_names(self._path.parent)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _force_names(folder: Path) -> None:
    """Forces to the disk which files are in a folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _record(item: Open) -> dict[str, object]:
    record = {"open": item.number, **item.purge.to_json()}
    if item.shapes:
        record["shapes"] = dict(item.shapes)
    if item.intent:
        record["intent"] = True
    return record


def _line(record: dict[str, object]) -> bytes:
    text = _JSON.encode(record)
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def _contents(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as reader:
        reader.seek(0)
        return reader.read()


def _replay(data: bytes) -> tuple[dict[int, Open], int]:
    """What is open, and how many lines do not verify."""
    found: dict[int, Open] = {}
    damaged = 0
    for record in _records(data):
        match record:
            case {"open": int(number), **rest}:
                shapes: Any = rest.get("shapes", {})
                found[number] = Open(number, Purge.from_json(rest), shapes, "intent" in rest)
            case {"closed": int(number)}:
                found.pop(number, None)
            case _:
                damaged += 1
    return found, damaged


def _records(data: bytes) -> Iterator[dict[str, Any] | None]:
    """The record of each line, None for one that does not verify. A last line without its end is one of these."""
    lines = data.split(b"\n")
    torn = lines.pop()
    for line in lines:
        crc, _, text = line.partition(b" ")
        yield json.loads(text) if crc == f"{zlib.crc32(text):08x}".encode() else None
    if torn:
        yield None
