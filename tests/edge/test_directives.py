"""Which responses are stored and for how long, what a request may demand of them, and what Cache-Status says."""

import asyncio
import time
from email.utils import formatdate, parsedate_to_datetime

import pytest

from mizan_core.manifest import Manifest
from mizan_core.mwt import Keyring, verify
from mizan_edge.http import conditional
from mizan_edge.http.cache_control import governing
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.forwarding import Peer, seen, to_origin
from mizan_edge.http.freshness import Lifetime
from mizan_edge.http.message import Request, Response
from mizan_edge.rules import policy, variants
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.identity import ANON, IdentityRules, Partition, is_named, partition
from mizan_edge.rules.routes import Resource, Router
from tests.support.edge import MANIFEST, MWT_SECRET, EdgeFactory, RunningEdge
from tests.support.origin import Origin, Says
from tests.support.wire import Headers

VIEW = "/profile/5/"
ENDPOINT = "/api/mizan/ctx/user/?user_id=5"
T0 = 1_700_000_000
DAY = 86400


def date(seconds: int = T0) -> str:
    return formatdate(seconds, usegmt=True)


async def ttl(edge: RunningEdge, origin: Origin, *headers: tuple[str, str], status: int = 200) -> int | None:
    """The ttl that a hit on a response with these fields shows; None where it is not served from the cache.

    What has a validator but no freshness is stored to be confirmed, and is stale from its first moment.
    """
    origin.script = lambda asked: Says("x", status, list(headers))
    first = await edge.get(VIEW)
    second = await edge.get(VIEW)
    assert first.status == second.status == status
    assert (second.hit or second.cache.startswith("fwd=stale")) == ("stored" in first.cache)
    return int(second.cache.removeprefix("hit; ttl=")) if second.hit else None


def near(seconds: int) -> tuple[int, ...]:
    """What a slow machine may make of a ttl."""
    return tuple(range(max(seconds - 5, 1), seconds + 1))


@pytest.mark.parametrize("status", [200, 203, 204, 301, 308, 404, 410])
async def test_the_manifests_ttl_is_for_the_statuses_that_are_cacheable_by_default(
    edge: RunningEdge, origin: Origin, status: int
):
    assert await ttl(edge, origin, status=status) in near(DAY)


@pytest.mark.parametrize(
    "status", [201, 202, 206, 300, 302, 303, 304, 307, 400, 401, 403, 405, 422, 451, 500, 502, 503]
)
async def test_other_statuses_are_not_stored_by_themselves(edge: RunningEdge, origin: Origin, status: int):
    assert await ttl(edge, origin, status=status) is None
    assert origin.hits == 2


@pytest.mark.parametrize("status", [201, 302, 307, 400, 403, 422, 500, 503])
async def test_other_statuses_are_stored_when_they_say_for_how_long(edge: RunningEdge, origin: Origin, status: int):
    assert await ttl(edge, origin, ("Cache-Control", "max-age=60"), status=status) in near(60)


@pytest.mark.parametrize("status", [206, 304])
async def test_parts_and_not_modified_are_never_stored(edge: RunningEdge, origin: Origin, status: int):
    assert await ttl(edge, origin, ("Cache-Control", "max-age=60"), status=status) is None


@pytest.mark.parametrize("name", ["Vary", "Cache-Control", "CDN-Cache-Control"])
async def test_what_says_how_it_may_be_used_only_to_its_neighbour_is_not_stored(make_edge: EdgeFactory, name: str):
    # RFC 9110 section 7.6.1 forbids origins to say so. Without the field, all would get it, however they differ.
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = f"Vary: X-Shown\r\nCache-Control: max-age=60\r\nCDN-Cache-Control: max-age=60\r\nConnection: {name}"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n{said}\r\n\r\nx".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        edge = await make_edge(origin=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert [(await edge.get(VIEW)).cache for _ in range(2)] == ["fwd=uri-miss"] * 2


@pytest.mark.parametrize("status", [428, 429, 431, 511])
async def test_what_is_said_to_one_client_alone_is_never_stored(edge: RunningEdge, origin: Origin, status: int):
    # RFC 6585 sections 3 to 6: else one client that asks too often would have all others refused.
    assert await ttl(edge, origin, ("Cache-Control", "max-age=60, public"), status=status) is None


