"""Running the demo as people run it, on free ports and in a directory of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from demo.browser import Browser

TOP = Path(__file__).parents[2]
SECONDS = 120


def command(state: Path, *options: str) -> list[str]:
    ports = [part for name in ("--port", "--origin-port", "--admin-port") for part in (name, "0")]
    # A manifest of its own: the one in the tree is what another test compares with.
    places = ["--state-dir", str(state), "--manifest", str(state / "manifest.json")]
    return [sys.executable, "-m", "demo", *ports, *places, *options]


def environment(**extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return inherited | {"PYTHONPATH": str(TOP)} | extra


def run_once(state: Path, *options: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(state, "--once", *options),
        cwd=TOP,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A demo that has told its story and stays up."""

    process: subprocess.Popen[str]
    said: str
    state: Path

    def browser(self) -> Browser:
        host, _, port = self.address("through the edge").rpartition(":")
        return Browser(host, int(port))

    def address(self, of: str) -> str:
        """The host and port of what the demo calls so."""
        match = re.search(rf"{of} +http://(\S+)/", self.said)
        assert match is not None, self.said
        return match[1]

    def descendants(self) -> list[int]:
        return _descendants(self.process.pid)


@contextmanager
def staying_up(state: Path) -> Iterator[Running]:
    process = subprocess.Popen(
        command(state),
        cwd=TOP,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        else:
            raise AssertionError(said)
        yield Running(process, said, state)
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            # The name in parentheses may hold anything; the state and the parent follow the last one.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]
