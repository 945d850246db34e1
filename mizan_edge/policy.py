"""What may be done with a request and with a response. Pure: every input is an argument.

The driver (`proxy`) asks `plan` first. For a `Lookup` it reads the cache, and what it finds is judged by `usable`; what
it has to fetch goes to the origin as `fill_request` says, and what comes back is judged by `storable`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from mizan_core.canonical import Canonical
from mizan_core.keys import derive_cache_key, variant_text
from mizan_core.manifest import Context, Manifest
from mizan_core.resolve import Purge, declared
from mizan_core.scopes import USER, Scope, parse_scopes
from mizan_edge.cache_control import FORBIDDING, Directives, delta_seconds, governing, parse
from mizan_edge.cache_status import Forwarded
from mizan_edge.entry import StoredResponse
from mizan_edge.freshness import Lifetime, initial_age_s, lifetime
from mizan_edge.http import (
    CONDITIONALS,
    Fields,
    Request,
    Response,
    combined,
    dropped,
    members,
    normal_host,
    normal_name,
    values,
)
from mizan_edge.identity import Partition
from mizan_edge.routes import Resource

# Fields with which a browser-side library asks a view for something other than the page.
_PARTIAL_PAGE = ("hx-", "x-requested-with", "turbo-frame")
_METHOD_OVERRIDE = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
# RFC 9111 section 3.5: what allows a response to a request with Authorization to be shared.
_SHARES_AUTHORIZED = frozenset({"public", "s-maxage", "must-revalidate"})
_MAX_SCOPE_BYTES = 64 * 1024
# How long what is stale is kept where a 304 can make it fresh again.
_KEEP_S = 3600
# RFC 5861 section 4
_ERRORS = (500, 502, 503, 504)

Refusal = Literal[
    "directives",
    "lifetime",
    "status",
    "vary",
    "set-cookie",
    "stream",
    "partition",
    "scope",
    "authorization",
    "partial-page",
]


@dataclass(frozen=True, slots=True)
class Pass:
    """Forward, whatever the cache holds."""

    why: Forwarded
    affects: Purge | None = None
    """What the request may change, so that it can be purged if its outcome is never known."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Answer from the cache if it can."""

    resource: Resource
    partition: Partition
    store: bool = True
    """Whether a response may be stored at all."""
    forced: bool = False
    """The client's own directives demand a fetch."""
    only_if_cached: bool = False
    partial_page: tuple[str, ...] = ()
    """Fields of the request that a stored response must name in its Vary to be used."""
    named: bool = False
    """Whether a field beside cookies may tell the origin who is asking."""
    misspelt: frozenset[str] = frozenset()
    """Fields that came as `Accept_Language`: some servers read them under their name, others drop them."""


@dataclass(frozen=True, slots=True)
class KeyInputs:
    """What goes into every key of a site beyond the request: the secret, the release, whether hosts are told apart."""

    secret: bytes
    manifest: Manifest
    many_hosts: bool
    only_host: str | None = None
    """The host that is served, where there is one: the same name with another port is another host."""


def plan(request: Request, resource: Resource, partition: Partition | None, *, named: bool) -> Pass | Lookup:
    """What to do with a request for a declared resource. `named`: a field may tell the origin who is asking."""
    names = {normal_name(name) for name, _ in request.fields}
    if names & _METHOD_OVERRIDE:
        return Pass(Forwarded("bypass", "non-canonical"))
    if partition is None:
        return Pass(Forwarded("bypass", "credentials"))
    directives = parse(request.get("cache-control") or "")
    partial_page: tuple[str, ...] = ()
    if resource.kind == "view":
        partial_page = tuple(sorted(name for name in names if name.startswith(_PARTIAL_PAGE)))
    return Lookup(
        resource,
        partition,
        # HEAD and Range get what they ask for from the origin, which is not a whole response.
        store="no-store" not in directives and request.method != "HEAD" and "range" not in names,
        forced=_demands_fetch(request, directives),
        only_if_cached="only-if-cached" in directives,
        partial_page=partial_page,
        named=named or "authorization" in names,
        misspelt=frozenset(normal_name(name) for name, _ in request.fields if "_" in name),
    )


def _demands_fetch(request: Request, directives: Directives) -> bool:
    if not directives:
        # RFC 9111 section 5.4: Pragma counts where Cache-Control is not there.
        return "no-cache" in members(request.get("pragma"))
    # An age is whole seconds, so a response of this very second would pass for one of age 0.
    return bool(directives.keys() & {"no-cache", "no-store"}) or delta_seconds(directives.get("max-age")) == 0


def entry_key(inputs: KeyInputs, request: Request, lookup: Lookup, variant: str | None = None) -> str:
    """The key under which the answer to a request lies, as the request leaves for the origin."""
    resource = lookup.resource
    context = inputs.manifest.contexts[resource.context]
    params: dict[str, Canonical] = dict(resource.params)
    if inputs.many_hosts or (inputs.only_host is not None and request.host != inputs.only_host):
        params["*host"] = request.host
    field = normal_host(request.get("host") or "", request.scheme)
    if field != request.host:
        # A trusted proxy may name a host and leave the client's own Host field, which the origin gets as well.
        params["*host-field"] = field
    if request.scheme != "http":
        # Else a redirect from http to https would be served to those who followed it.
        params["*scheme"] = request.scheme
    if resource.kind == "view" and inputs.manifest.release is not None:
        params["*release"] = inputs.manifest.release
    return derive_cache_key(
        inputs.secret,
        resource.context,
        params,
        partition=lookup.partition.name,
        rev=context.rev,
        function=resource.function,
        variant=variant,
    )


