"""How commands print."""

import json

import click


def print_json(document: object) -> None:
    """Prints a document as JSON, for people as well."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def count(number: int, noun: str) -> str:
    """`1 entry`, `2 entries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
