"""Whether a response may be stored, and as what. Pure: every input is an argument."""

from dataclasses import dataclass, replace
from typing import Literal

from mizan_core.fields import PARTITION, SCOPE
from mizan_core.manifest import Context
from mizan_core.resolve import depended_on
from mizan_core.scopes import USER, Scope, parse_scopes
from mizan_edge.http import groups
from mizan_edge.http.cache_control import FORBIDDING, TARGETED, governing
from mizan_edge.http.freshness import Lifetime, initial_age_s, lifetime
from mizan_edge.http.message import Fields, Request, Response, combined, members, values
from mizan_edge.rules.policy import Lookup, may_answer
from mizan_edge.rules.variants import vary_names

_PARTITION, _SCOPE = PARTITION.lower(), SCOPE.lower()
_MAX_SCOPE_BYTES = 64 * 1024
# RFC 9111 section 3.5: what allows a response to a request with Authorization to be shared.
_SHARES_AUTHORIZED = frozenset({"public", "s-maxage", "must-revalidate"})
# How long what is stale is kept where a 304 can make it fresh again.
_KEEP_S = 3600
# Parts; what only confirms another response; and what says something of a client rather than of the resource: RFC 6585
# sections 3 to 6.
_NEVER_STORED = frozenset({206, 304, 428, 429, 431, 511})
# By these a stored response is judged again at each use, and nothing that Connection names is stored with it.
_JUDGED_BY = frozenset({"cache-control", "vary", *TARGETED})

Refusal = Literal[
    "directives",
    "lifetime",
    "status",
    "vary",
    "set-cookie",
    "stream",
    "partition",
    "scope",
    "groups",
    "authorization",
    "partial-page",
]


@dataclass(frozen=True, slots=True)
class Storable:
    """How a response may be stored."""

    lifetime: Lifetime
    vary: tuple[str, ...]
    scopes: tuple[Scope, ...]


def storable(request: Request, lookup: Lookup, response: Response, contexts: dict[str, Context]) -> Storable | Refusal:
    """Whether the response to a fill may be stored, and as what. RFC 9111 section 3."""
    context = contexts[lookup.resource.context]
    if response.status in _NEVER_STORED:
        return "status"
    if values(response.fields, "set-cookie"):
        return "set-cookie"
    if (response.get("content-type") or "").partition(";")[0].strip().lower() == "text/event-stream":
        return "stream"
    said = values(response.fields, _PARTITION)
    if context.scope == "user" and said and said != [lookup.partition.name]:
        return "partition"
    if not _JUDGED_BY.isdisjoint(members(response.get("connection"))):
        return "directives"
    rules = governing(response.fields)
    forbidding = rules.directives.keys() & set(FORBIDDING)
    validated = any(values(response.fields, name) for name in ("etag", "last-modified"))
    # What may not be used without asking the origin may be kept for that.
    if forbidding and (forbidding != {"no-cache"} or not validated):
        return "directives"
    if context.scope == "public" and lookup.named and not rules.directives.keys() & _SHARES_AUTHORIZED:
        return "authorization"
    vary = vary_names(response, context.scope)
    if vary is None:
        return "vary"
    if not may_answer(lookup, vary):
        return "partial-page"
    life = lifetime(response, context, rules)
    if life is None:
        return "lifetime"
    if validated:
        life = replace(life, keep_s=_KEEP_S)
    if life.retention_s <= initial_age_s(response):
        return "lifetime"
    if (in_groups := groups.joined(response.fields, lookup.resource.context, request.host)) is None:
        return "groups"
    scopes = dependencies(lookup, response.fields, contexts)
    return "scope" if scopes is None else Storable(life, vary, (*scopes, *in_groups))


def dependencies(lookup: Lookup, fields: Fields, contexts: dict[str, Context]) -> tuple[Scope, ...] | None:
    """The scopes that a response depends on: those of its URL, its user, and its own; None in doubt."""
    field = combined(fields, _SCOPE) or ""
    said = depended_on(parse_scopes(field), contexts) if len(field) <= _MAX_SCOPE_BYTES else None
    if said is None:
        return None
    return _with_user(lookup, [lookup.resource.scope, *said])


def request_scopes(lookup: Lookup) -> tuple[Scope, ...]:
    """The scopes that the answer will depend on at least, as far as the request shows them."""
    return _with_user(lookup, [lookup.resource.scope])


def _with_user(lookup: Lookup, scopes: list[Scope]) -> tuple[Scope, ...]:
    if lookup.partition.user is None:  # public or anonymous
        return tuple(scopes)
    contexts = {scope.context for scope in scopes}
    return (*scopes, *(Scope(name, ((USER, lookup.partition.user),)) for name in sorted(contexts)))
