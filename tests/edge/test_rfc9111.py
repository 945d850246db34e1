"""Requirements of RFC 9111 that no other test shows, in order of its sections; `docs/http.md` lists all of them."""

import asyncio

import pytest
import redis

from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says, running_origin
from tests.support.proxy import Talk, read_head, talking
from tests.support.revalidating import FRESH, MODIFIED, STALE, TAG, confirming
from tests.support.wire import Reply

VIEW, OTHER = "/catalog/hats/", "/catalog/shoes/"


def saying(*answers: str) -> Talk:
    """An origin that gives these answers in turn, byte by byte, and the last one from then on."""
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_head(reader):
            answer = left.pop(0) if len(left) > 1 else left[0]
            writer.write(answer.replace("\n", "\r\n").encode("latin-1"))
            await writer.drain()

    return talk


def by_name(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(fields, key=lambda line: line[0].lower())


def lines(reply: Reply, *names: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in reply.fields if name in names]


# Section 3: storing responses.


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "QUERY"])
async def test_section_3_of_views_only_a_get_is_stored(edge: RunningEdge, origin: Origin, method: str):
    origin.headers = [FRESH]
    for hits in (1, 2):
        assert not (await edge.request(method, VIEW)).hit
        assert origin.hits == hits
    assert (await edge.get(VIEW)).cache == "fwd=uri-miss; stored"


@pytest.mark.parametrize("status", [299, 418, 499, 599])
async def test_section_3_a_final_status_that_nobody_knows_is_stored_where_it_says_for_how_long(
    edge: RunningEdge, origin: Origin, status: int
):
    origin.script = lambda asked: Says("x", status, [FRESH] if asked.target == VIEW else [])
    assert [(await edge.get(VIEW)).hit for _ in range(2)] == [False, True]
    assert [(await edge.get(OTHER)).hit for _ in range(2)] == [False, False]


# Section 3.1: what is stored of them.

ANSWER = """HTTP/1.1 200 OK
Content-Length: 4
Date: Sun, 06 Nov 1994 08:49:37 GMT
Cache-Control: max-age=60, x-new="a, b"
X-List: 1
X-Nobody-Knows: \xfc, "1
Connection: X-Hop
X-Hop: 1
X-List: 2
Proxy-Authenticate: Basic
Proxy-Authentication-Info: x
Pragma: no-cache
Warning: 199 - "old"
X-List:
"""


async def test_section_3_1_every_field_is_stored_as_it_came_but_for_those_of_the_connection(
    make_edge: EdgeFactory, redis_url: str, namespace: str
):
    async with talking(saying(ANSWER + "\npage")) as address:
        edge = await make_edge(origin=f"http://{address}")
        first, second = await edge.get(VIEW), await edge.get(VIEW)
    # Section 5.4: what Pragma means in a response was never said; section 5.5: a Warning is a field like any other.
    names = ("Date", "Cache-Control", "X-List", "X-Nobody-Knows", "Pragma", "Warning", "Content-Length")
    # RFC 9110 section 5.3: lines of one name stay in their order.
    assert by_name(lines(first, *names)) == by_name(lines(second, *names))
    assert sorted(lines(second, *names)) == [
        ("Cache-Control", 'max-age=60, x-new="a, b"'),
        ("Content-Length", "4"),
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Pragma", "no-cache"),
        ("Warning", '199 - "old"'),
        ("X-List", ""),
        ("X-List", "1"),
        ("X-List", "2"),
        ("X-Nobody-Knows", '\xfc, "1'),
    ]
    assert [value for _, value in lines(second, "X-List")] == ["1", "2", ""]
    assert (second.hit, second.body) == (True, b"page")
    assert lines(second, "X-Hop", "Proxy-Authenticate", "Proxy-Authentication-Info") == []
    with redis.Redis.from_url(redis_url) as raw:
        (entry,) = [raw.get(name) for name in raw.scan_iter(f"{{{namespace}}}:e:*")]
    assert b"X-List" in entry and b"X-Hop" not in entry and b"Proxy-" not in entry


