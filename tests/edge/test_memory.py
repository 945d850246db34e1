"""Responses in a worker's memory: they cost Redis nothing, and are as exact as those in Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store
from tests.support.edge import SECRET, EdgeFactory, RunningEdge
from tests.support.edges import Valve, Watch
from tests.support.killable import Redis
from tests.support.origin import Asked, Origin, Says, until
from tests.support.proxy import talking
from tests.support.redis_server import established
from tests.support.wire import Reply

VIEW = "/profile/5/"
ASKS = ("read", "lead", "store")
"""The scripts that a request may cost."""

Purge = Callable[[], Awaitable[object]]


@pytest.fixture
def watch(redis_url: str, namespace: str) -> Iterator[Watch]:
    watch = Watch(redis_url, namespace)
    yield watch
    watch.close()


@pytest.fixture
def store(redis_url: str, namespace: str) -> Iterator[Store]:
    """The store as a process outside any edge uses it."""
    store = Store(redis_url, Namespace(namespace, sealing_key(SECRET.encode())), timeout_s=5)
    yield store
    store.close()


async def remembered(watch: Watch, edge: RunningEdge, target: str = VIEW, headers=()) -> Reply:
    """A hit that costs Redis nothing."""
    watch.reset()
    reply = await edge.get(target, headers)
    assert reply.hit
    assert watch.asked(*ASKS) == 0
    return reply


async def test_a_hit_from_memory_asks_redis_nothing(edge: RunningEdge, watch: Watch):
    first = await edge.get(VIEW)
    watch.reset()
    replies = [await edge.get(VIEW) for _ in range(10)]
    assert watch.asked(*ASKS) == 0
    assert {reply.body for reply in replies} == {first.body}
    assert all(reply.hit for reply in replies)


async def test_what_was_read_from_redis_is_in_memory_from_then_on(make_edge: EdgeFactory, watch: Watch):
    one, two = await make_edge(), await make_edge()
    await one.get(VIEW)
    watch.reset()
    assert [(await two.get(VIEW)).hit for _ in range(10)] == [True] * 10
    assert watch.asked("read") == 1


async def test_without_a_near_cache_each_hit_asks_redis(make_edge: EdgeFactory, watch: Watch):
    edge = await make_edge(near=0)
    await edge.get(VIEW)
    watch.reset()
    assert [(await edge.get(VIEW)).hit for _ in range(10)] == [True] * 10
    assert watch.asked("read") == 10


BY_ADMIN: dict[str, dict[str, Any]] = {
    "scope": {"scopes": ["user;user_id=5"]},
    "context": {"scopes": ["user"]},
    "user": {"scopes": ["user;*user=5"]},
    "url": {"urls": [VIEW]},
    "all": {"all": True},
}
BY_STORE = {
    "scope": ([Scope.of("user", {"user_id": 5})], False),
    "context": ([Scope("user")], False),
    "user": ([Scope("user", (("*user", "5"),))], False),
    "url": ([Scope.of("user", {"*url": VIEW})], False),
    "all": ([], True),
}


@pytest.mark.parametrize("what", BY_ADMIN)
@pytest.mark.parametrize("how", ["at an edge", "outside"])
async def test_a_purge_reaches_the_memory_of_every_edge_before_it_is_answered(
    make_edge: EdgeFactory, origin: Origin, watch: Watch, store: Store, tokens, what: str, how: str
):
    edges = [await make_edge(), await make_edge()]
    value = ""
    origin.script = lambda _: Says(value)
    for number in range(2):
        value = f"value {number}"
        for edge in edges:
            await edge.get(VIEW, tokens("5"))
            assert (await remembered(watch, edge, headers=tokens("5"))).body == value.encode()
        value = "changed"
        if how == "at an edge":
            assert (await edges[number].purge(**BY_ADMIN[what])).json["entries"] == 1
        else:
            scopes, everything = BY_STORE[what]
            assert (await asyncio.to_thread(store.purge, scopes, everything=everything)).entries == 1
        replies = [await edge.get(VIEW, tokens("5")) for edge in edges]
        assert [reply.body for reply in replies] == [b"changed"] * 2
        assert [reply.hit for reply in replies] == [False, True]
        await edges[0].purge(all=True)


async def test_what_a_purge_has_taken_from_memory_is_fetched_without_a_look_into_redis(edge: RunningEdge, watch: Watch):
    await edge.get(VIEW)
    await remembered(watch, edge)
    await edge.purge("user;user_id=5")
    watch.reset()
    reply = await edge.get(VIEW)
    assert reply.body == b"GET /profile/5/ #2" and reply.cache == "fwd=uri-miss; stored"
    assert [watch.asked(script) for script in ASKS] == [0, 1, 1]
    assert (await remembered(watch, edge)).body == reply.body


async def test_what_another_edge_has_fetched_since_a_purge_is_found(make_edge: EdgeFactory, watch: Watch):
    one, two = await make_edge(), await make_edge()
    for edge in (one, two):
        await edge.get(VIEW)
        await remembered(watch, edge)
    await one.purge("user;user_id=5")
    first, second = await one.get(VIEW), await two.get(VIEW)
    assert first.body == second.body == b"GET /profile/5/ #2"
    assert (first.hit, second.hit) == (False, True)


async def test_who_wants_no_fetch_is_answered_from_what_redis_has_since_a_purge(make_edge: EdgeFactory, watch: Watch):
    one, two = await make_edge(), await make_edge()
    await one.get(VIEW)
    await remembered(watch, one)
    await two.purge("user;user_id=5")
    await two.get(VIEW)
    assert (await one.get(VIEW, {"Cache-Control": "only-if-cached"})).body == b"GET /profile/5/ #2"


async def test_what_a_purge_does_not_name_stays_in_memory(edge: RunningEdge, watch: Watch):
    targets = ["/profile/6/", "/catalog/shoes/"]
    for target in (VIEW, *targets):
        await edge.get(target)
    await edge.purge("user;user_id=5")
    for target in targets:
        await remembered(watch, edge, target)
    assert not (await edge.get(VIEW)).hit


async def test_memory_keeps_no_more_bytes_than_it_may(make_edge: EdgeFactory, origin: Origin, watch: Watch):
    origin.script = lambda asked: Says(asked.target * 100)
    size = len("/catalog/10/") * 100
    edge = await make_edge(near=40 * size)
    targets = [f"/catalog/{number}/" for number in range(10, 90)]
    for target in targets:
        await edge.get(target)
    watch.reset()
    for target in targets:
        assert (await edge.get(target)).hit
    assert watch.asked("read") >= len(targets) - 40
    # And within that it does remember.
    await edge.get(targets[-1])
    await remembered(watch, edge, targets[-1])


async def test_a_response_that_would_fill_memory_alone_is_left_to_redis(
    make_edge: EdgeFactory, origin: Origin, watch: Watch
):
    origin.script = lambda _: Says("x" * 40_000)
    edge = await make_edge(near=100_000)
    await edge.get(VIEW)
    watch.reset()
    assert [(await edge.get(VIEW)).hit for _ in range(3)] == [True] * 3
    assert watch.asked("read") == 3


async def test_variants_come_from_memory(edge: RunningEdge, origin: Origin, watch: Watch):
    origin.script = lambda asked: Says(f"{asked.get('Accept-Language')}", headers=[("Vary", "Accept-Language")])
    languages = [{"Accept-Language": "de"}, {"Accept-Language": "en"}, {}]
    bodies = [(await edge.get(VIEW, headers)).body for headers in languages]
    assert bodies == [b"de", b"en", b"None"]
    assert [(await remembered(watch, edge, headers=headers)).body for headers in languages] == bodies
    assert origin.hits == 3


async def test_an_entry_that_expires_in_memory_is_not_served_any_more(edge: RunningEdge, origin: Origin, watch: Watch):
    origin.headers = [("Cache-Control", "max-age=1")]
    await edge.get(VIEW)
    watch.reset()
    from_memory = 0
    async with asyncio.timeout(10):
        while (reply := await edge.get(VIEW)).hit:
            assert int(reply["Age"] or 0) <= 1
            # Memory may think it is a little later than Redis, never earlier: the last hits may be Redis' own.
            from_memory += watch.asked("read") == 0
    assert from_memory
    # By chance it is refreshed a little early, and then has another second, or is awaited.
    assert origin.hits >= 2
    assert reply.cache.partition(";")[0] in ("fwd=stale", "fwd=uri-miss")


async def test_directives_of_a_request_are_judged_for_memory_as_well(edge: RunningEdge, origin: Origin, watch: Watch):
    await edge.get(VIEW)
    for directive in ("only-if-cached", "max-age=60", "min-fresh=60", "max-stale"):
        await remembered(watch, edge, headers={"Cache-Control": directive})
    assert origin.hits == 1
    for count, directive in enumerate(("no-cache", "max-age=0", "min-fresh=999999999"), 2):
        assert not (await edge.get(VIEW, {"Cache-Control": directive})).hit
        assert origin.hits == count
    assert (await edge.get("/profile/6/", {"Cache-Control": "only-if-cached"})).status == 504
    # What they have fetched is in memory.
    assert (await remembered(watch, edge)).body == f"GET {VIEW} #4".encode()


@pytest.mark.parametrize("where", ["here", "elsewhere", "outside"])
async def test_what_the_origin_read_before_a_purge_gets_nowhere(
    make_edge: EdgeFactory, origin: Origin, store: Store, where: str
):
    edges = [await make_edge(), await make_edge()]
    answer = asyncio.Event()

    async def slow(asked: Asked) -> Says:
        await answer.wait()
        return Says("old")

    origin.script = slow
    asked = asyncio.get_running_loop().create_task(edges[0].get(VIEW))
    await until(lambda: origin.hits == 1)
    if where == "outside":
        await asyncio.to_thread(store.purge, [Scope.of("user", {"user_id": 5})])
    else:
        assert (await edges[where == "elsewhere"].purge("user;user_id=5")).status == 200
    answer.set()
    assert "stored" not in (await asked).cache
    origin.script = lambda _: Says("new")
    assert [(await edge.get(VIEW)).body for edge in edges] == [b"new"] * 2
    assert origin.hits == 2


@pytest.fixture
async def valve(server: Redis) -> AsyncIterator[tuple[Valve, str]]:
    valve = Valve(str(server.socket))
    async with talking(valve.talk) as address:
        yield valve, f"redis://{address}"
        valve.go.set()


@pytest.mark.parametrize("meanwhile", ["purge", "broken subscription"])
async def test_what_redis_read_before_a_purge_does_not_enter_memory_after_it(
    make_edge: EdgeFactory, origin: Origin, server: Redis, namespace: str, valve: tuple[Valve, str], meanwhile: str
):
    held, url = valve
    established(server.url, namespace)
    one, two = await make_edge(redis=server.url), await make_edge(redis=url)
    origin.script = lambda _: Says("old")
    await one.get(VIEW)
    held.next = "read"
    asked = asyncio.get_running_loop().create_task(two.get(VIEW))
    await held.held.wait()
    origin.script = lambda _: Says("new")
    if meanwhile == "broken subscription":
        with server.client() as client:
            assert client.client_kill_filter(_type="pubsub")
    assert (await one.purge("user;user_id=5")).json["entries"] == 1
    held.go.set()
    reply = await asked
    if meanwhile == "purge":
        assert reply.body == b"old", "it was asked for before the purge; or it was not held back at all"
    assert [(await edge.get(VIEW)).body for edge in (two, one, two)] == [b"new"] * 3
