"""What leaves for the origin unread is what would have left if it had been read."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mizan_edge.http.forwarding import Peer, seen, to_origin
from mizan_edge.http.framing import request_head
from mizan_edge.http.request_parser import RequestHead, RequestParser
from mizan_edge.rules.identity import IdentityRules
from mizan_edge.rules.onward import Onward
from mizan_edge.rules.selecting import Form, Selecting, Sender
from mizan_edge.running.config import limits_of, load_settings
from tests.edge.test_reload import reload
from tests.support.browser import Browser, Deciding
from tests.support.edge import EdgeFactory
from tests.support.listening import connection
from tests.support.origin import Asked, Origin, Says

LIMITS = limits_of(load_settings({"origin": "http://a", "manifest": Path("none")}, None))
ID = "0123456789abcdef"
RULES = IdentityRules((), (), ())
CLIENT = Peer("192.0.2.7", "http")
TRUSTED = Peer("192.0.2.8", "http", trusted=True)
CHROME = (
    "Host: site.test",
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0",
    "Accept: */*",
    "Referer: https://site.test/{}",
    "Accept-Encoding: gzip",
    "Cookie: _ga=GA1.{}; csrftoken={}",
)
FIREFOX = (
    "Host: site.test",
    "User-Agent: Mozilla/5.0",
    "Referer: https://site.test/{}",
    "Connection: keep-alive, X-Hop",
    "X-Hop: 1",
    "X-Mizan-Invalidate: everything",
    "Cookie: _ga=GA1.{}",
)


def read(raw: bytes) -> RequestHead:
    parser = RequestParser("http", LIMITS)
    parser.feed(raw)
    head = parser.head()
    assert head is not None
    return head


def leaves(head: RequestHead, peer: Peer) -> bytes:
    """The head with which a request leaves that is read."""
    return request_head(to_origin(seen(head.request.named(ID), peer), peer), 0, host="origin.test")


def written(lines: Sequence[str], line: str = "GET /a HTTP/1.1", values: Sequence[bytes] = ()) -> bytes:
    """A head, its lines filled with values."""
    left = [*reversed(values), *[b"1"] * 20]
    text = b"\r\n".join([line.encode(), *[line.encode() for line in lines], b"", b""])
    parts = text.split(b"{}")
    for i in range(1, len(parts)):
        parts[i] = (left.pop() if values and left else b"1") + parts[i]
    return b"".join(parts)


def form_of(raw: bytes) -> Form | None:
    """The form of a head that comes again and again."""
    selecting, sender = Selecting(RULES, LIMITS), Sender()
    for _ in range(20):
        selecting.lines(raw, raw.find(b"\r\n"), sender)
    return sender.form


def onward(lines: Sequence[str], peer: Peer = CLIENT) -> Onward | None:
    raw = written(lines)
    form, head = form_of(raw), read(raw)
    assert form is not None
    return Onward.of(form, head, ID, leaves(head, peer), LIMITS)


def test_lines_of_the_connection_and_of_ours_stay_behind_and_what_the_origin_is_told_goes_with_it():
    for lines in (CHROME, FIREFOX):
        known = onward(lines)
        assert known is not None
        raw = written(lines, "HEAD /b?c=d HTTP/1.1", [b"x%20y", b"2.3", b"\xe4"])
        head = known.head(raw, ID)
        assert head is not None and (head.request.method, head.request.target) == ("HEAD", "/b?c=d")
        assert head.request.host == "site.test" and head.raw == raw
        assert known.sent(raw, ID) == leaves(read(raw), CLIENT)
        assert b"X-Hop" not in known.sent(raw, ID) and b"Invalidate" not in known.sent(raw, ID)
        assert b"X-Forwarded-For: 192.0.2.7\r\n" in known.sent(raw, ID)


def test_of_a_request_nothing_is_known_that_differs_from_others_of_its_form():
    known = onward(CHROME)
    assert known is not None
    head = known.head(written(CHROME, values=[b"secret", b"secret", b"secret"]), ID)
    assert head is not None and head.request.get("accept") == "*/*"
    assert head.request.get("referer") is None and head.request.get("cookie") is None


def test_what_a_client_says_of_those_before_it_is_not_passed_on_unread():
    lines = ("Host: site.test", "X-Forwarded-For: {}", "Accept: */*")
    assert onward(lines, CLIENT) is None
    assert onward(lines, TRUSTED) is None


def test_requests_with_a_body_and_for_another_protocol_are_read():
    host = "Host: site.test"
    assert onward((host, "Accept: */*", "Content-Length: 1")) is None
    assert onward((host, "Accept: */*", "Transfer-Encoding: chunked")) is None
    assert onward((host, "Accept: */*", "Expect: 100-continue")) is None
    assert onward((host, "Connection: upgrade", "Upgrade: websocket")) is None


LINES = (
    "POST / HTTP/1.1",
    "GET /a#b HTTP/1.1",
    "GET http://site.test/ HTTP/1.1",
    "GET /a HTTP/1.0",
    "OPTIONS * HTTP/1.1",
    "GET  /a HTTP/1.1",
    "GET /ä HTTP/1.1",
    "TRACE / HTTP/1.1",
    f"GET /{'a' * LIMITS.target_bytes} HTTP/1.1",
)


def test_requests_that_leave_otherwise_than_they_come_are_read():
    known = onward(CHROME)
    assert known is not None
    for line in (
        *LINES,
        "GET  /a HTTP/1.1",
        "GET /ä HTTP/1.1",
        "TRACE / HTTP/1.1",
        f"GET /{'a' * LIMITS.target_bytes} HTTP/1.1",
    ):
        assert known.head(written(CHROME, line), ID) is None, line


values = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"",
            b" ",
            b"\t",
            b";",
            b"a;b",
            b"=",
            b"\r\nX: 1",
            b"\r\n\r\n",
            b"\x00",
            b"\xff",
            b"\r\nConnection: keep-alive",
        ]
    ),
)
targets = st.one_of(
    st.text(st.sampled_from("/?#a%.;:@ é\r\n"), max_size=8).map("/".__add__),
    st.sampled_from(["*", "/", "//a", "http://a/"]),
)


@given(
    st.sampled_from([CHROME, FIREFOX]),
    st.sampled_from([CLIENT, TRUSTED]),
    st.sampled_from(["GET", "HEAD", "get", "POST"]),
    targets,
    st.lists(values, min_size=3, max_size=3),
)
def test_whatever_leaves_unread_would_have_left_like_that(
    lines: tuple[str, ...], peer: Peer, method: str, target: str, given: list[bytes]
):
    known = onward(lines, peer)
    assert known is not None
    raw = written(lines, f"{method} {target} HTTP/1.1", given)
    head = known.head(raw, ID)
    if head is None:
        return
    wanted = read(raw)  # refused by nobody
    assert wanted.raw == raw and wanted.framing == head.framing and wanted.version == head.version
    assert (head.request.method, head.request.target) == (wanted.request.method, wanted.request.target)
    assert _normal(known.sent(raw, ID)) == _normal(leaves(wanted, peer))


def _normal(head: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The lines of a head, without the spaces around values, which mean nothing. RFC 9112 section 5."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    return [(name, colon, value.strip(b" \t")) for name, colon, value in lines]


def fields(number: int) -> dict[str, str]:
    return {"User-Agent": "Mozilla/5.0", "Referer": f"https://site.test/{number}", "Cookie": f"_ga={number}"}


async def test_the_origin_gets_each_request_as_its_own_although_few_were_read(
    deciding: Deciding, make_edge: EdgeFactory, origin: Origin
):
    edge = await make_edge(allowed_hosts="site.test")
    asked: list[Asked] = []

    def script(request: Asked) -> Says:
        asked.append(request)
        return Says(request.target)

    origin.script = script
    async with connection(edge.address) as streams:
        browser = Browser(*streams)
        for number in range(60):
            reply = await browser.get(f"/undeclared/{number}", fields(number))
            assert reply.body.decode() == f"/undeclared/{number}"
            assert reply.cache == "fwd=bypass; detail=undeclared"
    assert deciding.count < 30
    for number, request in enumerate(asked):
        assert request.target == f"/undeclared/{number}"
        for name, value in {**fields(number), "Host": "site.test", "X-Forwarded-Host": "site.test"}.items():
            assert request.get(name) == value
    assert len({request.get("X-Request-ID") for request in asked}) == 60
    assert (await edge.counters())["requests.-.pass-undeclared"] == 60


async def test_what_has_become_declared_or_is_asked_for_another_host_is_read(
    deciding: Deciding, make_edge: EdgeFactory, origin: Origin
):
    edge = await make_edge(allowed_hosts="site.test")
    async with connection(edge.address) as streams:
        browser = Browser(*streams)
        for number in range(40):
            await browser.get("/new/", fields(number))
        assert deciding.count < 30
        assert (await browser.get("/new/", {**fields(1), "Host": "elsewhere.test"})).status == 421
        await reload(edge, {"contexts": {"new": {"views": ["/new/"]}}})
        hits = [(await browser.get("/new/", fields(number))).hit for number in range(3)]
        assert hits == [False, True, True]