async def test_section_3_1_bytes_that_are_no_utf_8_are_stored_as_they_came(make_edge: EdgeFactory):
    heads = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(b'HTTP/1.1 200 \xfc\r\nETag: "\xfc"\r\nX-Utf: \xc3\xbc\r\nContent-Length: 0\r\n\r\n')
            await writer.drain()

    async with talking(talk) as address:
        one, other = [await make_edge(origin=f"http://{address}") for _ in range(2)]
        await one.get(VIEW)
        # From Redis, and the origin is asked what was stored there.
        replies = [await other.get(VIEW), await other.get(VIEW, {"If-None-Match": "*"})]
        await other.get(OTHER)
        await one.get(OTHER, {"Cache-Control": "no-cache"})
    assert [(reply.hit, reply.status) for reply in replies] == [(True, 200), (True, 304)]
    assert lines(replies[0], "ETag", "X-Utf") == [("ETag", '"\xfc"'), ("X-Utf", "\xc3\xbc")]
    assert b'\r\nIf-None-Match: "\xfc"\r\n' in heads[-1]


async def test_section_3_1_trailer_fields_are_not_stored_as_header_fields(make_edge: EdgeFactory):
    head = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: ETag, X-Sum\n\n"
    trailers = 'ETag: "late"\nX-Sum: 1\nCache-Control: no-store\n'
    async with talking(saying(f"{head}4\npage\n0\n{trailers}\n")) as address:
        edge = await make_edge(origin=f"http://{address}")
        replies = [await edge.get(VIEW) for _ in range(2)]
    assert [(reply.hit, reply.body) for reply in replies] == [(False, b"page"), (True, b"page")]
    assert lines(replies[1], "X-Sum", "Cache-Control") == []
    assert replies[1]["ETag"] != '"late"'


# Section 3.2: updating what is stored.


async def test_section_3_2_a_304_replaces_all_lines_of_a_field_and_neither_length_nor_hop_by_hop_fields(
    make_edge: EdgeFactory,
):
    stored = (
        'HTTP/1.1 200 OK\nContent-Length: 4\nETag: "v1"\nCache-Control: max-age=0\nX-List: 1\nX-Hop: kept\nX-List: 2'
    )
    told = 'HTTP/1.1 304 Not Modified\nContent-Length: 99\nETag: "v1"\nCache-Control: max-age=60\nX-New: 1\nX-List: 3'
    async with talking(saying(f"{stored}\n\npage", f"{told}\nConnection: X-Hop\nX-Hop: 1\n\n")) as address:
        edge = await make_edge(origin=f"http://{address}")
        reply = [await edge.get(VIEW) for _ in range(3)][-1]
    assert (reply.hit, reply.body) == (True, b"page")
    assert sorted(lines(reply, "Content-Length", "X-New", "X-List", "X-Hop")) == [
        ("Content-Length", "4"),
        ("X-Hop", "kept"),
        ("X-List", "3"),
        ("X-New", "1"),
    ]


