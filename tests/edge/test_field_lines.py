"""The field lines of a request are read as httptools reads them, and what it refuses is refused."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mizan_edge.http.errors import RefusedError
from mizan_edge.http.field_block import field_block
from mizan_edge.http.framing import octets

# Of what decides whether a line is one, more than by chance.
_PIECES = st.sampled_from(
    [b":", b" ", b"\t", b"\r", b"\n", b"\0", b"\x0b", b"\x7f", b"\x80", b"\xff", b"(", b"a", b"Host", b"x-b", b": c"]
)
_LINE = st.one_of(
    st.binary(max_size=24),
    st.lists(_PIECES, max_size=8).map(b"".join),
    st.tuples(st.from_regex(rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}\Z"), st.lists(_PIECES, max_size=6).map(b"".join)).map(
        lambda pair: pair[0] + b":" + pair[1]
    ),
)


class Told:
    """What httptools tells of a head."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.is_whole = True


def by_httptools(lines: list[bytes]) -> list[tuple[bytes, bytes]] | None:
    told = Told()
    try:
        httptools.HttpRequestParser(told).feed_data(b"GET / HTTP/1.1\r\n" + b"\r\n".join([*lines, b"\r\n"]))
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    return told.fields if told.is_whole else None


def here(lines: list[bytes]) -> list[tuple[bytes, bytes]] | None:
    try:
        fields = field_block("1.1", b"\r\n" + b"\r\n".join([*lines, b"\r\n"])).fields
    except RefusedError:
        return None
    return [(name.encode(), octets(value)) for name, value in fields]


@given(st.lists(_LINE, min_size=1, max_size=4))
@example([b"a: \x80"])
@example([b"a:"])
@example([b"a: \t "])
@example([b"a:b", b" c: d"])
@example([b"a:\tb\t"])
@example([b"Transfer-Encoding: chunked", b"a: b"])
@example([b"Content-Length: 1", b"Content-Length: 1"])
def test_what_is_read_here_is_what_httptools_reads(lines: list[bytes]):
    whole = [b"Host: a", *lines]
    # An empty line would end the head before the others.
    if b"\r\n\r\n" in b"\r\n" + b"\r\n".join(whole):
        return
    read = here(whole)
    if read is not None:
        assert read == by_httptools(whole)
        # Each line is one by itself: what is remembered of it holds beside any others.
        assert read == [field for line in whole for field in by_httptools([line]) or []]


@pytest.mark.parametrize("byte", range(256))
def test_each_byte_in_a_name_or_value_is_judged_as_by_httptools(byte: int):
    octet = bytes([byte])
    for line in (b"x" + octet + b"y: z", octet + b"y: z", b"y" + octet + b": z", b"x: y" + octet + b"z", b"x:" + octet):
        lines = [b"Host: a", line]
        assert here(lines) == by_httptools(lines), line
