"""The command line: a module for each command, or for a few that belong together.

serve                       an edge
check, manifest-diff        manifests, by their files alone
purge, reload               a running edge, over its admin API
"""

import sys

import click

from mizan_core.errors import MizanError
from mizan_edge.cli.manifests import check, manifest_diff
from mizan_edge.cli.purge import purge
from mizan_edge.cli.reload import reload
from mizan_edge.cli.serve import BUILD, serve


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
        for line in str(error).splitlines():
            print(f"mizan-edge: {line}", file=sys.stderr)
        sys.exit(1)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 it is done, 1 it has failed, 2 the command cannot be meant.",
)
@click.version_option(package_name="mizan-edge", message=f"%(prog)s, version %(version)s ({BUILD})")
def cli() -> None:
    """An edge cache for Django that is never stale."""


for command in (serve, check, manifest_diff, purge, reload):
    cli.add_command(command)
