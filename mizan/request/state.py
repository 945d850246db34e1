"""What the adapter remembers of one request."""

from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponseBase

from mizan_core.scopes import Scope


@dataclass(slots=True)
class State:
    """Lives as long as its request."""

    token_read: bool = False
    """Whether `Authorization` was looked at already."""
    bearer: bool = False
    """Whether a token in `Authorization` signed somebody in."""
    jwt_expires_s: int | None = None
    """Until when the access token holds that did, seconds since the epoch; None for a Mizan Web Token."""
    pkeys: dict[str, str] = field(default_factory=dict)
    """User id -> `pkey`, as of this request."""
    invalidated: dict[Scope, None] = field(default_factory=dict)
    """What this request changes, as its mutation declares and as it said at run time."""
    depends: dict[Scope, None] = field(default_factory=dict)
    """What its response depends on beyond its declaration."""
    stopgap: bool = False
    """Whether something in the response stands for what could not be made just now."""
    raised: bool = False
    """Whether the function did. What is outside the database, or was committed on the way, may have changed."""
    answer: HttpResponseBase | None = None
    """The response that has been made to say what is in `said`."""
    said: frozenset[Scope] = frozenset()
    purged: frozenset[Scope] = frozenset()
    """What was purged when its template, if it has one, had been rendered."""


def state(request: HttpRequest) -> State:
    """The request's state, begun at the first call."""
    found: State | None = getattr(request, "_mizan_state", None)
    if found is None:
        found = State()
        request._mizan_state = found  # type: ignore[attr-defined]
    return found
