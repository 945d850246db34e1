"""What was fetched lately and not stored, and why: for whoever asks later.

# mutable state: the refusals, by the key of the resource, the latest last.
"""

from typing import NamedTuple

from mizan_core.fields import SCOPE
from mizan_edge.http.cache_control import TARGETED
from mizan_edge.http.message import Response
from mizan_edge.rules import reasons
from mizan_edge.rules.reasons import Reason
from mizan_edge.rules.storing import Refusal

_REMEMBERED = 1024
# The fields that tell why. None that may hold a secret: a cookie, or who somebody is.
_TELLING = {
    "directives": (*TARGETED, "cache-control", "connection"),
    "lifetime": (*TARGETED, "cache-control", "expires"),
    "vary": ("vary", "access-control-allow-origin"),
    "stream": ("content-type",),
    "scope": (SCOPE.lower(),),
    "groups": ("cache-groups",),
    "partial-page": ("vary",),
}
_MAX_CHARS = 200


class NotStored(NamedTuple):
    """A response that was not stored."""

    reason: Reason
    status: int
    said: tuple[str, ...]
    """The fields of it that made it so, each as a line."""
    at_ms: int
    """When, by Redis' clock."""


class Refusals:
    """The latest refusals of one process."""

    def __init__(self) -> None:
        self._latest: dict[str, NotStored] = {}

    def refused(self, key: str, response: Response, why: Refusal, at_ms: int) -> None:
        """The rules do not let a response be stored."""
        names = (name for name in _TELLING.get(why, ()) if response.get(name) is not None)
        said = tuple(f"{name}: {response.get(name)}"[:_MAX_CHARS] for name in names)
        self.note(key, NotStored(reasons.OF_REFUSAL[why], response.status, said, at_ms))

    def note(self, key: str, what: NotStored) -> None:
        """A response is not stored, for whatever reason."""
        self._latest.pop(key, None)
        if len(self._latest) >= _REMEMBERED:
            del self._latest[next(iter(self._latest))]
        self._latest[key] = what

    def forget(self, key: str) -> None:
        """A response was stored."""
        self._latest.pop(key, None)

    def of(self, key: str) -> NotStored | None:
        """Why the latest response was not stored; None where it was, or where that is not known."""
        return self._latest.get(key)
