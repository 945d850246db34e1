"""Cache groups (RFC 9875): responses of one origin that are invalidated together, by names that it gives them."""

from collections.abc import Iterable

import http_sf

from mizan_core.scopes import Scope
from mizan_edge.http.message import Fields, combined

_GROUP = "*group"
"""The parameter that narrows a scope to a group. A reserved name: no function can have it."""


def joined(fields: Fields, context: str, host: str) -> list[Scope] | None:
    """The groups that a response to a request at `host` belongs to (`Cache-Groups`); None where they cannot be read."""
    names = _names(combined(fields, "cache-groups"))
    return None if names is None else [_scope(context, host, name) for name in names]


def invalidated(fields: Fields, contexts: Iterable[str], host: str) -> list[Scope]:
    """What the response to an unsafe request at `host` invalidates (`Cache-Group-Invalidation`).

    A field that cannot be read is ignored, as the RFC says.
    """
    names = _names(combined(fields, "cache-group-invalidation")) or ()
    return [_scope(context, host, name) for name in names for context in contexts]


def _scope(context: str, host: str, name: str) -> Scope:
    # A group is of one origin (section 2.1). http and https are taken for the same, which purges more.
    return Scope(context, ((_GROUP, f"{host} {name}"),))


def _names(value: str | None) -> list[str] | None:
    if value is None:
        return []
    try:
        members = http_sf.parse(value.encode("latin-1", "replace"), tltype="list")
    except (http_sf.StructuredFieldError, ValueError):
        return None
    names = []
    for member in members:  # type: ignore[union-attr]
        # Section 2: strings, whose parameters are ignored.
        content = member[0] if isinstance(member, tuple) else member
        if type(content) is not str:
            return None
        names.append(content)
    return names
