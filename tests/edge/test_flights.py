"""Any number of requests for one missing entry, on any number of edges, cost the origin one request."""

import asyncio
from collections.abc import Coroutine

import pytest

from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says, until
from tests.support.wire import Reply

VIEW = "/profile/5/"


def start(work: Coroutine[None, None, Reply]) -> asyncio.Task[Reply]:
    return asyncio.get_running_loop().create_task(work)


class Slow:
    """An origin that answers when it is let go."""

    def __init__(self, *says: Says) -> None:
        self.go = asyncio.Event()
        self.says = list(says)

    async def __call__(self, asked: Asked) -> Says:
        await self.go.wait()
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


async def test_a_crowd_on_two_edges_costs_one_request(make_edge: EdgeFactory, origin: Origin):
    edges = [await make_edge(), await make_edge()]
    slow = Slow(Says("one"))
    origin.script = slow
    crowd = [start(edges[n % 2].get(VIEW)) for n in range(100)]
    await until(lambda: origin.hits == 1)
    slow.go.set()
    replies = await asyncio.gather(*crowd)
    assert {reply.body for reply in replies} == {b"one"}
    assert origin.hits == 1
    caches = [reply.cache for reply in replies]
    assert caches.count("fwd=uri-miss; stored") == 1
    assert {cache for cache in caches if "stored" not in cache} <= {"fwd=uri-miss; collapsed", "hit; ttl=86400"}


async def test_who_comes_after_a_purge_does_not_join_a_flight_that_began_before(edge: RunningEdge, origin: Origin):
    before, after = Slow(Says("old")), Slow(Says("new"))
    origin.script = before
    leader = start(edge.get(VIEW))
    await until(lambda: origin.hits == 1)
    origin.script = after
    early = [start(edge.get(VIEW)) for _ in range(5)]
    assert (await edge.purge("user;user_id=5")).status == 200
    late = [start(edge.get(VIEW)) for _ in range(5)]
    await until(lambda: origin.hits == 2)
    after.go.set()
    assert [reply.body for reply in await asyncio.gather(*late)] == [b"new"] * 5
    before.go.set()
    led = await leader
    assert led.body in (b"old", b"new")
    assert "stored" not in led.cache
    # Both bodies would be right, but the old one is in no place where they could have found it.
    assert [reply.body for reply in await asyncio.gather(*early)] == [b"new"] * 5
    assert origin.hits == 2
    kept = await edge.get(VIEW)
    assert kept.hit
    assert kept.body == b"new"
    assert origin.hits == 2


@pytest.mark.parametrize(
    "says",
    [
        Says("a", headers=[("Set-Cookie", "a=b")]),
        Says("a", headers=[("Cache-Control", "private")]),
        Says("a", status=500),
    ],
    ids=["set-cookie", "private", "error"],
)
async def test_what_cannot_be_shared_is_fetched_by_all_at_once_and_remembered(
    edge: RunningEdge, origin: Origin, says: Says
):
    slow = Slow(says)
    origin.script = slow
    crowd = [start(edge.get(VIEW)) for _ in range(20)]
    await until(lambda: origin.hits == 1)
    slow.go.set()
    await asyncio.gather(*crowd)
    assert origin.hits == 20
    # From now on nobody waits for anybody, although the origin is slow again.
    slow.go.clear()
    crowd = [start(edge.get(VIEW)) for _ in range(20)]
    await until(lambda: origin.hits == 40)
    slow.go.set()
    await asyncio.gather(*crowd)


async def test_variants_are_flights_of_their_own(edge: RunningEdge, origin: Origin):
    slow = Slow(Says("x", headers=[("Vary", "Accept-Language")]))
    origin.script = slow
    languages = ["de", "en", "fr"]
    crowd = [start(edge.get(VIEW, {"Accept-Language": languages[n % 3]})) for n in range(30)]
    await until(lambda: origin.hits == 1)
    slow.go.set()
    assert all(reply.status == 200 for reply in await asyncio.gather(*crowd))
    assert origin.hits == 3


async def test_a_leader_whose_client_has_gone_fetches_for_the_others(edge: RunningEdge, origin: Origin):
    slow = Slow(Says("one"))
    origin.script = slow
    host, _, port = edge.address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {VIEW} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
    await until(lambda: origin.hits == 1)
    others = [start(edge.get(VIEW)) for _ in range(5)]
    writer.close()
    slow.go.set()
    assert {reply.body for reply in await asyncio.gather(*others)} == {b"one"}
    assert origin.hits == 1


async def test_an_expired_entry_is_fetched_anew_once(edge: RunningEdge, origin: Origin):
    origin.headers = [("Cache-Control", "max-age=1, stale-if-error=60")]
    assert (await edge.get(VIEW)).cache == "fwd=uri-miss; stored"
    # Asks the store alone, where the entry stays for the minute in which it may stand in for an error.
    async with asyncio.timeout(10):
        while (await edge.get(VIEW, {"Cache-Control": "only-if-cached"})).status == 200:
            pass
    assert origin.hits == 1
    slow = Slow(Says("two", headers=[("Cache-Control", "max-age=60")]))
    origin.script = slow
    crowd = [start(edge.get(VIEW)) for _ in range(20)]
    await until(lambda: origin.hits == 2)
    slow.go.set()
    replies = await asyncio.gather(*crowd)
    assert {reply.body for reply in replies} == {b"two"}
    assert origin.hits == 2
    assert [reply.cache for reply in replies].count("fwd=stale; stored") == 1