def variant_of(request: Request, names: tuple[str, ...]) -> str | None:
    """The text that selects among variants which differ by these fields; None without any."""
    if not names:
        return None
    return variant_text({name: _normalised(name, request.get(name)) for name in names})


def _normalised(name: str, value: str | None) -> str | None:
    # RFC 9111 section 4.1 allows what is known to change no meaning: space between the members of a known list.
    if value is None or not name.startswith("accept") or '"' in value:
        return value
    return ", ".join(part.strip() for part in value.split(",") if part.strip())


def usable(request: Request, stored: StoredResponse, lookup: Lookup, now_ms: int) -> bool:
    """Whether a stored response may answer a request without asking the origin."""
    if lookup.forced or stored.ttl_s(now_ms) <= 0:
        return False
    directives = parse(request.get("cache-control") or "")
    max_age = delta_seconds(directives.get("max-age"))
    min_fresh = delta_seconds(directives.get("min-fresh")) or 0
    if max_age is not None and stored.age_s(now_ms) > max_age:
        return False
    return stored.ttl_s(now_ms) >= min_fresh and may_answer(lookup, tuple(members(stored.response.get("vary"))))


def usable_on_error(request: Request, status: int, stored: StoredResponse, lookup: Lookup, now_ms: int) -> bool:
    """Whether a stale response may stand for an origin that has failed with `status`. RFC 5861 section 4."""
    # RFC 9111 section 5.2.1: who states an age or a freshness does not want what is stale.
    wanted = parse(request.get("cache-control") or "").keys()
    if status not in _ERRORS or lookup.forced or wanted & {"max-age", "min-fresh"}:
        return False
    stale_s = -stored.ttl_s(now_ms)
    return 0 <= stale_s < stored.lifetime.sie_s and may_answer(lookup, tuple(members(stored.response.get("vary"))))


def usable_meanwhile(request: Request, stored: StoredResponse, lookup: Lookup, now_ms: int) -> bool:
    """Whether a stale response may answer while a fresh one is fetched. RFC 5861 section 3."""
    wanted = parse(request.get("cache-control") or "").keys()
    if lookup.forced or lookup.only_if_cached or wanted & {"max-age", "min-fresh"}:
        return False
    stale_s = -stored.ttl_s(now_ms)
    return 0 <= stale_s < stored.lifetime.swr_s and may_answer(lookup, tuple(members(stored.response.get("vary"))))


def may_answer(lookup: Lookup, vary: tuple[str, ...]) -> bool:
    """Whether a response that varies by these fields can be the answer to a request that has the look-up's fields."""
    return all(name in vary for name in lookup.partial_page) and lookup.misspelt.isdisjoint(vary)


def to_confirm(lookup: Lookup, stored: StoredResponse | None) -> StoredResponse | None:
    """The stored response of which the origin may be asked whether it still holds, if there is one."""
    if stored is None or not stored.conditions:
        return None
    return stored if may_answer(lookup, tuple(members(stored.response.get("vary")))) else None


def fill_request(request: Request, lookup: Lookup, context: Context, known: StoredResponse | None) -> Request:
    """The request that fetches what may be stored: without the client's conditionals, and in public without cookies.

    `known`: asks whether that still holds.
    """
    without = CONDITIONALS | {"cookie"} if context.scope == "public" else CONDITIONALS
    fields = (*dropped(request.fields, without), *(known.conditions if known else ()))
    return replace(request, target=lookup.resource.target, fields=fields)


def vary_names(response: Response, scope: str) -> tuple[str, ...] | None:
    """The fields that select among a resource's responses, sorted; None where nothing may be stored."""
    names = set(members(response.get("vary")))
    if scope == "user":
        names -= {"cookie", "authorization"}  # the partition stands for them
    allowed = response.get("access-control-allow-origin")
    if allowed is not None and allowed.strip() != "*":
        names.add("origin")
    if names & {"*", "cookie", "authorization"}:
        return None
    return tuple(sorted(names))


def vary_of(stored: StoredResponse, context: Context) -> tuple[str, ...]:
    """The same for a response that is stored."""
    return vary_names(stored.response, context.scope) or ()


@dataclass(frozen=True, slots=True)
class Storable:
    """How a response may be stored."""

    lifetime: Lifetime
    vary: tuple[str, ...]
    scopes: tuple[Scope, ...]


def storable(request: Request, lookup: Lookup, response: Response, contexts: dict[str, Context]) -> Storable | Refusal:
    """Whether the response to a fill may be stored, and as what. RFC 9111 section 3."""
    context = contexts[lookup.resource.context]
    if response.status in (206, 304):
        return "status"
    if values(response.fields, "set-cookie"):
        return "set-cookie"
    if (response.get("content-type") or "").partition(";")[0].strip().lower() == "text/event-stream":
        return "stream"
    said = values(response.fields, "x-mizan-partition")
    if context.scope == "user" and said and said != [lookup.partition.name]:
        return "partition"
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
    if forbidding:
        life = Lifetime(0)
    if validated:
        life = replace(life, keep_s=_KEEP_S)
    if life.retention_s <= initial_age_s(response):
        return "lifetime"
    scopes = dependencies(lookup, response.fields, contexts)
    return "scope" if scopes is None else Storable(life, vary, scopes)


def dependencies(lookup: Lookup, fields: Fields, contexts: dict[str, Context]) -> tuple[Scope, ...] | None:
    """The scopes that a response depends on: those of its URL, its user, and its own; None in doubt."""
    field = combined(fields, "x-mizan-scope") or ""
    said = declared(parse_scopes(field), contexts) if len(field) <= _MAX_SCOPE_BYTES else None
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
