"""The bytes of a connection's requests, parsed: without I/O. RFC 9112.

One message at a time: what follows a request waits unread until it is asked for, so no byte of it can be taken for part
of the request before, nor the other way round. The request line is read here, since any token is a method; the field
lines by `field_block`.
"""

import re
from dataclasses import dataclass

from mizan_edge.http.chunked import Chunks
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.field_block import field_block
from mizan_edge.http.framing import RequestFraming
from mizan_edge.http.limits import Limits
from mizan_edge.http.message import TOKEN, Fields, Request, dropped, is_host, normal_host

_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/1\.([01])\r\n" % TOKEN)
_OTHER_VERSION = re.compile(rb"%b [!-~]+( HTTP/[0-9](\.[0-9])?)?\r\n" % TOKEN)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)([/?#].*|)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head, and what it says of the connection."""

    request: Request
    version: str
    """`1.0` or `1.1`."""
    framing: RequestFraming
    expects_continue: bool
    """The client waits for a 100 before it sends the body."""
    raw: bytes
    """Its bytes, up to the first empty line."""


class RequestParser:
    """Parses the requests of one connection.

    # mutable state: `_waiting`, the bytes that have not been read, of which `_searched` are known to end no head, and
    # whether they begin with a good request line (`_line_known`); what is left of the body of the request that was read
    # last: `_left` bytes, or `_chunks`, or all that comes (`_is_raw`); the `_size` of what was read of it.
    """

    __slots__ = (
        "_chunks",
        "_is_raw",
        "_left",
        "_limits",
        "_line_known",
        "_scheme",
        "_searched",
        "_size",
        "_waiting",
    )

    def __init__(self, scheme: str, limits: Limits) -> None:
        """`scheme` is that of the connection: `http` or `https`."""
        self._scheme = scheme
        self._limits = limits
        self._waiting = bytearray()
        self._searched = 0
        self._line_known = False
        self._left = self._size = 0
        self._chunks: Chunks | None = None
        self._is_raw = False

    @property
    def waiting(self) -> int:
        """How many bytes wait to be read."""
        return len(self._waiting)

    @property
    def is_whole(self) -> bool:
        """Whether the request that was read last has come to its end, so that another may be read."""
        return not self._left and self._chunks is None and not self._is_raw

    @property
    def left(self) -> int | None:
        """How many bytes of the body have not been read; None: nobody knows."""
        return None if self._chunks is not None or self._is_raw else self._left

    def feed(self, data: bytes) -> None:
        """Adds bytes off the wire."""
        self._waiting += data

    def first(self, size: int) -> bytes:
        """The first bytes that wait."""
        return bytes(self._waiting[:size])

    def skip(self, size: int) -> None:
        """Forgets the first bytes that wait: a request without a body, which has been answered."""
        del self._waiting[:size]
        self._searched, self._line_known = 0, False

    def switch(self) -> None:
        """The connection has switched to another protocol: whatever waits or comes is now read by `body`."""
        self._is_raw = True

    def head(self) -> RequestHead | None:
        """The next request, once its whole head is there. Raises RefusedError."""
        waiting = self._waiting
        if not waiting:
            return None
        while waiting.startswith(b"\r\n"):
            # RFC 9112 section 2.2: old clients send an empty line after a body.
            del waiting[:2]
        end = waiting.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._refuse_early()
            self._searched = max(0, len(waiting) - 3)
            return None
        head = bytes(waiting[: end + 4])
        del waiting[: end + 4]
        self._searched, self._line_known = 0, False
        if len(head) > self._limits.head_bytes:
            raise self._too_long(head)
        parsed = _parse(head, self._scheme, self._limits)
        length = parsed.framing.length
        if length is None:
            self._chunks = Chunks()
        elif self._limits.body_bytes and length > self._limits.body_bytes:
            raise self._too_large()
        self._left, self._size = length or 0, 0
        return parsed

    def body(self) -> bytes:
        """What has come of the body of the last request and was not read yet. Raises RefusedError."""
        waiting = self._waiting
        if self._chunks is not None:
            data = self._chunks.take(waiting)
            if self._chunks.is_whole:
                self._chunks = None
        elif self._is_raw or len(waiting) <= self._left:
            data = bytes(waiting)
            waiting.clear()
            self._left = 0 if self._is_raw else self._left - len(data)
        else:
            data = bytes(waiting[: self._left])
            del waiting[: self._left]
            self._left = 0
        self._size += len(data)
        if self._limits.body_bytes and self._size > self._limits.body_bytes and not self._is_raw:
            raise self._too_large()
        return data

    def _refuse_early(self) -> None:
        """Refuses what cannot become a request any more, whose sender may wait for an answer without an empty line."""
        waiting = self._waiting
        if _BARE_LF.search(waiting, self._searched):
            raise RefusedError(400, "A line of the request does not end with CRLF.")
        if not self._line_known and b"\r\n" in waiting:
            _request_line(waiting)
            self._line_known = True
        if len(waiting) > self._limits.head_bytes:
            raise self._too_long(waiting)

    def _too_long(self, head: bytes | bytearray) -> RefusedError:
        limits = self._limits
        if head.find(b"\r\n", 0, limits.head_bytes) < 0:
            return _long_target(limits)
        # RFC 6585 section 5
        return RefusedError(431, f"The head of a request may have {limits.head_bytes} bytes.")

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"The body of a request may have {self._limits.body_bytes} bytes.")


def _parse(head: bytes, scheme: str, limits: Limits) -> RequestHead:
    method, raw_target, version = _request_line(head)
    if len(raw_target) > limits.target_bytes:
        raise _long_target(limits)
    if head.count(b"\r\n") - 2 > limits.fields:
        raise RefusedError(431, f"The head of a request may have {limits.fields} fields.")
    if method == b"CONNECT":
        raise RefusedError(501, "This is no proxy for connections.")
    block = field_block(version, head[head.index(b"\r\n") :])
    target, host, fields = _target(raw_target.decode("ascii"), method, block.host, block.fields)
    request = Request(method.decode("ascii"), target, normal_host(host, scheme), fields, scheme, version)
    return RequestHead(request, version, block.framing, block.expects_continue, head)


def _request_line(head: bytes | bytearray) -> tuple[bytes, bytes, str]:
    if line := _REQUEST_LINE.match(head):
        return line[1], line[2], f"1.{line[3].decode()}"
    if _OTHER_VERSION.match(head):
        raise RefusedError(505, "This speaks HTTP/1.1 and HTTP/1.0.")
    raise RefusedError(400, "The request line is malformed.")


def _target(target: str, method: bytes, host: str, fields: Fields) -> tuple[str, str, Fields]:
    """The target in origin form, its host, and the fields with that host."""
    if not target.startswith("/") and (absolute := _ABSOLUTE.fullmatch(target)):
        # RFC 9112 section 3.2.2: such a target's host stands for the field's.
        host, target = absolute[1], "/" + absolute[2].removeprefix("/")
        if method == b"OPTIONS" and not absolute[2]:
            target = "*"  # section 3.2.4
        if not is_host(host) or host.startswith(":"):
            raise RefusedError(400, "The host in the request target is malformed.")
        fields = (("Host", host), *dropped(fields, ["host"]))
    if not target.startswith("/") and not (target == "*" and method == b"OPTIONS"):
        raise RefusedError(400, "The request target is not usable.")
    return target.partition("#")[0], host, fields


def _long_target(limits: Limits) -> RefusedError:
    return RefusedError(414, f"The target of a request may have {limits.target_bytes} bytes.")
