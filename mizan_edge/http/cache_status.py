"""The `Cache-Status` field (RFC 9211): what this cache did with a request, and why."""

from dataclasses import dataclass
from typing import Literal

from mizan_core.fields import CACHE_NAME

Forward = Literal["bypass", "method", "uri-miss", "vary-miss", "stale", "request", "partial"]
Detail = Literal["undeclared", "non-canonical", "credentials", "store", "disabled"]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The request went to the origin."""

    fwd: Forward
    detail: Detail | None = None
    context: str = ""
    """Of what it asks for, where that is declared."""


@dataclass(frozen=True, slots=True)
class Hit:
    """The request was answered from the cache; `ttl_s` is negative where the entry was stale."""

    ttl_s: int


def hit(outcome: Hit) -> str:
    """The member for a hit."""
    return f"{CACHE_NAME}; hit; ttl={outcome.ttl_s}"


def forwarded(outcome: Forwarded, *, stored: bool = False, collapsed: bool = False, status: int | None = None) -> str:
    """The member for a forwarded request. `status` is the origin's, None where it did not answer."""
    text = f"{CACHE_NAME}; fwd={outcome.fwd}"
    if outcome.detail:
        text += f"; detail={outcome.detail}"
    if stored:
        text += "; stored"
    if collapsed:
        text += "; collapsed"
    if status is not None and (status >= 400 or status == 304):
        text += f"; fwd-status={status}"
    return text
