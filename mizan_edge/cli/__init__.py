"""The command line: a module for each command, or for a few that belong together."""

import errno
import os
import sys
from importlib import import_module

import click

from mizan_core.errors import MizanError
from mizan_edge.cli.build import BUILD
from mizan_edge.cli.printing import print_lines

_MODULES = {
    "audit": "audit",
    "check": "manifests",
    "explain": "explain",
    "manifest-diff": "manifests",
    "purge": "purge",
    "reload": "reload",
    "serve": "serve",
    "top": "top",
    "warm": "warm",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """The entry point: a failure is a line on stderr and exit status 1."""
    try:
        cli(prog_name="mizan-edge", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except MizanError as error:
        print_lines((f"mizan-edge: {line}" for line in str(error).splitlines()), err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        print(f"mizan-edge: the output is not whole: {error.strerror}", file=sys.stderr)
        # What could not be written would be tried again, and told, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


class _Commands(click.Group):
    """Loads a command when it is asked for: a shell that completes words waits for all that is loaded."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"mizan_edge.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 it is done, 1 it has failed, 2 the command cannot be meant.",
)
@click.version_option(package_name="mizan-edge", message=f"%(prog)s, version %(version)s ({BUILD})")
def cli() -> None:
    """An edge cache for Django that is never stale."""
