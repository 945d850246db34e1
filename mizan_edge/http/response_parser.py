"""The bytes of a connection's responses, parsed: without I/O, on httptools.

Interim responses (1xx) come before a response, and are handed over as they come. RFC 9110 section 15.2
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import httptools

from mizan_edge.http.framing import ResponseFraming, UnreadableError, field_lines, response_head
from mizan_edge.http.message import Fields, Response

# Far more than any field that is read (64 KiB): what is longer must be seen to be too long.
MAX_HEAD_BYTES = 1 << 20
# An origin that is busy says most heads again: within a second, those of bodies of one length are often the same.
_MAX_KNOWN_BYTES = 16 << 10
_known_head = lru_cache(maxsize=512)(response_head)
_MAX_WHOLE = 512
_MAX_WHOLE_BYTES = 2048
_END_OF_HEAD = b"\r\n\r\n"
_TOO_LONG = f"more than {MAX_HEAD_BYTES} bytes of field lines"


class _Whole(NamedTuple):
    """What was read of a head after which the whole of a body came, and nothing more."""

    head: Response
    framing: ResponseFraming
    size: int
    """Of the body, in bytes."""


# mutable state: by method and bytes, the heads of responses that came whole lately; when they are too many, all are
# forgotten.
_wholes: dict[tuple[str, bytes], _Whole] = {}


class ResponseParser:
    """Parses the responses of one connection. `begin` each, and feed it until it `is_whole`, or `is_switched` to
    another protocol.

    # mutable state: of the response that has begun: what it was asked with, and who gets it; its final `_head` and its
    # `framing`, once that is read; `trailers`; `is_whole`; `is_switched`; `in_head`, while a head is being read;
    # `surplus`, once more has come than the response; the current message's `_reason` and `_lines`; the bytes since
    # some of the body came (`_bytes`); whether llhttp is `_between` two messages.
    """

    __slots__ = (
        "_between",
        "_bytes",
        "_head",
        "_lines",
        "_may_switch",
        "_method",
        "_on_body",
        "_on_head",
        "_parser",
        "_reason",
        "framing",
        "in_head",
        "is_switched",
        "is_whole",
        "surplus",
        "trailers",
    )

    def __init__(self) -> None:
        self._lines: list[tuple[bytes, bytes]] = []
        self._between = False

    def begin(
        self,
        method: str,
        *,
        may_switch: bool,
        on_head: Callable[[Response], None],
        on_body: Callable[[bytes], None],
    ) -> None:
        """A response is due. `method` was asked with; `may_switch`: and for an upgrade. `on_head` gets the heads, the
        last is final."""
        self.framing: ResponseFraming | None = None
        self.trailers: Fields = ()
        self.is_whole = self.is_switched = self.in_head = self.surplus = False
        self._method = method
        self._may_switch = may_switch
        self._on_head = on_head
        self._on_body = on_body
        self._reason = b""
        self._bytes = 0
        self._head: Response | None = None
        if not self._between:
            # llhttp knows nothing of methods, and may not see the end of a response that has no body.
            self._lines.clear()
            self._parser = httptools.HttpResponseParser(self)
            # RFC 9112 section 6.3: Transfer-Encoding counts where both are given.
            self._parser.set_dangerous_leniencies(lenient_chunked_length=True)

    @property
    def may_be_followed(self) -> bool:
        """Whether the connection may carry another request."""
        return self.is_whole and not self.surplus and self.framing is not None and self.framing.keep_alive

    def feed(self, data: bytes) -> None:
        """Takes bytes off the wire. Raises UnreadableError."""
        if self.is_switched:
            self._on_body(data)
            return
        is_first = not self._bytes
        if is_first and self._repeats(data):
            return
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switched:
            if rest := data[switched.args[0] :]:
                self._on_body(rest)
        except httptools.HttpParserError as error:
            if not self.is_whole:
                raise UnreadableError(str(error.__context__ or error)) from error
            self.surplus = True
        if self._bytes > MAX_HEAD_BYTES and not self.is_whole and not self.is_switched:
            raise UnreadableError(_TOO_LONG)
        if is_first and self.may_be_followed:
            self._learn(data)

    def _repeats(self, data: bytes) -> bool:
        """Whether these bytes, the first of a response, are the whole of one whose head has come before, byte for byte.
        Then it is handed over as it was read then: llhttp is between two messages, and need not see this one."""
        if self.framing is not None:
            return False
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        known = _wholes.get((self._method, data[:end]))
        if known is None or len(data) - end != known.size:
            return False
        self.framing = known.framing
        self.is_whole = self._between = True
        self._on_head(known.head)
        self._on_body(data[end:])
        return True

    def _learn(self, data: bytes) -> None:
        """Notes the head of a response that has come whole, in one piece, and says how long its body is."""
        head, framing = self._head, self.framing
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        size = len(data) - end
        # An interim head, or chunks, would not add up.
        if head is None or framing is None or framing.until != "marked" or not 0 < end <= _MAX_WHOLE_BYTES or not size:
            return
        if head.get("content-length") == str(size):
            if len(_wholes) >= _MAX_WHOLE:
                _wholes.clear()
            _wholes[self._method, data[:end]] = _Whole(head, framing, size)

    def feed_eof(self) -> None:
        """The other end says no more, which ends some responses."""
        self.is_whole = self.is_whole or (self.framing is not None and self.framing.until == "close")

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._between = False
        self.surplus = self.surplus or self.is_whole
        self.in_head = not self.is_whole

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        if self.is_whole:
            return
        if self._bytes > MAX_HEAD_BYTES and sum(len(name) + len(value) for name, value in self._lines) > MAX_HEAD_BYTES:
            raise UnreadableError(_TOO_LONG)
        parser = self._parser
        version, status = parser.get_http_version(), parser.get_status_code()
        read = _known_head if self._bytes <= _MAX_KNOWN_BYTES else response_head
        head, framing = read(self._method, version, status, self._reason, tuple(self._lines))
        if status == 101:
            if not (self._may_switch and parser.should_upgrade()):
                raise UnreadableError("an upgrade that was not asked for")
            self.is_switched = True
        elif status >= 200:
            self.framing, self._head = framing, head
            # llhttp does not know of HEAD, and takes for a body what comes next.
            self.is_whole = framing.until == "head"
        self.in_head = False
        self._reason = b""
        self._lines.clear()
        self._on_head(head)

    def on_body(self, data: bytes) -> None:
        self._bytes = 0
        if self.is_whole:
            self.surplus = True
        else:
            self._on_body(data)

    def on_message_complete(self) -> None:
        # After what it takes for the last message of a connection, it refuses everything.
        self._between = self._parser.should_keep_alive()
        if self.framing is not None and not self.is_whole:
            if self._lines:
                self.trailers = field_lines(self._lines)
                self._lines.clear()
            self.is_whole = True
