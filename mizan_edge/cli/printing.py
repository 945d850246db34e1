"""How commands print: text for people, in which nothing is a command to their terminal, and JSON for programs."""

import json
from collections.abc import Iterable

import click


def printable(text: str) -> str:
    """The text, with escapes for what a terminal obeys or does not show, like control characters and those that turn
    the direction of text: a client may have chosen it. As in `repr`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Prints lines for people, on standard output or standard error."""
    for line in lines:
        click.echo(printable(line), err=err)


def print_json(document: object, indent: int | None = 2) -> None:
    """Prints a document as JSON, for people as well; without an indent, in one line."""
    # Half a character is JSON as an escape, and cannot be written otherwise.
    text = json.dumps(document, indent=indent, ensure_ascii=False).encode(errors="backslashreplace")
    click.echo(text.decode())


def count(number: int, noun: str) -> str:
    """`1 entry`, `2 entries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
