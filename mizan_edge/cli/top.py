"""`mizan-edge top`."""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mizan_edge.cli.client import AdminClient, AdminError
from mizan_edge.cli.options import as_json, asking
from mizan_edge.cli.printing import count, print_json, printable
from mizan_edge.cli.sampling import Row, Scrape, Times, View, view

_WIDE = 10_000


@click.command(
    epilog="For example:\n\n\b\nmizan-edge top\nmizan-edge top --once\nmizan-edge top --json | jq .total.hit_ratio"
)
@click.option("--once", is_flag=True, help="print what has happened since the start of the edge, and end")
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=2, show_default=True, help="seconds from one look to the next"
)
@asking("nobody")
@as_json
def top(api: AdminClient, once: bool, interval: float, as_json: bool) -> None:
    """Watch an edge: its requests, its hits, how long they take, its purges, and whether all is well.

    The first figures are of all the time since the edge was started, and those that follow of the time from one look to
    the next. With --json, or where standard output is no terminal, it prints the first and ends. Ctrl-C ends it.
    """
    if as_json:
        _, seen, ready = _look(api, None)
        print_json({**seen.to_json(), "ready": ready})
        return
    console = Console()
    if once or not console.is_terminal:
        _, seen, ready = _look(api, None)
        _print(console, _shown(api, seen, ready))
        return
    try:
        _watch(api, console, interval)
    except KeyboardInterrupt:
        sys.exit(0)


def _print(console: Console, shown: RenderableType) -> None:
    if console.is_terminal:
        console.print(shown)
        return
    # There is no width at which lines must be broken, and nobody wants the blanks with which cells are filled.
    wide = Console(width=_WIDE)
    with wide.capture() as captured:
        wide.print(shown)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _look(api: AdminClient, before: Scrape | None) -> tuple[Scrape, View, Any]:
    """What the edge tells Prometheus, what has happened since `before`, and how it stands with those that it needs.

    Raises AdminError.
    """
    ready = api.get("/readyz")
    with api.understood():
        now = Scrape.parse(api.text("/metrics"), time.time())
        return now, view(before, now), ready


def _watch(api: AdminClient, console: Console, interval: float) -> None:
    before: Scrape | None = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                before, seen, ready = _look(api, before)
                live.update(_shown(api, seen, ready), refresh=True)
            except AdminError as error:
                live.update(Text(printable(str(error)), style="bold red"), refresh=True)
            time.sleep(interval)


def _shown(api: AdminClient, seen: View, ready: Any) -> RenderableType:
    with api.understood():
        states = {name: str(ready[name]) for name in ("redis", "origin", "cache")}
    return Group(_heading(api, seen, states), "", _contexts(seen), "", _others(seen))


def _heading(api: AdminClient, seen: View, states: Mapping[str, str]) -> RenderableType:
    text = Text(f"{api.address.text}  ")
    for name, state in states.items():
        text.append(f"{name} {printable(state)}  ", style="green" if state in ("up", "in use") else "bold red")
    text.append("lease  " if seen.lease else "no lease  ", style="green" if seen.lease else "bold red")
    text.append(f"journal {seen.journal}", style="bold yellow" if seen.journal else "")
    return text


def _contexts(seen: View) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("context")
    for name in ("requests", "a second", "hits", "hit p50", "p99", "miss p50", "p99"):
        table.add_column(name, justify="right")
    for name, row in seen.contexts.items():
        table.add_row(Text(printable(name)), *_cells(row))
    table.add_row("all", *_cells(seen.total), style="bold")
    return table


def _cells(row: Row) -> Iterable[str]:
    ratio = "" if row.hit_ratio is None else f"{row.hit_ratio:.1%}"
    return str(row.requests), f"{row.per_second:.1f}", ratio, *_both(row.hit), *_both(row.miss)


def _others(seen: View) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    purges = ", ".join(f"{number} {source}" for source, number in seen.purges.items())
    rows = {
        "over": f"{seen.seconds:.1f} s",
        "workers": f"{seen.workers}, {count(seen.connections, 'connection')}",
        "memory": f"{seen.near_bytes / (1 << 20):.1f} MiB, {count(seen.near_entries, 'response')}",
        "origin": f"{_range(seen.origin)}, {count(seen.origin_errors, 'error')}",
        "redis": _range(seen.redis),
        "purges": f"{sum(seen.purges.values())} ({purges or 'none'}), {count(seen.purged_entries, 'entry')}",
        "acknowledged": _range(seen.acknowledgement),
    }
    for name, text in rows.items():
        table.add_row(name, Text(printable(text)))
    return table


def _range(times: Times) -> str:
    return "p50 {}, p99 {}".format(*_both(times))


def _both(times: Times) -> tuple[str, str]:
    return _seconds(times.p50), _seconds(times.p99)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"
