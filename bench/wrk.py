"""Load as fast as it goes, by wrk: one thread, and requests that were prepared before."""

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import HOST, BenchError

_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True, slots=True)
class Wrk:
    """What a run of wrk has seen."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_s: float
    """Processor time of wrk itself."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """The file that wrk.lua reads."""
    with open(path, "wb") as file:
        for request in requests:
            file.write(b"%d\n%b" % (len(request), request))


def run(
    requests: Path, port: int, *, processors: Iterable[int], connections: int, seconds: int, first: int | None = None
) -> Wrk:
    """Loads the server on `port`. `first`: the number of the first request, where each is to be a new one.

    Raises BenchError if any request failed.
    """
    cpus = ",".join(map(str, processors))
    flags = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "10s"]
    done = subprocess.run(
        ["taskset", "--cpu-list", cpus, "wrk", *flags, "--script", str(_SCRIPT), f"http://{HOST}:{port}"],  # noqa: S607
        env={**os.environ, "BENCH_REQUESTS": str(requests)} | ({} if first is None else {"BENCH_FIRST": str(first)}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout.splitlines())


def parse(lines: Sequence[str]) -> Wrk:
    """What wrk.lua printed, the last line of wrk's output. Raises BenchError if any request failed."""
    values = json.loads(lines[-1])
    failed = values.pop("errors")
    if failed:
        raise BenchError(f"{failed} of {values['requests']} requests failed or got an error for an answer")
    if not values["requests"]:
        raise BenchError("wrk got no answer at all")
    return Wrk(**values)
