"""What the commands of docs/tour.md print: `python -m tests.tour` writes that of now."""

import asyncio
import os
import platform
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.demo.running import TOP, Running, staying_up
from tests.support.served import run_here

PAGE = TOP / "docs" / "tour.md"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_PRELUDE = re.compile(r"^    (.+)$", re.MULTILINE)
_VARYING = {
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "WHEN",
    r"\d[\d.,]*(?: (?:us|ms|s|B|KiB|MiB)\b)?%?": "#",
    r"(?<= )-(?=\s)": "#",  # nothing to measure yet
    r"[ \t]+": " ",
}
SECONDS_BETWEEN = 1.0
"""As somebody types: what is done beside the requests, comparing and counting, has happened by then."""

Typed = Callable[[str], str]


def shape(text: str) -> str:
    """What a command prints, without its numbers and the widths of columns, which differ each time."""
    for pattern, same in _VARYING.items():
        text = re.sub(pattern, same, text)
    return text


def commands(page: str) -> list[tuple[str, str]]:
    """The commands of a page, each with what the page says that it prints."""
    return [(command, said) for block in _BLOCK.findall(page) for command, said in _COMMAND.findall(block)]


def retyped(page: str, typed: Typed) -> str:
    """The page with what its commands print when they are `typed`."""

    def with_output(told: re.Match[str]) -> str:
        return f"$ {told[1]}\n{typed(told[1])}"

    return _BLOCK.sub(lambda block: f"```console\n{_COMMAND.sub(with_output, block[1])}```", page)


class Terminal:
    """Types commands of the documents at a running demo. What they print is as if it were at its usual places."""

    def __init__(self, demo: Running, page: str) -> None:
        usual = {
            "manifests/demo.json": str(demo.state / "manifest.json"),
            ".demo/": f"{demo.state}/",
            "127.0.0.1:8000": demo.address("without the edge"),
            "127.0.0.1:8080": demo.address("through the edge"),
            "127.0.0.1:8081": demo.address("admin listener"),
            ".venv/bin/": "",
        }
        self._here = usual
        self._before = "\n".join(_PRELUDE.findall(_BLOCK.sub("", page)))
        self._environment = {
            "MIZAN_EDGE_STATE_DIR": str(demo.state / "edge"),
            "MIZAN_EDGE_ADMIN": usual["127.0.0.1:8081"],
            "COLUMNS": "110",
        }

    def type(self, command: str) -> str:
        """What it prints."""
        for there, here in self._here.items():
            command = command.replace(there, here)
        printed = self._own(command) if command.startswith("mizan-edge ") else self._other(command)
        for there, here in self._here.items():
            printed = printed.replace(here, there) if here else printed
        printed = re.sub(rf"\bon {re.escape(platform.node())}\b", "on host", printed)
        lines = [line.rstrip() for line in printed.splitlines()]
        return "".join(f"{line}\n" for line in lines)

    def _own(self, command: str) -> str:
        # Not a process for each: to start takes longer than what they do.
        _, out, error = asyncio.run(run_here(*shlex.split(command)[1:], **self._environment))
        return error + out

    def _other(self, command: str) -> str:
        before = self._before
        for there, here in self._here.items():
            before = before.replace(there, here)
        done = subprocess.run(
            ["/bin/bash", "-c", f"{before}\n{command}"],
            cwd=TOP,
            env=os.environ | self._environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stderr + done.stdout


def main() -> None:
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as state, staying_up(Path(state)) as demo:
        terminal = Terminal(demo, page)

        def typed(command: str) -> str:
            time.sleep(SECONDS_BETWEEN)
            return terminal.type(command)

        PAGE.write_text(retyped(page, typed))


if __name__ == "__main__":
    main()
