"""The heartbeat counters of test workers, in memory that they inherit."""

import mmap
import tempfile
from typing import Self


class Beats:
    """One 8-byte counter for each slot."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the block
        self._file.truncate(mmap.PAGESIZE)
        self._memory = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)
        self.fd = self._file.fileno()

    def count(self, slot: int) -> int:
        return int.from_bytes(self._memory[8 * slot : 8 * slot + 8], "little")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._memory.close()
        self._file.close()
