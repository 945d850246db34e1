"""`mizan-edge audit`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from mizan_edge.cli.client import AdminClient
from mizan_edge.cli.options import as_json, asking
from mizan_edge.cli.printing import print_json, print_lines, printable

_HEADINGS = ("at", "seq", "source", "entries", "done in", "asked for by", "scopes")
_NUMBERS = ("seq", "entries", "done in")
_COUNT = click.IntRange(min=1)


@click.command(
    epilog="For example:\n\n"
    "\b\n"
    "mizan-edge audit --limit 10\n"
    "mizan-edge audit 'user;user_id=5'\n"
    "mizan-edge audit --jsonl --limit 20000 > purges.jsonl"
)
@click.argument("scope", required=False)
@click.option("--limit", type=_COUNT, default=20, show_default=True, help="how many at most: the latest")
@click.option("--since", type=_COUNT, help="those after the purge with this number")
@click.option("--before", type=_COUNT, help="those before the purge with this number")
@click.option("--jsonl", is_flag=True, help="print a line of JSON for each")
@asking("read")
@as_json
def audit(
    api: AdminClient,
    scope: str | None,
    limit: int,
    since: int | None,
    before: int | None,
    jsonl: bool,
    as_json: bool,
) -> None:
    """Show who purged what, on the whole fleet, the latest first.

    With a SCOPE, what may have removed something of it.
    """
    if as_json and jsonl:
        raise click.UsageError("--json is one document, and --jsonl a line for each purge: give one of them")
    query = {"limit": limit, "since": since, "before": before, "scope": scope}
    told = api.get("/audit", [(name, str(value)) for name, value in query.items() if value is not None])
    if as_json:
        print_json(told)
        return
    with api.understood():
        purges = [*told["purges"]]
        lines = [] if jsonl else [*_table([_HEADINGS, *map(_row, purges)])]
    if jsonl:
        for purge in purges:
            print_json(purge, indent=None)
    print_lines(lines)


def _row(purge: Mapping[str, Any]) -> tuple[str, ...]:
    left_out = purge["scope_count"] - len(purge["scopes"])
    took_ms = purge["acknowledged_ms"]
    cells = (
        purge["at"],
        purge["seq"],
        purge["source"] or "",
        purge["entries"],
        "-" if took_ms is None else f"{took_ms} ms",
        asked_by(purge),
        ", ".join([*purge["scopes"], *([f"and {left_out} more"] if left_out else [])])
        + (f" ({purge['note']})" if purge["note"] else ""),
    )
    return tuple(printable(str(cell)) for cell in cells)


def asked_by(purge: Mapping[str, Any]) -> str:
    """What the audit knows of who has asked for a purge."""
    token = f"token {purge['token']}" if purge["token"] else None
    host = f"on {purge['host']}" if purge["host"] else None
    return " ".join(filter(None, (purge["request"], purge["function"], token, host)))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with their columns one below the other, however wide that is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.rjust(width) if name in _NUMBERS else text.ljust(width)
            for name, text, width in zip(_HEADINGS, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()
