"""What goes through unchanged, what is taken away, and what is added. RFC 9110 section 7, RFC 9112."""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Origin, Says, until
from tests.support.proxy import read_head, talking

MIB = 1 << 20


@asynccontextmanager
async def connection(address: str) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def names(headers: list[tuple[str, str]]) -> list[str]:
    return [name.lower() for name, _ in headers]


# Requests on their way to the origin.


async def test_hop_by_hop_fields_end_here_and_all_others_pass_in_order(edge: RunningEdge, origin: Origin):
    await edge.get(
        "/x",
        [
            ("X-List", "1"),
            ("Connection", "X-Named, keep-alive"),
            ("X-Named", "no"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Trailer", "X-T"),
            ("Upgrade", "h2c"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Connection", "keep-alive"),
            ("X-List", "2"),
            ("Accept", "a/b"),
            ("X-List", "3, 4"),
            ("Via", "1.0 front"),
        ],
        host="Site.Test:81",
    )
    (asked,) = origin.asked
    assert [pair for pair in asked.headers if pair[0] == "X-List"] == [("X-List", v) for v in ("1", "2", "3, 4")]
    assert asked.get("Host") == "Site.Test:81"
    assert asked.get("Via") == "1.0 front, 1.1 mizan-edge"
    sent = set(names(asked.headers)) - {"connection"}
    added = {"via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"}
    assert sent == {"host", "x-list", "accept", *added}
    assert (asked.get("Connection") or "keep-alive") == "keep-alive"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_via_says_in_which_version_a_request_came(edge: RunningEdge, origin: Origin, version: str):
    request = f"GET /undeclared/ HTTP/{version}\r\nHost: site.test\r\nConnection: close\r\n\r\n"
    await wire.send(edge.address, request.encode())
    assert origin.asked[0].get("Via") == f"{version} mizan-edge"


@pytest.mark.parametrize(
    "name", ["X-Mizan-Invalidate", "x-mizan-scope", "X_Mizan_Partition", "X-Mizan_Anything", "X_MIZAN-INVALIDATE"]
)
async def test_what_only_the_origin_may_say_is_stripped_from_requests(edge: RunningEdge, origin: Origin, name: str):
    await edge.get("/profile/5/")
    await edge.get("/profile/5/", {name: "user", "Connection": "close, X-Other"})
    await edge.request("POST", "/x", {name: "user"}, b"")
    assert not any("mizan" in name.lower() for asked in origin.asked for name, _ in asked.headers)
    assert (await edge.get("/profile/5/")).hit


async def test_the_clients_word_on_its_own_connection_is_replaced(edge: RunningEdge, origin: Origin):
    said = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "6666",
        "X_Forwarded_Prefix": "/evil",
        "Forwarded": "for=6.6.6.6",
    }
    await edge.get("/x", said)
    (asked,) = origin.asked
    assert [(n, v) for n, v in asked.headers if "forwarded" in n.lower()] == [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "site.test"),
    ]


