"""Running declared functions: who may, with which arguments, inside which transactions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware

from mizan.declared import declared
from mizan.errors import ApiError
from mizan.identity import signed_in_user
from mizan.state import state
from mizan.transactions import atomic_requests, opted_out
from mizan_core.registry import FunctionSpec
from mizan_core.scoping import invalidated

T = TypeVar("T")

# RFC 9110 section 9.2.1
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class _Csrf(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


def check_csrf(request: HttpRequest) -> None:
    """Django's own check, unless a token signed the request in: browsers do not send that by themselves. Its views are
    exempt from the middleware, so the check runs once, and also where the middleware is missing."""
    if state(request).bearer or request.method in SAFE_METHODS:
        return
    check = _Csrf(no_response)
    if "CSRF_COOKIE" not in request.META:
        check.process_request(request)
    if reason := check.process_view(request, None, (), {}):  # type: ignore[arg-type]
        raise ApiError(403, "csrf", str(reason))


def is_own_origin(request: HttpRequest) -> bool:
    """Whether the request's `Origin` is this site's own, or in CSRF_TRUSTED_ORIGINS: Django's own comparison."""
    return bool(_Csrf(no_response)._origin_verified(request))  # type: ignore[attr-defined]


def no_response(request: HttpRequest) -> Any:
    """For a middleware whose parts are called one by one."""
    raise AssertionError("nothing asks this middleware for a response")


def allow(request: HttpRequest, spec: FunctionSpec) -> None:
    """Raises ApiError, 401 or 403, unless the function's `auth=` lets the request in."""
    auth = spec.auth
    if not auth:
        return
    user = signed_in_user(request)
    if callable(auth):
        allowed = bool(settled(auth(request)))
    else:
        allowed = user is not None and (auth is True or bool(getattr(user, _FLAGS[auth], False)))
    if not allowed and user is None:
        raise ApiError(401, "unauthenticated", "sign in first")
    if not allowed:
        raise ApiError(403, "forbidden", "not allowed")


def settled(verdict: object) -> object:
    """What an awaitable comes to, by itself always true; anything else as it is."""
    return async_to_sync(_awaited)(verdict) if isawaitable(verdict) else verdict


async def _awaited(value: Awaitable[object]) -> object:
    return await value


_FLAGS = {"staff": "is_staff", "superuser": "is_superuser"}


def run_in_transactions(
    request: HttpRequest, calls: Sequence[tuple[FunctionSpec, Mapping[str, Any]]], make: Callable[..., T]
) -> T:
    """What `make` makes of what the functions return, inside the transactions that ATOMIC_REQUESTS asks for, since a
    queryset is read only then. What some of several functions have opted out of, the others count on."""
    opted = [opted_out(spec.fn) for spec, _ in calls] or [frozenset()]
    with atomic_requests(skip=frozenset.intersection(*opted)):
        return make(*[_run(spec, request, arguments) for spec, arguments in calls])


def _run(spec: FunctionSpec, request: HttpRequest, arguments: Mapping[str, Any]) -> Any:
    """What the function returns, be it sync or async."""
    call = async_to_sync(spec.fn) if iscoroutinefunction(spec.fn) else spec.fn
    return call(request, **arguments)


def changes(request: HttpRequest, spec: FunctionSpec, arguments: Mapping[str, object]) -> None:
    """Remembers what a mutation that is about to run purges."""
    state(request).invalidated |= dict.fromkeys(invalidated(spec, arguments, declared().coverage))
