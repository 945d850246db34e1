"""Where the origin fails, a stale response answers if it may. RFC 5861 section 4."""

import asyncio
from typing import Any

import pytest

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says, running_origin, until

VIEW = "/catalog/hats/"
ALLOWED = ("Cache-Control", "max-age=1, stale-if-error=60")


async def stale(edge: RunningEdge, headers: dict[str, str] | None = None) -> None:
    """Waits until what is stored of VIEW is stale, and only that."""

    async def fresh() -> bool:
        return (await edge.get(VIEW, {"Cache-Control": "only-if-cached", **(headers or {})})).hit

    while await fresh():
        pass


def says(*headers: tuple[str, str], status: int = 503) -> Any:
    """An origin that answers once, and fails afterwards."""
    answered = False

    def script(asked: Asked) -> Says:
        nonlocal answered
        if answered or asked.method == "POST":
            return Says("failed", status=status)
        answered = True
        return Says("kept", headers=list(headers))

    return script


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("near", [0, 1 << 20])
async def test_a_stale_response_stands_for_an_error(make_edge: EdgeFactory, origin: Origin, status: int, near: int):
    edge = await make_edge(near=near)
    origin.script = says(ALLOWED, status=status)
    assert (await edge.get(VIEW)).body == b"kept"
    await stale(edge)
    reply = await edge.get(VIEW)
    assert (reply.status, reply.body) == (200, b"kept")
    assert reply.cache.startswith("hit; ttl=") and int(reply.cache.partition("=")[2]) <= 0
    assert int(reply["Age"] or 0) >= 1
    assert origin.hits == 2, "the origin was asked first"


async def test_a_stale_response_stands_for_an_origin_that_is_gone(make_edge: EdgeFactory):
    async with running_origin() as origin:
        edge = await make_edge(origin=origin.url)
        origin.script = says(ALLOWED)
        await edge.get(VIEW)
    await stale(edge)
    assert (await edge.get(VIEW)).body == b"kept"
    assert (await edge.get("/catalog/coats/")).status == 502


async def test_the_manifest_may_allow_it_where_the_response_says_nothing(make_edge: EdgeFactory, origin: Origin):
    contexts = {"catalog": {**MANIFEST["contexts"]["catalog"], "ttl": 1, "sie": 60}}
    edge = await make_edge({"contexts": contexts})
    origin.script = says()
    await edge.get(VIEW)
    await stale(edge)
    assert (await edge.get(VIEW)).body == b"kept"


@pytest.mark.parametrize(
    ("control", "status"),
    [
        ("max-age=1", 503),
        ("max-age=1, stale-if-error=0", 503),
        ("max-age=1, stale-if-error=60, must-revalidate", 503),
        ("max-age=1, stale-if-error=60, proxy-revalidate", 503),
        ("s-maxage=1, stale-if-error=60", 503),
        ("max-age=1, stale-if-error=60", 404),
    ],
)
async def test_otherwise_the_error_is_the_answer(edge: RunningEdge, origin: Origin, control: str, status: int):
    origin.script = says(("Cache-Control", control), status=status)
    await edge.get(VIEW)
    await stale(edge)
    assert (await edge.get(VIEW)).status == status


async def test_who_demands_a_fetch_gets_the_error(edge: RunningEdge, origin: Origin):
    origin.script = says(ALLOWED)
    await edge.get(VIEW)
    assert (await edge.get(VIEW, {"Cache-Control": "no-cache"})).status == 503


async def test_what_was_purged_stands_for_nothing(edge: RunningEdge, origin: Origin):
    origin.script = says(ALLOWED)
    await edge.get(VIEW)
    await stale(edge)
    assert (await edge.purge("catalog;category=hats")).status == 200
    assert (await edge.get(VIEW)).status == 503


async def test_a_crowd_gets_the_stale_response_as_well(edge: RunningEdge, origin: Origin):
    origin.script = says(ALLOWED)
    await edge.get(VIEW)
    await stale(edge)
    replies = await asyncio.gather(*(edge.get(VIEW) for _ in range(20)))
    assert {reply.body for reply in replies} == {b"kept"}
    await until(lambda: origin.hits >= 2)


async def test_what_is_purged_while_the_origin_is_asked_stands_for_nothing(edge: RunningEdge, origin: Origin):
    origin.script = lambda asked: Says("kept", headers=[ALLOWED, ("Age", "10")])
    await edge.get(VIEW)
    go_on = asyncio.Event()

    async def failing(asked: Asked) -> Says:
        await go_on.wait()
        return Says("failed", status=503)

    origin.script = failing
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(edge.get(VIEW))
        await until(lambda: origin.hits == 2)
        assert (await edge.purge("catalog;category=hats")).status == 200
        go_on.set()
    assert (reading.result().status, reading.result().body) == (503, b"failed")