# Section 4: what may be used to answer.


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "LOCK"])
async def test_section_4_an_unsafe_request_is_written_through_and_answered_by_the_origin(
    edge: RunningEdge, origin: Origin, method: str
):
    origin.script = lambda asked: Says("page", 200 if asked.method == "GET" else 405)
    assert [(await edge.get(VIEW)).hit for _ in range(2)] == [False, True]
    # Section 4.3.2: these conditions are for the origin.
    conditions = {"If-None-Match": "*", "If-Unmodified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}
    reply = await edge.request(method, VIEW, conditions, b"x")
    assert (reply.status, reply.hit) == (405, False)
    asked = origin.asked[-1]
    assert (asked.method, asked.body) == (method, b"x")
    assert {name: asked.get(name) for name in conditions} == conditions


@pytest.mark.parametrize(("age", "is_hit"), [(5, True), (10, False)])
async def test_section_4_2_fresh_is_what_is_younger_than_its_lifetime(
    edge: RunningEdge, origin: Origin, age: int, is_hit: bool
):
    # The validator keeps what is stale from the first moment on.
    origin.headers = [("Cache-Control", "max-age=10"), ("Age", str(age)), TAG]
    assert [(await edge.get(VIEW)).hit for _ in range(2)] == [False, is_hit]


async def test_section_4_2_3_a_response_ages_from_when_it_was_asked_for(edge: RunningEdge, origin: Origin):
    async def slow(asked: Asked) -> Says:
        await asyncio.sleep(1.1)  # the delay that counts
        return Says("page", headers=[("Cache-Control", "max-age=60" if asked.target == VIEW else "max-age=1")])

    origin.script = slow
    await asyncio.gather(edge.get(VIEW), edge.get(OTHER))
    assert int((await edge.get(VIEW))["Age"] or "0") >= 1
    assert not (await edge.get(OTHER, {"Cache-Control": "only-if-cached"})).hit


@pytest.mark.parametrize("wanted", ["", "max-stale"])
@pytest.mark.parametrize(
    "said",
    [
        "max-age=0",
        "max-age=0, must-revalidate, stale-if-error=60",
        "max-age=0, proxy-revalidate, stale-while-revalidate=60",
        "s-maxage=0, stale-if-error=60",
        "no-cache, stale-if-error=60",
        "max-age=60, no-cache",
    ],
)
async def test_section_4_2_4_without_leave_nothing_stale_stands_for_an_origin_that_is_gone(
    make_edge: EdgeFactory, said: str, wanted: str
):
    async with running_origin() as origin:
        edge = await make_edge(origin=origin.url)
        origin.script = lambda asked: Says("page", headers=[("Cache-Control", said), TAG])
        assert (await edge.get(VIEW)).cache == "fwd=uri-miss; stored"
    reply = await edge.get(VIEW, {"Cache-Control": wanted} if wanted else {})
    # Section 5.2.2.2: an error; 504 unless another one fits better, as 502 does where there is no connection.
    assert reply.status == (200 if (said, wanted) == ("max-age=0", "max-stale") else 502)


@pytest.mark.parametrize(("age", "stands"), [(30, True), (61, False)])
@pytest.mark.parametrize("leave", ["stale-while-revalidate", "stale-if-error"])
async def test_section_4_2_4_leave_ends_with_its_time(
    edge: RunningEdge, origin: Origin, leave: str, age: int, stands: bool
):
    # RFC 5861: ten seconds fresh, fifty more with leave. A validator keeps it beyond that.
    said = [("Cache-Control", f"max-age=10, {leave}=50"), ("Age", str(age)), TAG]
    origin.script = lambda asked: Says("page", headers=said)
    await edge.get(VIEW)
    origin.script = lambda asked: Says("failed", 503)
    assert (await edge.get(VIEW)).hit is stands


# Section 4.3: validation.


async def test_section_4_3_3_a_full_response_to_a_validation_answers_and_takes_the_place_of_the_stored_one(
    edge: RunningEdge, origin: Origin
):
    origin.script = lambda asked: Says("old", headers=[STALE, TAG])
    await edge.get(VIEW)
    origin.script = lambda asked: Says("new", headers=[FRESH, ("ETag", '"v2"')])
    reply = await edge.get(VIEW, {"If-None-Match": TAG[1]})
    assert (reply.status, reply.body, reply.cache) == (200, b"new", "fwd=stale; stored")
    assert origin.asked[-1].get("If-None-Match") == TAG[1]
    reply = await edge.get(VIEW)
    assert (reply.hit, reply.body, reply["ETag"]) == (True, b"new", '"v2"')


async def test_section_4_3_3_an_error_on_validation_is_passed_on_and_leaves_the_stored_one_to_be_confirmed_later(
    edge: RunningEdge, origin: Origin
):
    origin.script = confirming(STALE, TAG)
    await edge.get(VIEW)
    origin.script = lambda asked: Says("failed", 503)
    assert (await edge.get(VIEW)).cache == "fwd=stale; fwd-status=503"
    origin.script = confirming(STALE, TAG)
    reply = await edge.get(VIEW)
    assert (reply.status, reply.body, reply.cache) == (200, b"page", "fwd=stale; stored; fwd-status=304")


@pytest.mark.parametrize(("length", "is_hit"), [("4", True), ("5", False)])
async def test_section_4_3_5_a_head_of_another_length_makes_what_is_stored_stale(
    make_edge: EdgeFactory, length: str, is_hit: bool
):
    get = 'HTTP/1.1 200 OK\nETag: "v1"\nContent-Length: 4\n\npage'
    head = f'HTTP/1.1 200 OK\nETag: "v1"\nContent-Length: {length}\nX-From: HEAD\n\n'
    async with talking(saying(get, head, get)) as address:
        edge = await make_edge(origin=f"http://{address}")
        await edge.get(VIEW)
        assert (await edge.request("HEAD", VIEW, {"Cache-Control": "no-cache"}))["X-From"] == "HEAD"
        reply = await edge.get(VIEW)
    assert (reply.hit, reply.body, reply["X-From"]) == (is_hit, b"page", "HEAD" if is_hit else None)


# Section 4.4: invalidation.


async def test_section_4_4_a_method_of_which_nobody_knows_whether_it_is_safe_invalidates(make_edge: EdgeFactory):
    answer = "HTTP/1.1 200 OK\nContent-Length: 4\n\n"
    async with talking(saying(f"{answer}page", f"{answer}done", f"{answer}page")) as address:
        edge = await make_edge(origin=f"http://{address}")
        assert [(await edge.get(VIEW)).hit for _ in range(2)] == [False, True]
        assert (await edge.request("FROB", VIEW)).body == b"done"
        assert not (await edge.get(VIEW)).hit


async def test_section_4_4_the_query_is_part_of_the_uri_that_is_invalidated(edge: RunningEdge, origin: Origin):
    targets = VIEW, f"{VIEW}?page=2", f"{VIEW}?page=3"
    for target in targets:
        await edge.get(target)
    await edge.request("POST", f"{VIEW}?page=2", body=b"x")
    assert [(await edge.get(target)).hit for target in targets] == [True, False, True]


async def test_rfc_9875_a_response_may_be_in_32_groups_whose_names_have_32_characters_and_a_case(
    edge: RunningEdge, origin: Origin
):
    names = [f"{'group':z<30}{n:02}" for n in range(32)]
    joined = ", ".join(f'"{name}"' for name in names)
    # All but one of those that are invalidated are of other responses.
    others = ", ".join(f'"other-{n:026}"' for n in range(31))
    said = names[-1].upper()

    def script(asked: Asked) -> Says:
        if asked.method == "GET":
            return Says("page", headers=[("Cache-Groups", joined)])
        return Says(headers=[("Cache-Group-Invalidation", f'{others}, "{said}"')])

    origin.script = script
    assert [(await edge.get(VIEW)).hit for _ in range(2)] == [False, True]
    await edge.request("POST", "/shop/", body=b"x")
    assert (await edge.get(VIEW)).hit
    said = names[-1]
    await edge.request("POST", "/shop/", body=b"x")
    assert not (await edge.get(VIEW)).hit


# Section 5.2: Cache-Control.


async def test_section_5_2_directives_pass_both_ways_whether_they_are_known_or_not(edge: RunningEdge, origin: Origin):
    origin.headers = [("Cache-Control", 'max-age=60, X-new="a, b"'), ("Cache-Control", "immutable, other")]
    wanted = [("Cache-Control", "max-age=30, no-transform"), ("Cache-Control", "x-new=1"), ("Pragma", "x")]
    for target in VIEW, "/undeclared/":
        for _ in range(2):
            reply = await edge.get(target, wanted)
            assert [value for _, value in lines(reply, "Cache-Control")] == [value for _, value in origin.headers]
        assert [pair for pair in origin.asked[-1].headers if pair[0] in ("Cache-Control", "Pragma")] == wanted
    assert origin.hits == 3


async def test_rfc_9213_fields_for_other_caches_change_nothing_and_pass(edge: RunningEdge, origin: Origin):
    origin.headers = [
        ("Other-CDN-Cache-Control", "no-store"),
        ("CDN-Cache-Control", "max-age=60"),
        ("Surrogate-Control", "no-store"),
        ("Cache-Control", "max-age=0, x-browser=1"),
    ]
    names = [name for name, _ in origin.headers]
    replies = [await edge.get(VIEW) for _ in range(2)]
    assert [reply.hit for reply in replies] == [False, True]
    assert [lines(reply, *names) for reply in replies] == [origin.headers] * 2


@pytest.mark.parametrize(("whose", "entries"), [("nobody", 1), ("request", 0), ("response", 0)])
async def test_section_5_2_no_store_leaves_nothing_in_the_store(
    edge: RunningEdge, origin: Origin, whose: str, entries: int
):
    no_store = ("Cache-Control", "no-store, max-age=60")
    origin.headers = [no_store] if whose == "response" else [FRESH]
    assert (await edge.get(VIEW, [no_store] if whose == "request" else [])).status == 200
    assert (await edge.purge("catalog", dry_run=True)).json["entries"] == entries


@pytest.mark.parametrize(("status", "is_stored"), [(200, True), (404, True), (599, False)])
async def test_section_5_2_2_3_no_store_is_set_aside_by_who_understands_the_status(
    edge: RunningEdge, origin: Origin, status: int, is_stored: bool
):
    origin.script = lambda asked: Says("x", status, [("Cache-Control", "must-understand, no-store, max-age=60")])
    assert [(await edge.get(VIEW)).hit for _ in range(2)] == [False, is_stored]


@pytest.mark.parametrize("said", ['no-cache="X-Own"', "no-cache=X-Own", "no-cache"])
async def test_section_5_2_2_4_no_cache_for_some_fields_is_no_cache_for_all(
    edge: RunningEdge, origin: Origin, said: str
):
    control = ("Cache-Control", f"max-age=60, {said}")
    origin.script = confirming(control, TAG, then=(control, TAG))
    replies = [await edge.get(VIEW) for _ in range(3)]
    assert [(reply.hit, reply.body) for reply in replies] == [(False, b"page")] * 3
    assert [asked.get("If-None-Match") for asked in origin.asked] == [None, TAG[1], TAG[1]]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_rfc_9110_7_6_2_max_forwards_is_counted_down(edge: RunningEdge, origin: Origin, method: str):
    await edge.request(method, "/x", {"Max-Forwards": "3"})
    assert origin.asked[-1].get("Max-Forwards") == "2"


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("TRACE", 501)])
async def test_rfc_9110_7_6_2_at_0_the_edge_itself_is_the_recipient(
    edge: RunningEdge, origin: Origin, method: str, status: int
):
    assert (await edge.request(method, "/x", {"Max-Forwards": "0"})).status == status
    assert origin.hits == 0