@pytest.mark.parametrize(
    "value",
    [
        "no-store",
        "private",
        "no-cache",
        "NO-STORE",
        'private="set-cookie"',
        'no-cache="a, b"',
        "max-age=60, no-store",
        "no-store, max-age=60",
        "public, private",
        "max-age=60 no-store",
        "no-store max-age=60",
        "public no-cache, max-age=60",
        'ext="a, no-store, max-age=60',
        '"no-store", max-age=60',
        "no-store=1",
        "no-store;max-age=60",
        "max-age=60;private",
    ],
)
@pytest.mark.parametrize("target", [VIEW, ENDPOINT, "/catalog/shoes/"])
async def test_what_must_not_be_shared_is_not_stored_however_it_is_spelled(
    edge: RunningEdge, origin: Origin, value: str, target: str
):
    origin.headers = [("Cache-Control", value)]
    assert [(await edge.get(target)).cache for _ in range(2)] == ["fwd=uri-miss"] * 2


@pytest.mark.parametrize("field", ["Cache-Control", "CDN-Cache-Control", "Mizan-Cache-Control"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=60", 60),
        ("s-maxage=60, max-age=5", 60),
        ("max-age=5, s-maxage=60", 60),
        ("max-age=0", None),
        ("s-maxage=0, max-age=60", None),
        ("max-age=-1", None),
        ("max-age=99999999999999", 2**31 - 1),
        ("public", DAY),
        ("must-revalidate", DAY),
        ("no-store", None),
        ("private", None),
        ("no-cache", None),
        ("x-private=1", DAY),
    ],
)
async def test_each_field_of_directives_is_read(
    edge: RunningEdge, origin: Origin, field: str, value: str, expected: int | None
):
    found = await ttl(edge, origin, (field, value))
    assert found in near(expected) if expected else found is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # The nearest field to us is the only one that counts.
        ([("Mizan-Cache-Control", "max-age=60"), ("CDN-Cache-Control", "no-store"), ("Cache-Control", "private")], 60),
        ([("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], 60),
        ([("Mizan-Cache-Control", "no-store"), ("Cache-Control", "max-age=60")], None),
        ([("Mizan-Cache-Control", "max-age=60"), ("Mizan-Cache-Control", "no-store")], None),
        ([("Mizan-Cache-Control", "stale-if-error=5"), ("Cache-Control", "max-age=60, private")], DAY),
        ([("Mizan-Cache-Control", "heuristic"), ("Expires", date(T0 - 60))], DAY),
        # Malformed: ignored, and the manifest does not step in.
        ([("Mizan-Cache-Control", "max-age=")], None),
        ([("Mizan-Cache-Control", "max-age=60, ,no-store")], None),
        ([("Mizan-Cache-Control", "max-age=1e3")], None),
        ([("Mizan-Cache-Control", "MAX-AGE=60")], None),
        ([("Mizan-Cache-Control", "{}")], None),
        ([("CDN-Cache-Control", "=")], None),
        ([("Mizan-Cache-Control", "{}"), ("CDN-Cache-Control", "max-age=60")], 60),
        ([("Mizan-Cache-Control", "{}"), ("CDN-Cache-Control", "public")], None),
        ([("Mizan-Cache-Control", "{}"), ("Cache-Control", "max-age=60")], 60),
        ([("Mizan-Cache-Control", "{}"), ("Cache-Control", "no-store")], None),
        ([("Mizan-Cache-Control", "{}"), ("Expires", date(T0 + 60)), ("Date", date())], 60),
        # A wrong type is no malformed field, and invalid freshness is none.
        ([("Mizan-Cache-Control", "max-age=abc")], None),
        ([("Mizan-Cache-Control", "max-age=60.5")], None),
    ],
)
async def test_targeted_fields_take_precedence(
    edge: RunningEdge, origin: Origin, headers: list[tuple[str, str]], expected: int | None
):
    found = await ttl(edge, origin, *headers)
    assert found in near(expected) if expected else found is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("Expires", date(T0 + 100)), ("Date", date())], 100),
        ([("Expires", date(T0 + 100)), ("Date", date(T0 + 100))], None),
        ([("Expires", date(T0 - 100)), ("Date", date())], None),
        ([("Expires", "0"), ("Date", date())], None),
        ([("Expires", "never")], None),
        ([("Expires", date(T0 + 100)), ("Expires", date(T0 + 9000)), ("Date", date())], None),
        ([("Expires", date(T0 + 9000)), ("Date", date()), ("Cache-Control", "max-age=60")], 60),
        ([("Expires", date(T0 + 9000)), ("Date", date()), ("Cache-Control", "max-age=x")], None),
        # The formats of old are in UTC as well (RFC 9110 section 5.6.7).
        ([("Expires", "Tue Nov 14 22:15:00 2023"), ("Date", "Tue, 14 Nov 2023 22:13:20 GMT")], 100),
        ([("Expires", "Tuesday, 14-Nov-23 22:15:00 GMT"), ("Date", "Tue Nov 14 22:13:20 2023")], 100),
    ],
)
async def test_expires_counts_where_no_directive_does(
    edge: RunningEdge, origin: Origin, headers: list[tuple[str, str]], expected: int | None
):
    found = await ttl(edge, origin, *headers)
    assert found in near(expected) if expected else found is None


