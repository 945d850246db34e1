"""HTTP/1.1 messages as bytes: heads that leave, and where what comes ends. RFC 9112.

The parser (llhttp, in httptools) refuses by itself: line ends other than CRLF, folded lines, control characters and
NUL, spaces before a colon, Content-Length that is repeated or no number, malformed chunks. What it lets pass is refused
here: other transfer codings, other versions, a status below 100, control characters in a reason phrase.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mypy_extensions import mypyc_attr

from mizan_edge.http.body import Body
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.message import (
    HOP_BY_HOP,
    SAFE_METHODS,
    TOKEN,
    FieldLines,
    Fields,
    Request,
    Response,
    connection_options,
    dropped,
    has_body,
    lines_of,
    of_lines,
    reason_phrase,
    values,
)
from mizan_edge.http.names import Names, of_names

_METHOD = re.compile(TOKEN.decode())
_TARGET = re.compile("[!-~]+")
# What a field line may have: all but control characters.
_TEXT = bytes([9, *range(32, 127), *range(128, 256)])
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = ("content-length", "transfer-encoding")
# RFC 9110 section 6.5.1: what must be known before the body, or says where it ends or goes.
_NOT_IN_TRAILERS = HOP_BY_HOP | {
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "expires",
    "host",
    "location",
    "set-cookie",
    "vary",
    "www-authenticate",
}


@mypyc_attr(native_class=False)  # compiled classes cannot be strings
class Octets(str):
    """A field value whose bytes are not UTF-8, read as ISO 8859-1. It leaves as the bytes that came."""

    __slots__ = ()


def text(value: bytes) -> str:
    """The text of a field value or reason phrase; `octets` gives its bytes back."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Octets(value, "latin-1")


def octets(value: str) -> bytes:
    """The bytes of a field value. Raises ValueError for what is no text."""
    return value.encode("latin-1" if isinstance(value, Octets) else "utf-8")


def field_bytes(fields: Fields) -> bytes:
    """Field lines as they leave. Raises ValueError for what is no text."""
    if Octets in {type(value) for _, value in fields}:
        return b"".join([b"%b: %b\r\n" % (name.encode(), octets(value)) for name, value in fields])
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode()


def wired(fields: Fields) -> FieldLines:
    """Field lines with what they are as they leave, if each of them is one. Raises ValueError for what is no text."""
    lines = lines_of(fields)
    if lines.wire is not None:
        return lines
    names = "".join([name for name, _ in lines])
    # Nothing but its end may be what a reader takes for the end of a line.
    if not names.isascii() or not _are_tokens(lines.names):
        return lines
    wire = [b"%b: %b" % (name.encode(), octets(value)) for name, value in lines]
    if b"".join(wire).translate(None, _TEXT):
        return lines
    return FieldLines.of(lines, lines.names.lower, tuple(wire))


def body_length(request: Request, body: Body) -> int | None:
    """How many bytes a request's body will have; None: nobody knows, so it goes out in chunks."""
    if body is None or isinstance(body, bytes):
        return len(body or b"")
    given = values(request.fields, "content-length")
    return int(given[0]) if len(given) == 1 and re.fullmatch("[0-9]{1,18}", given[0]) else None


def request_head(request: Request, length: int | None, *, host: str) -> bytes:
    """The head of a request whose body has `length` bytes. `host` is for requests that name none.

    Raises ValueError where the result would be another message than `request`, or none.
    """
    if not _METHOD.fullmatch(request.method) or not _TARGET.fullmatch(request.target):
        raise ValueError("no request line")
    lines = lines_of(request.fields)
    start = b"%b %b HTTP/1.1\r\n%b" % (request.method.encode(), request.target.encode(), _sent(lines, host))
    if request.id:
        start = b"%bX-Request-ID: %b\r\n" % (start, request.id.encode())
    if request.trace is not None:
        start += field_bytes(FieldLines.of(request.trace.told()))
    if length is None:
        return b"%bTransfer-Encoding: chunked\r\n\r\n" % start
    if length or request.method not in SAFE_METHODS or "content-length" in lines.names.at:
        return b"%bContent-Length: %d\r\n\r\n" % (start, length)
    return b"%b\r\n" % start


def _sent(lines: FieldLines, host: str) -> bytes:
    """The lines as they are sent, but for those that say how long the body is. Raises ValueError."""
    sent = lines_of(dropped(lines, _OURS))
    if "host" not in lines.names.at:
        sent = FieldLines.of((("Host", host), *sent))
    wire = sent.wire if sent.wire is not None else wired(sent).wire
    if wire is None:
        raise ValueError("a field that is not one line")
    return b"\r\n".join((*wire, b""))


@of_names
def _are_tokens(names: Names) -> bool:
    return all(_METHOD.fullmatch(name) for name in names.lower)


class UnreadableError(ValueError):
    """A response's head that could be taken for more than one message."""


@dataclass(frozen=True, slots=True)
class RequestFraming:
    """Where a request ends: after `length` bytes of body, or (None) where its last chunk says."""

    length: int | None
    keep_alive: bool
    """Whether the client wants to send another request after it."""


