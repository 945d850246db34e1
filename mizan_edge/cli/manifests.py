"""`mizan-edge check` and `manifest-diff`: manifests, by their files alone."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from mizan_core.manifest import Manifest, ManifestError, load_manifest
from mizan_edge.cli.options import as_json
from mizan_edge.cli.printing import count, print_json, print_lines
from mizan_edge.rules.manifest_diff import difference

_FILE = click.Path(path_type=Path)


@click.command(
    epilog="Exit status: 0 it can be used, 1 it cannot. For example:\n\n"
    "\b\n"
    "mizan-edge check manifests/edge.json\n"
    "mizan-edge check --json manifests/edge.json"
)
@click.argument("manifest", type=_FILE)
@as_json
def check(manifest: Path, as_json: bool) -> None:
    """Check a manifest.

    What is wrong goes to standard error, each with its place in the file; so do unknown keys, which are no mistake.
    """
    found: dict[str, Any] = {"manifest": str(manifest), "usable": True, "errors": [], "warnings": []}
    try:
        loaded, found["warnings"] = load_manifest(manifest)
        found["contexts"] = len(loaded.contexts)
        found["functions"] = sum(len(context.functions) for context in loaded.contexts.values())
        found["mutations"] = len(loaded.mutations)
    except ManifestError as error:
        found["usable"], found["errors"] = False, str(error).splitlines()
    if as_json:
        print_json(found)
    else:
        print_lines((f"mizan-edge: {line}" for line in found["errors"]), err=True)
        print_lines((f"warning: {line}" for line in found["warnings"]), err=True)
        if found["usable"]:
            counts = ", ".join(count(found[f"{noun}s"], noun) for noun in ("context", "function", "mutation"))
            print_lines([f"{manifest}: {counts}: usable"])
    sys.exit(0 if found["usable"] else 1)


@click.command(
    epilog="Exit status, as that of diff: 0 there is no difference, 1 there is one, 2 a file cannot be used. "
    "For example:\n\n"
    "\b\n"
    "mizan-edge manifest-diff deployed.json manifests/edge.json\n"
    "git show HEAD~:edge.json > old.json; mizan-edge manifest-diff old.json edge.json"
)
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@as_json
def manifest_diff(old: Path, new: Path, as_json: bool) -> None:
    """Show how two manifests differ.

    Contexts, routes and mutations that NEW has more (+), less (-) or otherwise (~), and what becomes of what was stored
    under OLD when an edge reloads.
    """
    found = difference(_loaded(old), _loaded(new)).to_json()
    differs = any(_lines(found))
    if as_json:
        print_json(found)
    else:
        print_lines(told_difference(found))
    sys.exit(1 if differs else 0)


def _loaded(path: Path) -> Manifest:
    try:
        manifest, _ = load_manifest(path)
    except ManifestError as error:
        print_lines((f"mizan-edge: {line}" for line in str(error).splitlines()), err=True)
        sys.exit(2)
    return manifest


def told_difference(found: Mapping[str, Any]) -> list[str]:
    """What `Difference.to_json` gave, in lines for people."""
    return [*_lines(found)] or ["no difference"]


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for title, names in (("contexts", found), ("routes", found["routes"]), ("mutations", found["mutations"])):
        changes = found["changes"] if names is found else {}
        lines = [
            *(f"  + {name}" for name in names["added"]),
            *(f"  - {name}" for name in names["removed"]),
            *(line for name in names["changed"] for line in (f"  ~ {name}", *_keys(changes.get(name, {}), "      "))),
        ]
        if lines:
            yield f"{title}:"
            yield from lines
    yield from _keys(found["site"], "")
    if found["purged"]:
        yield f"a reload purges: {', '.join(found['purged'])}"
    if found["unreachable"]:
        yield f"views are fetched anew, since the release is in their keys: {', '.join(found['unreachable'])}"


def _keys(changes: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, change in changes.items():
        yield f"{indent}{name}: {_told(change['old'], change['new'])}"


def _told(old: Any, new: Any) -> str:
    """`86400 -> 5`, or of lists and objects what has come and gone: `+ locale, - name`."""
    match old, new:
        case list(), list():
            one, other = list(map(_item, old)), list(map(_item, new))
        case dict(), dict():
            one, other = ([f"{key}={_item(value)}" for key, value in side.items()] for side in (old, new))
        case _:
            return f"{_item(old)} -> {_item(new)}"
    came = [f"+ {item}" for item in other if item not in one]
    gone = [f"- {item}" for item in one if item not in other]
    return ", ".join([*came, *gone]) or "another order"


def _item(value: Any) -> str:
    match value:
        case None:
            return "none"
        case dict():  # a function, or the type of a list
            return " ".join(str(part) if key == "name" else f"{key}={_item(part)}" for key, part in value.items())
        case _:
            return str(value).lower() if isinstance(value, bool) else str(value)
