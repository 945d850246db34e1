"""Calls of context functions: reads that come as POST, `{"fn": name, "args": {...}}`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mizan_core.canonical import (
    Canonical,
    CanonicalError,
    ListOf,
    ParamType,
    canonical,
    is_canonical,
    value_text,
)
from mizan_core.manifest import Manifest
from mizan_core.scopes import Scope
from mizan_edge.rules.routes import Resource, Uncacheable

# Beyond, a float stands for many integers, and its ECMAScript text is not the one that a reader of integers gives.
_MAX_EXACT_FLOAT = 2**53


class _Refused(Exception):
    """The call could be read in several ways."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the origin has to answer: a function that no context has, and its arguments."""

    name: str
    args: Mapping[str, object]


def match_call(
    manifest: Manifest, target: str, content_type: str | None, body: bytes
) -> Resource | Uncacheable | Call | None:
    """What a call asks for; None where that cannot be told."""
    try:
        call = _parse(content_type, body)
    except _Refused:
        return None
    name = call.get("fn")
    if not isinstance(name, str):
        return None
    if name not in manifest.functions:
        args = call.get("args")
        return Call(name, args if isinstance(args, dict) else {})
    context_name, function = manifest.functions[name]
    args = call.get("args", {})
    if not function.cache:
        return Uncacheable("non-canonical", f"The manifest says that calls of {name} are not cached.")
    if "?" in target or not call.keys() <= {"fn", "args"} or not isinstance(args, dict):
        return Uncacheable("non-canonical", "It has a query, or more than `fn` and `args`.")
    context = manifest.contexts[context_name]
    try:
        values = {arg: _argument(arg, value, context.types) for arg, value in args.items()}
    except _Refused:
        return Uncacheable("non-canonical", "An argument could be read as several values.")
    declared = [(arg, value_text(value)) for arg, value in values.items() if arg in context.types]
    return Resource(context_name, "call", name, values, Scope(context_name, tuple(sorted(declared))), target)


def _parse(content_type: str | None, body: bytes) -> dict[str, object]:
    media_type, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        raise _Refused
    try:
        call = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _Refused from None
    if not isinstance(call, dict):
        raise _Refused
    return call


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Refused
    return result


def _refuse(_constant: str) -> object:
    raise _Refused


def argument_text(name: str, value: object, types: Mapping[str, ParamType | None]) -> str | None:
    """The text by which an argument of a call may narrow a scope; None where it could be read as another value."""
    try:
        return value_text(_argument(name, value, types))
    except _Refused:
        return None


def _argument(name: str, value: object, types: Mapping[str, ParamType | None]) -> Canonical:
    if name.startswith("*") or value is None:
        raise _Refused
    type_ = types.get(name)
    items = value if isinstance(value, list) else [value]
    if any(not _fits(item, type_.item if isinstance(type_, ListOf) else type_) for item in items):
        raise _Refused
    try:
        canonical(name)  # JSON can spell a lone surrogate, and no key can hold it
        text = canonical(value)
    except CanonicalError:
        raise _Refused from None
    if text is None or "\0" in value_text(text) or not is_canonical(text, type_):
        raise _Refused
    return text


def _fits(value: object, type_: str | None) -> bool:
    """Whether a reader of the declared type takes this JSON value for the same as its text."""
    match value:
        case str():
            return True
        case bool():
            return type_ == "boolean"  # elsewhere true may be read as 1
        case int():
            return type_ in ("integer", "number", None)
        case float():
            return type_ == "number" or (type_ in ("integer", None) and abs(value) < _MAX_EXACT_FLOAT)
    return False
