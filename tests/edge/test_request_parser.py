"""What is a request, where it ends, and what is refused: RFC 9112. The parser alone."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_edge.http.errors import RefusedError
from mizan_edge.http.framing import octets
from mizan_edge.http.limits import Limits
from mizan_edge.http.message import Request
from mizan_edge.http.request_parser import RequestHead, RequestParser
from tests.support.requests import BAD_CHUNKS, BAD_FIELDS, BAD_FRAMINGS, CHUNKED, LIMITS, POST


def read(*pieces: bytes, limits: Limits = LIMITS) -> list[tuple[RequestHead, bytes]]:
    """The whole requests in some bytes."""
    parser = RequestParser("http", limits)
    found: list[tuple[RequestHead, bytes]] = []
    head, body = None, b""
    for piece in pieces:
        parser.feed(piece)
        while True:
            if head is None and (head := parser.head()) is None:
                break
            body += parser.body()
            if not parser.is_whole:
                break
            found.append((head, body))
            head, body = None, b""
    return found


def one(data: bytes, limits: Limits = LIMITS) -> RequestHead:
    ((head, _),) = read(data, limits=limits)
    return head


def refused(data: bytes, limits: Limits = LIMITS) -> int:
    """The status with which some bytes are refused, however they arrive."""
    statuses = set()
    for pieces in [data], [bytes([byte]) for byte in data]:
        with pytest.raises(RefusedError) as caught:
            read(*pieces, limits=limits)
        statuses.add(caught.value.status)
    (status,) = statuses
    return status


def test_section_2_1_a_request_is_read_as_it_stands():
    head = one(
        b"get /a%2F?x#f HTTP/1.1\r\nHOST: A.test:80\r\nx-b:\t1 \r\nX-B: \xff\xfe\r\nX-C: gr\xc3\xbc\xc3\x9fe\r\n\r\n"
    )
    assert head.request == Request(
        "get",
        "/a%2F?x",
        "a.test",
        (("HOST", "A.test:80"), ("x-b", "1"), ("X-B", "\xff\xfe"), ("X-C", "grüße")),
    )
    assert octets(head.request.fields[2][1]) == b"\xff\xfe"
    assert (head.version, head.framing.length, head.framing.keep_alive, head.expects_continue) == (
        "1.1",
        0,
        True,
        False,
    )


@pytest.mark.parametrize("method", ["GET", "QUERY", "M-SEARCH", "X", "!#$%&'*+.^_`|~0", "POSTS", "PRI", "connect"])
def test_section_9_1_any_token_is_a_method(method: str):
    assert one(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()).request.method == method


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1.1x",
        b"GET / HTP/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/1.10",
        b"GET / / HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\xc3\xa4 HTTP/1.1",
        b"GE(T / HTTP/1.1",
        b"G\xc3\x8bT / HTTP/1.1",
        b"GET:/ / HTTP/1.1",
        b"GET / HTTP/1.1\rX: 1",
        b"GET\x00 / HTTP/1.1",
        b"/ HTTP/1.1",
        b"nonsense",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_section_3_a_request_line_of_another_shape_is_refused(line: bytes):
    if line in (b"GET / HTTP/1", b"GET / HTTP/1.10"):
        assert refused(line + b"\r\nHost: a\r\n\r\n") in (400, 505)
    else:
        assert refused(line + b"\r\nHost: a\r\n\r\n") == 400


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3", "HTTP/2"])
def test_section_2_3_other_versions_are_refused(version: str):
    assert refused(f"GET / {version}\r\nHost: a\r\n\r\n".encode()) == 505


@pytest.mark.parametrize("data", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n", b"GET / HTTP/3.0\r\n"])
def test_section_2_3_what_will_never_have_an_empty_line_is_refused_at_its_first(data: bytes):
    assert refused(data) == 505


@pytest.mark.parametrize(
    ("method", "target", "seen", "host"),
    [
        ("GET", "http://b.test:80/x?y", "/x?y", "b.test"),
        ("GET", "HTTPS://B.test:1", "/", "b.test:1"),
        ("GET", "http://[::1]:81/", "/", "[::1]:81"),
        ("OPTIONS", "*", "*", "a"),
        ("OPTIONS", "http://b.test", "*", "b.test"),
        ("OPTIONS", "/x", "/x", "a"),
    ],
)
def test_section_3_2_the_forms_of_a_target(method: str, target: str, seen: str, host: str):
    request = one(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).request
    assert (request.target, request.host) == (seen, host)
    assert [name for name, _ in request.fields] == ["Host"]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET *", 400),
        ("GET x", 400),
        ("GET a:443", 400),
        ("GET ?x", 400),
        ("GET ftp://a/", 400),
        ("GET http://u@a/", 400),
        ("GET http:///x", 400),
        ("GET http://:80/x", 400),
        ("GET http://a,b/x", 400),
        ("CONNECT a:443", 501),
        ("CONNECT /x", 501),
    ],
)
def test_section_3_2_other_targets_are_refused(line: str, status: int):
    assert refused(f"{line} HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == status


@pytest.mark.parametrize(
    "hosts",
    [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:x\r\n",
        "Host: a?\r\n",
        "Host: [::1\r\n",
        "Host: a:1:2\r\n",
        "Host: a\\b\r\n",
    ],
)
def test_section_3_2_a_request_has_one_host(hosts: str):
    assert refused(f"GET / HTTP/1.1\r\n{hosts}\r\n".encode()) == 400
    if not hosts:
        assert one(b"GET / HTTP/1.0\r\n\r\n").request.host == ""
    else:
        assert refused(f"GET / HTTP/1.0\r\n{hosts}\r\n".encode()) == 400


@pytest.mark.parametrize("lines", BAD_FIELDS)
def test_section_5_malformed_field_lines_are_refused(lines: bytes):
    assert refused(POST + lines + b"\r\n") == 400


@pytest.mark.parametrize("lines", BAD_FRAMINGS)
def test_section_6_a_body_that_might_end_in_two_places_is_refused(lines: bytes):
    assert refused(POST + lines + b"\r\n") == 400
    assert refused(POST + b"Connection: upgrade\r\nUpgrade: x\r\n" + lines + b"\r\n") == 400


def test_section_6_1_there_are_no_chunks_in_http_1_0():
    assert refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400


@pytest.mark.parametrize("coding", [b"Transfer-Encoding: chunked", b"transfer-encoding:\tCHUNKED "])
def test_section_7_1_chunks_are_read_with_their_extensions_and_trailers_left_out(coding: bytes):
    body = b'3;a;b=c ; d = "x;\\""\r\nabc\r\n00A\r\n0123\r\n4567\r\n0;x\r\nX-T: 1\r\nContent-Length: 9\r\n\r\n'
    data = POST + coding + b"\r\n\r\n" + body + POST + b"\r\n"
    for pieces in [data], [bytes([byte]) for byte in data]:
        (head, got), (_, following) = read(*pieces)
        assert (head.framing.length, got, following) == (None, b"abc0123\r\n4567", b"")
        assert [name for name, _ in head.request.fields] == ["Host", coding.split(b":")[0].decode()]


@pytest.mark.parametrize("chunks", BAD_CHUNKS)
def test_section_7_1_malformed_chunks_are_refused(chunks: bytes):
    assert refused(CHUNKED + chunks) == 400


def test_section_7_1_a_chunk_ends_where_its_size_says():
    body = b"5\r\n\r\n0\r\n\r\n0\r\n\r\n"
    for pieces in [CHUNKED + body], [CHUNKED, *(bytes([byte]) for byte in body)]:
        ((_, got),) = read(*pieces)
        assert got == b"\r\n0\r\n"


def test_section_9_3_what_follows_a_request_waits_unread():
    parser = RequestParser("http", LIMITS)
    parser.feed(POST + b"Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n")
    assert parser.head() is not None
    assert (parser.is_whole, parser.left) == (False, 3)
    assert parser.body() == b"abc"
    assert parser.is_whole
    assert parser.waiting == len(b"GET /2 HTTP/1.1\r\n")
    assert parser.head() is None
    parser.feed(b"Host: a\r\n\r\n")
    following = parser.head()
    assert following is not None and following.request.target == "/2"


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.1", "Connection: x, Close\r\n", False),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: Keep-Alive\r\n", True),
        ("1.0", "Connection: keep-alive, close\r\n", False),
    ],
)
def test_section_9_3_who_wants_to_go_on(version: str, connection: str, keeps: bool):
    assert one(f"GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n".encode()).framing.keep_alive is keeps


@pytest.mark.parametrize(("value", "status"), [("100-Continue", 0), ("200-ok", 417), ("100-continue, x", 417)])
def test_rfc_9110_section_10_1_1_nothing_else_is_expected(value: str, status: int):
    data = f"POST / HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\n\r\n".encode()
    assert refused(data) == status if status else one(data).expects_continue
    assert not one(data.replace(b"1.1", b"1.0")).expects_continue


def test_section_2_2_empty_lines_before_a_request_are_skipped():
    data = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n"
    for pieces in [data], [bytes([byte]) for byte in data]:
        assert len(read(*pieces)) == 2
    assert refused(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400
    assert refused(b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400


def test_limits_of_a_head():
    at_most = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 1023)
    assert len(one(at_most).request.target) == 1024
    assert refused(at_most.replace(b"/x", b"/xx")) == 414
    assert refused(b"GET /" + b"x" * 5000) == 414
    assert len(one(POST + b"X: 1\r\n" * 19 + b"\r\n").request.fields) == 20
    assert refused(POST + b"X: 1\r\n" * 20 + b"\r\n") == 431
    assert one(POST + b"X: " + b"1" * (4096 - len(POST) - 7) + b"\r\n\r\n").request.get("x")
    assert refused(POST + b"X: " + b"1" * (4097 - len(POST) - 7) + b"\r\n\r\n") == 431
    assert refused(POST + b"X: " + b"1" * 5000) == 431


def test_limits_of_a_body():
    limits = replace(LIMITS, body_bytes=5)
    assert read(POST + b"Content-Length: 5\r\n\r\nabcde", limits=limits)[0][1] == b"abcde"
    assert refused(POST + b"Content-Length: 6\r\n\r\n", limits) == 413
    assert read(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", limits=limits)[0][1] == b"abcde"
    assert refused(CHUNKED + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", limits) == 413


@given(st.binary(max_size=300), st.randoms(use_true_random=False), st.booleans())
def test_a_body_is_the_same_however_it_arrives(body: bytes, how: random.Random, chunked: bool):
    def cut(data: bytes) -> list[bytes]:
        at = sorted(how.randrange(len(data) + 1) for _ in range(how.randrange(6)))
        return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]

    if chunked:
        data = CHUNKED + b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in cut(body) if part) + b"0\r\n\r\n"
    else:
        data = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    (_, first), (_, second) = read(*cut(data + data))
    assert first == second == body


@given(
    st.lists(
        st.sampled_from([b"X", b":", b" ", b"\t", b"\r", b"\n", b"\r\n", b"a", b"\x00", b"\xff", b"\x7f"]), max_size=12
    )
)
def test_section_5_field_lines_are_read_as_the_grammar_says_or_not_at_all(pieces: list[bytes]):
    lines = b"".join(pieces)
    try:
        found = read(POST + lines + b"\r\n\r\n")
    except RefusedError:
        return
    fields = found[0][0].request.fields[1:]
    first = (POST + lines + b"\r\n\r\n").partition(b"\r\n\r\n")[0].removeprefix(POST[:-2])
    expected = [line.partition(b":") for line in first.split(b"\r\n") if line]
    assert [(name.encode(), octets(value)) for name, value in fields] == [
        (name, value.strip(b" \t")) for name, _, value in expected
    ]
    assert all(name.strip() == name and name for name, _, _ in expected)
    assert not any(byte in value for _, _, value in expected for byte in (b"\r", b"\n", b"\0", b"\x7f"))
