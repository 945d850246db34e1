"""The bytes of one response, parsed: without I/O, on httptools.

Interim responses (1xx) come before it, and are handed over as they come. RFC 9110 section 15.2
"""

from collections.abc import Callable

import httptools

from mizan_edge.framing import ResponseFraming, UnreadableError, field_lines, response_framing, response_head
from mizan_edge.http import Fields, Response

# Far more than any field that is read (64 KiB): what is longer must be seen to be too long.
MAX_HEAD_BYTES = 1 << 20
_TOO_LONG = f"more than {MAX_HEAD_BYTES} bytes of field lines"


class ResponseParser:
    """Parses one response. Feed it until `is_whole`, or `is_switched` to another protocol.

    # mutable state: `framing`, once the final head is read; `trailers`; `is_whole`; `is_switched`; `in_head`, while a
    # head is being read; `surplus`, once more has come than the response; the current message's `_reason` and `_lines`;
    # bytes of field lines (`_line_bytes`), and of anything (`_other_bytes`), since some of the body came.
    """

    def __init__(
        self,
        method: str,
        *,
        may_switch: bool,
        on_head: Callable[[Response], None],
        on_body: Callable[[bytes], None],
    ) -> None:
        """`method` was asked with; `may_switch`: and for an upgrade. `on_head` gets the heads, the last is final."""
        self.framing: ResponseFraming | None = None
        self.trailers: Fields = ()
        self.is_whole = self.is_switched = self.in_head = self.surplus = False
        self._method = method
        self._may_switch = may_switch
        self._on_head = on_head
        self._on_body = on_body
        self._reason = b""
        self._lines: list[tuple[bytes, bytes]] = []
        self._line_bytes = self._other_bytes = 0
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
        self._other_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switched:
            if rest := data[switched.args[0] :]:
                self._on_body(rest)
        except httptools.HttpParserError as error:
            if not self.is_whole:
                raise UnreadableError(str(error.__context__ or error)) from error
            self.surplus = True
        if self._other_bytes > MAX_HEAD_BYTES and not self.is_whole and not self.is_switched:
            raise UnreadableError(_TOO_LONG)

    def feed_eof(self) -> None:
        """The other end says no more, which ends some responses."""
        self.is_whole = self.is_whole or (self.framing is not None and self.framing.until == "close")

    # What httptools calls.

    def on_message_begin(self) -> None:
        self.surplus = self.surplus or self.is_whole
        self.in_head = not self.is_whole

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._line_bytes += len(name) + len(value) + 4
        if self._line_bytes > MAX_HEAD_BYTES:
            raise UnreadableError(_TOO_LONG)
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        if self.is_whole:
            return
        head = response_head(self._parser.get_status_code(), self._reason, self._lines)
        head, framing = response_framing(self._method, self._parser.get_http_version(), head)
        if head.status == 101:
            if not (self._may_switch and self._parser.should_upgrade()):
                raise UnreadableError("an upgrade that was not asked for")
            self.is_switched = True
        elif head.status >= 200:
            self.framing = framing
            # llhttp does not know of HEAD, and takes for a body what comes next.
            self.is_whole = framing.until == "head"
        self.in_head = False
        self._reason, self._lines = b"", []
        self._on_head(head)

    def on_body(self, data: bytes) -> None:
        self._line_bytes = self._other_bytes = 0
        if self.is_whole:
            self.surplus = True
        else:
            self._on_body(data)

    def on_message_complete(self) -> None:
        if self.framing is not None and not self.is_whole:
            self.trailers = field_lines(self._lines)
            self.is_whole = True
