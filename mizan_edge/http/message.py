"""HTTP messages as values: ordered fields, and the tables of RFC 9110 that a proxy needs."""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Concatenate, ParamSpec, Self, TypeVar

from mypy_extensions import mypyc_attr

from mizan_edge.http.names import Names, names_of, of_names
from mizan_edge.http.trace import Trace

P = ParamSpec("P")
T = TypeVar("T")

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
_MAX_FACTS = 4
_NO_OPTIONS: frozenset[str] = frozenset()
_USUAL_OPTIONS = {"keep-alive": frozenset({"keep-alive"}), "close": frozenset({"close"})}
# RFC 9110 section 13.1, and Range, which depends on them.
CONDITIONALS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})
# RFC 9110 section 15.4.5: what a 304 repeats of the 200 it stands for.
IN_NOT_MODIFIED = frozenset({"cache-control", "content-location", "date", "etag", "expires", "vary", "last-modified"})
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(?::[0-9]{0,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@mypyc_attr(native_class=False)  # compiled classes cannot be tuples
class FieldLines(tuple[tuple[str, str], ...]):
    """Field lines with their `names`, so that looking one up takes no search.

    # mutable state: `facts`, what was worked out of them: the blocks of lines that come often are remembered.
    """

    names: Names
    wire: tuple[bytes, ...] | None
    """The lines as they leave, without their ends, where each is known to be one and nothing else; else None."""
    facts: dict[Hashable, object]

    @classmethod
    def of(
        cls,
        fields: Iterable[tuple[str, str]],
        lower: tuple[str, ...] | None = None,
        wire: tuple[bytes, ...] | None = None,
    ) -> Self:
        """These lines; `lower` are their names in lower case, and `wire` what they are as they leave, where known."""
        fields = tuple(fields)
        names = names_of(tuple([name.lower() for name, _ in fields]) if lower is None else lower)
        return cls._named(fields, names, wire if fields else ())

    @classmethod
    def _named(cls, fields: Iterable[tuple[str, str]], names: Names, wire: tuple[bytes, ...] | None) -> Self:
        lines = cls(fields)
        lines.names, lines.wire, lines.facts = names, wire, {}
        return lines

    def at(self, places: Sequence[int], *added: tuple[str, str]) -> Self:
        """The lines in these places, and others behind."""
        return self.before(places, FieldLines.of(added))

    def before(self, places: Sequence[int], added: "FieldLines") -> Self:
        """The same, where the others are lines already."""
        names = _names_at(self.names, tuple(places), added.names)
        wire = self.wire
        if wire is not None:
            wire = None if added.wire is None else (*[wire[i] for i in places], *added.wire)
        return self._named([*[self[i] for i in places], *added], names, wire)

    def with_value(self, place: int, value: str) -> Self:
        """The lines with another value in one place."""
        return self._named([*self[:place], (self[place][0], value), *self[place + 1 :]], self.names, None)


def of_lines(work_out: Callable[Concatenate[FieldLines, P], T]) -> Callable[Concatenate[FieldLines, P], T]:
    """Has what a pure function of field lines works out remembered with them. Its other arguments must be hashable."""

    def fact(lines: FieldLines, /, *args: P.args, **kwargs: P.kwargs) -> T:
        facts = lines.facts
        key = (work_out, args)
        try:
            return facts[key]  # type: ignore[return-value]
        except KeyError:
            value = work_out(lines, *args, **kwargs)
            if len(facts) >= _MAX_FACTS:
                facts.clear()
            facts[key] = value
            return value

    return fact


@of_names
def _names_at(names: Names, places: tuple[int, ...], added: Names) -> Names:
    return names_of((*[names.lower[i] for i in places], *added.lower))


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
    id: str = ""
    """Under which proxies, the origin and logs know it: the `X-Request-ID` that it leaves with, none if empty. It
    selects nothing, so it is not among the fields."""
    trace: Trace | None = None
    """The span within which it is answered, where there are traces: it leaves with what that tells."""

    def __post_init__(self) -> None:
        if type(self.fields) is not FieldLines:
            object.__setattr__(self, "fields", FieldLines.of(self.fields))

    def get(self, name: str) -> str | None:
        return combined(self.fields, name)

    def named(self, id: str) -> "Request":
        """The request under this id."""
        return Request(self.method, self.target, self.host, self.fields, self.scheme, self.version, id)

    def traced(self, trace: Trace) -> "Request":
        """The request within a span, which stands for whatever it said itself of one."""
        lines = dropped(self.fields, ("traceparent", "tracestate"))
        return Request(self.method, self.target, self.host, lines, self.scheme, self.version, self.id, trace)

    def with_lines(self, fields: Fields) -> "Request":
        """The request with these fields instead of its own."""
        return Request(self.method, self.target, self.host, fields, self.scheme, self.version, self.id, self.trace)


@dataclass(frozen=True, slots=True)
class Response:
    """A response's head."""

    status: int
    fields: Fields
    reason: str = ""

    def __post_init__(self) -> None:
        if type(self.fields) is not FieldLines:
            object.__setattr__(self, "fields", FieldLines.of(self.fields))

    def get(self, name: str) -> str | None:
        return combined(self.fields, name)

    def with_fields(self, *added: tuple[str, str], without: Iterable[str] = ()) -> "Response":
        """The response with fields left out (names in lower case) and others put behind."""
        lines = lines_of(self.fields)
        return Response(self.status, lines.at(_others(lines.names, frozenset(without)), *added), self.reason)


def normal_name(name: str) -> str:
    """The name under which an application may see a field: servers fold case, and `_` into `-`."""
    return name.lower().replace("_", "-")


def normal_host(value: str, scheme: str) -> str:
    """The `host` of a `Request` that a Host field names: in lower case, without its scheme's default port."""
    return value.strip().lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))


