"""What is stale is confirmed by the origin rather than sent again. RFC 9111 sections 3.2 and 4.3."""

import asyncio

import pytest

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.edges import somebody_waits
from tests.support.origin import Asked, Origin, Says, until
from tests.support.revalidating import AGED, FRESH, MODIFIED, STALE, TAG, confirming

VIEW = "/catalog/hats/"


@pytest.mark.parametrize(
    ("validators", "asked"),
    [
        ([TAG], [("If-None-Match", '"v1"')]),
        ([("ETag", 'W/"v1"')], [("If-None-Match", 'W/"v1"')]),
        ([MODIFIED], [("If-Modified-Since", MODIFIED[1])]),
        ([TAG, MODIFIED], [("If-None-Match", '"v1"'), ("If-Modified-Since", MODIFIED[1])]),
    ],
)
@pytest.mark.parametrize("near", [0, 1 << 20])
async def test_a_304_makes_what_is_stored_fresh(
    make_edge: EdgeFactory,
    origin: Origin,
    validators: list[tuple[str, str]],
    asked: list[tuple[str, str]],
    near: int,
):
    edge = await make_edge(near=near)
    origin.script = confirming(STALE, *validators)
    assert (await edge.get(VIEW)).cache == "fwd=uri-miss; stored"
    reply = await edge.get(VIEW, {"If-None-Match": '"another"'})
    assert (reply.status, reply.body, reply.cache) == (200, b"page", "fwd=stale; stored; fwd-status=304")
    sent = [pair for pair in origin.asked[1].headers if pair[0].startswith("If-")]
    assert sent == asked, "its own conditions, and not the client's"
    reply = await edge.get(VIEW)
    assert reply.hit and reply.body == b"page"
    assert origin.hits == 2


async def test_an_entity_tag_of_the_edge_is_nothing_to_ask_the_origin_with(edge: RunningEdge, origin: Origin):
    origin.script = lambda asked: Says("page", headers=[("Cache-Control", "max-age=1, stale-if-error=60")])
    assert (await edge.get(VIEW))["ETag"]
    await until_stale(edge)
    await edge.get(VIEW)
    assert origin.asked[-1].get("If-None-Match") is None


async def until_stale(edge: RunningEdge) -> None:
    while (await edge.get(VIEW, {"Cache-Control": "only-if-cached"})).status == 200:
        pass


async def test_the_fields_of_the_304_take_the_place_of_the_stored_ones(edge: RunningEdge, origin: Origin):
    origin.script = confirming(
        STALE, TAG, ("X-One", "old"), ("X-Two", "kept"), ("Age", "7"), then=(FRESH, ("X-One", "new"), TAG)
    )
    await edge.get(VIEW)
    await edge.get(VIEW)
    reply = await edge.get(VIEW)
    assert reply.hit
    assert (reply["X-One"], reply["X-Two"], reply["Age"]) == ("new", "kept", "0")
    assert (reply["Content-Length"], reply["Cache-Control"]) == ("4", "max-age=60")


async def test_a_304_with_another_tag_is_not_taken_for_the_stored_page(edge: RunningEdge, origin: Origin):
    origin.script = confirming(STALE, TAG, then=(FRESH, ("ETag", '"v2"')))
    await edge.get(VIEW)
    reply = await edge.get(VIEW)
    assert (reply.status, reply.body) == (200, b"page")
    assert [asked.get("If-None-Match") for asked in origin.asked] == [None, '"v1"', None]


async def test_a_304_made_for_somebody_else_is_not_taken_for_the_stored_page(edge: RunningEdge, origin: Origin, tokens):
    origin.script = confirming(STALE, TAG, then=(FRESH, ("X-Mizan-Partition", "user:7:p1")))
    user = tokens("5")
    await edge.get("/profile/5/", user)
    await edge.get("/profile/5/", user)
    assert origin.asked[-1].get("If-None-Match") is None
    assert not (await edge.get("/profile/5/", user)).hit


