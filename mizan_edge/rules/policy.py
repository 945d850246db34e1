"""What may be done with a request, and with what is stored for it. Pure: every input is an argument.

`proxy` asks `plan` first. For a `Lookup`, `reader` reads the cache, and what it finds is judged by `usable`; what it
has to fetch goes to the origin as `fill_request` says, and what comes back is judged by `storing`.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from mizan_core.canonical import Canonical
from mizan_core.keys import ENTRY_DIGITS, derive_cache_key
from mizan_core.manifest import Context, Manifest
from mizan_core.purge import Purge
from mizan_edge.http.cache_control import Directives, delta_seconds, governing, parse
from mizan_edge.http.cache_status import Forwarded
from mizan_edge.http.freshness import CACHEABLE_BY_DEFAULT, NEVER_STALE
from mizan_edge.http.message import (
    CONDITIONALS,
    Request,
    Response,
    dropped,
    lines_of,
    members,
    normal_host,
    normal_name,
)
from mizan_edge.http.names import Names, of_names
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.identity import Partition
from mizan_edge.rules.routes import Kind, Resource

EARLY = 14
"""Within how many times its fetch of its end a response is looked at for an early refresh: beyond, the chance of one is
below one in a million."""

# Fields with which a browser-side library asks a view for something other than the page.
_PARTIAL_PAGE = ("hx-", "x-requested-with", "turbo-frame")
# Some frameworks and servers take these for the request's own method or path, which the key holds.
_OVERRIDING = frozenset(
    {
        "base-url",
        "script-name",
        "x-forwarded-context",
        "x-forwarded-method",
        "x-forwarded-path",
        "x-forwarded-uri",
        "x-forwarded-url",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
        "x-proxy-url",
        "x-request-uri",
        "x-rewrite-url",
        "x-script-name",
    }
)
_NOTHING: Directives = {}
# What a client asks for at the expense of the origin.
_DEMANDING = frozenset({"no-cache", "no-store", "max-age", "min-fresh"})
_HOSTS = ("host", "x-forwarded-host")
# What says something of the resource, rather than of the request or of the origin's health: it is there, has moved, has
# gone, or is not for all any more.
_OF_THE_RESOURCE = CACHEABLE_BY_DEFAULT | {300, 302, 303, 307, 401, 403, 451}
# RFC 5861 section 4
_ERRORS = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Pass:
    """Forward, whatever the cache holds."""

    why: Forwarded
    affects: Purge | None = None
    """What the request may change, so that it can be purged if its outcome is never known."""
    because: str = field(default="", compare=False)
    """What of the request makes it so, in words."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Answer from the cache if it can."""

    resource: Resource
    partition: Partition
    store: bool = True
    """Whether a response may be stored at all."""
    forced: bool = False
    """The client's own directives demand a fetch."""
    wanted: Directives = field(default_factory=dict)
    """The client's own directives, as far as they are heeded."""
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


def plan(
    request: Request, resource: Resource, partition: Partition | str, *, named: bool, anybody_revalidates: bool = True
) -> Pass | Lookup:
    """What to do with a request for a declared resource.

    `partition`: or why there is none. `named`: a field may tell the origin who is asking. `anybody_revalidates`: who
    has not signed in may demand a fetch, too.
    """
    told = _told_by(lines_of(request.fields).names, resource.kind)
    if told.overriding:
        because = f"Some servers take {told.overriding[0]} for the request's own method or path."
        return Pass(Forwarded("bypass", "non-canonical", resource.context), because=because)
    if isinstance(partition, str):
        return Pass(Forwarded("bypass", "credentials", resource.context), because=partition)
    said = wanted = _wanted(request)
    if not anybody_revalidates and partition.user is None:
        wanted = {name: argument for name, argument in wanted.items() if name not in _DEMANDING}
    return Lookup(
        resource,
        partition,
        # HEAD and Range get what they ask for from the origin, which is not a whole response.
        store="no-store" not in said and request.method != "HEAD" and not told.range,
        # An age is whole seconds, so a response of this very second would pass for one of age 0.
        forced=bool(wanted.keys() & {"no-cache", "no-store"}) or delta_seconds(wanted.get("max-age")) == 0,
        wanted=wanted,
        partial_page=told.partial_page,
        named=named or told.authorization,
        misspelt=told.misspelt,
    )


class _Told(NamedTuple):
    """What the names of a request's fields tell."""

    overriding: tuple[str, ...]
    partial_page: tuple[str, ...]
    range: bool
    authorization: bool
    misspelt: frozenset[str]


