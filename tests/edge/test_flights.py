"""Any number of requests for one missing entry, on any number of edges, cost the origin one request."""

import asyncio
from collections.abc import Coroutine

import pytest

from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.edges import NAMESPACE, Start, Valve, somebody_waits
from tests.support.killable import Redis
from tests.support.origin import Asked, Origin, Says, until
from tests.support.proxy import talking
from tests.support.redis_server import established
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
    landed = asyncio.get_running_loop().time()
    after.go.set()
    assert [reply.body for reply in await asyncio.gather(*late)] == [b"new"] * 5
    before.go.set()
    led = await leader
    assert led.body in (b"old", b"new")
    assert "stored" not in led.cache
    # They came before the purge, as the leader did.
    assert {reply.body for reply in await asyncio.gather(*early)} <= {b"old", b"new"}
    assert asyncio.get_running_loop().time() - landed < 1, "woken, and not after a fill lease has run out"
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


async def test_who_waited_for_another_variant_than_his_own_leads_all_who_want_that(
    make_edge: EdgeFactory, origin: Origin, redis_url: str, namespace: str
):
    one, other = await make_edge(), await make_edge()
    gates = {"de": asyncio.Event(), "en": asyncio.Event()}

    async def script(asked: Asked) -> Says:
        if asked.target == VIEW:
            await gates[asked.get("Accept-Language") or ""].wait()
        return Says("page", headers=[("Vary", "Accept-Language")])

    origin.script = script
    fetched = start(one.get(VIEW, {"Accept-Language": "de"}))
    await until(lambda: origin.hits == 1)
    crowd = [start(other.get(VIEW, {"Accept-Language": "en"})) for _ in range(10)]
    await until(lambda: somebody_waits(redis_url, namespace))
    gates["de"].set()
    await fetched
    await until(lambda: origin.hits == 2)
    # Each of the crowd goes the same way, and began before this.
    await other.get("/profile/6/")
    gates["en"].set()
    await asyncio.gather(*crowd)
    asked = [(asked.target, asked.get("Accept-Language")) for asked in origin.asked]
    assert asked == [(VIEW, "de"), (VIEW, "en"), ("/profile/6/", None)]


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


async def test_who_loses_its_session_when_its_turn_has_come_keeps_nobody_waiting(
    make_edge: EdgeFactory, server: Redis, namespace: str, origin: Origin
):
    valve = Valve(str(server.socket))
    established(server.url, namespace)
    async with talking(valve.talk) as address:
        loser = await make_edge(redis=f"redis://{address}")
        await loser.get("/profile/7/")  # so that Redis has the scripts
        valve.next = "lead"
        asked = start(loser.get(VIEW))
        await valve.held.wait()
        valve.refusing = True
        with server.client() as client:
            assert client.client_kill_filter(_type="pubsub")
        async with asyncio.timeout(10):
            while (await loser.get("/profile/6/")).cache != "fwd=bypass; detail=store":
                pass
        valve.go.set()
        assert (await asked).cache == "fwd=bypass; detail=store"
        valve.refusing = False
        other = await make_edge(redis=server.url)
        async with asyncio.timeout(1):  # a fill lease would be two seconds
            assert (await other.get(VIEW)).cache == "fwd=uri-miss; stored"


async def test_a_crowd_on_two_edges_of_two_workers_costs_one_request(start_edge: Start, origin: Origin):
    edges = [await start_edge(), await start_edge()]

    async def script(asked: Asked) -> Says:
        await asyncio.sleep(0.3)
        return Says("one")

    origin.script = script
    replies = await asyncio.gather(*(edges[n % 2].get(VIEW) for n in range(100)))
    assert {reply.body for reply in replies} == {b"one"}
    assert origin.hits == 1


async def test_who_waits_for_another_edge_is_not_forgotten_when_purges_overtake_that_again_and_again(
    make_edge: EdgeFactory, origin: Origin, redis_url: str, namespace: str
):
    """Each fill is overtaken and its lease taken over before it ends: none of them ends a lease that is its own."""
    one, other = await make_edge(), await make_edge()
    gates: list[asyncio.Event] = []

    async def script(asked: Asked) -> Says:
        gates.append(asyncio.Event())
        await gates[-1].wait()
        return Says("page")

    origin.script = script
    leaders = [start(one.get(VIEW))]
    await until(lambda: origin.hits == 1)
    waiting = start(other.get(VIEW))
    await until(lambda: somebody_waits(redis_url, namespace))
    try:
        async with asyncio.timeout(1):
            while not waiting.done():
                assert (await one.purge("user;user_id=5")).status == 200
                hits = origin.hits
                leaders.append(start(one.get(VIEW)))
                await until(lambda hits=hits: origin.hits > hits)  # type: ignore[misc]
                for gate in gates[:-1]:
                    gate.set()
    finally:
        origin.script = lambda _: Says("page")
        for gate in gates:
            gate.set()
        replies = await asyncio.gather(waiting, *leaders)
    assert {reply.body for reply in replies} == {b"page"}


async def test_a_key_that_is_purged_again_and_again_keeps_nobody_waiting(
    start_edge: Start, make_edge: EdgeFactory, server: Redis, origin: Origin
):
    """Every fill is overtaken, as a purge comes sooner than any response; and nobody gets what is too old."""
    fetch_s, written, purged, over = 0.2, 0, 0, False

    async def script(asked: Asked) -> Says:
        value = written
        await asyncio.sleep(fetch_s)
        return Says(str(value))

    origin.script = script
    edges = [await start_edge(), await make_edge(redis=server.url, namespace=NAMESPACE)]

    async def write() -> None:
        nonlocal written, purged
        while not over:
            written += 1
            assert (await edges[0].purge("user;user_id=5")).status == 200
            purged = written
            await asyncio.sleep(fetch_s / 4)

    async def read(number: int) -> None:
        for _ in range(5):
            least = purged
            reply = await edges[number % 2].get(VIEW)
            assert reply.status == 200
            assert int(reply.body) >= least

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(write())
        # The purges go on until everybody has been answered.
        await asyncio.gather(*(read(number) for number in range(40)))
        over = True
    assert purged > 10
