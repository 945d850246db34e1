"""Who opened a connection: the handshake's headers, and the user that they name now."""

import io
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.http import HttpRequest

from mizan.errors import ApiError
from mizan.request.csrf import is_own_origin, no_response
from mizan.request.identity import sign_in, signed_in_user
from mizan.request.state import state

_SCHEMES = {"ws": "http", "wss": "https"}
# What concerned the handshake and no call on its connection; an answer that is compressed could not be passed on.
_DROPPED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "keep-alive",
        "range",
        "te",
        "trailer",
    }
    | {"transfer-encoding", "upgrade"}
)
_DROPPED_PREFIXES = ("if-", "sec-websocket-")


@dataclass(frozen=True, slots=True)
class Visitor:
    """One handshake. `prefix` is where `mizan.urls` are."""

    scope: dict[str, Any]
    prefix: str

    def request(self) -> HttpRequest:
        """A request of this visitor whose session and user are read anew; both queries have run when it returns."""
        request = self.bare()
        SessionMiddleware(no_response).process_request(request)
        AuthenticationMiddleware(no_response).process_request(request)
        sign_in(request)
        signed_in_user(request)
        return request

    def bare(self) -> ASGIRequest:
        """A request of nobody, to be named in a log."""
        return self._request("GET", "ws/", b"")

    def call(self, body: bytes) -> ASGIRequest:
        """POST call/ of this visitor, before any middleware. Its Origin was checked at the handshake."""
        request = self._request("POST", "call/", body)
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
        return request

    def _request(self, method: str, path: str, body: bytes) -> ASGIRequest:
        here = get_script_prefix(self.scope) + self.prefix + path
        headers = [(name, value) for name, value in self.scope["headers"] if _kept(name.decode("latin-1").lower())]
        if body:
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        scope = {
            **self.scope,
            "type": "http",
            "method": method,
            "scheme": _SCHEMES.get(self.scope.get("scheme", "ws"), "http"),
            "path": here,
            "raw_path": here.encode(),
            "query_string": b"",
            "headers": headers,
        }
        return ASGIRequest(scope, io.BytesIO(body))


def _kept(name: str) -> bool:
    return name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)


def check_origin(request: HttpRequest) -> None:
    """Raises unless the handshake came from a page of this site, as Django's CSRF check means it: ApiError, or
    DisallowedHost.

    Browsers let any page open a WebSocket anywhere, with the site's cookies, and name the page in `Origin`. A handshake
    without one is no browser's; it is believed if a token in `Authorization` signs it in.
    """
    request.get_host()
    if state(request).bearer:
        return
    origin = request.headers.get("Origin")
    if origin is None:
        raise ApiError(403, "csrf", "a WebSocket needs an Origin, or a token in Authorization")
    if not is_own_origin(request):
        raise ApiError(403, "csrf", f"the Origin {origin!r} is neither this site's nor in CSRF_TRUSTED_ORIGINS")


def identity(request: HttpRequest) -> str | None:
    """The primary key of the request's user as text; None for nobody."""
    user = signed_in_user(request)
    return None if user is None else str(user.pk)