@of_names
def _told_by(names: Names, kind: Kind) -> _Told:
    normal = {normal_name(name) for name in names.lower}
    partial = (name for name in normal if kind == "view" and name.startswith(_PARTIAL_PAGE))
    return _Told(
        tuple(sorted(_OVERRIDING & normal)),
        tuple(sorted(partial)),
        "range" in normal,
        "authorization" in normal,
        frozenset(normal_name(name) for name in names.lower if "_" in name),
    )


def _wanted(request: Request) -> Directives:
    said = request.get("cache-control")
    directives = parse(said) if said else _NOTHING
    if not directives and "no-cache" in members(request.get("pragma")):
        # RFC 9111 section 5.4: Pragma counts where Cache-Control is not there.
        return {"no-cache": None}
    return directives


def entry_key(inputs: KeyInputs, request: Request, lookup: Lookup, variant: str | None = None) -> str:
    """What stands for the key of the answer to a request, as the request leaves for the origin."""
    resource = lookup.resource
    key = derive_cache_key(
        inputs.secret,
        resource.context,
        key_params(inputs, request, lookup),
        partition=lookup.partition.name,
        rev=inputs.manifest.contexts[resource.context].rev,
        function=resource.function,
        variant=variant,
    )
    return key[:ENTRY_DIGITS]


def key_params(inputs: KeyInputs, request: Request, lookup: Lookup) -> dict[str, Canonical]:
    """The parameters that go into the key: the resource's, and what else tells answers apart, under starred names."""
    resource = lookup.resource
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
    if resource.kind == "call" and resource.function in inputs.manifest.contexts[resource.context].views:
        # No application has such a function, but a manifest may name one like that.
        params["*call"] = "true"
    return params


def usable(stored: StoredResponse, lookup: Lookup, now_ms: int) -> bool:
    """Whether a stored response may answer without asking the origin. RFC 9111 sections 4 and 5.2.1."""
    if lookup.forced:
        return False
    ttl_s = stored.ttl_s(now_ms)
    max_age = delta_seconds(lookup.wanted.get("max-age"))
    min_fresh = delta_seconds(lookup.wanted.get("min-fresh"))
    if ttl_s <= 0 and not _accepts_stale(stored, lookup, -ttl_s):
        return False
    if (max_age is not None and stored.age_s(now_ms) > max_age) or (min_fresh is not None and ttl_s < min_fresh):
        return False
    return selects(stored, lookup)


def usable_on_error(status: int, stored: StoredResponse, lookup: Lookup, now_ms: int) -> bool:
    """Whether a stale response may stand for an origin that has failed with `status`. RFC 5861 section 4."""
    if status not in _ERRORS or lookup.forced or _wants_fresh(lookup):
        return False
    return 0 <= -stored.ttl_s(now_ms) < stored.lifetime.sie_s and selects(stored, lookup)


def usable_meanwhile(stored: StoredResponse, lookup: Lookup, now_ms: int) -> bool:
    """Whether a stale response may answer while a fresh one is fetched. RFC 5861 section 3."""
    if lookup.forced or only_if_cached(lookup) or _wants_fresh(lookup):
        return False
    return 0 <= -stored.ttl_s(now_ms) < stored.lifetime.swr_s and selects(stored, lookup)


def at_once(stored: StoredResponse, lookup: Lookup, now_ms: int) -> Literal["usable", "meanwhile"] | None:
    """How a stored response may answer before anybody is asked: as `usable` or `usable_meanwhile` says, or not."""
    if usable(stored, lookup, now_ms):
        return "usable"
    return "meanwhile" if usable_meanwhile(stored, lookup, now_ms) else None


def why_forwarded(lookup: Lookup, stored: StoredResponse | None, vary: tuple[str, ...], now_ms: int) -> Forwarded:
    """Why a request that nothing stored may answer at once goes to the origin. RFC 9211 section 2.2.

    `stored` was selected by the fields `vary`.
    """
    context = lookup.resource.context
    if lookup.forced:
        return Forwarded("request", context=context)
    if stored is None:
        return Forwarded("vary-miss" if vary else "uri-miss", context=context)
    if not may_answer(lookup, vary):
        return Forwarded("bypass", context=context)
    return Forwarded("stale" if stored.ttl_s(now_ms) <= 0 else "request", context=context)


def refresh_early(stored: StoredResponse, now_ms: int, chance: float) -> bool:
    """Whether to fetch what is fresh yet, so that a response in demand never expires. `chance`: evenly from (0, 1].

    The longer a fetch takes and the nearer the end is, the likelier; and the more ask, the sooner one of them does.
    A. Vattani, F. Chierichetti, K. Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015.
    """
    return stored.took_ms * -math.log(chance) >= stored.left_ms(now_ms)


