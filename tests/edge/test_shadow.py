"""Hits in the shadow of which the origin is asked the same: what nobody has announced is found, and nothing else."""

import asyncio
import gzip
import hashlib
from typing import Any

import pytest

from mizan_edge.http.freshness import Lifetime
from mizan_edge.http.message import Response
from mizan_edge.rules.comparing import differences, first_difference
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.serving.shadow import AT_ONCE
from tests.support.browser import Deciding, browsing, ready
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.edges import Start
from tests.support.origin import Asked, Origin, Says, until
from tests.support.wire import Reply

VIEW = "/profile/5/"
OTHER = "/catalog/shoes/"
CONTEXT = "/api/mizan/ctx/user/?user_id=5"


async def shown(edge: RunningEdge) -> dict[str, Any]:
    reply = await edge.admin_request("GET", "/shadow")
    assert reply.status == 200
    document: dict[str, Any] = reply.json
    return document


async def compared(edge: RunningEdge, count: int = 1, context: str = "user") -> dict[str, int]:
    """How so many hits of a context have compared, once they have."""
    async with asyncio.timeout(10):
        while True:
            found = (await shown(edge))["contexts"][context]
            outcomes = {name: found[name] for name in ("equal", "different", "inconclusive") if found[name]}
            if sum(outcomes.values()) >= count:
                return outcomes
            await asyncio.sleep(0.02)


async def shadowed(edge: RunningEdge, share: float | None, context: str = "user") -> Reply:
    return await edge.admin_request("POST", f"/contexts/{context}", {"shadow": share})


async def drawn_by(edge: RunningEdge) -> int:
    """How many hits of a context it has compared, or would have."""
    counts = (await shown(edge))["contexts"]["user"]
    return int(counts["equal"]) + int(counts["skipped"])


@pytest.fixture
async def edge(make_edge: EdgeFactory) -> RunningEdge:
    """One that compares every hit, as far as it gets to."""
    return await make_edge(shadow=1)


@pytest.mark.parametrize("lane", ["decided", "ready", "ready in Redis"])
async def test_what_has_changed_without_an_invalidation_is_found_and_is_neither_served_nor_stored(
    make_edge: EdgeFactory, origin: Origin, deciding: Deciding, lane: str, caplog: pytest.LogCaptureFixture
):
    asked, says = f"{VIEW}?token=secret", "old"
    origin.script = lambda _: Says(says)
    edge = await make_edge(near=0 if lane == "ready in Redis" else 64 << 20)
    async with browsing(edge) as browser:
        await browser.get(asked)
        if lane != "decided":
            await ready(browser, deciding, asked)
        says = "renamed"
        assert (await shadowed(edge, 1)).status == 200
        assert [(await browser.get(asked)).body for _ in range(2)] == [b"old"] * 2
        assert await compared(edge, 2) == {"different": 2}
        reply = await browser.get(asked)
    assert (reply.hit, reply.body) == (True, b"old")
    found = (await shown(edge))["differences"][-1]
    assert {name: found[name] for name in ("context", "method", "url", "function", "partition", "differs")} == {
        "context": "user",
        "method": "GET",
        "url": asked,
        "function": None,
        "partition": "anon",
        "differs": ["body"],
    }
    assert found["first_difference"] == 0
    assert found["served"] == {"status": 200, "bytes": 3, "sha256": hashlib.sha256(b"old").hexdigest()}
    assert found["origin"] == {"status": 200, "bytes": 7, "sha256": hashlib.sha256(b"renamed").hexdigest()}
    assert found["at"].startswith("20") and found["at"].endswith("Z")
    warned = [record.getMessage() for record in caplog.records if "nobody has purged it" in record.getMessage()]
    assert len(warned) >= 2 and all(f"GET {VIEW} was served" in text for text in warned)


