"""`mizan-edge purge`."""

import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, TextIO

import click

from mizan_edge.cli.client import AdminClient, AdminError
from mizan_edge.cli.options import as_json, asking
from mizan_edge.cli.printing import count, print_json, print_lines, printable
from mizan_edge.cli.urls import WholeUrl, is_whole, without_fragment

_SHOWN = 20


@click.command(
    epilog="For example:\n\n"
    "\b\n"
    "mizan-edge purge 'user;user_id=5' catalog\n"
    "mizan-edge purge --url /profile/5/ --dry-run\n"
    "mizan-edge purge --user 5\n"
    "mizan-edge purge --from changed.txt\n"
    "psql -Atc 'select url from changed' | mizan-edge purge --from -\n"
    "mizan-edge purge --all"
)
@click.argument("scopes", nargs=-1, metavar="[SCOPE]...")
@click.option("--url", "urls", multiple=True, help="purge what is stored for this URL: for everybody, every variant")
@click.option("--user", "users", multiple=True, help="purge what was made for the signed-in user with this id")
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
@click.option("--yes", is_flag=True, help="purge also what would take the origin long to fetch again, without asking")
@asking("purge")
@as_json
def purge(
    api: AdminClient,
    scopes: tuple[str, ...],
    urls: tuple[str, ...],
    users: tuple[str, ...],
    lists: tuple[TextIO, ...],
    everything: bool,
    dry_run: bool,
    soft: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Purge what is stored, on all edges.

    A SCOPE is a context, narrowed by parameters that must all match: user, or 'user;user_id=5'. When this returns, no
    edge serves what was purged.
    """
    listed = [line for file in lists for line in _named(file)]
    wanted = {
        "scopes": [*scopes, *(line for line in listed if not _is_url(line))],
        "urls": [_target(url) for url in (*urls, *filter(_is_url, listed))],
        "users": [*users],
        "all": everything,
    }
    body = {name: value for name, value in wanted.items() if value}
    if everything and len(body) > 1:
        raise click.UsageError("--all purges everything: name nothing else beside it")
    if not body and not lists:
        raise click.UsageError("nothing to purge: name a SCOPE, a --url, a --user, a file (--from), or --all")
    answer: dict[str, Any] = {"seq": None, "entries": 0, "urls": [], "scopes": [], "dry_run": dry_run}
    if body:
        answer = _purge(api, body | {"soft": soft, "dry_run": dry_run}, yes)
    if as_json:
        print_json(answer)
        return
    with api.understood():
        lines = [*_lines(answer, everything)]
    print_lines(lines)


def _purge(api: AdminClient, body: dict[str, Any], yes: bool) -> Any:
    try:
        return api.post("/purge", body | ({"confirm": True} if yes else {}))
    except AdminError as error:
        if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise AdminError("too many at once: purge them in several parts") from None
        if error.status != HTTPStatus.CONFLICT:
            raise
        with api.understood():
            cost = printable(_cost(error.problem["forecast"]))
    if not sys.stdin.isatty():
        raise AdminError(f"this would purge {cost}: say --yes to purge it nevertheless")
    if not click.confirm(f"This would purge {cost}. Purge it?", err=True):
        raise AdminError("nothing was purged")
    return _purge(api, body, yes=True)


def _lines(answer: Mapping[str, Any], everything: bool) -> Iterator[str]:
    what = "everything" if everything else count(len(answer["scopes"]), "scope")
    done = "would purge" if answer["dry_run"] else "purged"
    seq = "" if answer["seq"] is None else f", seq {answer['seq']}"
    yield f"{done} {count(answer['entries'], 'entry')} of {what}{seq}"
    yield from _first(answer["scopes"])
    if sample := answer.get("sample"):
        yield "among them:"
        yield from _first(sample)
    if answer.get("forecast"):
        yield f"forecast: {_cost(answer['forecast'])}"
    if "note" in answer:
        yield answer["note"]


def _cost(forecast: Mapping[str, Any]) -> str:
    entries, seconds = forecast["entries"], forecast["origin_seconds"]
    return f"{count(entries, 'entry')}, which the origin would need {seconds:.2f} s to make again"


def _named(file: TextIO) -> Iterator[str]:
    try:
        for line in map(str.strip, file):
            if line and not line.startswith("#"):
                yield line
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file.name}: not UTF-8: {error.reason}") from None


def _is_url(text: str) -> bool:
    return text.startswith("/") or is_whole(text)


def _target(url: str) -> str:
    """The path and query of a URL: a purge of it is for every host. Raises UsageError."""
    if not is_whole(url):
        return without_fragment(url)
    try:
        return WholeUrl.parse(url).target
    except ValueError as error:
        raise click.UsageError(f"{url!r} is no URL: {error}") from None


def _first(lines: list[str]) -> Iterator[str]:
    for line in lines[:_SHOWN]:
        yield f"  {line}"
    if len(lines) > _SHOWN:
        yield f"  and {len(lines) - _SHOWN} more"