def in_background(request: Request, lookup: Lookup) -> tuple[Request, Lookup] | None:
    """The request and look-up by which the answer to a request is fetched anew beside it; None: it is not to be stored.

    A part and a head are parts of what is stored, which is fetched whole.
    """
    if "no-store" in _wanted(request):
        return None
    method = "GET" if request.method == "HEAD" else request.method
    return replace(request, method=method), replace(lookup, store=True)


def repeatable(stored: StoredResponse, lookup: Lookup, now_ms: int) -> bool:
    """Whether the answer that `stored` has just given to a request may be given again without a decision, as long as
    it is not yet to be refreshed."""
    # What a client wants is judged by the clock, and without a date the answer has that of now.
    has_no_clock = not lookup.wanted and stored.response.get("date") is not None
    return has_no_clock and stored.left_ms(now_ms) > EARLY * stored.took_ms


def may_lead(lookup: Lookup) -> bool:
    """Whether the request may fetch for all who want the same, if nothing is stored."""
    return lookup.store and not lookup.forced and not only_if_cached(lookup)


def only_if_cached(lookup: Lookup) -> bool:
    """Whether the client wants nothing that must be fetched. RFC 9111 section 5.2.1.7."""
    return "only-if-cached" in lookup.wanted


def _wants_fresh(lookup: Lookup) -> bool:
    # RFC 9111 section 5.2.1: who states an age or a freshness does not want what is stale.
    return bool(lookup.wanted.keys() & {"max-age", "min-fresh"})


def _accepts_stale(stored: StoredResponse, lookup: Lookup, stale_s: int) -> bool:
    # RFC 9111 sections 5.2.1.2 and 4.2.4
    if "max-stale" not in lookup.wanted or governing(stored.response.fields).directives.keys() & NEVER_STALE:
        return False
    argument = lookup.wanted["max-stale"]
    return argument is None or stale_s <= (delta_seconds(argument) or -1)


def selects(stored: StoredResponse, lookup: Lookup) -> bool:
    """Whether the request has all by which the stored response was selected."""
    return may_answer(lookup, tuple(members(stored.response.get("vary"))))


def may_answer(lookup: Lookup, vary: tuple[str, ...]) -> bool:
    """Whether a response that varies by these fields can be the answer to a request that has the look-up's fields."""
    return all(name in vary for name in lookup.partial_page) and lookup.misspelt.isdisjoint(vary)


def told_by_head(
    request: Request, lookup: Lookup, context: Context, stored: StoredResponse, response: Response
) -> Literal["same", "changed"] | None:
    """What the response to a HEAD says of the stored one; None: nothing. RFC 9111 section 4.3.5.

    That section speaks of 200 alone. Another status than the stored one is a change too, if it is one of the resource.
    """
    # What the origin says to somebody, or under conditions, is not what it says to all who get the stored response.
    is_anybodys = fill_request(request, lookup, context, None) == request
    if not is_anybodys or (context.scope == "public" and lookup.named) or not selects(stored, lookup):
        return None
    if response.status not in _OF_THE_RESOURCE:
        return None
    if response.status != stored.response.status:
        return "changed"
    tag = None if stored.own_tag else stored.response.get("etag")
    known = {
        "etag": tag,
        "last-modified": stored.response.get("last-modified"),
        "content-length": str(len(stored.body)),
    }
    told = {name: value for name in known if (value := response.get(name)) is not None}
    if any(value != known[name] for name, value in told.items()):
        return "changed"
    # A body of the same length may be another one, and is not to be fresh any longer for that.
    # RFC 9111 section 5.2.1.5: of the answer to who says `no-store` no field is stored either.
    return "same" if told.keys() & {"etag", "last-modified"} and "no-store" not in _wanted(request) else None


def to_confirm(lookup: Lookup, stored: StoredResponse | None) -> StoredResponse | None:
    """The stored response of which the origin may be asked whether it still holds, if there is one."""
    if stored is None or not stored.conditions:
        return None
    return stored if selects(stored, lookup) else None


def fill_request(request: Request, lookup: Lookup, context: Context, known: StoredResponse | None) -> Request:
    """The request that fetches what may be stored: without the client's conditionals, and in public without cookies.

    `known`: asks whether that still holds. The host is spelled as the key has it: of `site:80` some applications make a
    redirect to `https://site:80`, which would lie there for everybody.
    """
    without = CONDITIONALS | {"cookie"} if context.scope == "public" else CONDITIONALS
    fields = [
        (name, normal_host(value, request.scheme) if name.lower() in _HOSTS else value)
        for name, value in dropped(request.fields, without)
    ]
    return replace(request, target=lookup.resource.target, fields=(*fields, *(known.conditions if known else ())))
