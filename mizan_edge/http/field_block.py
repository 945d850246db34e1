"""The field lines of a request's head. RFC 9112 section 5.

Most lines of most requests have come before, and so have many blocks of lines, so both are remembered. Where a line
ends is seen here, since httptools allows no other line ends than CRLF. What is plainly a line is read here as well, as
httptools would read it; whatever else comes is its to read or to refuse: control characters, folded lines, spaces
before a colon. What lines mean together is judged here and in `framing`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import httptools

from mizan_edge.http.errors import RefusedError
from mizan_edge.http.framing import RequestFraming, request_framing, text
from mizan_edge.http.message import TOKEN, FieldLines, Fields, dropped, is_host, lines_of, members, values
from mizan_edge.http.names import Names, of_names

_LINE_END = b"\r\n"
_LINE = re.compile(rb"(%b):[ \t]*([\t -~\x80-\xff]*)" % TOKEN)
# What is remembered; when there is more, all is forgotten, and what is in use read again.
_MAX_LINES = 4096
_MAX_LINE_BYTES = 512
_MAX_BLOCKS = 1024
_MAX_BLOCK_BYTES = 4096
# What these mean depends on each other, so the parser sees them together.
_NEVER_KNOWN = frozenset({b"content-length", b"transfer-encoding"})
_DECIDING = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})

_Line = tuple[tuple[str, str], str, bytes]
"""A field, its name in lower case, and the line as it leaves."""


@dataclass(frozen=True, slots=True)
class FieldBlock:
    """The fields of a request, and what they say of the connection."""

    fields: FieldLines
    framing: RequestFraming
    host: str
    """The Host field's value."""
    expects_continue: bool
    """The client waits for a 100 before it sends the body."""


# mutable state: what was parsed lately.
_lines: dict[bytes, _Line] = {}
_blocks: dict[tuple[str, bytes], FieldBlock] = {}


def field_block(version: str, block: bytes) -> FieldBlock:
    """The fields in a `block`, from the end of the request line to the first empty line. Raises RefusedError."""
    found = _blocks.get((version, block))
    if found is None:
        raw = block.split(_LINE_END)[1:-2]
        lines = [_lines.get(line) for line in raw]
        is_known = None not in lines
        if not is_known:
            _read(raw, lines)
        found = _judged(version, cast(list[_Line], lines))
        # Where some line is another one each time, so is the block.
        if is_known and len(block) <= _MAX_BLOCK_BYTES:
            if len(_blocks) >= _MAX_BLOCKS:
                _blocks.clear()
            _blocks[version, block] = found
    return found


def _read(raw: list[bytes], lines: list[_Line | None]) -> None:
    """Puts those of `raw` that are not known yet into `lines`. Raises RefusedError."""
    others = []
    for i, line in enumerate(raw):
        if lines[i] is None:
            lines[i] = plain = _plain(line)
            if plain is None:
                others.append(i)
            elif len(line) <= _MAX_LINE_BYTES:
                if len(_lines) >= _MAX_LINES:
                    _lines.clear()
                _lines[line] = plain
    if others:
        for i, parsed in zip(others, _parsed([raw[i] for i in others]), strict=True):
            lines[i] = parsed


def _plain(line: bytes) -> _Line | None:
    """A line that has a name, a colon and text, and means what it says by itself; None for any other."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    return None if match[1].lower() in _NEVER_KNOWN else _line(match[1], match[2])


def _line(name: bytes, value: bytes) -> _Line:
    value = value.rstrip(b" \t")
    field = name.decode("ascii"), text(value)
    return field, field[0].lower(), b"%b: %b" % (name, value)


class _Parsed:
    """What httptools calls."""

    __slots__ = ("fields", "is_whole")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_whole = True


def _parsed(raw: list[bytes]) -> list[_Line]:
    parsed = _Parsed()
    parser = httptools.HttpRequestParser(parsed)
    try:
        # With a method that it knows.
        parser.feed_data(b"POST / HTTP/1.1\r\n" + _LINE_END.join([*raw, _LINE_END]))
    except httptools.HttpParserUpgrade:
        pass  # which protocols are passed on is not decided here
    except httptools.HttpParserError as error:
        raise RefusedError(400, f"The request's head is malformed: {error}.") from error
    # Else one of them was none, and has become a part of another.
    if not parsed.is_whole or len(parsed.fields) != len(raw):
        raise RefusedError(400, "The request's head is malformed.")
    return [_line(name, value) for name, value in parsed.fields]


def _judged(version: str, lines: list[_Line]) -> FieldBlock:
    fields = FieldLines.of(*zip(*lines, strict=True)) if lines else FieldLines.of(())
    said = tuple([fields[i] for i in _deciding(fields.names)])
    judge = _known if sum([len(value) for _, value in said]) <= _MAX_LINE_BYTES else _judge
    framing, host, expects_continue = judge(version, said)
    if version == "1.0":
        # RFC 9110 section 7.8
        fields = lines_of(dropped(fields, ["upgrade"]))
    return FieldBlock(fields, framing, host, expects_continue)


@of_names
def _deciding(names: Names) -> tuple[int, ...]:
    """The places of the fields that decide what the message is."""
    return tuple([i for i, name in enumerate(names.lower) if name in _DECIDING])


def _judge(version: str, said: Fields) -> tuple[RequestFraming, str, bool]:
    """What the deciding fields of a request say: its framing, its host, whether the client waits for a 100."""
    fields = lines_of(said)
    expected = set(members(", ".join(values(fields, "expect")))) if version == "1.1" else set()
    framing = request_framing(version, fields)
    host = _host(version, fields)
    if expected - {"100-continue"}:
        # RFC 9110 section 10.1.1
        raise RefusedError(417, "Nothing but 100-continue can be expected here.")
    return framing, host, bool(expected)


_known = lru_cache(maxsize=_MAX_BLOCKS)(_judge)


def _host(version: str, fields: Fields) -> str:
    """The Host field's value. RFC 9112 section 3.2."""
    hosts = values(fields, "host")
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise RefusedError(400, "A request has one Host field.")
    host = hosts[0] if hosts else ""
    if not is_host(host):
        raise RefusedError(400, "The Host field is malformed.")
    return host
