"""What figures depend on beside the programs that are measured."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import redis

import mizan_core
from bench.servers import path_of
from mizan_edge.system.embedded import find_server

_VERSION = re.compile(r"\d+\.\d+[.\d]*")
_ASKED = {"nginx": "-v", "varnishd": "-V", "wrk": "-v"}


def machine() -> dict[str, str]:
    """The processor, the kernel and the version of each program, by name."""
    programs = {program: (path_of(program), flag) for program, flag in _ASKED.items()}
    programs["redis-server"] = (find_server(), "--version")
    return {
        "processor": f"{os.cpu_count()} x {_model()}",
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "mizan-edge": f"{mizan_core.__version__} ({_commit()}, {_build()})",
        "redis-py": redis.__version__,
        **{name: _version(path, flag) for name, (path, flag) in programs.items() if path},
    }


def _model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "no commit"


def _build() -> str:
    """Whether the edge's hot modules are compiled, as the very command says that is measured."""
    done = subprocess.run([sys.executable, "-m", "mizan_edge", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().rpartition("(")[2].rstrip(")")


def _version(path: str, flag: str) -> str:
    done = subprocess.run([path, flag], capture_output=True, text=True)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"
