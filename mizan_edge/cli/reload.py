"""`mizan-edge reload`."""

import click

from mizan_edge.cli.client import AdminClient
from mizan_edge.cli.manifests import told_difference
from mizan_edge.cli.options import as_json, asking
from mizan_edge.cli.printing import print_json, print_lines


@click.command(
    epilog="For example:\n\n\b\nmizan-edge reload --dry-run\nmizan-edge reload --admin http://10.0.0.7:8081 --json"
)
@click.option("--dry-run", is_flag=True, help="swap nothing, and say how the manifest on disk differs")
@asking("purge")
@as_json
def reload(api: AdminClient, dry_run: bool, as_json: bool) -> None:
    """Have the edge read its manifest and certificate again.

    Prints how the new manifest differs from the one before. One with a mistake is refused, and the old one stays.
    """
    answer = api.post("/reload", {"dry_run": dry_run})
    if as_json:
        print_json(answer)
        return
    with api.understood():
        lines = [*told_difference(answer)]
        if "certificate" in answer:
            lines.append(f"certificate: {answer['certificate']}")
    print_lines(lines)
