"""The bundle of a context: every rpc function of it, from the origin's own cache where that is exact."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone, translation

from mizan.cache.bundle_cache import BundleCache, BundleKey, Hit, Miss, NoBundleCache
from mizan.cache.configured import bundle_cache
from mizan.declare.compiled import compiled
from mizan.errors import ApiError
from mizan.http.execute import allow, run_in_transactions
from mizan.http.output import json_bytes, json_response
from mizan.http.reading import Reading
from mizan.request.identity import reread_user
from mizan.request.state import state
from mizan_core.credentials import IDENTITY_HEADERS, IGNORED_COOKIES
from mizan_core.keys import variant_text
from mizan_core.manifest import Context
from mizan_core.mwt import COOKIES
from mizan_core.patterns import canonical_url
from mizan_core.registry import FunctionSpec
from mizan_core.scopes import URL, USER, Scope
from mizan_core.signature import ArgumentsError


def context_response(request: HttpRequest, context: str) -> HttpResponseBase:
    """200 with function name -> result. Raises ApiError, and whatever a function raises."""
    functions = compiled().contexts.get(context)
    if functions is None:
        raise ApiError(404, "not_found", f"there is no context {context!r}")
    specs = [spec for spec in functions if spec.path == "rpc"]
    with Reading(request, context) as reading:
        for spec in specs:
            allow(request, spec)
        calls = _calls(request, specs)
        reading.begin(calls)
        cache = _cache_for(reading)
        found = _look(cache, reading)
        if isinstance(found, Miss) and not _reread(reading):
            found = None
        if isinstance(found, Hit):
            return reading.answer(json_response(found.body), age_s=found.age_s)
        names = [spec.name for spec in specs]
        body = run_in_transactions(request, calls, lambda *results: json_bytes(dict(zip(names, results, strict=True))))
        if isinstance(found, Miss):
            _keep(cache, found, body, reading)
        return reading.answer(json_response(body))


def _calls(request: HttpRequest, specs: list[FunctionSpec]) -> list[tuple[FunctionSpec, Mapping[str, Any]]]:
    """The functions with their validated arguments. Raises ArgumentsError with what is wrong for any of them."""
    calls: list[tuple[FunctionSpec, Mapping[str, Any]]] = []
    problems: list[dict[str, Any]] = []
    for spec in specs:
        try:
            calls.append((spec, spec.signature.bind(spec.signature.from_query(request.GET.getlist))))
        except ArgumentsError as error:
            problems += [problem for problem in error.details if problem not in problems]
    if problems:
        raise ArgumentsError(problems)
    return calls


def _keep(cache: BundleCache, miss: Miss, body: bytes, reading: Reading) -> None:
    here = state(reading.request)
    # What was said at run time is not known of a body that comes from the cache.
    if reading.scopes is None or here.depends or here.invalidated or reading.refused():
        return
    scopes = (*reading.scopes, *_reserved(reading))
    cache.keep(miss, body, scopes=scopes, context=reading.context, retention_s=_retention_s(reading.rules))


def _retention_s(rules: Context) -> int:
    return 0 if rules.ttl == "heuristic" else rules.ttl


def _cache_for(reading: Reading) -> BundleCache:
    if reading.scopes is None or not _retention_s(reading.rules) or _foreign(reading):
        return NoBundleCache()
    return bundle_cache()


def _look(cache: BundleCache, reading: Reading) -> Hit | Miss | None:
    if isinstance(cache, NoBundleCache):
        return None
    request = reading.request
    # Besides the arguments a function sees the rest of the query, the host, and what the middleware made of the rest.
    variant = {
        "host": request.get_host(),
        "language": translation.get_language(),
        "scheme": request.scheme,
        "timezone": timezone.get_current_timezone_name(),
    }
    bundle = BundleKey(
        reading.context,
        _query(reading),
        reading.partition or "public",
        reading.rules.rev,
        variant_text(variant),
    )
    return cache.look(bundle, fresh="no-cache" in request.headers.get("Cache-Control", "").lower())


def _reread(reading: Reading) -> bool:
    """Whether nothing of the user is older than the fence that `_look` brought.

    1. The user is read, to know whose bundle it is.   2. Somebody renames that user, and purges.   3. The fence is
    read, and a function takes the name from `request.user`. -- Nothing would purge what 3 keeps, so the user is read
    again.
    """
    return reading.partition in (None, "anon") or reread_user(reading.request)


def _query(reading: Reading) -> dict[str, list[str]]:
    query, ignored = reading.request.GET, reading.rules.ignore_query
    return {name: query.getlist(name) for name in query if not any(fnmatchcase(name, pattern) for pattern in ignored)}


def _reserved(reading: Reading) -> tuple[Scope, ...]:
    """The scopes that every entry has: its URL, and its user."""
    url = canonical_url(reading.request.path, _query(reading))
    user, _, _ = (reading.partition or "").removeprefix("user:").rpartition(":")
    return (Scope(reading.context, ((URL, url),)), *([Scope(reading.context, ((USER, user),))] if user else []))


def _foreign(reading: Reading) -> bool:
    """Whether the request carries something besides its partition that a function may look at."""
    request = reading.request
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
