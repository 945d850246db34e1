"""Running declared functions: who may, and inside which transactions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.http import HttpRequest

from mizan.db.transactions import atomic_requests, opted_out
from mizan.declare.calling import awaited
from mizan.errors import ApiError
from mizan.request.identity import signed_in_user
from mizan_core.registry import FunctionSpec

T = TypeVar("T")


def allow(request: HttpRequest, spec: FunctionSpec) -> None:
    """Raises ApiError, 401 or 403, unless the function's `auth=` lets the request in."""
    auth = spec.auth
    if not auth:
        return
    user = signed_in_user(request)
    if callable(auth):
        allowed = bool(awaited(auth(request)))
    else:
        allowed = user is not None and (auth is True or bool(getattr(user, _FLAGS[auth], False)))
    if not allowed and user is None:
        raise ApiError(401, "unauthenticated", "sign in first")
    if not allowed:
        raise ApiError(403, "forbidden", "not allowed")


_FLAGS = {"staff": "is_staff", "superuser": "is_superuser"}


def run_in_transactions(
    request: HttpRequest, calls: Sequence[tuple[FunctionSpec, Mapping[str, Any]]], make: Callable[..., T]
) -> T:
    """What `make` makes of what the functions return, inside the transactions that ATOMIC_REQUESTS asks for, since a
    queryset is read only then. What some of several functions have opted out of, the others count on."""
    opted = [opted_out(spec.fn) for spec, _ in calls] or [frozenset()]
    with atomic_requests(skip=frozenset.intersection(*opted)):
        return make(*[awaited(spec.fn(request, **arguments)) for spec, arguments in calls])