async def test_what_is_the_same_is_no_difference_and_is_asked_for_as_a_fill_asks(
    edge: RunningEdge, origin: Origin, tokens: Any
):
    headers = {**tokens("5"), "If-None-Match": '"x"', "Accept-Language": "de"}

    def says(asked: Asked) -> Says:
        return Says(
            "same", headers=[("X-Request-Id", str(origin.hits)), ("Last-Modified", "Sun, 22 Nov 2026 01:00:00 GMT")]
        )

    origin.script = says
    await edge.get(VIEW, headers)
    assert (await edge.get(VIEW, headers)).hit
    assert await compared(edge) == {"equal": 1}
    filled, again = [[line for line in asked.headers if line[0].lower() != "x-request-id"] for asked in origin.asked]
    assert again == filled
    # A part, a head and a call are of what is compared as a whole.
    assert (await edge.request("HEAD", VIEW, headers)).hit
    assert (await edge.get(VIEW, {**headers, "Range": "bytes=1-2"})).status == 206
    await edge.call("user_profile", headers, user_id=5)
    assert (await edge.call("user_profile", headers, user_id=5)).hit
    assert await compared(edge, 4) == {"equal": 4}
    assert (await shown(edge))["differences"] == []
    assert [asked.method for asked in origin.asked] == ["GET"] * 4 + ["POST"] * 2
    assert origin.asked[-1].body == origin.asked[-2].body


async def test_only_the_share_leaves_the_fast_lane(make_edge: EdgeFactory, origin: Origin, deciding: Deciding):
    origin.script = lambda _: Says("same")
    edge = await make_edge(shadow=0.5)
    async with browsing(edge) as browser:
        await ready(browser, deciding, VIEW)
        before, count, drawn = deciding.count, 300, -await drawn_by(edge)
        for _ in range(count):
            assert (await browser.get(VIEW)).hit
        decided = deciding.count - before
        assert count / 4 < decided < count * 3 / 4
        drawn += await drawn_by(edge)
        assert decided - AT_ONCE <= drawn <= decided + AT_ONCE  # which may be under way
        await shadowed(edge, 0)
        await ready(browser, deciding, VIEW)
        before = deciding.count
        for _ in range(20):
            await browser.get(VIEW)
        assert deciding.count == before


@pytest.mark.parametrize("when", ["before the origin answers", "after the origin has answered"])
async def test_what_is_announced_meanwhile_is_no_difference(edge: RunningEdge, origin: Origin, when: str):
    """A mutation commits, the shadow reads that, and the purge comes after it."""
    origin.script = lambda _: Says("old")
    await edge.get(VIEW)
    answered = asyncio.Event()

    async def changed(asked: Asked) -> Says:
        if asked.method == "POST":
            return Says(headers=[("X-Mizan-Invalidate", "user;user_id=5")])
        if when.startswith("before"):
            await edge.request("POST", "/x", body=b"")
        answered.set()
        return Says("new")

    origin.script = changed
    assert (await edge.get(VIEW)).body == b"old"
    await answered.wait()
    if when.startswith("after"):
        await shown(edge)  # which takes longer than what the origin has said
        await edge.request("POST", "/x", body=b"")
    assert await compared(edge) == {"inconclusive": 1}


def failing(_: Asked) -> Says:
    return Says("sorry", status=503)


@pytest.mark.parametrize(
    "says",
    [
        Says("sorry", status=503),
        Says("slower", status=429),
        Says("new", headers=[("Set-Cookie", "a=b")]),
        Says("new", headers=[("X-Mizan-Partition", "user:7:p")]),
        Says("x" * 2000),
    ],
    ids=["failure", "limit", "cookie", "somebody else", "too long"],
)
async def test_what_says_nothing_of_what_is_stored_is_inconclusive(make_edge: EdgeFactory, origin: Origin, says: Says):
    edge = await make_edge(shadow=1, max_entry_bytes=1000)
    await edge.get(VIEW)
    origin.script = lambda _: says
    assert (await edge.get(VIEW)).hit
    assert await compared(edge) == {"inconclusive": 1}
    assert (await edge.get(VIEW)).hit


async def test_an_origin_that_fails_is_left_alone_for_a_while(edge: RunningEdge, origin: Origin):
    await edge.get(VIEW)
    origin.script = failing
    await edge.get(VIEW)
    assert await compared(edge) == {"inconclusive": 1}
    for _ in range(5):
        assert (await edge.get(VIEW)).hit
    assert origin.hits == 2
    assert (await shown(edge))["contexts"]["user"]["skipped"] == 5


async def test_no_more_than_a_few_are_compared_at_once(edge: RunningEdge, origin: Origin):
    await edge.get(VIEW)
    go = asyncio.Event()

    async def slow(_: Asked) -> Says:
        await go.wait()
        return Says("GET /profile/5/ #1")

    origin.script = slow
    replies = [await edge.get(VIEW) for _ in range(3 * AT_ONCE)]
    assert all(reply.hit for reply in replies)
    await until(lambda: origin.hits == 1 + AT_ONCE)
    go.set()
    assert await compared(edge, AT_ONCE) == {"equal": AT_ONCE}
    assert (await shown(edge))["contexts"]["user"]["skipped"] == 2 * AT_ONCE
    assert origin.hits == 1 + AT_ONCE