@pytest.mark.parametrize(
    ("age", "expected"),
    [("40", 60), ("99", 1), ("100", None), ("500", None), ("0", 100), ("x", 100), ("40, 90", 60), ("-5", 100)],
)
async def test_an_age_is_taken_off_and_counted_on(edge: RunningEdge, origin: Origin, age: str, expected: int | None):
    found = await ttl(edge, origin, ("Cache-Control", "max-age=100"), ("Age", age))
    if age == "99":  # a slow machine may be past it
        assert found in (1, None)
    else:
        assert found in near(expected) if expected else found is None
    if expected and expected > 1:
        assert int((await edge.get(VIEW))["Age"] or "-1") in range(100 - expected, 100 - expected + 6)


def with_context(**rules: object) -> dict[str, object]:
    return {"contexts": {"user": {**MANIFEST["contexts"]["user"], **rules}}}


@pytest.mark.parametrize(
    ("rules", "headers", "expected"),
    [
        ({"ttl": 0}, [], None),
        ({"ttl": 0}, [("Cache-Control", "max-age=60")], 60),
        ({"ttl": 0}, [("Mizan-Cache-Control", "public")], None),
        ({"ttl": 50}, [], 50),
        ({"ttl": 50}, [("Age", "20")], 30),
        ({"ttl": 50}, [("Cache-Control", "max-age=60")], 60),
        ({"ttl": "heuristic"}, [], None),
        ({"ttl": "heuristic"}, [("Last-Modified", date(T0 - 1000)), ("Date", date())], 100),
        ({"ttl": "heuristic"}, [("Last-Modified", date(T0 + 1000)), ("Date", date())], None),
        ({"ttl": "heuristic"}, [("Last-Modified", "x"), ("Date", date())], None),
        ({"ttl": "heuristic"}, [("Last-Modified", date(T0 - 1000)), ("Date", date()), ("Expires", "0")], None),
    ],
)
async def test_the_manifest_decides_where_the_response_says_nothing(
    make_edge: EdgeFactory,
    origin: Origin,
    rules: dict[str, object],
    headers: list[tuple[str, str]],
    expected: int | None,
):
    found = await ttl(await make_edge(with_context(**rules)), origin, *headers)
    assert found in near(expected) if expected else found is None


# What a request may demand.


@pytest.mark.parametrize(
    ("headers", "cache"),
    [
        ([("Cache-Control", "no-cache")], "fwd=request; stored"),
        ([("Cache-Control", "no-store")], "fwd=request"),
        ([("Cache-Control", "max-age=0")], "fwd=request; stored"),
        ([("Cache-Control", "max-age=30")], "fwd=request; stored"),
        ([("Cache-Control", "max-age=50")], "hit"),
        ([("Cache-Control", "max-age=x")], "hit"),
        ([("Cache-Control", "min-fresh=30")], "hit"),
        ([("Cache-Control", "min-fresh=70")], "fwd=request; stored"),
        ([("Cache-Control", "max-stale")], "hit"),
        ([("Cache-Control", "only-if-cached")], "hit"),
        ([("Pragma", "no-cache")], "fwd=request; stored"),
        ([("Pragma", "no-cache"), ("Cache-Control", "max-age=50")], "hit"),
        ([("Cache-Control", "no-transform")], "hit"),
    ],
)
async def test_a_request_may_demand_a_fetch(edge: RunningEdge, origin: Origin, headers: Headers, cache: str):
    origin.headers = [("Cache-Control", "max-age=100"), ("Age", "40")]
    await edge.get(VIEW)
    reply = await edge.get(VIEW, headers)
    assert reply.cache.partition("; ttl")[0] == cache
    assert origin.hits == (1 if cache == "hit" else 2)
    # What was fetched for one is there for all, unless it asked not to be stored.
    expected = b"GET /profile/5/ #2" if cache.endswith("stored") else b"GET /profile/5/ #1"
    assert (await edge.get(VIEW)).body == expected