@pytest.mark.parametrize("demands", [True, False])
async def test_section_5_2_1_5_a_head_for_no_store_updates_nothing(
    make_edge: EdgeFactory, origin: Origin, demands: bool
):
    edge = await make_edge(client_revalidation=demands)
    origin.script = lambda asked: Says("page", headers=[STALE, TAG, ("X-From", asked.method)])
    await edge.get(VIEW)
    reply = await edge.request("HEAD", VIEW, {"Cache-Control": "no-store"})
    assert (reply["X-From"], origin.hits) == ("HEAD", 2)
    assert (await edge.get(VIEW, {"Cache-Control": "max-stale"}))["X-From"] == "GET"


async def test_section_5_2_1_5_no_store_of_a_visitor_where_he_may_demand_nothing(
    make_edge: EdgeFactory, origin: Origin
):
    edge = await make_edge(client_revalidation=False)
    assert (await edge.get(VIEW, {"Cache-Control": "no-store"})).cache == "fwd=uri-miss"


async def test_section_4_3_4_a_304_with_another_last_modified_updates_nothing(edge: RunningEdge, origin: Origin):
    origin.script = confirming(STALE, MODIFIED, then=(FRESH, ("Last-Modified", "Wed, 15 Nov 2023 22:13:20 GMT")))
    await edge.get(VIEW)
    await edge.get(VIEW)
    assert [asked.get("If-Modified-Since") for asked in origin.asked] == [None, MODIFIED[1], None]


async def test_rfc_9110_10_1_1_an_origin_that_refuses_by_the_head_gets_no_body(make_edge: EdgeFactory):
    seen = b""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await read_head(reader)
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        host, _, port = edge.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        head = await asyncio.wait_for(read_head(reader), 5)
        writer.close()
    assert b"\r\nExpect: 100-continue\r\n" in seen
    assert head.startswith(b"HTTP/1.1 401")
