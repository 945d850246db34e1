"""One line of the access log, and what it tells of a request and its answer, read off their heads as they went by.

No line has a secret in it that the edge could know to be one: neither cookies nor tokens, and query strings, the
referrer's too, only where that is asked for.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import orjson

LineFormat = Literal["combined", "json"]

_FIELDS = re.compile(rb"\r\n((?i:host|referer|user-agent|x-forwarded-for)):[ \t]*([^\r\n]*)")
_AGE = re.compile(rb"\r\n(?i:age):[ \t]*([0-9]+)")
_USER = re.compile(r"(?<=://)[^/?#]*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
# As much of a value as is logged, in characters.
_LONGEST = 2048
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Served(NamedTuple):
    """A request and its answer."""

    at_s: float
    """When it was answered, in seconds since the epoch."""
    seconds: float
    """From when all of its head was here until all of the answer was handed to the system, or was given up."""
    client: str
    """The address of the client, as far as trusted proxies tell; empty for one on a Unix socket."""
    id: str
    head: bytes
    """The request's; empty where there was none that could be read."""
    start: bytes
    """The head of the response; empty where nothing was answered."""
    size: int
    """Bytes of the body as they went out."""
    whole: bool
    """Whether all of the answer went out, as far as can be known."""
    cache: str | None
    """The edge's member of Cache-Status, without its name."""
    context: str | None

    @property
    def status(self) -> int | None:
        """That of the response."""
        return int(self.start[9:12]) if self.start else None


def request_target(head: bytes) -> str:
    """The target of a request as it stands on the wire; empty where there is no head."""
    return head[: head.find(b"\r\n")].split(b" ")[1].decode() if head else ""


def line_of(served: Served, form: LineFormat, *, query: bool) -> bytes:
    """The line, with its end. `query`: whether it may have query strings in it."""
    return _FORMS[form](served, query=query)


def _json(served: Served, *, query: bool) -> bytes:
    method, target, version = _request_line(served, query=query)
    fields = _fields(served.head)
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(served.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "client": served.client or None,
        "method": method,
        "host": fields.get("host"),
        "target": target,
        "version": version,
        "status": served.status,
        "bytes": served.size,
        "seconds": round(served.seconds, 6),
        "whole": served.whole,
        "cache": served.cache,
        "context": served.context,
        "age": _age(served.start),
        "request_id": served.id,
        "referer": _referer(fields, query=query),
        "user_agent": fields.get("user-agent"),
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _combined(served: Served, *, query: bool) -> bytes:
    """As Apache and nginx name it, and behind it what they do not know."""
    at = datetime.fromtimestamp(served.at_s, UTC)
    fields = _fields(served.head)
    line = _request_line(served, query=query)
    words = (
        served.client or "-",
        f"- - [{at:%d}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S} +0000]",
        _quoted(" ".join(word for word in line if word is not None) or None),
        _or_dash(served.status),
        str(served.size),
        _quoted(_referer(fields, query=query)),
        _quoted(fields.get("user-agent")),
        _quoted(served.cache),
        _or_dash(served.context),
        _or_dash(_age(served.start)),
        f"{served.seconds:.6f}",
        served.id,
        "whole" if served.whole else "cut",
    )
    return " ".join(words).encode() + b"\n"


_FORMS: Mapping[LineFormat, Callable[..., bytes]] = {"combined": _combined, "json": _json}


def _request_line(served: Served, *, query: bool) -> tuple[str | None, str | None, str | None]:
    if not served.head:
        return None, None, None
    method, _, version = served.head[: served.head.find(b"\r\n")].decode().split(" ")
    return method, _shown(request_target(served.head), query=query), version


def _fields(head: bytes) -> dict[str, str]:
    """The fields that are logged, the last line of each; names in lower case."""
    return {
        name.decode().lower(): value.decode("utf-8", "backslashreplace")[:_LONGEST]
        for name, value in _FIELDS.findall(head)
    }


def _referer(fields: Mapping[str, str], *, query: bool) -> str | None:
    value = fields.get("referer")
    return None if value is None else _shown(_USER.sub("", value), query=query)


def _shown(url: str, *, query: bool) -> str:
    return (url if query else _QUERY.sub("", url))[:_LONGEST]


def _age(start: bytes) -> int | None:
    found = _AGE.search(start)
    return int(found[1]) if found else None


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _quoted(value: str | None) -> str:
    """In quotes, from which nothing can break out."""
    return f'"{_or_dash(value and _UNSAFE.sub(_escaped, value))}"'


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02X}" for byte in match[0].encode())
