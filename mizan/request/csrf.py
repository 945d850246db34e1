"""Whether another site has made a browser send a request: Django's own check, asked by us."""

from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware

from mizan.errors import ApiError
from mizan.request.state import state

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
