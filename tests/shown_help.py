"""The help texts in docs/cli.md: `python -m tests.shown_help` writes those of now."""

import re
from pathlib import Path

from click import Context
from click.testing import CliRunner

from mizan_edge.cli import cli

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
_SHOWN = re.compile(r"```\n\$ mizan-edge (\S+) --help\n.*?```", re.DOTALL)


def with_help(page: str) -> str:
    """A page with the help texts of now."""
    return _SHOWN.sub(lambda match: f"```\n$ mizan-edge {match[1]} --help\n{help_of(match[1])}```", page)


def shown(page: str) -> set[str]:
    """The commands whose help a page shows."""
    return {match[1] for match in _SHOWN.finditer(page)}


def commands() -> set[str]:
    """All that there are."""
    return set(cli.list_commands(Context(cli)))


def help_of(command: str) -> str:
    """What a command says of itself."""
    return CliRunner().invoke(cli, [command, "--help"], prog_name="mizan-edge", terminal_width=100).output


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text()))
