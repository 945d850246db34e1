"""Intents: what the mutations that are under way may change, in a file that whoever forwards them maps.

    words    magic, how many are not listed
    slots    a word: 0, or length and CRC-32 of the JSON behind it

1. A mutation is forwarded. 2. The process that has forwarded it is killed, or all of the edge is. 3. The origin carries
the mutation out, and nobody hears of it. -- Its reads would be served as before. So it is written here what it may
change, before it is forwarded: the keeper reads it when that process has died, the next start when the edge has.

A mapping, since each mutation would have to wait for a disk, or for the keeper, otherwise: what is written to it stays
when a process dies, though not when the machine does. A slot is written before the word that makes it known, and its
word is taken away before the slot is used again, so whoever is killed at any instruction leaves nothing half said.

What does not fit, or finds no slot, is counted only; and as long as one is, all of it may stand for anything.
"""

import logging
import mmap
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

import orjson

from mizan_core.purge import Purge
from mizan_edge.purging.journal import Journal, JournalError

log = logging.getLogger(__name__)

SLOTS = 512
"""How many are listed."""
SLOT_BYTES = 1024
UNLISTED = 0
"""The number of those that are not."""

_MAGIC = int.from_bytes(b"mizan\0i1")
_WORD = 8
# The first slot has the words that are not of any intent.
_BYTES = (SLOTS + 1) * SLOT_BYTES
_MAGIC_AT, _UNLISTED_AT = 0, 1
_SLOT_WORDS = SLOT_BYTES // _WORD
_NAMES = "intents-*"
_EVERYTHING = Purge(everything=True)


class Intended(NamedTuple):
    """What a mutation may change, and how those contexts were indexed when it was forwarded."""

    purge: Purge
    shapes: Mapping[str, str]


class Intents:
    """Those of one process.

    # mutable state: all in the mapping, see above; `_free`, slots that were used and are not any more.
    """

    def __init__(self, fd: int, path: Path | None = None) -> None:
        """Takes over `fd`, of a file that `create` has made; `path` is where that lies."""
        self.fd = fd
        self._path = path
        self._map = mmap.mmap(fd, _BYTES)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        self._free: list[int] = []

    @classmethod
    def create(cls, state_dir: Path) -> Self:
        """A new file with nothing in it. Where none can be made, memory: then only the death of the process that
        forwards is provided for, as long as the keeper lives."""
        path = state_dir / _NAMES.replace("*", secrets.token_hex(8))
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                # Not only as long as that: to write where the disk has no room would kill the process.
                os.posix_fallocate(fd, 0, _BYTES)
            except OSError:
                os.close(fd)
                path.unlink()
                raise
        except OSError as error:
            log.error("%s: %s: a crash before a mutation is answered would lose what it changes", path, error.strerror)
            fd = os.memfd_create("mizan-intents")
            os.truncate(fd, _BYTES)
            made = cls(fd)
        else:
            made = cls(fd, path)
        made._words[_MAGIC_AT] = _MAGIC
        return made

    def close(self) -> None:
        """Unmaps the file."""
        self._words.release()
        self._bytes.release()
        self._map.close()
        os.close(self.fd)

    def remove(self) -> None:
        """Unmaps the file and deletes it."""
        self.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def add(self, intended: Intended) -> int:
        """Writes down what a mutation may change; its number."""
        data = orjson.dumps([intended.purge.to_json(), intended.shapes])
        number = self._slot() if len(data) <= SLOT_BYTES - _WORD else UNLISTED
        if number == UNLISTED:
            self._words[_UNLISTED_AT] += 1
            return UNLISTED
        start = number * SLOT_BYTES + _WORD
        self._bytes[start : start + len(data)] = data
        self._words[number * _SLOT_WORDS] = len(data) << 32 | zlib.crc32(data)
        return number

    def strike(self, number: int) -> None:
        """What that mutation has changed is purged, or written down elsewhere."""
        if number == UNLISTED:
            self._words[_UNLISTED_AT] -= 1
            return
        self._words[number * _SLOT_WORDS] = 0
        self._free.append(number)

    def __len__(self) -> int:
        """How many mutations are under way."""
        return self._words[_UNLISTED_AT] + len(self._listed())

    @property
    def open(self) -> list[Intended]:
        """What they may change."""
        return _open(self._bytes)

    def _slot(self) -> int:
        """A slot that is free, or UNLISTED."""
        if not self._free:
            used = set(self._listed())
            # The lowest last, which is the first to be used: the fewer pages are written to, the better.
            self._free = [number for number in range(SLOTS, 0, -1) if number not in used]
        return self._free.pop() if self._free else UNLISTED

    def _listed(self) -> list[int]:
        words = self._words
        return [number for number in range(1, SLOTS + 1) if words[number * _SLOT_WORDS]]


def adopt(state_dir: Path, journal: Journal) -> None:
    """Moves what an earlier edge has left there into the journal. Raises JournalError."""
    for path in sorted(state_dir.glob(_NAMES)):
        try:
            left = _open(memoryview(path.read_bytes()))
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}: what mutations may have changed must be read") from error
        for purge, shapes in left:
            journal.add(purge, shapes, intent=True)
        path.unlink(missing_ok=True)


def _open(data: memoryview) -> list[Intended]:
    """What a file lists; everything, if it lists not all, or something that is none."""
    found = []
    try:
        for listed in _listed(data):
            record, shapes = orjson.loads(listed)
            found.append(Intended(Purge.from_json(record), shapes))
    except (ValueError, TypeError, KeyError):
        found.append(Intended(_EVERYTHING, {}))
    return found


def _listed(data: memoryview) -> Iterator[bytes]:
    """The JSON of each. Raises ValueError, behind them, where these are not all."""
    if len(data) != _BYTES:
        raise ValueError("no such file")
    with data.cast("Q") as words:
        damaged = words[_MAGIC_AT] not in (0, _MAGIC) or words[_UNLISTED_AT] > 0
        for number in range(1, SLOTS + 1):
            length, checksum = divmod(words[number * _SLOT_WORDS], 1 << 32)
            if not length:
                damaged = damaged or bool(checksum)
                continue
            start = number * SLOT_BYTES + _WORD
            listed = bytes(data[start : start + length])
            if zlib.crc32(listed) == checksum:
                yield listed
            else:
                damaged = True
    if damaged:
        raise ValueError("something that is not listed")
