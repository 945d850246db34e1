"""The chunked coding of a request's body, taken off: RFC 9112 section 7.1.

llhttp does not say where in what it is fed a message ends, and what follows a body must not be read before the request
is answered. So chunks are read here, strictly by the grammar: what two readers could take for different bodies is
refused.
"""

import re

from mizan_edge.http.errors import RefusedError
from mizan_edge.http.message import TOKEN

_MAX_LINE_BYTES = 4096
_MAX_TRAILER_BYTES = 64 << 10
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*" % (TOKEN, TOKEN, _QUOTED),
)
_TRAILER = re.compile(rb"%b:[\t -~\x80-\xff]*" % TOKEN)


class Chunks:
    """One body in chunks. Extensions and trailer fields are dropped: the body goes on with a framing of its own, and
    nobody has said that the fields may be merged into the head (RFC 9110 section 6.5.1).

    # mutable state: `is_whole`; `_left`, what is to come of a chunk; whether its line end is due (`_closing`), or
    # trailer fields are (`_in_trailers`), and the bytes that those have taken.
    """

    __slots__ = ("_closing", "_in_trailers", "_left", "_trailer_bytes", "is_whole")

    def __init__(self) -> None:
        self.is_whole = False
        self._left = 0
        self._closing = self._in_trailers = False
        self._trailer_bytes = 0

    def take(self, waiting: bytearray) -> bytes:
        """Takes from `waiting` what belongs to the body, as far as it has come; the data in it. Raises RefusedError."""
        data: list[bytes] = []
        at = 0
        while not self.is_whole:
            if self._left:
                piece = bytes(waiting[at : at + self._left])
                if not piece:
                    break
                data.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._closing = not self._left
                continue
            end = waiting.find(b"\r\n", at, at + (2 if self._closing else _MAX_LINE_BYTES))
            if end < 0:
                if len(waiting) - at >= (2 if self._closing else _MAX_LINE_BYTES):
                    raise RefusedError(400, "A chunk of the request's body is malformed.")
                break
            self._line(bytes(waiting[at:end]))
            at = end + 2
        del waiting[:at]
        return b"".join(data)

    def _line(self, line: bytes) -> None:
        if self._closing:
            self._closing = False
        elif self._in_trailers:
            self._trailer_bytes += len(line) + 2
            self.is_whole = not line
            if line and not (_TRAILER.fullmatch(line) and self._trailer_bytes <= _MAX_TRAILER_BYTES):
                raise RefusedError(400, "A trailer field of the request is malformed, or there are too many.")
        elif size := _SIZE.fullmatch(line):
            self._left = int(size[1], 16)
            self._in_trailers = not self._left
        else:
            raise RefusedError(400, "The size of a chunk of the request's body is malformed.")
