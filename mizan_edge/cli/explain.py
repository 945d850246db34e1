"""`mizan-edge explain`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from mizan_edge.cli.audit import asked_by
from mizan_edge.cli.client import AdminClient
from mizan_edge.cli.options import as_json, asking
from mizan_edge.cli.printing import count, print_json, print_lines


@click.command(
    epilog="For example:\n\n"
    "\b\n"
    "mizan-edge explain /profile/5/\n"
    "mizan-edge explain /catalog/shoes/ --host www.example.com --header 'Accept-Language: de'\n"
    'mizan-edge explain /api/mizan/call/ --body \'{"fn": "products", "args": {"category": "shoes"}}\''
)
@click.argument("url")
@click.option("--method", help="its method  [default: GET, or POST with --body]")
@click.option("--host", help="its Host, where the URL does not say it  [default: the first of --allowed-hosts]")
@click.option("--header", "headers", multiple=True, help="one of its fields, like 'Accept-Language: de'")
@click.option("--body", help="the JSON of a call")
@asking("read")
@as_json
def explain(
    api: AdminClient,
    url: str,
    method: str | None,
    host: str | None,
    headers: tuple[str, ...],
    body: str | None,
    as_json: bool,
) -> None:
    """Explain what becomes of a request, and why.

    Which rule matches, what goes into the key, what is stored and for how long, and what would purge it. Nothing is
    forwarded, stored or purged.
    """
    method = method or ("GET" if body is None else "POST")
    query = [("url", url), ("method", method), ("host", host), ("body", body), *(("header", line) for line in headers)]
    told = api.get("/explain", [(name, value) for name, value in query if value is not None])
    if as_json:
        print_json(told)
        return
    with api.understood():
        lines = [*_lines(told)]
    print_lines(lines)


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    decision = told["decision"]
    section = f" ({decision['section']})" if decision["section"] else ""
    yield f"{told['method']} {told['url']} of {told['scheme']}://{told['host']}"
    yield f"{decision['outcome']}: {decision['reason']}{section}"
    yield from _rows(_told(told))
    if told["entries"]:
        yield "stored under this URL:"
        for entry in told["entries"]:
            yield f"  for {entry['partition']}: {_response(entry)}"


def _told(told: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    rule, key, stored, refused = (told[name] for name in ("rule", "key", "stored", "not_stored"))
    purge, purged_by = told["last_purge"], told["purged_by"]
    yield "Cache-Status", told["decision"]["cache_status"]
    if rule is not None:
        yield (
            "rule",
            f"{rule['kind']} {rule['pattern']} of the context {rule['context']}: {', '.join(rule['functions'])}",
        )
    yield "partition", told["partition"]
    if key is not None:
        pairs = {**key["params"], **({"rev": key["rev"]} if key["rev"] else {}), **(key["variant"] or {})}
        yield "key", _pairs(pairs)
    if stored is not None:
        yield "stored", _response(stored)
    if refused is not None:
        detail = {name: value for name, value in refused.items() if name not in ("at", "reason", "section")}
        yield "not stored", f"{refused['reason']} ({_pairs({'at': refused['at'], **detail})})"
    if told["workers"]:
        holding = sum(worker["holds"] for worker in told["workers"])
        yield "in memory", f"of {holding} of {count(len(told['workers']), 'worker')}"
    yield "varies by", ", ".join(told["varies_by"])
    yield "may change", ", ".join(told["affects"])
    yield "purged by", ", ".join(purged_by["scopes"])
    yield "mutations", ", ".join(f"{found['mutation']} ({found['scope']})" for found in purged_by["mutations"])
    if purge is not None:
        audited = f", {purge['source']} at {purge['at']}: {asked_by(purge)}" if "at" in purge else ""
        yield "last purge", f"{purge['scope']}, seq {purge['seq']}{audited}"


def _rows(told: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    for name, text in told:
        if text:
            yield f"  {name:<13} {text}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _response(response: Mapping[str, Any]) -> str:
    copies = "".join(f", {coding} {size}" for coding, size in response["codings"].items())
    left = f"{response['ttl']} s left" if response["ttl"] > 0 else f"stale for {-response['ttl']} s"
    vary = f", varies by {', '.join(response['vary'])}" if response["vary"] else ""
    return f"{response['status']}, {count(response['size'], 'byte')}{copies}, age {response['age']} s, {left}{vary}"