def request_framing(version: str, fields: Fields) -> RequestFraming:
    """The framing of a request. `version` is `1.0` or `1.1`. Raises RefusedError. RFC 9112 section 6.3.

    What the section lets a server repair is refused: somebody else on the way may have repaired it otherwise.
    """
    lengths, codings, keep_alive = _connection_fields(version, fields)
    if codings:
        if codings != ["chunked"] or lengths or version != "1.1":
            raise RefusedError(400, "The request has a Transfer-Encoding other than chunked, or in the wrong place.")
        return RequestFraming(None, keep_alive)
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,18}", length) for length in lengths):
        raise RefusedError(400, "The request's Content-Length is no number, or given twice.")
    return RequestFraming(int(lengths[0]) if lengths else 0, keep_alive)


def response_bytes(response: Response) -> bytes:
    """The head of a response as it goes to a client."""
    reason = response.reason or reason_phrase(response.status)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (response.status, octets(reason), _written(lines_of(response.fields)))


@of_lines
def _written(lines: FieldLines) -> bytes:
    return field_bytes(lines)


def delimited(
    method: str, version: str, response: Response, size: int | None, *, keep_alive: bool
) -> tuple[Response, Literal["head", "length", "chunked", "close"]]:
    """A response to `method` with the fields that say where it ends, and what that is. RFC 9112 section 6.

    `version` is the client's; `size` that of a body that is whole; `keep_alive`: another request may follow, unless
    the response ends with the connection.
    """
    ends: Literal["head", "length", "chunked", "close"] = "length"
    if not has_body(method, response.status):
        ends = "head"
    elif size is not None:
        if values(response.fields, "content-length") != [str(size)]:
            response = response.with_fields(("Content-Length", str(size)), without=["content-length"])
    elif not values(response.fields, "content-length"):
        ends = "chunked" if version == "1.1" else "close"
    if ends == "chunked":
        response = response.with_fields(("Transfer-Encoding", "chunked"))
    if ends == "close" or not keep_alive:
        response = response.with_fields(("Connection", "close"))
    elif version == "1.0":
        response = response.with_fields(("Connection", "keep-alive"))
    return response, ends


def chunk(data: bytes) -> bytes:
    """Some bytes of a chunked body; at least one, since an empty chunk is the last. RFC 9112 section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Fields) -> bytes:
    """The end of a chunked body, with the trailer fields that a recipient may merge into the head.

    They go to clients that did not ask for them as well: whoever reads chunks can skip them (RFC 9112 section 7.1.2),
    and not to ask is only a reason not to rely on them (RFC 9110 section 6.5.1).
    """
    return b"0\r\n%b\r\n" % field_bytes(dropped(trailers, _NOT_IN_TRAILERS))


@dataclass(frozen=True, slots=True)
class ResponseFraming:
    """Where a response ends: with its head, where its length or last chunk says, or when the connection does."""

    until: Literal["head", "marked", "close"]
    keep_alive: bool
    """Whether the connection may carry another request after it."""


def response_head(
    method: str, version: str, status: int, reason: bytes, lines: tuple[tuple[bytes, bytes], ...]
) -> tuple[Response, ResponseFraming]:
    """The head of a response to `method` as it was parsed, without a Content-Length that does not count; its framing.

    `version` is like "1.1". Raises UnreadableError. RFC 9112 section 6.3.
    """
    if version not in ("1.0", "1.1"):
        raise UnreadableError(f"HTTP/{version}")
    if status < 100:
        raise UnreadableError(f"the status {status:03}")
    if _CONTROL.search(reason):
        raise UnreadableError("a control character in the reason phrase")
    fields: Fields = field_lines(lines)
    lengths, codings, keep_alive = _connection_fields(version, fields)
    if codings:
        # Others than chunked were never asked for, and whoever reads the body could not know of them.
        if codings != ["chunked"]:
            raise UnreadableError("a transfer coding that is not chunked")
        # RFC 9112 sections 6.1 and 6.3: suspicious, so nothing else is read from that connection.
        keep_alive = keep_alive and version == "1.1" and not lengths
    if lengths and (codings or status < 200 or status == 204):
        # RFC 9110 section 8.6
        fields = dropped(fields, ["content-length"])
    if not has_body(method, status):
        # Some servers leave it to the application to say nothing after the head of such a response. What comes all the
        # same, a moment later, must find nobody: who asks next on that connection would take it for his answer.
        comes = method == "HEAD" or (status == 204 and (codings or lengths not in ([], ["0"])))
        framing = ResponseFraming("head", keep_alive and not comes)
    elif codings or lengths:
        framing = ResponseFraming("marked", keep_alive)
    else:
        framing = ResponseFraming("close", keep_alive=False)
    return Response(status, fields, text(reason.strip())), framing


def field_lines(lines: Iterable[tuple[bytes, bytes]]) -> FieldLines:
    """Field lines as they were parsed, as text."""
    return FieldLines.of([(name.decode("ascii"), text(value.rstrip(b" \t"))) for name, value in lines])


def _connection_fields(version: str, fields: Fields) -> tuple[list[str], list[str], bool]:
    """The values of Content-Length, those of Transfer-Encoding in lower case, and whether the connection may go on."""
    codings = [coding.lower() for coding in values(fields, "transfer-encoding")]
    options = connection_options(fields)
    # RFC 9112 section 9.3
    keep_alive = "close" not in options and (version == "1.1" or "keep-alive" in options)
    return values(fields, "content-length"), codings, keep_alive