async def test_what_is_served_stale_or_is_off_is_not_compared(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(shadow=1)
    origin.headers = [("Mizan-Cache-Control", "max-age=1, stale-while-revalidate=60"), ("Age", "2")]
    await edge.get(VIEW)
    assert (await edge.get(VIEW)).cache == "hit; ttl=-1"
    assert (await edge.admin_request("POST", "/contexts/catalog", {"enabled": False})).status == 200
    await edge.get(OTHER)
    await edge.get(OTHER)
    contexts = (await shown(edge))["contexts"]
    assert [sum(contexts[name][outcome] for outcome in ("equal", "skipped")) for name in contexts] == [0, 0]


async def test_the_share_of_a_context_is_set_without_a_purge_and_a_null_gives_it_up(
    make_edge: EdgeFactory, origin: Origin
):
    edge = await make_edge(shadow=0.25)

    async def shares() -> dict[str, float]:
        contexts = (await edge.admin_request("GET", "/contexts")).json["contexts"]
        assert contexts.keys() == (await shown(edge))["contexts"].keys()
        return {name: context["shadow"] for name, context in contexts.items()}

    await shadowed(edge, 0)
    assert await shares() == {"catalog": 0.25, "user": 0}
    await edge.get(VIEW)
    assert (await shadowed(edge, 0.5)).json["shadow"] == 0.5
    assert (await edge.get(VIEW)).hit
    assert (await edge.admin_request("POST", "/contexts/user", {"enabled": False})).json["shadow"] == 0.5
    assert (await shadowed(edge, None)).json["enabled"] is False
    assert await shares() == {"catalog": 0.25, "user": 0.25}
    for wrong in (-0.1, 1.1, "1", True, [1]):
        reply = await edge.admin_request("POST", "/contexts/user", {"shadow": wrong})
        assert reply.status == 422 and "shadow" in reply.json["detail"]


async def test_workers_tell_their_keeper(start_edge: Start, origin: Origin):
    says = "old"
    origin.script = lambda _: Says(says)
    edge = await start_edge("--shadow", "1", workers=1)
    async with asyncio.timeout(10):
        while not (await edge.get(VIEW)).hit:  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)
    says = "new"
    await edge.get(VIEW)
    assert (await compared(edge, 2))["different"]
    assert (await shown(edge))["differences"][0]["url"] == VIEW


async def test_only_who_may_read_is_told(edge: RunningEdge):
    statuses = [(await edge.admin_request("GET", "/shadow", token=token)).status for token in (None, "read-token")]
    assert statuses == [401, 200]


# What is compared.


def stored(body: bytes = b"a", status: int = 200, *fields: tuple[str, str]) -> StoredResponse:
    return StoredResponse.of(Response(status, fields), body, 0, Lifetime(60))


@pytest.mark.parametrize(
    ("origin_says", "found"),
    [
        ((b"a", 200), []),
        ((b"b", 200), ["body"]),
        ((b"a", 404), ["status"]),
        ((b"", 404), ["status", "body"]),
        ((b"a", 200, ("Content-Type", "text/plain")), ["content-type"]),
        ((b"a", 200, ("Location", "/b"), ("Link", "</a>")), ["link", "location"]),
        ((b"a", 200, ("Date", "x"), ("ETag", '"y"'), ("Age", "7"), ("Server", "z"), ("Expires", "0")), []),
    ],
)
def test_status_body_and_the_fields_that_matter_are_compared(origin_says: Any, found: list[str]):
    body, status, *fields = origin_says
    assert differences(stored(), Response(status, tuple(fields)), body) == found


def test_what_is_compressed_is_compared_as_it_is_meant():
    """Django's GZipMiddleware, for one, makes other bytes of the same each time."""
    coded = ("Content-Encoding", "gzip")
    one, same, other = (gzip.compress(body, mtime=at) for at, body in enumerate([b"a", b"a", b"b"], 1))
    assert one != same
    for body, found in ((same, []), (other, ["body"]), (one[:-1], ["body"]), (b"no gzip", ["body"])):
        assert differences(stored(one, 200, coded), Response(200, (coded,)), body) == found


def test_the_first_byte_that_differs_is_told():
    assert [first_difference(b"abc", other) for other in (b"abd", b"ab", b"abcd", b"")] == [2, 2, 3, 0]
