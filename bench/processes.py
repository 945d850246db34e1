"""Servers as children, each held to some processors; and what they have used of them."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_START_S = 30.0
_STOP_S = 10.0
_TAIL_LINES = 15
# Whoever connects to anything is given a port above these, and might have it before the server.
_FREE = range(20_000, 32_768)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something that is needed is missing, or does not do what it should; the text says what to do."""


class Processors:
    """The processors that this process may use: the first for the server that is measured, the others for the rest."""

    def __init__(self) -> None:
        first, *others = sorted(os.sched_getaffinity(0))
        self.server = {first}
        self.others = set(others) or {first}


class Children:
    """Servers that end when the block does, the last one first.

    # mutable state: those that run.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        processors: Iterable[int],
        ready: Callable[[], bool],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Starts a server, and gives its process id once it is `ready`. Raises BenchError with the end of its log."""
        log = self._logs / f"{name}.log"
        held = ["taskset", "--cpu-list", ",".join(map(str, processors)), "setpriv", "--pdeathsig", "TERM"]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [*held, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=env,
                # Ctrl-C is for the benchmark, which then stops its servers.
                start_new_session=True,
            )
        self._running.append(process)
        deadline_s = time.monotonic() + _START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline_s:
                tail = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
                raise BenchError("\n  ".join([f"{name} did not start:", *tail]))
            time.sleep(0.02)
        return process.pid

    def stop(self, pid: int) -> None:
        """Ends one of them."""
        (process,) = (one for one in self._running if one.pid == pid)
        self._running.remove(process)
        _stop(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            _stop(self._running.pop())


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of this host on which nobody listens."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = random.choice(_FREE)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BenchError(f"no free port on {HOST}")


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this host."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {int(path.name): _stat(path)[1] for path in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_s(pid: int) -> float:
    """The seconds of processor time, user and system, that a process and all that descend from it have used."""
    return sum(_stat(Path(f"/proc/{one}"))[0] for one in family(pid))


def memory_bytes(pid: int) -> int:
    """What a process has in memory, of pages that it shares its share. proc(5): Pss."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"/proc/{pid}/smaps_rollup has no Pss")


def _stat(folder: Path) -> tuple[float, int]:
    """Processor time (s) and parent; proc(5)."""
    try:
        # The name in parentheses may hold anything.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0  # it has ended meanwhile
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S, int(fields[1])
