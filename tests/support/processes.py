"""Looking at other processes."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether `pid` runs. A zombie does not: where nothing reaps orphans they stay for ever."""
    try:
        os.kill(pid, 0)
        # The name in parentheses may hold anything; the state follows the last one.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (ProcessLookupError, FileNotFoundError):
        return False


def children(pid: int, running: bytes = b"") -> list[int]:
    """The processes that `pid` has started, oldest first: those whose command line holds `running`."""
    try:
        found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return []
    return sorted(child for child in found if running in _command(child))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended meanwhile


def wait_for(condition: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    """Whether `condition()` becomes true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