async def test_a_reload_is_never_answered_by_what_is_younger_than_a_second(edge: RunningEdge, origin: Origin):
    await edge.get(VIEW)
    assert (await edge.get(VIEW, [("Cache-Control", "max-age=0")])).cache == "fwd=request; stored"
    assert origin.hits == 2


@pytest.mark.parametrize("cache_control", ["only-if-cached", "only-if-cached, no-cache", "only-if-cached, max-age=10"])
async def test_only_if_cached_is_answered_without_the_origin(edge: RunningEdge, origin: Origin, cache_control: str):
    headers = [("Cache-Control", cache_control)]
    assert (await edge.get(VIEW, headers)).status == 504
    assert origin.hits == 0
    origin.headers = [("Cache-Control", "max-age=100"), ("Age", "40")]
    await edge.get(VIEW)
    status = 200 if cache_control == "only-if-cached" else 504
    assert (await edge.get(VIEW, headers)).status == status
    assert origin.hits == 1


async def test_a_request_for_no_store_leaves_nothing(edge: RunningEdge, origin: Origin):
    assert (await edge.get(VIEW, [("Cache-Control", "no-store")])).cache == "fwd=request"
    assert (await edge.get(VIEW)).cache == "fwd=uri-miss; stored"


# What Cache-Status says otherwise.


@pytest.mark.parametrize(
    ("method", "target", "cache"),
    [
        ("POST", VIEW, "fwd=method"),
        ("PUT", VIEW, "fwd=method"),
        ("DELETE", VIEW, "fwd=method"),
        ("PATCH", "/x", "fwd=method"),
        ("OPTIONS", VIEW, "fwd=method"),
        ("QUERY", VIEW, "fwd=method"),
        ("GET", "/x", "fwd=bypass; detail=undeclared"),
        ("HEAD", "/x", "fwd=bypass; detail=undeclared"),
        ("GET", "/api/mizan/call/", "fwd=bypass; detail=undeclared"),
        ("GET", "/profile/05/", "fwd=bypass; detail=non-canonical"),
        ("HEAD", VIEW, "fwd=uri-miss"),
    ],
)
async def test_cache_status_says_why_a_request_was_forwarded(
    edge: RunningEdge, origin: Origin, method: str, target: str, cache: str
):
    body = b"x" if method in ("POST", "PUT", "PATCH", "QUERY") else None
    for _ in range(2):
        assert (await edge.request(method, target, (), body))["Cache-Status"] == f"mizan-edge; {cache}"
    assert origin.hits == 2


@pytest.mark.parametrize(
    ("status", "headers", "cache"),
    [
        (500, [], "fwd=uri-miss; fwd-status=500"),
        (404, [], "fwd=uri-miss; stored; fwd-status=404"),
        (500, [("Cache-Control", "max-age=9")], "fwd=uri-miss; stored; fwd-status=500"),
        (302, [], "fwd=uri-miss"),
    ],
)
async def test_cache_status_gives_the_status_of_an_error(
    edge: RunningEdge, origin: Origin, status: int, headers: list[tuple[str, str]], cache: str
):
    origin.script = lambda asked: Says("x", status, headers)
    assert (await edge.get(VIEW))["Cache-Status"] == f"mizan-edge; {cache}"


async def test_an_earlier_caches_status_stays_in_front(edge: RunningEdge, origin: Origin):
    origin.headers = [("Cache-Status", "inner; hit")]
    assert (await edge.get(VIEW))["Cache-Status"] == "inner; hit, mizan-edge; fwd=uri-miss; stored"
    assert ((await edge.get(VIEW))["Cache-Status"] or "").startswith("inner; hit, mizan-edge; hit; ttl=")


