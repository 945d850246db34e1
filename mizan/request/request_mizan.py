"""`request.mizan`: what a view says of its request while it runs.

The endpoints, functions with `route=` and MizanMiddleware give it; elsewhere it says that the middleware is missing.
"""

from django.http import HttpRequest

from mizan.declare.scopes import scopes_of
from mizan.request.state import state
from mizan_core.errors import MizanError
from mizan_core.scopes import Scope


class NoMizanError(MizanError, AttributeError):
    """`request.mizan` in a view whose response nobody looks at, so that what it says would be lost."""


class RequestMizan:
    """Both methods take a context and values of its parameters, and raise ScopeError for what nobody declared."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def invalidate(self, context: str, /, **params: object) -> None:
        """The request changes what depends on this: purged when its response is made, so after the commit of
        ATOMIC_REQUESTS, and in a stream at its end. Also if the view raises, or rolls back. All given parameters must
        match; one that is None is not given."""
        state(self._request).invalidated |= dict.fromkeys(scopes_of(context, params))

    def depends(self, context: str, /, **params: object) -> None:
        """The response depends on this as well, beside what its URL and its arguments say. In a stream it has to be
        said before the first part: what is said later comes too late for the headers."""
        state(self._request).depends |= dict.fromkeys(scopes_of(context, params))


def dependence_of(request: HttpRequest, scopes: tuple[Scope, ...] | None) -> tuple[Scope, ...] | None:
    """The scopes of a declaration, with those that the request has said, which the middleware then need not say; None
    where they cannot be told."""
    here = state(request)
    said, here.depends = here.depends, {}
    return None if scopes is None else tuple(dict.fromkeys((*scopes, *said)))


def attach(request: HttpRequest) -> None:
    """Gives the request its `mizan`; whoever does so settles its response."""
    request.mizan = RequestMizan(request)  # type: ignore[attr-defined]


class Missing:
    """Stands at the class, where nobody has given a request its own."""

    def __get__(self, request: HttpRequest | None, owner: type[HttpRequest]) -> "Missing":
        if request is None:
            return self
        raise NoMizanError("request.mizan needs 'mizan.middleware.MizanMiddleware' in MIDDLEWARE")
