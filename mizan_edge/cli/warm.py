"""`mizan-edge warm`."""

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mizan_core.manifest import load_manifest
from mizan_edge.cli.client import AdminClient, AdminError, ListenerAddress
from mizan_edge.cli.options import as_json, config_option, listener_address
from mizan_edge.cli.printing import count, print_json, print_lines
from mizan_edge.cli.seen import hottest
from mizan_edge.cli.warming import Warming
from mizan_edge.http.message import TOKEN, is_host
from mizan_edge.rules.routes import Resource, Router
from mizan_edge.running.config import Settings, variable

_LISTEN = Settings.model_fields["listen"].default
_POSITIVE = click.IntRange(min=1)
# RFC 9110 section 5.1, and 5.5 with all that can be encoded.
_FIELD = re.compile(rf"({TOKEN.decode()})\s*:\s*([^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*)")


@click.command(
    epilog="Exit status: 0 all were answered, 1 some were not. For example:\n\n"
    "\b\n"
    "mizan-edge warm urls.txt\n"
    "mizan-edge warm --rate 100 --limit 5000 /var/log/nginx/access.log\n"
    "zcat access.log.*.gz | mizan-edge warm --host www.example.com -\n"
    "mizan-edge warm --header 'X-Forwarded-Proto: https' urls.txt"
)
@click.argument(
    "lists", nargs=-1, required=True, type=click.File(encoding="utf-8-sig", errors="replace"), metavar="FILE..."
)
@click.option(
    "--to",
    "listen",  # as the setting is called in the file
    metavar="ADDRESS",
    callback=listener_address,
    envvar=variable("listen"),
    help="the edge's public listener: host:port, a URL, or the path of a Unix socket. Without it, a whole URL of a "
    f"list is asked for where it says, and all else, as all of a log, at {_LISTEN}",
)
@click.option(
    "--admin",
    metavar="ADDRESS",
    callback=listener_address,
    help="the edge's admin listener: then nothing is begun while it says that nothing would be stored",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    envvar=variable("manifest"),
    help="the edge's manifest: then nothing is asked for that it does not declare, since that is never stored",
)
@config_option
@click.option("--host", help="the site's name, for lines that do not say it  [default: that of --to]")
@click.option("--header", "headers", multiple=True, help="a field of each request, like 'Accept-Language: de'")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=50, show_default=True, help="requests a second"
)
@click.option("--concurrency", type=_POSITIVE, default=8, show_default=True, help="requests at a time")
@click.option("--limit", type=_POSITIVE, help="how many URLs at most: the most frequent")
@as_json
def warm(
    lists: tuple[TextIO, ...],
    listen: ListenerAddress | None,
    admin: ListenerAddress | None,
    manifest: Path | None,
    host: str | None,
    headers: tuple[str, ...],
    rate: float,
    concurrency: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Ask for what will be asked for, so that the edge has it.

    FILE (-: standard input) is a list of URLs, or an access log: common, combined, or an object a line. Of a log, the
    GETs that succeeded are asked for, each URL once, the most frequent first. They are asked for as by somebody who is
    not signed in.
    """
    fields = dict(map(_field, headers))
    if host is not None and not is_host(host):
        raise click.UsageError(f"--host {host!r}: write it like example.com or example.com:8080")
    urls, unreadable = hottest(line for file in lists for line in file)
    if not urls and unreadable:
        raise click.UsageError(f"{count(unreadable, 'line')}, and none is a URL or one of an access log")
    if manifest is not None:
        router = Router(load_manifest(manifest)[0])
        urls = [seen for seen in urls if isinstance(router.match(seen.target), Resource)]
    urls = urls[:limit]
    if admin is not None and (state := _cache(AdminClient(admin, None))) != "in use":
        raise AdminError(f"nothing would be stored now: the cache is {state}")
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    began_s = time.monotonic()
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(urls))
        warming = Warming(
            listen or ListenerAddress.parse(_LISTEN),
            listen is not None,
            host,
            fields,
            rate,
            concurrency,
            told=lambda: progress.update(bar, advance=1, description=_counts(warming)),
        )
        try:
            asyncio.run(warming.run(urls))
        finally:
            progress.stop()
            _print(warming, time.monotonic() - began_s, unreadable, as_json)
    sys.exit(1 if warming.results["failed"] else 0)


def _cache(api: AdminClient) -> Any:
    """How it stands with the cache. Raises AdminError."""
    ready = api.get("/readyz")
    with api.understood():
        return ready["cache"]


def _field(text: str) -> tuple[str, str]:
    match = _FIELD.fullmatch(text.strip())
    if match is None:
        raise click.UsageError(f"--header {text!r}: write it like 'Name: value'")
    return match[1], match[2]


def _counts(warming: Warming) -> str:
    results = warming.results
    return (
        f"{results['hit']} hit, {results['stored']} stored, {results['not stored']} not stored, "
        f"{results['failed']} failed"
    )


def _print(warming: Warming, seconds: float, unreadable: int, as_json: bool) -> None:
    results, reasons = warming.results, warming.reasons.most_common()
    if as_json:
        print_json(
            {
                "urls": results.total(),
                "hit": results["hit"],
                "stored": results["stored"],
                "not_stored": results["not stored"],
                "failed": results["failed"],
                "reasons": dict(reasons),
                "unreadable": unreadable,
                "seconds": round(seconds, 3),
            }
        )
        return
    print_lines([f"asked for {count(results.total(), 'URL')} in {seconds:.1f} s: {_counts(warming)}"])
    print_lines(f"  {number} {reason}" for reason, number in reasons)
    if unreadable:
        print_lines([f"{count(unreadable, 'line')} could not be read"], err=True)