async def test_the_clients_own_condition_is_answered_from_what_was_confirmed(edge: RunningEdge, origin: Origin):
    origin.script = confirming(STALE, TAG)
    await edge.get(VIEW)
    reply = await edge.get(VIEW, {"If-None-Match": '"v1"'})
    assert (reply.status, reply.body) == (304, b"")


@pytest.mark.parametrize("assumed", [86400, "heuristic"])
async def test_no_cache_means_that_the_origin_is_asked_each_time(
    make_edge: EdgeFactory, origin: Origin, assumed: int | str
):
    contexts = MANIFEST["contexts"]
    edge = await make_edge({"contexts": contexts | {"catalog": contexts["catalog"] | {"ttl": assumed}}})
    origin.script = confirming(("Cache-Control", "no-cache"), TAG, then=(TAG,))
    for _ in range(3):
        reply = await edge.get(VIEW)
        assert (reply.status, reply.body, reply.hit) == (200, b"page", False)
    assert [asked.get("If-None-Match") for asked in origin.asked] == [None, '"v1"', '"v1"']


async def test_a_304_revives_nothing_that_was_purged_meanwhile(edge: RunningEdge, origin: Origin):
    asked_for, go_on = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked) -> Says:
        if asked.get("If-None-Match"):
            asked_for.set()
            await go_on.wait()
            return Says(status=304, headers=[FRESH])
        return Says("page", headers=[STALE, TAG])

    origin.script = script
    await edge.get(VIEW)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(edge.get(VIEW))
        await asked_for.wait()
        assert (await edge.purge("catalog;category=hats")).status == 200
        go_on.set()
    assert reading.result().cache == "fwd=stale; fwd-status=304"
    assert not (await edge.get(VIEW, {"Cache-Control": "only-if-cached"})).hit


async def test_nor_what_was_purged_while_somebody_waited_for_his_turn(
    make_edge: EdgeFactory, origin: Origin, redis_url: str, namespace: str
):
    """Those who join him come after the purge, and a validator may have missed the change: `Last-Modified` knows no
    parts of a second."""
    one, other = await make_edge(), await make_edge()
    wants_more, fresher = {"Cache-Control": "min-fresh=100"}, ("Cache-Control", "max-age=600")
    go_on = asyncio.Event()

    async def script(asked: Asked) -> Says:
        await go_on.wait()
        return Says(status=304, headers=[fresher]) if asked.get("If-Modified-Since") else Says("new", headers=[fresher])

    origin.script = lambda asked: Says("old", headers=[FRESH, MODIFIED])
    await one.get(VIEW)
    origin.script = script
    async with asyncio.TaskGroup() as group:
        group.create_task(one.get(VIEW, wants_more))
        await until(lambda: origin.hits == 2)
        waiting = group.create_task(other.get(VIEW, wants_more))
        await until(lambda: somebody_waits(redis_url, namespace))
        assert (await one.purge("catalog;category=hats")).status == 200
        go_on.set()
    assert [asked.get("If-Modified-Since") for asked in origin.asked] == [None, MODIFIED[1], None]
    assert waiting.result().body == b"new"
    assert (await one.get(VIEW)).body == b"new"


# Stale while it is refreshed. RFC 5861 section 3.


async def test_what_is_stale_answers_while_one_fetch_refreshes_it(make_edge: EdgeFactory, origin: Origin):
    contexts = {"catalog": {**MANIFEST["contexts"]["catalog"], "ttl": 1, "swr": 60}}
    edges = [await make_edge({"contexts": contexts}), await make_edge({"contexts": contexts})]
    assert (await edges[0].get(VIEW)).cache == "fwd=uri-miss; stored"
    await until_stale(edges[0])
    go_on = asyncio.Event()

    async def slow(asked: Asked) -> Says:
        await go_on.wait()
        return Says("new")

    origin.script = slow
    replies = await asyncio.gather(*(edges[n % 2].get(VIEW) for n in range(20)))
    assert all(reply.hit for reply in replies)
    assert {reply.body for reply in replies} == {b"GET /catalog/hats/ #1"}
    await until(lambda: origin.hits == 2)
    go_on.set()
    async with asyncio.timeout(5):
        for edge in edges:
            while (await edge.get(VIEW)).body != b"new":
                pass
    assert origin.hits <= 3, "one refresh, and at most one more when that was stale again"