def is_host(text: str) -> bool:
    """Whether it can be the value of a Host field: a name or an address, with or without a port, or nothing."""
    return _HOST.fullmatch(text) is not None


def lines_of(fields: Fields) -> FieldLines:
    """The fields, with their names."""
    return fields if type(fields) is FieldLines else FieldLines.of(fields)


def values(fields: Fields, name: str) -> list[str]:
    """The values of all lines of a field; `name` in lower case."""
    places = (fields if type(fields) is FieldLines else FieldLines.of(fields)).names.at.get(name)
    return [] if places is None else [fields[i][1] for i in places]


def combined(fields: Fields, name: str) -> str | None:
    """A field's value, its lines joined as RFC 9110 section 5.3 says; None where there is no such line."""
    places = (fields if type(fields) is FieldLines else FieldLines.of(fields)).names.at.get(name)
    if places is None:
        return None
    if len(places) == 1:
        return fields[places[0]][1]  # as it is: joining would make plain text of `framing.Octets`
    return ", ".join([fields[i][1] for i in places])


def dropped(fields: Fields, names: Iterable[str]) -> Fields:
    """The fields but for those with these names (lower case)."""
    lines = lines_of(fields)
    places = _others(lines.names, frozenset(names))
    return lines if len(places) == len(lines) else lines.at(places)


@of_names
def _others(names: Names, gone: frozenset[str]) -> tuple[int, ...]:
    return tuple([i for i, name in enumerate(names.lower) if name not in gone])


def connection_options(fields: Fields) -> frozenset[str]:
    """The options of Connection, in lower case: the names of fields that concern this connection, and other words."""
    value = combined(fields, "connection")
    return _NO_OPTIONS if value is None else _USUAL_OPTIONS.get(value) or frozenset(members(value))


def end_to_end(fields: Fields) -> Fields:
    """The fields that concern more than one connection."""
    options = connection_options(fields)
    return dropped(fields, HOP_BY_HOP | options if options else HOP_BY_HOP)


def members(value: str | None) -> list[str]:
    """The members of a simple comma-separated list, in lower case."""
    return [text for member in (value or "").split(",") if (text := member.strip().lower())]


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
