"""Errors that reach a client, as RFC 9457 problem documents."""

from collections.abc import Mapping

import orjson

from mizan_core.errors import MizanError
from mizan_edge.http.message import reason_phrase


class OriginError(MizanError):
    """The origin did not give a usable response.

    `status` is what the client gets. `unread`: it answered, and its head could not be read, so nobody knows what it
    would have invalidated. Not `sent`: the request has certainly not reached it.
    """

    def __init__(self, status: int, detail: str, *, unread: bool = False, sent: bool = True) -> None:
        super().__init__(detail)
        self.status = status
        self.unread = unread
        self.sent = sent


class RefusedError(MizanError):
    """A request that is refused as it stands, and its connection with it: `status` is what the client gets."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def problem(status: int, detail: str, extra: Mapping[str, object] | None = None) -> bytes:
    """The body of a problem document (application/problem+json)."""
    title = reason_phrase(status)
    return orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **(extra or {})})