async def test_a_hit_never_shows_what_is_between_the_edge_and_the_origin(edge: RunningEdge, origin: Origin):
    origin.headers = [
        ("X-Mizan-Scope", "user;user_id=5"),
        ("X-Mizan-Partition", "anon"),
        ("Mizan-Cache-Control", "max-age=60"),
        ("Connection", "X-Hop"),
        ("X-Hop", "1"),
    ]
    for _ in range(2):
        reply = await edge.get(VIEW)
        assert not [name for name, _ in reply.fields if "mizan" in name.lower() or name == "X-Hop"]


@pytest.mark.parametrize("size", [99, 100, 101, 300_000])
async def test_a_body_that_is_too_large_streams_through_byte_for_byte(
    make_edge: EdgeFactory, origin: Origin, size: int
):
    edge = await make_edge(max_entry_bytes=100)
    body = bytes(n * 7 % 251 for n in range(size))
    origin.script = lambda asked: Says(body)
    replies = [await edge.get(VIEW) for _ in range(2)]
    assert [reply.body for reply in replies] == [body] * 2
    assert [reply["Content-Length"] for reply in replies] == [str(size)] * 2
    fits = size <= 100
    assert [replies[0].cache, replies[1].hit] == ["fwd=uri-miss; stored" if fits else "fwd=uri-miss", fits]


# What a field may cost: nobody else is answered meanwhile.

FIELD_BYTES = 32 * 1024
FIELD_CPU_S = 0.15  # in linear time it is a tenth of that; in quadratic time it was a quarter of a minute
PIECES = [
    " ",
    ",",
    '"',
    "\\",
    "=",
    ";",
    "a",
    "a ",
    "a=",
    '="',
    'a="',
    '\\"',
    'a="\\",',
    '"a",',
    "W/",
    'W/"a"x',
    "a=b;",
    "1",
    "1 ",
]
FIELDS = [
    "Cache-Control",
    "Pragma",
    "If-None-Match",
    "If-Modified-Since",
    "Cookie",
    "Authorization",
    "Accept",
    "Accept-Language",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "Connection",
    "Vary",
    "CDN-Cache-Control",
]


