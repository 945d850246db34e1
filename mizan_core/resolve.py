"""From scopes as somebody spelled them to the scopes to purge, against the manifest.

Three readers. The origin's header is obeyed whatever it says (`widen`: purge more, never less, and say so); a person
who types at the admin API can be asked again (`strict`: an error that names the nearest valid name); and what a
response says that it depends on is clear, or keeps it from being stored (`depended_on`).
"""

import difflib
import json
from collections.abc import Iterable, Mapping

from mizan_core.canonical import Canonical, ListOf, ParamType, is_canonical, value_text
from mizan_core.manifest import Context
from mizan_core.purge import Purge, longest_hold
from mizan_core.scopes import EVERYTHING, URL, USER, Member, Parsed, Scope, ScopeError, parse_scopes, widest

_RESERVED = (USER, URL)


def widen(field: str, contexts: Mapping[str, Context]) -> Purge:
    """What an `X-Mizan-Invalidate` field purges, faults included."""
    parsed = parse_scopes(field)
    faults = list(parsed.faults)
    scopes = []
    for member in parsed.members:
        scope, problems = _resolve(member, contexts)
        scopes.append(scope)
        faults += problems
    everything = parsed.everything or any(scope.context == EVERYTHING for scope in scopes)
    purged = widest(scopes)
    return Purge(purged, everything, tuple(faults), longest_hold(None if everything else purged, contexts))


def strict(texts: Iterable[str], contexts: Mapping[str, Context]) -> tuple[Scope, ...]:
    """The scopes that a person typed. Raises ScopeError for whatever `widen` would have to widen."""
    scopes = []
    for text in texts:
        parsed = parse_scopes(text)
        if parsed.faults or parsed.everything or not parsed.members:
            problem = "; ".join(parsed.faults) or "it names nothing"
            raise ScopeError(f"the scope {text!r} does not parse: {problem}")
        for member in parsed.members:
            scope, problems = _resolve(member, contexts)
            if problems:
                raise ScopeError("; ".join(problems))
            scopes.append(scope)
    return widest(scopes)


def check_names(context: str, params: Iterable[str], contexts: Mapping[str, Context]) -> None:
    """Raises ScopeError, which names the nearest valid name, for a context or parameter that nobody declared."""
    if context not in contexts:
        raise ScopeError(f"there is no context {context!r}{_nearest(context, contexts)}")
    for name in params:
        if name not in contexts[context].types:
            nearest = _nearest(name, contexts[context].types)
            raise ScopeError(f"in a scope of {context!r}: there is no parameter {name!r}{nearest}")


def depended_on(parsed: Parsed, contexts: Mapping[str, Context]) -> tuple[Scope, ...] | None:
    """The scopes of an `X-Mizan-Scope` field; None in any doubt, for then the response must not be stored."""
    if parsed.faults or parsed.everything:
        return None
    scopes = []
    for member in parsed.members:
        scope, problems = _resolve(member, contexts)
        if problems:
            return None
        scopes.append(scope)
    return tuple(scopes)


def _resolve(member: Member, contexts: Mapping[str, Context]) -> tuple[Scope, list[str]]:
    context = contexts.get(member.context)
    if context is None:
        return Scope(member.context), [f"there is no context {member.context!r}{_nearest(member.context, contexts)}"]
    values: dict[str, set[str]] = {}
    for name, text in member.params:
        values.setdefault(name, set()).add(text)
    for name in member.doubtful:
        values.setdefault(name, set())
    kept, problems = {}, []
    for name, texts in values.items():
        problem = _problem(name, texts, member, context)
        if problem:
            problems.append(f"in a scope of {member.context!r}: {problem}")
        else:
            kept[name] = texts.pop()
    return Scope(member.context, tuple(sorted(kept.items()))), problems


def _problem(name: str, texts: set[str], member: Member, context: Context) -> str | None:
    """Why a parameter cannot narrow the scope, or None."""
    if name not in context.types and name not in _RESERVED:
        return f"there is no parameter {name!r}{_nearest(name, context.types)}"
    if len(texts) > 1:
        return f"the parameter {name!r} has several values"
    if not texts or name in member.doubtful:
        return f"the parameter {name!r} has a value of a kind that parameters do not have"
    (text,) = texts
    if name not in _RESERVED and not _spelled(text, context.types[name]):
        return f"{text!r} is not how a value of the parameter {name!r} is spelled"
    return None


def _spelled(text: str, type_: ParamType | None) -> bool:
    if isinstance(type_, ListOf):
        items = _list_items(text)
        return items is not None and is_canonical(items, type_)
    return is_canonical(text, type_)


def _list_items(text: str) -> Canonical | None:
    # A list travels as the canonical JSON text of its array; anything else is not how it is spelled.
    try:
        items = json.loads(text)
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            return None
        return items if value_text(items) == text else None
    except (ValueError, RecursionError):  # a lone surrogate; brackets nested by the thousand
        return None


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; the nearest is {close[0]!r}" if close else ""
