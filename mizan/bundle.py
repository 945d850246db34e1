"""The bundle of a context: every rpc function of it, from the origin's own cache where that is exact."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone, translation

from mizan.cache.bundles import Bundle, Bundles, Hit, Miss, Off
from mizan.cache.origin import bundles
from mizan.declared import declared
from mizan.errors import ApiError
from mizan.execute import allow, run
from mizan.headers import Dependence, say_dependence, with_validator
from mizan.identity import partition, reread_user
from mizan.output import json_bytes
from mizan.recording import Recording
from mizan.request import dependence_of
from mizan.state import state
from mizan.transactions import atomic_requests, opted_out
from mizan_core.credentials import IDENTITY_HEADERS, IGNORED_COOKIES
from mizan_core.export import Rules
from mizan_core.keys import variant_text
from mizan_core.mwt import COOKIES
from mizan_core.patterns import canonical_url
from mizan_core.registry import FunctionSpec
from mizan_core.scopes import URL, USER, Scope
from mizan_core.scoping import depends
from mizan_core.signature import ArgumentsError


@dataclass(frozen=True, slots=True)
class Reading:
    """One request for a context: its functions with their validated arguments, and what they depend on."""

    context: str
    rules: Rules
    calls: tuple[tuple[FunctionSpec, Mapping[str, Any]], ...]
    scopes: tuple[Scope, ...] | None
    partition: str | None
    """None in a public context, where it is "public" to the cache."""


def context_response(request: HttpRequest, context: str) -> HttpResponseBase:
    """200 with function name -> result. Raises ApiError, and whatever a function raises."""
    functions = declared().contexts.get(context)
    if functions is None:
        raise ApiError(404, "not_found", f"there is no context {context!r}")
    specs = [spec for spec in functions if spec.path == "rpc"]
    recording = Recording(request)
    try:
        for spec in specs:
            allow(request, spec)
        reading = _reading(request, context, specs)
        cache = _cache_for(request, reading)
        found = _look(request, cache, reading)
        if isinstance(found, Miss) and not _reread(request, reading):
            found = None
        if isinstance(found, Hit):
            body, age_s = found.body, found.age_s
        else:
            # What only some of them have opted out of, the others count on.
            opted = [opted_out(spec.fn) for spec in specs] or [frozenset()]
            with atomic_requests(skip=frozenset.intersection(*opted)):
                body = json_bytes({spec.name: run(spec, request, arguments) for spec, arguments in reading.calls})
            age_s = 0
        storable = reading.partition == _partition(request, reading.rules) and recording.personal() is None
    finally:
        recording.stop()
    # What was said at run time is not known of a body that comes from the cache.
    as_declared = not (state(request).depends or state(request).invalidated)
    if (
        isinstance(found, Miss)
        and as_declared
        and storable
        and reading.scopes is not None
        and _retention_s(reading.rules)
    ):
        scopes = (*reading.scopes, *_reserved(request, reading))
        cache.keep(found, body, scopes=scopes, context=context, retention_s=_retention_s(reading.rules))
    response = HttpResponse(body, content_type="application/json")
    say_dependence(
        response,
        Dependence(
            reading.rules,
            dependence_of(request, reading.scopes),
            reading.partition,
            storable=storable,
            age_s=age_s,
        ),
    )
    return with_validator(request, response)


def _reading(request: HttpRequest, context: str, specs: list[FunctionSpec]) -> Reading:
    here = declared()
    calls = []
    problems: list[dict[str, Any]] = []
    for spec in specs:
        try:
            calls.append((spec, spec.signature.bind(spec.signature.from_query(request.GET.getlist))))
        except ArgumentsError as error:
            problems += [problem for problem in error.details if problem not in problems]
    if problems:
        raise ArgumentsError(problems)
    rules = here.rules[context]
    scopes = depends(context, calls, here.coverage[context].types)
    return Reading(context, rules, tuple(calls), scopes, _partition(request, rules))


def _partition(request: HttpRequest, rules: Rules) -> str | None:
    # In a public context nobody looks who asks, or the response would vary by Cookie.
    return partition(request) if rules.scope == "user" else None


def _retention_s(rules: Rules) -> int:
    return 0 if rules.ttl == "heuristic" else rules.ttl


def _cache_for(request: HttpRequest, reading: Reading) -> Bundles:
    if reading.scopes is None or not _retention_s(reading.rules) or _foreign(request, reading):
        return Off()
    return bundles()


def _look(request: HttpRequest, cache: Bundles, reading: Reading) -> Hit | Miss | None:
    if isinstance(cache, Off):
        return None
    # Besides the arguments a function sees the rest of the query, the host, and what the middleware made of the rest.
    variant = {
        "host": request.get_host(),
        "language": translation.get_language(),
        "scheme": request.scheme,
        "timezone": timezone.get_current_timezone_name(),
    }
    bundle = Bundle(
        reading.context,
        _query(request, reading),
        reading.partition or "public",
        reading.rules.rev,
        variant_text(variant),
    )
    return cache.look(bundle, fresh="no-cache" in request.headers.get("Cache-Control", "").lower())


def _reread(request: HttpRequest, reading: Reading) -> bool:
    """Whether nothing of the user is older than the fence that `_look` brought.

    1. The user is read, to know whose bundle it is.   2. Somebody renames that user, and purges.   3. The fence is
    read, and a function takes the name from `request.user`. -- Nothing would purge what 3 keeps, so the user is read
    again.
    """
    return reading.partition in (None, "anon") or reread_user(request)


def _query(request: HttpRequest, reading: Reading) -> dict[str, list[str]]:
    ignored = reading.rules.ignore_query
    return {
        name: request.GET.getlist(name)
        for name in request.GET
        if not any(fnmatchcase(name, pattern) for pattern in ignored)
    }


def _reserved(request: HttpRequest, reading: Reading) -> tuple[Scope, ...]:
    """The scopes that every entry has: its URL, and its user."""
    url = canonical_url(request.path, _query(request, reading))
    user, _, _ = (reading.partition or "").removeprefix("user:").rpartition(":")
    return (Scope(reading.context, ((URL, url),)), *([Scope(reading.context, ((USER, user),))] if user else []))


def _foreign(request: HttpRequest, reading: Reading) -> bool:
    """Whether the request carries something besides its partition that a function may look at."""
    known = {settings.CSRF_COOKIE_NAME, settings.LANGUAGE_COOKIE_NAME}
    if reading.partition is not None:
        known |= {settings.SESSION_COOKIE_NAME, *COOKIES}
    if any(
        name not in known and not any(fnmatchcase(name, ignored) for ignored in IGNORED_COOKIES)
        for name in request.COOKIES
    ):
        return True
    if "Authorization" in request.headers and not (state(request).bearer and reading.partition is not None):
        return True
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in request.headers for pattern in IDENTITY_HEADERS)