def read_everything(name: str, value: str) -> None:
    """Takes a request and a response that have this field through all that judges fields."""
    manifest = Manifest.model_validate(MANIFEST)
    rules = IdentityRules(("sessionid",), ("csrftoken", "_ga*"), ("Remote-User", "X-Auth-Request-*"))
    peer = Peer("127.0.0.1", "http", trusted=True)
    asked = Request("GET", VIEW, "site.test", (("Host", "site.test"), (name, value)))
    try:
        asked = to_origin(seen(asked, peer), peer)
    except RefusedError:
        return
    partition(asked.fields, rules, lambda token: verify(Keyring.parse(MWT_SECRET), token, now_s=T0))
    resource = Router(manifest).match(VIEW)
    assert isinstance(resource, Resource)
    lookup = policy.plan(asked, resource, Partition(ANON), named=is_named(asked.fields, rules))
    assert isinstance(lookup, policy.Lookup)
    keys = policy.KeyInputs(b"k" * 32, manifest, many_hosts=True)
    policy.entry_key(keys, asked, lookup, variants.variant_of(asked, (name.lower(),)))
    page = Response(200, (("ETag", '"v1"'), ("Last-Modified", date()), ("Vary", name)))
    policy.usable(StoredResponse(page, b"", 0, 0, Lifetime(60)), lookup, 0)
    conditional.select(asked, page, b"")
    said = Response(200, ((name, value),))
    governing(said.fields)
    variants.vary_names(said, "user")


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_costs_more_than_linear_time(name: str):
    def cpu_s(value: str) -> float:
        before = time.process_time()
        read_everything(name, value)
        return time.process_time() - before

    for piece in PIECES:
        run = piece * (FIELD_BYTES // len(piece))
        for value in run, f'x{run}"', f"x{run}x", f'x="{run}':
            assert any(cpu_s(value) < FIELD_CPU_S for _ in range(3)), (value[:20], value[-5:])


@pytest.mark.parametrize(
    ("said", "wanted", "served"),
    [
        ("max-age=1", "max-stale", True),
        ("max-age=1", "max-stale=100", True),
        ("max-age=1", "max-stale=0", False),
        ("max-age=1", "max-stale=x", False),
        ("max-age=1", "max-stale, max-age=0", False),
        ("max-age=1", "max-stale, min-fresh=1", False),
        ("max-age=1, must-revalidate", "max-stale", False),
        ("max-age=1, proxy-revalidate", "max-stale", False),
        ("s-maxage=1", "max-stale", False),
        ("no-cache", "max-stale", False),
    ],
)
async def test_max_stale_takes_what_is_stale_unless_that_is_forbidden(
    edge: RunningEdge, origin: Origin, said: str, wanted: str, served: bool
):
    # RFC 9111 section 5.2.1.2. A validator keeps it beyond its lifetime, and an Age has it stale at once.
    origin.headers = [("Cache-Control", said), ("Age", "1"), ("ETag", '"v1"')]
    assert "stored" in (await edge.get(VIEW)).cache
    reply = await edge.get(VIEW, {"Cache-Control": wanted})
    assert reply.hit is served
    if served:
        assert reply.cache in ("hit; ttl=0", "hit; ttl=-1", "hit; ttl=-2")


@pytest.mark.parametrize("wanted", ["no-cache", "no-store", "max-age=0", "min-fresh=99999999"])
async def test_who_has_not_signed_in_demands_nothing_where_that_is_not_allowed(
    make_edge: EdgeFactory, origin: Origin, tokens, wanted: str
):
    edge = await make_edge(client_revalidation=False)
    visitor: dict[str, str] = {}
    for headers, is_heeded in ((visitor, False), (tokens("5"), True)):
        await edge.get(VIEW, headers)
        assert (await edge.get(VIEW, {**headers, "Cache-Control": wanted})).hit is not is_heeded
    assert (await edge.get("/profile/6/", {"Cache-Control": "only-if-cached"})).status == 504
    assert (await edge.get(VIEW, {"Pragma": "no-cache"})).hit


@pytest.mark.parametrize("target", [VIEW, "/undeclared/"])
async def test_a_response_without_a_date_gets_that_of_its_receipt(make_edge: EdgeFactory, target: str):
    # RFC 9110 section 6.6.1
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        edge = await make_edge(origin=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        before_s = int(time.time())
        replies = [await edge.get(target) for _ in range(2)]
    assert replies[1].hit is (target == VIEW)
    for reply in replies:
        assert before_s <= parsedate_to_datetime(reply["Date"] or "").timestamp() <= time.time()
    if replies[1].hit:
        assert replies[0]["Date"] == replies[1]["Date"]
        # It is stored: without a date there is nothing to compare this with.
        reply = await edge.get(target, {"If-Modified-Since": "Thu, 31 Dec 2099 23:59:59 GMT"})
        assert (reply.status, reply["Date"]) == (304, replies[0]["Date"])


TARGET_BYTES = 64 * 1024
TARGET_CPU_S = 0.3


@pytest.mark.parametrize("piece", ["/", "/a", "/%41", "%41", "/m/", "/%", "/..", "%2f"])
def test_no_path_costs_more_where_there_are_many_mutations(piece: str):
    mutations = {
        f"m{number}": {"path": "view", "affects": [{"context": "user"}], "views": [f"/m{number}/:user_id/"]}
        for number in range(50)
    }
    router = Router(Manifest.model_validate({**MANIFEST, "mutations": mutations}))

    def cpu_s(target: str) -> float:
        before = time.process_time()
        router.mutations(target)
        router.match(target)
        return time.process_time() - before

    target = "/m1/x" + piece * (TARGET_BYTES // len(piece))
    assert any(cpu_s(target) < TARGET_CPU_S for _ in range(3))
    assert [name for name, _ in router.mutations("/m7/5/")] == ["m7"]


def test_a_request_with_more_parameters_or_cookies_than_anybody_reads_is_no_matter_of_the_cache():
    router = Router(Manifest.model_validate(MANIFEST))
    rules = IdentityRules(("sessionid",), ("csrftoken", "_ga*"), ())
    for count, is_read in (1000, True), (1001, False):
        found = router.match(f"{VIEW}?" + "&".join(f"x{number}" for number in range(count)))
        assert isinstance(found, Resource) == is_read
        cookies = ";".join(f"_ga{number}=x" for number in range(count))
        assert isinstance(partition((("Cookie", cookies),), rules, lambda _: None), Partition) == is_read
