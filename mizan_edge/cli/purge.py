"""`mizan-edge purge`."""

from collections.abc import Iterator, Mapping
from typing import Any, TextIO
from urllib.parse import urlsplit

import click

from mizan_edge.cli.client import AdminClient
from mizan_edge.cli.options import as_json, asking, count, print_json

_SHOWN = 20
# Scopes or URLs in one request: less than the MiB that an edge reads, and no more than a few seconds of its work.
_AT_ONCE = 5000


@click.command(
    epilog="For example:\n\n"
    "\b\n"
    "mizan-edge purge 'user;user_id=5' catalog\n"
    "mizan-edge purge --url /profile/5/ --dry-run\n"
    "mizan-edge purge --from changed.txt\n"
    "psql -Atc 'select url from changed' | mizan-edge purge --from -\n"
    "mizan-edge purge --all"
)
@click.argument("scopes", nargs=-1, metavar="[SCOPE]...")
@click.option("--url", "urls", multiple=True, help="purge what is stored for this URL: for everybody, every variant")
@click.option(
    "--from",
    "lists",
    type=click.File(encoding="utf-8-sig"),
    multiple=True,
    help="purge what a file names (-: standard input), one a line: URLs, which begin with / or http, and scopes. Empty "
    "lines and those that begin with # say nothing",
)
@click.option("--all", "everything", is_flag=True, help="purge everything")
@click.option("--dry-run", is_flag=True, help="purge nothing, and say what would be")
@click.option("--soft", is_flag=True, help="mark stale instead; carried out as a hard purge")
@asking("purge")
@as_json
def purge(
    api: AdminClient,
    scopes: tuple[str, ...],
    urls: tuple[str, ...],
    lists: tuple[TextIO, ...],
    everything: bool,
    dry_run: bool,
    soft: bool,
    as_json: bool,
) -> None:
    """Purge what is stored, on all edges.

    A SCOPE is a context, narrowed by parameters that must all match: user, or 'user;user_id=5'. When this returns, no
    edge serves what was purged.
    """
    listed = [line for file in lists for line in _named(file)]
    named = [*scopes, *urls, *listed]
    if everything and named:
        raise click.UsageError("--all purges everything: name nothing else beside it")
    if not everything and not named and not lists:
        raise click.UsageError("nothing to purge: name a SCOPE, a --url, a file (--from), or --all")
    wanted = {
        "scopes": [*scopes, *(line for line in listed if not _is_url(line))],
        "urls": [_target(url) for url in (*urls, *filter(_is_url, listed))],
        "all": everything,
    }
    answer: dict[str, Any] = {"seq": None, "entries": 0, "urls": [], "scopes": [], "dry_run": dry_run}
    for part in _parts(wanted):
        done = api.post("/purge", {**part, "soft": soft, "dry_run": dry_run})
        answer = {**done, **{name: answer[name] + done[name] for name in ("entries", "urls", "scopes")}}
    if as_json:
        print_json(answer)
        return
    what = "everything" if everything else count(len(answer["scopes"]), "scope")
    seq = "" if answer["seq"] is None else f", seq {answer['seq']}"
    click.echo(f"{'would purge' if dry_run else 'purged'} {count(answer['entries'], 'entry')} of {what}{seq}")
    for line in _first(answer["scopes"]):
        click.echo(f"  {line}")


def _parts(wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is wanted, in bodies that an edge takes; none where nothing is."""
    if wanted["all"]:
        yield {"all": True}
    for name in ("scopes", "urls"):
        for start in range(0, len(wanted[name]), _AT_ONCE):
            yield {name: wanted[name][start : start + _AT_ONCE]}


def _named(file: TextIO) -> Iterator[str]:
    try:
        for line in map(str.strip, file):
            if line and not line.startswith("#"):
                yield line
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file.name}: not UTF-8: {error.reason}") from None


def _is_url(text: str) -> bool:
    return text.startswith(("/", "http://", "https://"))


def _target(url: str) -> str:
    """The path and query of a URL: a purge of it is for every host."""
    if url.startswith("/"):
        return url
    return urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl() or "/"


def _first(lines: list[str]) -> Iterator[str]:
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more"