async def test_a_trusted_peers_word_is_kept_and_its_address_added(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(trusted_proxies="127.0.0.0/8, ::1")
    said = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "https"}
    await edge.get("/x", {**said, "X-Forwarded-Port": "443"})
    await edge.get("/x")
    first, second = origin.asked
    assert {name: first.get(name) for name in said} == {**said, "X-Forwarded-For": "192.0.2.1, 127.0.0.1"}
    assert first.get("X-Forwarded-Port") == "443"
    assert (second.get("X-Forwarded-For"), second.get("X-Forwarded-Proto")) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("host", "scheme"),
    [("Shop.test", "HTTPS"), ("shop.test:443", "https"), ("shop.test, inner.test", "https, http")],
)
async def test_the_host_and_scheme_have_one_spelling_in_keys_and_at_the_origin(
    make_edge: EdgeFactory, origin: Origin, host: str, scheme: str
):
    edge = await make_edge(trusted_proxies="127.0.0.1")
    await edge.get("/profile/5/", {"X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "https"})
    said = {"X-Forwarded-Host": host, "X-Forwarded-Proto": scheme}
    assert (await edge.get("/profile/5/", said)).hit
    await edge.get("/x", said)
    assert [origin.asked[-1].get(name) for name in said] == ["shop.test", "https"]


async def test_a_forwarded_host_that_is_none_is_refused_and_a_scheme_that_is_none_does_not_count(
    make_edge: EdgeFactory, origin: Origin
):
    edge = await make_edge(trusted_proxies="127.0.0.1")
    reply = await edge.get("/profile/5/", {"X-Forwarded-Host": "a/b"})
    assert (reply.status, origin.hits) == (400, 0)
    await edge.get("/x", {"X-Forwarded-Proto": "gopher"})
    assert origin.asked[0].get("X-Forwarded-Proto") == "http"


async def test_the_host_and_scheme_that_a_trusted_peer_names_tell_entries_apart(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(trusted_proxies="127.0.0.1")
    ways = [{}, {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Host": "b.test"}, {"X-Forwarded-Host": "c.test"}]
    for headers in ways:
        assert not (await edge.get("/profile/5/", headers)).hit
    assert all([(await edge.get("/profile/5/", headers)).hit for headers in ways])
    assert (await edge.purge("user;user_id=5")).json["entries"] == len(ways)


async def test_an_untrusted_clients_fields_select_nothing(edge: RunningEdge, origin: Origin):
    origin.script = lambda asked: Says(
        asked.get("X-Forwarded-Proto") or "",
        headers=[("Vary", "X-Forwarded-Proto, Accept-Language")],
    )
    await edge.get("/profile/5/")
    # A field that the origin does not get must not choose the variant that its answer is stored under.
    for headers in {"X-Forwarded-Proto": "https"}, {"Accept-Language": "de", "Connection": "Accept-Language"}:
        assert (await edge.get("/profile/5/", headers)).hit
    assert not (await edge.get("/profile/5/", {"Accept-Language": "de"})).hit


async def test_a_get_with_a_body_is_forwarded_and_not_cached(edge: RunningEdge, origin: Origin):
    for _ in range(2):
        reply = await edge.request("GET", "/profile/5/", body=b"poison")
        assert reply.cache == "fwd=bypass; detail=non-canonical"
    assert origin.asked[0].body == b"poison"
    assert (await edge.get("/profile/5/")).cache == "fwd=uri-miss; stored"


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/a%2Fb/%zz/..//c/./%61?x=%20+&&y", "/a%2Fb/%zz/..//c/./%61?x=%20+&&y"),
        ("//evil.test/x", "//evil.test/x"),
        ("/:80@evil.test/[x]|{}^\\", "/:80@evil.test/[x]|{}^\\"),
        ("/?a=b?c=/d&e;f", "/?a=b?c=/d&e;f"),
        ("/x;a=b,c*!'()$~", "/x;a=b,c*!'()$~"),
        ("http://other.test/path?q", "/path?q"),
        ("HTTP://other.test", "/"),
        ("http://other.test?q", "/?q"),
    ],
)
async def test_targets_pass_as_they_are(edge: RunningEdge, origin: Origin, target: str, seen: str):
    reply = await edge.get(target)
    assert reply.status == 200
    assert origin.asked[0].target == seen
    assert origin.asked[0].get("Host") == ("other.test" if "other" in target else "site.test")


async def test_a_long_target_passes(edge: RunningEdge, origin: Origin):
    target = "/x?" + "a" * 30_000
    assert (await edge.get(target)).status == 200
    assert origin.asked[0].target == target


@pytest.mark.parametrize(
    "head",
    [
        "GET * HTTP/1.1\r\nHost: a",
        "GET x HTTP/1.1\r\nHost: a",
        "GET ftp://a/x HTTP/1.1\r\nHost: a",
        "GET http://user@a/x HTTP/1.1\r\nHost: a",
        "GET /x HTTP/1.1",
        "GET /x HTTP/1.1\r\nHost: a\r\nHost: b",
        "GET /x\udcff HTTP/1.1\r\nHost: a",
        "GET /ä HTTP/1.1\r\nHost: a",
        "GET /x HTTP/1.1\r\nHost: a\r\nbad header",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity",
        "nonsense",
    ],
)
async def test_what_is_no_request_is_400_and_goes_nowhere(edge: RunningEdge, origin: Origin, head: str):
    data = f"{head}\r\nConnection: close\r\n\r\n".encode(errors="surrogateescape")
    assert (await wire.send(edge.address, data)).status == 400
    assert origin.hits == 0


@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (66_000, 431)])
async def test_a_head_of_more_than_256_kib_is_refused_and_goes_nowhere(
    edge: RunningEdge, origin: Origin, size: int, status: int
):
    lines = [("Cookie", "a" * 60_000)] * 3 + [("X-A", "a" * (size // 2)), ("X-B", "a" * (size // 2))]
    reply = await edge.get("/x?" + "a" * 20_000, lines)
    assert reply.status == status
    assert origin.hits == (1 if status == 200 else 0)
    if status == 431:
        assert reply["Content-Type"] == "application/problem+json"
        assert reply.json["status"] == 431


async def test_only_allowed_hosts_are_served_on_any_port_and_ports_do_not_mix(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(allowed_hosts="Site.test")
    for host in "evil.test", "evil.test:80", "site.test.evil.test", "":
        reply = await edge.get("/profile/5/", host=host)
        assert reply.status == 421
        assert reply["Content-Type"] == "application/problem+json"
    assert origin.hits == 0
    for host in "site.test", "SITE.test:1337":
        assert [(await edge.get("/profile/5/", host=host)).hit for _ in range(2)] == [False, True]
    assert (await edge.get("/profile/5/", host="site.test:80")).hit


# Responses on their way to the client.


def says(head: str, body: bytes = b""):
    """A talk in which every request is answered with these bytes."""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while await read_head(reader):
            writer.write(head.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body)
            await writer.drain()

    return talk


async def test_a_response_passes_with_its_fields_in_order_and_none_invented(make_edge: EdgeFactory):
    head = """HTTP/1.1 299 Fine By Me
X-List: 1
Connection: X-Named
X-Named: no
Keep-Alive: timeout=5
Set-Cookie: a=1; Path=/
X-List: 2
Date: Sun, 06 Nov 1994 08:49:37 GMT
Server: origin/1
Set-Cookie: b=2
Proxy-Authenticate: Basic
X-Mizan-Scope: user
Mizan-Cache-Control: no-store
X-Text: grüße
Content-Length: 4"""
    async with talking(says(head, b"\x00\xff\r\n")) as address:
        edge = await make_edge(origin=f"http://{address}")
        raw = await edge.get("/undeclared")
        further = await (await make_edge(origin=f"http://{address}", forward_mizan_headers=True)).get("/undeclared")
    assert (raw.status, raw.body) == (299, b"\x00\xff\r\n")
    fields = [(name, value) for name, value in raw.fields if name not in ("Connection", "X-Text")]
    assert fields == [
        ("X-List", "1"),
        ("Set-Cookie", "a=1; Path=/"),
        ("X-List", "2"),
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Server", "origin/1"),
        ("Set-Cookie", "b=2"),
        ("Content-Length", "4"),
        ("Via", "1.1 mizan-edge"),
        ("Cache-Status", "mizan-edge; fwd=bypass; detail=undeclared"),
    ]
    assert (raw["X-Text"] or "").encode("latin-1").decode() == "grüße"
    assert (further["X-Mizan-Scope"], further["Mizan-Cache-Control"]) == ("user", "no-store")


async def test_neither_server_nor_content_type_is_made_up(make_edge: EdgeFactory):
    async with talking(says("HTTP/1.1 200 OK\nContent-Length: 2", b"hi")) as address:
        edge = await make_edge(origin=f"http://{address}")
        for target in "/undeclared", "/profile/5/", "/profile/5/":
            reply = await edge.get(target)
            assert reply.body == b"hi"
            assert reply["Server"] is None
            assert reply["Content-Type"] is None
        assert (await edge.get("/profile/5/")).hit


@pytest.mark.parametrize("target", ["/undeclared", "/profile/5/"])
async def test_a_head_request_gets_the_length_and_no_body(edge: RunningEdge, origin: Origin, target: str):
    origin.script = lambda asked: Says(b"" if asked.method == "HEAD" else b"12345", headers=[("Content-Length", "5")])
    for _ in range(2):
        reply = await edge.request("HEAD", target)
        assert (reply.status, reply["Content-Length"], reply.body) == (200, "5", b"")
    await edge.get(target)
    reply = await edge.request("HEAD", target)
    assert (reply.status, reply["Content-Length"], reply.body) == (200, "5", b"")


async def test_responses_without_content_end_after_their_head(make_edge: EdgeFactory):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        for status in 204, 304, 205, 200:
            await read_head(reader)
            extra = "" if status in (204, 304) else "Content-Length: 0\r\n"
            writer.write(f'HTTP/1.1 {status} X\r\nETag: "a"\r\n{extra}\r\n'.encode())

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as (reader, writer):
            for status in 204, 304, 205, 200:
                writer.write(b'GET /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: "a"\r\n\r\n')
                head = await asyncio.wait_for(read_head(reader), 5)
                assert head.startswith(f"HTTP/1.1 {status} ".encode())
                assert b"chunked" not in head


async def test_interim_responses_come_before_the_answer_and_are_not_it(make_edge: EdgeFactory):
    hints = "HTTP/1.1 103 Early Hints\nLink: </a>\nX-Mizan-Scope: user"
    head = f"{hints}\n\nHTTP/1.1 200 OK\nContent-Length: 2"
    async with talking(says(head, b"ok")) as address:
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as (reader, writer):
            for target in "/x", "/profile/5/":
                writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                interim = await asyncio.wait_for(read_head(reader), 5)
                assert interim.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>")
                assert b"Mizan-Scope" not in interim
                assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 200 OK\r\n")
                assert await reader.readexactly(2) == b"ok"


# Bodies.


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_pass_byte_for_byte_both_ways(make_edge: EdgeFactory, chunked: bool):
    body = bytes(range(256)) * (5 * MIB // 256)
    got = b""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal got
        head = await read_head(reader)
        assert (b"Content-Length: %d" % len(body) in head) is not chunked
        size = len(body)
        while chunked and (size := int(await reader.readline(), 16)):
            got += (await reader.readexactly(size + 2))[:-2]
        got += await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        if chunked:
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n" + chunk(got[:MIB]) + chunk(got[MIB:]) + chunk(b""))
        else:
            writer.write(b"Content-Length: %d\r\n\r\n" % len(got) + got)
        await writer.drain()

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        if chunked:
            data = b"".join(chunk(body[i : i + 100_000]) for i in range(0, len(body), 100_000)) + chunk(b"")
            head = b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            reply = await wire.send(edge.address, head + data, method="POST")
        else:
            reply = await edge.request("POST", "/x", body=body)
    assert reply.body == body
    assert got == body


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_origin_has_the_first_bytes_before_the_client_has_sent_the_last(
    make_edge: EdgeFactory, chunked: bool
):
    first = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        assert (b"chunked" in head) is chunked
        await reader.readuntil(b"first")
        first.set()
        await reader.readuntil(b"last")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as (reader, writer):
            length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 9"
            writer.write(f"POST /x HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n".encode())
            writer.write(chunk(b"first") if chunked else b"first")
            await asyncio.wait_for(first.wait(), 5)
            writer.write(chunk(b"last") + chunk(b"") if chunked else b"last")
            assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 200")


async def test_the_client_has_the_first_bytes_before_the_origin_has_sent_the_last(make_edge: EdgeFactory):
    go_on = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
        await go_on.wait()
        writer.write(chunk(b"last") + chunk(b""))
        await writer.drain()

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as (reader, writer):
            writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"first"), 5)
            go_on.set()
            await asyncio.wait_for(reader.readuntil(b"last"), 5)


async def test_a_peer_that_does_not_read_slows_the_other_down_and_fills_no_memory(make_edge: EdgeFactory):
    sent = {"up": 0, "down": 0}
    size = 64 * MIB

    async def pour(writer: StreamWriter, way: str) -> None:
        for _ in range(size // MIB):
            writer.write(b"x" * MIB)
            await writer.drain()
            sent[way] += MIB

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        if (await read_head(reader)).startswith(b"GET"):
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            await pour(writer, "down")
        await asyncio.Event().wait()

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as (_, up), connection(edge.address) as (_, down):
            down.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            up.write(f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
            with pytest.raises(TimeoutError):  # for nobody reads
                await asyncio.wait_for(pour(up, "up"), 0.7)
    assert 0 < sent["up"] < size / 2
    assert 0 < sent["down"] < size / 2


async def test_a_client_that_waits_for_100_gets_it_when_its_body_is_wanted(edge: RunningEdge, origin: Origin):
    async with connection(edge.address) as (reader, writer):
        writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await asyncio.wait_for(read_head(reader), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 200")
    assert origin.asked[0].body == b"body"
    assert origin.asked[0].get("Expect") == "100-continue"


async def test_a_client_that_waits_for_100_learns_at_once_that_there_is_no_origin(make_edge: EdgeFactory):
    edge = await make_edge(origin="http://127.0.0.1:1")
    async with connection(edge.address) as (reader, writer):
        writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert (await asyncio.wait_for(read_head(reader), 5)).startswith(b"HTTP/1.1 502")


async def test_an_upload_that_breaks_off_never_looks_whole_to_the_origin(make_edge: EdgeFactory):
    begun = asyncio.Event()
    ends: list[bytes] = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        rest = await reader.readuntil(b"first")
        begun.set()
        try:
            while data := await reader.read(65536):
                rest += data
        finally:
            ends.append(rest)

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        for length in "Transfer-Encoding: chunked", "Content-Length: 10":
            async with connection(edge.address) as (_, writer):
                body = chunk(b"first") if "chunked" in length else b"first"
                writer.write(f"POST /x HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n".encode() + body)
                await asyncio.wait_for(begun.wait(), 5)
                begun.clear()
            await until(lambda: len(ends) == 1)
            assert not ends.pop().endswith(b"0\r\n\r\n")
        assert (await edge.admin_request("GET", "/healthz")).status == 200


async def test_a_client_that_leaves_a_download_lets_the_origin_go(make_edge: EdgeFactory):
    gone = asyncio.Event()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(chunk(b"x" * 65536))
                await writer.drain()
        finally:
            gone.set()

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as (reader, writer):
            writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"xxx"), 5)
        await asyncio.wait_for(gone.wait(), 5)


# Connections.


async def test_one_connection_carries_pipelined_requests_and_answers_in_order(edge: RunningEdge, origin: Origin):
    await edge.get("/profile/2/")
    async with connection(edge.address) as (reader, writer):
        for target in "/profile/1/", "/profile/2/", "/undeclared", "/profile/1/":
            writer.write(f"GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
        writer.write(b"POST /y HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
        raw = await asyncio.wait_for(reader.read(), 5)
    assert re.findall(rb"(?:GET|POST) (\S+) #", raw) == [
        b"/profile/1/",
        b"/profile/2/",
        b"/undeclared",
        b"/profile/1/",
        b"/y",
    ]
    assert origin.hits == 4
    assert origin.asked[-1].body == b"abc"


async def test_an_http_1_0_client_gets_what_it_can_read(make_edge: EdgeFactory):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while await read_head(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"hello") + chunk(b""))
            await writer.drain()

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        for target in "/x", "/profile/5/", "/profile/5/":
            for head in f"GET {target} HTTP/1.0", f"GET {target} HTTP/1.0\r\nHost: site.test":
                async with connection(edge.address) as (reader, writer):
                    writer.write(f"{head}\r\n\r\n".encode())
                    raw = await asyncio.wait_for(reader.read(), 5)
                assert raw.split(b"\r\n")[0].endswith(b"200 OK")
                assert raw.endswith(b"\r\n\r\nhello")
                assert b"chunked" not in raw


@pytest.mark.parametrize(
    ("method", "statuses"), [("GET", [200] * 3), ("DELETE", [200, 502, 200]), ("POST", [200, 502, 200])]
)
async def test_a_connection_that_closes_on_its_second_request_costs_unsafe_requests_their_answer_and_is_never_repeated(
    make_edge: EdgeFactory, method: str, statuses: list[int]
):
    asked = 0

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal asked
        await read_head(reader)
        asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await read_head(reader)
        asked += 1

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        assert [(await edge.request(method, "/x")).status for _ in range(3)] == statuses
    # A GET may be asked twice, for it changes nothing. A second DELETE would get another answer than the first did.
    assert asked == (5 if method == "GET" else 3)


async def test_the_edges_own_answers_name_it_and_are_not_stored(make_edge: EdgeFactory):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        reply = await edge.get("/x")
    assert (reply.status, reply["Cache-Control"]) == (502, "no-store")
    assert reply.cache == "fwd=bypass; detail=undeclared"
    assert reply.json["status"] == 502
