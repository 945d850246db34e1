"""Where a response ends, and what is none: RFC 9112. The parser alone; test_origin.py has the same over sockets."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_edge.http.framing import (
    ResponseFraming,
    UnreadableError,
    body_length,
    octets,
    request_head,
    response_bytes,
    text,
)
from mizan_edge.http.message import Fields, Request, Response
from mizan_edge.http.response_parser import MAX_HEAD_BYTES, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
# What a connection may have carried before.
EARLIER = [
    OK + b"Content-Length: 2\r\n\r\nab",
    OK + b"Content-Length: 0\r\nProxy-Connection: close\r\n\r\n",
    CHUNKED + b"2\r\nab\r\n0\r\nX: a\r\n\r\n",
    b"HTTP/1.1 304 X\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 103 X\r\nX: a\r\n\r\nHTTP/1.1 204 X\r\nY: b\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
]


@dataclass
class Read:
    """What a parser has made of some bytes."""

    heads: list[Response] = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = ()
    whole: bool = False
    followed: bool = False
    framing: ResponseFraming | None = None

    def add_body(self, data: bytes) -> None:
        self.body += data


def read(*pieces: bytes, method: str = "GET", may_switch: bool = False, eof: bool = False, after: bytes = b"") -> Read:
    """What is made of a response; `after` another one on the same connection."""
    result = Read()
    parser = ResponseParser()
    if after:
        parser.begin("GET", may_switch=False, on_head=lambda head: None, on_body=lambda data: None)
        parser.feed(after)
        assert parser.may_be_followed
    parser.begin(method, may_switch=may_switch, on_head=result.heads.append, on_body=result.add_body)
    for piece in pieces:
        parser.feed(piece)
    if eof:
        parser.feed_eof()
    result.trailers, result.whole, result.followed = parser.trailers, parser.is_whole, parser.may_be_followed
    result.framing = parser.framing
    return result


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Content-Length: 1, 2\r\n\r\nab",
        OK + b"Content-Length: +1\r\n\r\na",
        OK + b"Content-Length: -1\r\n\r\na",
        OK + b"Content-Length: 0x1\r\n\r\na",
        OK + b"Content-Length: 1 1\r\n\r\na",
        OK + b"Content-Length:\r\n\r\na",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\na",
        OK + b"Transfer-Encoding: identity\r\n\r\na",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
        OK + b"X: a\r\n folded\r\n\r\n",
        OK + b"X: a\r\n\tfolded\r\n\r\n",
        OK + b" X: a\r\n\r\n",
        OK + b"X: a\rb\r\n\r\n",
        OK + b"X: a\rContent-Length: 1\r\n\r\n",
        OK + b"X: a\nContent-Length: 1\r\n\r\n",
        OK + b"X: a\0b\r\n\r\n",
        OK + b"X: a\x01b\r\n\r\n",
        OK + b"X: a\x7fb\r\n\r\n",
        OK + b"X : a\r\n\r\n",
        OK + b": a\r\n\r\n",
        OK + b"X\r\n\r\n",
        OK + b"X(: a\r\n\r\n",
        OK + b"X\xff: a\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 O\x1bK\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 000 X\r\n\r\n",
        b"HTTP/1.1 20 X\r\n\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        b"HTTP/1.1 2x0 X\r\n\r\n",
        b"HTTP/1.1  200 X\r\n\r\n",
        b"HTTP/2.0 200 X\r\n\r\n",
        b"HTTP/0.9 200 X\r\n\r\n",
        b"http/1.1 200 X\r\n\r\n",
        b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 X\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_might_be_taken_for_another_message_is_refused_before_its_head_counts(data: bytes):
    for pieces in [data], [bytes([byte]) for byte in data]:
        for after in b"", *EARLIER:
            with pytest.raises(UnreadableError):
                read(*pieces, after=after)


@pytest.mark.parametrize(
    "data",
    [
        b"1 \r\na\r\n",
        b"0x1\r\na\r\n",
        b"+1\r\na\r\n",
        b"\r\na\r\n",
        b"1\na\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"10000000000000000000\r\na",
        b"1;a\0b\r\na\r\n",
        b"1;a\rb\r\na\r\n",
        b"0\r\nX: a\r\n folded\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
    ],
)
def test_malformed_chunks_and_trailers_are_refused(data: bytes):
    for pieces in [data], [bytes([byte]) for byte in data]:
        with pytest.raises(UnreadableError):
            read(CHUNKED, *pieces)


CLOSED = ResponseFraming("close", keep_alive=False)


@pytest.mark.parametrize(
    ("method", "head", "expected"),
    [
        ("GET", b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n", ResponseFraming("marked", keep_alive=True)),
        ("GET", b"HTTP/1.1 200 X\r\nContent-Length: 2 \r\n", ResponseFraming("marked", keep_alive=True)),
        ("GET", b"HTTP/1.1 200 X\r\ntransfer-encoding: CHUNKED\r\n", ResponseFraming("marked", keep_alive=True)),
        (
            "GET",
            b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: x, Close\r\n",
            ResponseFraming("marked", keep_alive=False),
        ),
        (
            "GET",
            b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            ResponseFraming("marked", keep_alive=False),
        ),
        ("GET", b"HTTP/1.0 200 X\r\nContent-Length: 2\r\n", ResponseFraming("marked", keep_alive=False)),
        ("GET", b"HTTP/1.0 200 X\r\nContent-Length: 2\r\nConnection: keep-alive\r\n", ResponseFraming("marked", True)),
        (
            "GET",
            b"HTTP/1.0 200 X\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
            ResponseFraming("marked", False),
        ),
        ("GET", b"HTTP/1.1 200 X\r\n", CLOSED),
        ("GET", b"HTTP/1.1 999 X\r\nConnection: keep-alive\r\n", CLOSED),
        ("GET", b"HTTP/1.0 200 X\r\nConnection: keep-alive\r\n", CLOSED),
        ("HEAD", b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n", ResponseFraming("head", keep_alive=False)),
        ("HEAD", b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n", ResponseFraming("head", keep_alive=False)),
        ("HEAD", b"HTTP/1.1 200 X\r\n", ResponseFraming("head", keep_alive=False)),
        ("HEAD", b"HTTP/1.0 200 X\r\n", ResponseFraming("head", keep_alive=False)),
        ("GET", b"HTTP/1.1 304 X\r\nContent-Length: 2\r\n", ResponseFraming("head", keep_alive=True)),
        ("GET", b"HTTP/1.1 204 X\r\n", ResponseFraming("head", keep_alive=True)),
        ("GET", b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n", ResponseFraming("head", keep_alive=True)),
        ("GET", b"HTTP/1.1 204 X\r\nContent-Length: 2\r\n", ResponseFraming("head", keep_alive=False)),
        ("GET", b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n", ResponseFraming("head", keep_alive=False)),
        ("POST", b"HTTP/1.1 205 X\r\nContent-Length: 0\r\n", ResponseFraming("marked", keep_alive=True)),
    ],
)
def test_a_response_ends_where_rfc_9112_section_6_3_says(method: str, head: bytes, expected: ResponseFraming):
    result = read(head + b"\r\n", method=method)
    assert result.framing == expected
    assert result.whole == (expected.until == "head" or b"Content-Length: 0" in head)
    assert all(read(head + b"\r\n", method=method, after=after) == result for after in EARLIER)
    assert read(head + b"\r\n", method=method, eof=True).whole == (result.whole or expected.until == "close")


def test_a_content_length_that_does_not_count_is_not_passed_on():
    for head in (
        b"HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 103 X\r\nContent-Length: 2\r\n\r\n",
    ):
        assert read(head).heads[0].get("content-length") is None
    assert read(b"HTTP/1.1 304 X\r\nContent-Length: 2\r\n\r\n").heads[0].get("content-length") == "2"


_KEPT = st.sampled_from([b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n", b"Proxy-Connection: close\r\n"])
_BODY = st.binary(max_size=6)


@given(
    version=st.sampled_from([b"1.0", b"1.1"]),
    kept=_KEPT,
    value=st.from_regex(rb"\A[a-z]{24}\Z"),
    size=st.integers(0, 4),
    first=_BODY,
    second=_BODY,
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    cut=st.integers(0, 90),
)
def test_a_head_that_has_come_before_is_read_as_at_first_whatever_comes_with_it(
    version: bytes, kept: bytes, value: bytes, size: int, first: bytes, second: bytes, method: str, cut: int
):
    def head(value: bytes) -> bytes:
        return b"HTTP/%b 200 OK\r\n%bX: %b\r\nContent-Length: %d\r\n\r\n" % (version, kept, value, size)

    for known in "GET", method:
        read(head(value) + first, method=known)
        read(head(value) + b"x" * size, method=known)
    # No other example has this value, so this head is new.
    for pieces in [second], [second[:1], second[1:]]:
        again = read(head(value) + pieces[0], *pieces[1:], method=method)
        other = read(head(value[::-1]) + pieces[0], *pieces[1:], method=method)
        assert again.heads[0].fields == tuple((n, v if n != "X" else value.decode()) for n, v in other.heads[0].fields)
        assert (again.body, again.whole, again.followed, again.framing) == (
            other.body,
            other.whole,
            other.followed,
            other.framing,
        )
    whole = head(value) + b"x" * size
    assert read(whole[:cut], whole[cut:], method="GET").body == b"x" * size
    # And the connection is where it would be.
    if read(whole).followed:
        for after in EARLIER:
            assert read(after, after=whole) == read(after, after=after)


def test_heads_that_come_again_keep_their_own_bytes_and_meaning():
    for _ in range(2):
        for value in "ü".encode(), b"\xfc", b"u":
            data = OK + b"X: " + value + b"\r\nContent-Length: 2\r\n\r\n"
            for method, until in ("GET", "marked"), ("HEAD", "head"):
                result = read(data, method=method)
                assert response_bytes(result.heads[0]) == data
                assert result.framing is not None
                assert result.framing.until == until


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("surplus", [b"x", OK, OK + b"Content-Length: 0\r\n\r\n", b"2\r\nab\r\n"])
def test_after_more_than_a_response_the_connection_is_not_used_again(method: str, surplus: bytes):
    data = OK + b"Content-Length: 2\r\n\r\n" + (b"ab" if method == "GET" else b"")
    # Nothing follows the answer to a HEAD at all, since its content might.
    assert read(data, method=method).followed == (method == "GET")
    result = read(data + surplus, method=method)
    assert (result.whole, result.followed) == (True, False)
    assert [head.status for head in result.heads] == [200]
    assert result.body == (b"ab" if method == "GET" else b"")


def test_a_head_is_read_up_to_its_limit_and_no_further():
    line = b"X: " + b"a" * 1019 + b"\r\n"
    fitting = line * (MAX_HEAD_BYTES // len(line) - 1)
    assert read(OK, fitting, b"Content-Length: 0\r\n\r\n").whole
    for data in (fitting + line * 2, b"X: " + b"a" * (MAX_HEAD_BYTES + 1), b"HTTP/1.1 103 X\r\n\r\n" * 70_000):
        with pytest.raises(UnreadableError):
            read(b"" if data.startswith(b"HTTP") else OK, *(data[i : i + 65536] for i in range(0, len(data), 65536)))


def test_trailers_and_chunk_extensions_are_limited_too():
    for start in b"0\r\n", b"1;x=":
        with pytest.raises(UnreadableError):
            read(CHUNKED + start, *[b"X: " + b"a" * 65536] * 20)
    with pytest.raises(UnreadableError):
        read(CHUNKED + b"0\r\n", *[b"X: " + b"a" * 1000 + b"\r\n"] * 1100)


def test_a_long_body_is_no_long_head():
    size = 3 * MAX_HEAD_BYTES
    assert read(OK + b"Content-Length: %d\r\n\r\n" % size, *[b"x" * 65536] * (size // 65536)).whole


names = st.text("abcXYZ-_!~1", min_size=1, max_size=8)
values = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=20)
lines = st.lists(
    st.tuples(names.map(lambda name: "x" + name), values.map(lambda value: value.strip(" \t"))), max_size=5
)


def message(status: int, reason: str, fields: list[tuple[str, str]], body: bytes = b"") -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode() + body


@given(
    interim=st.lists(st.tuples(st.sampled_from([100, 102, 103, 199]), lines), max_size=3),
    status=st.integers(200, 999).filter(lambda status: status not in (204, 304)),
    reason=st.text("abc üß", max_size=6),
    fields=lines,
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    trailers=lines,
    how=st.sampled_from(["length", "chunked", "close"]),
    seed=st.integers(),
    after=st.sampled_from(EARLIER),
)
def test_neither_how_a_response_is_cut_into_pieces_nor_what_was_before_it_changes_what_is_read(
    interim, status, reason, fields, chunks, trailers, how, seed, after
):
    body = b"".join(chunks)
    if how == "length":
        data = message(status, reason, [*fields, ("Content-Length", str(len(body)))], body)
    elif how == "chunked":
        end = "".join(f"{name}: {value}\r\n" for name, value in trailers).encode()
        framed = b"".join(b"%X;x=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + end + b"\r\n"
        data = message(status, reason, [*fields, ("Transfer-Encoding", "chunked")], framed)
    else:
        data = message(status, reason, fields, body)
    data = b"".join(message(number, "", more) for number, more in interim) + data
    cuts = random.Random(seed)
    pieces = []
    rest = data
    while rest:
        size = cuts.choice([1, 1, 2, 3, 5, 8, 30, 1000])
        pieces.append(rest[:size])
        rest = rest[size:]
    result = read(*pieces, eof=True)
    assert [head.status for head in result.heads] == [*(number for number, _ in interim), status]
    assert [list(head.fields) for head in result.heads[:-1]] == [more for _, more in interim]
    final = result.heads[-1]
    assert list(final.fields)[: len(fields)] == fields
    assert (final.reason, result.body, result.whole) == (reason.strip(), body, True)
    assert list(result.trailers) == (trailers if how == "chunked" else [])
    assert result == read(data, eof=True) == read(*pieces, eof=True, after=after)


@given(st.binary().filter(lambda value: not set(value) & {*range(9), *range(10, 32), 127}))
def test_bytes_of_a_field_value_survive_being_text(value: bytes):
    assert octets(text(value)) == value
    try:
        assert text(value) == value.decode()
    except UnicodeDecodeError:
        assert text(value) == value.decode("latin-1")


def request(method: str = "GET", *fields: tuple[str, str], target: str = "/x") -> Request:
    return Request(method, target, "a", (("Host", "a"), *fields))


async def chunks():
    yield b""


@pytest.mark.parametrize(
    ("asked", "body", "framed"),
    [
        (request("GET"), None, []),
        (request("HEAD"), None, []),
        (request("GET"), b"", []),
        (request("GET", ("Content-Length", "0")), None, ["Content-Length: 0"]),
        (request("GET"), b"ab", ["Content-Length: 2"]),
        (request("POST"), None, ["Content-Length: 0"]),
        (request("SPIN"), None, ["Content-Length: 0"]),
        (request("POST", ("Content-Length", "7")), None, ["Content-Length: 0"]),
        (request("POST", ("Content-Length", "7")), b"ab", ["Content-Length: 2"]),
        (request("POST", ("content-length", "7")), chunks(), ["Content-Length: 7"]),
        (request("POST"), chunks(), ["Transfer-Encoding: chunked"]),
        (request("POST", ("Transfer-Encoding", "gzip")), chunks(), ["Transfer-Encoding: chunked"]),
        (request("POST", ("Content-Length", "7"), ("Content-Length", "8")), chunks(), ["Transfer-Encoding: chunked"]),
        (request("POST", ("Content-Length", "+7")), chunks(), ["Transfer-Encoding: chunked"]),
    ],
)
def test_a_request_is_framed_by_what_its_body_is(asked: Request, body, framed: list[str]):
    head = request_head(asked, body_length(asked, body), host="o").decode()
    assert head.split("\r\n")[1:-2] == ["Host: a", *framed]


def test_a_request_has_a_host_in_any_case_and_its_fields_as_they_were():
    asked = Request("GET", "/ä".encode().decode("latin-1"), "", ())
    assert request_head(Request("GET", "/", "", ()), 0, host="o:1") == b"GET / HTTP/1.1\r\nHost: o:1\r\n\r\n"
    with pytest.raises(ValueError):
        request_head(asked, 0, host="o")
    fields = ("X", "1"), ("y", "ü"), ("X", text(b"\xff\xfc")), ("z", "")
    head = request_head(request("QUERY", *fields, target="/%zz?[]|\\^{}"), 1, host="o")
    assert head == (
        b"QUERY /%zz?[]|\\^{} HTTP/1.1\r\nHost: a\r\nX: 1\r\ny: \xc3\xbc\r\nX: \xff\xfc\r\nz: \r\n"
        b"Content-Length: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    "asked",
    [
        request("GE T"),
        request("GET\r\nX: 1"),
        request(""),
        request(target="/a b"),
        request(target="/a\r\nX: 1"),
        request(target=""),
        request("GET", ("X", "a\r\nY: b")),
        request("GET", ("X", "a\nb")),
        request("GET", ("X", "a\0")),
        request("GET", ("X", "a\r")),
        request("GET", ("X", "\udcff")),
        request("GET", ("X Y", "a")),
        request("GET", ("", "a")),
        request("GET", ("X:", "a")),
        request("GET", ("Ü", "a")),
    ],
)
def test_a_request_that_would_leave_as_another_is_not_sent(asked: Request):
    with pytest.raises(ValueError):
        request_head(asked, 0, host="o")
