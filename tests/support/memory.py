"""How much memory a process has, as Linux counts it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KIB = 1 << 10
MIB = 1 << 20


def resident(pids: Iterable[int]) -> int:
    """The bytes that processes have in memory."""
    return sum(_status(pid, "VmRSS") for pid in pids)


@dataclass(frozen=True, slots=True)
class Growth:
    """What a process comes to need beyond what it had."""

    pid: int
    before: int

    @classmethod
    def of(cls, pid: int) -> "Growth":
        """From now on."""
        # proc(5): the peak begins anew.
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        return cls(pid, resident([pid]))

    @property
    def peak(self) -> int:
        """The bytes that it has had at most, beyond those of the beginning."""
        return _status(self.pid, "VmHWM") - self.before


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    raise AssertionError(f"/proc/{pid}/status has no {name}")
