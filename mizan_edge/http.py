"""HTTP messages as values: ordered fields, and the tables of RFC 9110 that a proxy needs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Self

Fields = tuple[tuple[str, str], ...]
"""Field lines in the order in which they came, names as they were spelled."""

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""The pattern of a token, such as a method or the name of a field. RFC 9110 section 5.6.2."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# RFC 9110 section 7.6.1. `Connection` names further ones.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# RFC 9110 section 13.1, and Range, which depends on them.
CONDITIONALS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})
# RFC 9110 section 15.4.5: what a 304 repeats of the 200 it stands for.
IN_NOT_MODIFIED = frozenset({"cache-control", "content-location", "date", "etag", "expires", "vary", "last-modified"})
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(?::[0-9]{0,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head. `target` is in origin form; `host` in lower case, without a default port.

    `host` and `scheme` are what the client used, as far as a trusted proxy in front tells.
    """

    method: str
    target: str
    host: str
    fields: Fields
    scheme: str = "http"
    version: str = "1.1"
    """In which the client wrote it: `1.0` or `1.1`. It leaves in 1.1."""

    def get(self, name: str) -> str | None:
        return combined(self.fields, name)


@dataclass(frozen=True, slots=True)
class Response:
    """A response's head."""

    status: int
    fields: Fields
    reason: str = ""

    def get(self, name: str) -> str | None:
        return combined(self.fields, name)

    def with_fields(self, *added: tuple[str, str], without: Iterable[str] = ()) -> Self:
        """The response with fields left out (names in lower case) and others put behind."""
        return replace(self, fields=(*dropped(self.fields, without), *added))


def normal_name(name: str) -> str:
    """The name under which an application may see a field: servers fold case, and `_` into `-`."""
    return name.lower().replace("_", "-")


def normal_host(value: str, scheme: str) -> str:
    """The `host` of a `Request` that a Host field names: in lower case, without its scheme's default port."""
    return value.strip().lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))


def is_host(text: str) -> bool:
    """Whether it can be the value of a Host field: a name or an address, with or without a port, or nothing."""
    return _HOST.fullmatch(text) is not None


def values(fields: Fields, name: str) -> list[str]:
    """The values of all lines of a field; `name` in lower case."""
    return [value for field, value in fields if field.lower() == name]


def combined(fields: Fields, name: str) -> str | None:
    """A field's value, its lines joined as RFC 9110 section 5.3 says; None where there is no such line."""
    lines = values(fields, name)
    if len(lines) == 1:
        return lines[0]  # as it is: joining would make plain text of `framing.Octets`
    return ", ".join(lines) if lines else None


def dropped(fields: Fields, names: Iterable[str]) -> Fields:
    """The fields but for those with these names (lower case)."""
    gone = frozenset(names)
    return tuple(field for field in fields if field[0].lower() not in gone)


def end_to_end(fields: Fields) -> Fields:
    """The fields that concern more than one connection."""
    named = {option.strip().lower() for line in values(fields, "connection") for option in line.split(",")}
    return dropped(fields, HOP_BY_HOP | named)


def members(value: str | None) -> Iterator[str]:
    """The members of a simple comma-separated list, in lower case."""
    for member in (value or "").split(","):
        if text := member.strip().lower():
            yield text


def dated(response: Response, now_s: float) -> Response:
    """The response with a Date, which is when it came if it says none. RFC 9110 section 6.6.1."""
    if response.get("date") is not None:
        return response
    return response.with_fields(("Date", formatdate(now_s, usegmt=True)))


def reason_phrase(status: int) -> str:
    """The registered phrase of a status, or none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def has_body(method: str, status: int) -> bool:
    """Whether a response to `method` with this status has content. RFC 9110 section 6.4.1."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)
