"""The three endpoints: GET ctx/<context>/, POST call/, GET session/."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.middleware.csrf import get_token
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie

from mizan.db.transactions import non_atomic
from mizan.declare.compiled import compiled
from mizan.errors import ApiError
from mizan.http.bundle import context_response
from mizan.http.execute import allow, run_in_transactions
from mizan.http.frame import framed
from mizan.http.input import parse_json
from mizan.http.output import json_bytes, json_response
from mizan.http.reading import Reading
from mizan.request.csrf import check_csrf
from mizan.request.headers import forbid_storing
from mizan.request.identity import session_token
from mizan.request.settle import remember_changes
from mizan.request.state import state
from mizan_core import registry
from mizan_core.merging import Place, places
from mizan_core.registry import FunctionSpec
from mizan_core.scopes import Scope

View = Callable[..., HttpResponseBase]


def endpoint(*methods: str) -> Callable[[View], View]:
    """An endpoint of ours: these methods, JSON errors, tokens in and the token cookie out."""

    def decorate(view: View) -> View:
        @wraps(view)
        def inner(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            def answer() -> HttpResponseBase:
                if request.method not in methods:
                    allowed = ", ".join(methods)
                    raise ApiError(405, "method_not_allowed", f"this URL takes {allowed}", allow=allowed)
                return view(request, **kwargs)

            return framed(request, answer)

        return non_atomic(csrf_exempt(inner))

    return decorate


@endpoint("GET", "HEAD")
def context(request: HttpRequest, context: str) -> HttpResponseBase:
    """The results of all of a context's rpc functions, or an error: there are no parts of it."""
    return context_response(request, context)


@endpoint("POST")
def call(request: HttpRequest) -> HttpResponseBase:
    """One function by its name, with its arguments in the body."""
    name, raw = _call_of(request)
    spec = registry.default.get(name)
    if spec is None or not getattr(spec.fn, "csrf_exempt", False):
        check_csrf(request)
    if spec is None or spec.path != "rpc":
        raise ApiError(404, "not_found", f"there is no function {name!r} to call")
    if spec.is_mutation:
        return _mutate(request, spec, raw)
    return _read(request, spec, spec.context, raw) if spec.context else _plain(request, spec, raw)


@endpoint("GET", "HEAD")
@ensure_csrf_cookie
def session(request: HttpRequest) -> HttpResponseBase:
    """What a client needs before it can call: the CSRF token, and a token for its user."""
    token, expires_in = session_token(request)
    body = {"csrf_token": get_token(request), "mwt": token, "expires_in": expires_in}
    response = JsonResponse(body)
    response.headers["Cache-Control"] = "private, no-store"
    forbid_storing(response)
    return response


def _call_of(request: HttpRequest) -> tuple[str, Mapping[str, object]]:
    """The function's name and its raw arguments."""
    if request.content_type != "application/json":
        raise ApiError(415, "unsupported_media_type", "calls are application/json")
    try:
        body = parse_json(request.body)
    except ValueError:
        raise ApiError(400, "malformed", "the body is not JSON") from None
    name, arguments = (body.get("fn"), body.get("args", {})) if isinstance(body, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ApiError(400, "malformed", 'a call is {"fn": name, "args": {...}}')
    return name, arguments


def _plain(request: HttpRequest, spec: FunctionSpec, raw: Mapping[str, object]) -> HttpResponseBase:
    allow(request, spec)
    arguments = spec.signature.bind(raw)
    response = json_response(run_in_transactions(request, [(spec, arguments)], _result))
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _result(result: object) -> bytes:
    return json_bytes({"result": result})


def _mutate(request: HttpRequest, spec: FunctionSpec, raw: Mapping[str, object]) -> HttpResponseBase:
    allow(request, spec)
    arguments = spec.signature.bind(raw)
    remember_changes(request, spec, arguments)
    here = compiled()
    # Copied before the function can change a list that it was given.
    merged = [(place, _entry(place)) for place in places(spec, arguments, here.contexts, here.coverage)]

    def outcome(result: object) -> bytes:
        return json_bytes(_outcome(result, state(request).invalidated, merged))

    response = json_response(run_in_transactions(request, [(spec, arguments)], outcome))
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _outcome(
    result: object, scopes: Iterable[Scope], merged: Sequence[tuple[Place, dict[str, object]]]
) -> dict[str, object]:
    outcome: dict[str, object] = {"result": result, "invalidate": [str(scope) for scope in scopes]}
    if merged:
        # As JSON already: an iterator would be empty the second time.
        outcome["result"] = value = _as_json(result)
        entries = []
        for place, entry in merged:
            if place.output is None:
                entries.append(entry | {"value": value})
            elif (written := place.written(result)) is not None:
                entries.append(entry | {"value": json.loads(written)})
        if entries:
            outcome["merge"] = entries
    return outcome


def _entry(place: Place) -> dict[str, object]:
    entry: dict[str, object] = {"context": place.context, "slot": place.slot}
    return entry | {"params": _as_json(place.params)} if place.params else entry


def _as_json(value: object) -> object:
    return json.loads(json_bytes(value))


def _read(request: HttpRequest, spec: FunctionSpec, context: str, raw: Mapping[str, object]) -> HttpResponseBase:
    with Reading(request, context) as reading:
        allow(request, spec)
        calls = [(spec, spec.signature.bind(raw))]
        reading.begin(calls)
        response = json_response(run_in_transactions(request, calls, _result))
        refused = None if spec.cacheable else "calls of its function are not cached"
        return reading.answer(response, refused=refused)
