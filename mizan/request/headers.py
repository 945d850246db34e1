"""What a response says to caches: to the edge in headers of its own, to browsers in `Cache-Control` and `ETag`."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import get_conditional_response, set_response_etag
from django.utils.http import parse_http_date_safe

from mizan_core.fields import CACHE_CONTROL, INVALIDATE, PARTITION, SCOPE
from mizan_core.manifest import Context
from mizan_core.scopes import Scope, bounded, format_scopes

NO_STORE = "no-store"
MAX_FIELD_BYTES = 4096
"""What servers and proxies on the way surely let through; the fields are ASCII."""

_REFUSED = "mizan_refused"
_NO_LIFETIME = "its context has ttl=0, which is what it has where auth= is a function and nothing else is said"

# Of the statuses that the manifest's ttl is meant for those that are no errors.
_STORABLE = frozenset({200, 203, 204, 301, 308})
# A field that says nothing about lifetimes, yet outranks Cache-Control (RFC 9213 section 2.2): the manifest decides.
_UNSAID = "heuristic"
# RFC 9213 and its predecessor: a view that sends one of them has decided for itself.
_OWN = (CACHE_CONTROL, "CDN-Cache-Control", "Cache-Control")


@dataclass(frozen=True, slots=True)
class Dependence:
    """What a response of a context was made from."""

    rules: Context
    scopes: tuple[Scope, ...] | None
    """None: they cannot be told."""
    partition: str | None
    """None in a public context."""
    refused: str | None = None
    """Why nobody may keep the response, whatever the context's rules."""
    own_ttl: bool = True
    """Whether the function says `ttl=` itself, so that it holds beside a Cache-Control of the view's own."""
    age_s: int = 0


def lifetime(rules: Context, *, age_s: int = 0) -> str:
    """The `Mizan-Cache-Control` of a response that may be kept."""
    if rules.ttl == 0:
        return NO_STORE
    parts = [f"max-age={max(rules.ttl - age_s, 0)}"] if rules.ttl != "heuristic" else []
    parts += [f"stale-while-revalidate={rules.swr}"] if rules.swr else []
    parts += [f"stale-if-error={rules.sie}"] if rules.sie else []
    return ", ".join(parts) or _UNSAID


def forbid_storing(response: HttpResponseBase) -> None:
    """Has no cache of ours keep the response, whatever it says otherwise."""
    response.headers[CACHE_CONTROL] = NO_STORE


def say_dependence(response: HttpResponseBase, dependence: Dependence) -> str | None:
    """Sets the headers of a read. What the view itself has said to caches, it keeps. Returns why they say that nobody
    may keep the response, or None; `why_refused` has the same."""
    rules = dependence.rules
    scopes, partition = dependence.scopes, dependence.partition
    own = [name for name in _OWN if name in response.headers]
    refused = _refused(response, dependence)
    if scopes is not None and not say_scopes(response, scopes):
        refused = refused or f"what it depends on takes more than {MAX_FIELD_BYTES} bytes"
    if partition is not None and _plain(partition):
        response.headers[PARTITION] = partition
    if refused:
        forbid_storing(response)
    elif not own or (own == ["Cache-Control"] and dependence.own_ttl and "no-store" not in _field(response)):
        response.headers[CACHE_CONTROL] = lifetime(rules, age_s=dependence.age_s)
        refused = _NO_LIFETIME if rules.ttl == 0 else None
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = f"{'public' if rules.scope == 'public' else 'private'}, no-cache"
    setattr(response, _REFUSED, refused)
    return refused


def why_refused(response: HttpResponseBase) -> str | None:
    """Why `say_dependence` has said that nobody may keep a response, for its author to read."""
    return getattr(response, _REFUSED, None)


def _refused(response: HttpResponseBase, dependence: Dependence) -> str | None:
    partition = dependence.partition
    if dependence.refused:
        return dependence.refused
    if dependence.scopes is None:
        return "nothing tells what it depends on: one of its arguments is no value of the parameter"
    if partition is not None and not _plain(partition):
        return "the primary key of its user is not plain ASCII"
    if response.status_code not in _STORABLE:
        return f"its status is {response.status_code}"
    if response.cookies:
        return f"it sets a cookie ({', '.join(response.cookies)})"
    return None


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _field(response: HttpResponseBase) -> str:
    return response.headers["Cache-Control"].lower()


def say_scopes(response: HttpResponseBase, scopes: tuple[Scope, ...]) -> bool:
    """Says what a response depends on, beside what it says itself. False where that would be too long, and nobody may
    keep the response: a purge of what is left out would miss it."""
    text = ", ".join(text for text in (response.headers.get(SCOPE), format_scopes(scopes)) if text)
    if len(text) > MAX_FIELD_BYTES:
        del response.headers[SCOPE]
        forbid_storing(response)
        return False
    response.headers[SCOPE] = text
    return True


def say_invalidated(response: HttpResponseBase, scopes: tuple[Scope, ...]) -> None:
    """Sets the header of what changes something, which nobody may keep. A view's own members stay."""
    said = response.headers.get(INVALIDATE)
    text = ", ".join(text for text in (said, format_scopes(scopes)) if text)
    if len(text) > MAX_FIELD_BYTES:
        text = bounded(text, MAX_FIELD_BYTES)
    response.headers[INVALIDATE] = text
    forbid_storing(response)


def with_validator(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The response with an `ETag`, or a 304 to a browser that has it. The 304 says to caches what the response said,
    since RFC 9111 section 4.3.4 has them update from it."""
    if response.status_code != 200 or response.streaming:
        return response
    if "ETag" not in response.headers:
        set_response_etag(response)
    if request.method not in ("GET", "HEAD"):
        return response
    modified = response.headers.get("Last-Modified")
    answer = get_conditional_response(
        request,
        etag=response.headers.get("ETag"),
        last_modified=parse_http_date_safe(modified) if modified else None,
        response=response,  # type: ignore[arg-type]
    )
    if answer is None or answer is response:
        return response
    for name in (SCOPE, PARTITION, CACHE_CONTROL, INVALIDATE):
        if name in response.headers:
            answer.headers[name] = response.headers[name]
    if answer.status_code >= 400:
        forbid_storing(answer)
    return answer