@pytest.mark.parametrize(("method", "fields"), [("HEAD", {}), ("GET", {"Range": "bytes=0-1"})])
async def test_a_part_of_what_is_stale_has_the_whole_refreshed(
    edge: RunningEdge, origin: Origin, method: str, fields: dict[str, str]
):
    # Age makes it stale from the first moment on.
    origin.script = lambda asked: Says("old", headers=[("Cache-Control", "max-age=1, stale-while-revalidate=60"), AGED])
    await edge.get(VIEW)
    origin.script = lambda asked: Says("new", headers=[FRESH])
    assert (await edge.request(method, VIEW, fields)).hit
    await until(lambda: origin.hits == 2)
    assert (origin.asked[1].method, origin.asked[1].get("Range")) == ("GET", None)
    async with asyncio.timeout(5):
        while (await edge.get(VIEW, {"Cache-Control": "only-if-cached"})).body != b"new":
            pass
    assert origin.hits == 2


async def test_each_variant_is_refreshed_by_itself(edge: RunningEdge, origin: Origin):
    stale = [("Cache-Control", "max-age=1, stale-while-revalidate=60"), AGED, ("Vary", "Accept-Language")]
    origin.script = lambda asked: Says("old", headers=stale)
    for language in "de", "en":
        await edge.get(VIEW, {"Accept-Language": language})
    go_on = asyncio.Event()

    async def slow(asked: Asked) -> Says:
        await go_on.wait()
        return Says("new", headers=stale)

    origin.script = slow
    try:
        for language in "de", "en":
            assert (await edge.get(VIEW, {"Accept-Language": language})).hit
        # Both at once: no answer has come yet.
        await until(lambda: origin.hits == 4)
    finally:
        go_on.set()
    assert {asked.get("Accept-Language") for asked in origin.asked[2:]} == {"de", "en"}


async def test_what_another_edge_has_refreshed_is_taken_from_there(make_edge: EdgeFactory, origin: Origin):
    one, other = await make_edge(), await make_edge()
    origin.script = lambda asked: Says("old", headers=[("Cache-Control", "max-age=1, stale-while-revalidate=60"), AGED])
    await one.get(VIEW)
    # Puts it into the other one's memory as well, and has nothing refreshed.
    assert (await other.get(VIEW, {"Cache-Control": "max-stale, only-if-cached"})).body == b"old"
    origin.script = lambda asked: Says("new", headers=[FRESH])
    assert (await one.get(VIEW)).body == b"old"
    async with asyncio.timeout(5):
        while (await one.get(VIEW)).body != b"new":
            pass
        assert (await other.get(VIEW)).body == b"old"
        while (await other.get(VIEW)).body != b"new":
            pass
    # It would have asked the origin before this.
    await other.get("/catalog/coats/")
    assert [asked.target for asked in origin.asked] == [VIEW, VIEW, "/catalog/coats/"]


async def test_what_was_purged_does_not_answer_while_it_is_refreshed(make_edge: EdgeFactory, origin: Origin):
    contexts = {"catalog": {**MANIFEST["contexts"]["catalog"], "ttl": 1, "swr": 60}}
    edge = await make_edge({"contexts": contexts})
    await edge.get(VIEW)
    await until_stale(edge)
    assert (await edge.purge("catalog;category=hats")).status == 200
    assert not (await edge.get(VIEW)).hit


@pytest.mark.parametrize("control", ["max-age=1", "min-fresh=1", "no-cache"])
async def test_who_wants_what_is_fresh_waits_for_it(make_edge: EdgeFactory, origin: Origin, control: str):
    contexts = {"catalog": {**MANIFEST["contexts"]["catalog"], "ttl": 1, "swr": 60}}
    edge = await make_edge({"contexts": contexts})
    await edge.get(VIEW)
    await until_stale(edge)
    assert not (await edge.get(VIEW, {"Cache-Control": control})).hit
