"""What a client may say: one JSON text for each command."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mizan.errors import ApiError
from mizan.http.input import parse_json

Id: TypeAlias = str | int | None
"""Chosen by the client, and in the answer again; None where what was said has none that could be told."""
Verb: TypeAlias = Literal["call", "subscribe", "unsubscribe", "send"]

_MAX_ID = 100
# Each verb, what its arguments are called, and what it takes besides.
_VERBS: Mapping[Verb, tuple[str, frozenset[str]]] = {
    "call": ("args", frozenset()),
    "subscribe": ("params", frozenset()),
    "unsubscribe": ("params", frozenset()),
    "send": ("params", frozenset({"message"})),
}


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that a client asks of a function, or of a channel."""

    verb: Verb
    name: str
    arguments: dict[str, Any]
    message: Any = None


def parse(text: str) -> Any:
    """The JSON of a text. Raises ApiError 400."""
    try:
        said = parse_json(text)
        if "\\u" in text:
            # Half of a surrogate pair is no text that anybody could store. RFC 8259 section 8.2
            json.dumps(said, ensure_ascii=False).encode()
        return said
    except (ValueError, RecursionError):
        raise ApiError(400, "malformed", "this is not JSON") from None


def id_of(said: Any) -> Id:
    """The id of what was said."""
    found = said.get("id") if isinstance(said, dict) else None
    if isinstance(found, str) and len(found) <= _MAX_ID:
        return found
    return found if type(found) is int and abs(found) < 2**63 else None


def command_of(said: Any) -> Command:
    """The command in a JSON value. Raises ApiError 400, which says how to ask."""
    if id_of(said) is None:
        raise ApiError(400, "malformed", "what is asked has an id, an integer or a short text, to be answered under")
    verbs = [verb for verb in _VERBS if verb in said]
    if len(verbs) != 1:
        raise ApiError(400, "malformed", f"ask one thing at a time: {', '.join(_VERBS)}")
    (verb,) = verbs
    named, more = _VERBS[verb]
    if unknown := sorted(said.keys() - {"id", verb, named, *more}):
        raise ApiError(400, "malformed", f"{unknown[0]!r} says nothing beside {verb!r}")
    name, arguments = said[verb], said.get(named, {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ApiError(400, "malformed", f'this is written {{"id": ..., "{verb}": name, "{named}": {{...}}}}')
    return Command(verb, name, arguments, said.get("message"))
