"""A context that is switched off is a plain proxy, at once, everywhere and for good; on again, it shows nothing old."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.edges import LEASE_S, NAMESPACE, Client, Deaf, Start, Valve
from tests.support.killable import Redis
from tests.support.origin import Asked, Origin, Says, until
from tests.support.proxy import talking
from tests.support.redis_server import established
from tests.support.wire import Reply

VIEW = "/profile/5/"
OTHER = "/catalog/shoes/"
OFF = "fwd=bypass; detail=disabled"


async def switch(edge: RunningEdge, enabled: bool, context: str = "user") -> Reply:
    return await edge.admin_request("POST", f"/contexts/{context}", {"enabled": enabled})


async def switched(edge: RunningEdge, enabled: bool, context: str = "user") -> dict[str, Any]:
    """Switches a context, which must be confirmed; what is said of it then."""
    reply = await switch(edge, enabled, context)
    assert reply.status == 200, reply.body
    document: dict[str, Any] = reply.json
    return document


async def contexts(edge: RunningEdge) -> dict[str, Any]:
    reply = await edge.admin_request("GET", "/contexts", token="read-token")
    assert reply.status == 200
    found: dict[str, Any] = reply.json["contexts"]
    return found


async def caches(edge: RunningEdge, *targets: str) -> list[str]:
    return [(await edge.get(target)).cache for target in targets]


async def serves_hits(edge: RunningEdge) -> None:
    """Returns when it has a lease."""
    async with asyncio.timeout(10):
        while not (await edge.get(OTHER)).hit:  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)


async def turns_off(edge: RunningEdge | Client) -> None:
    """Returns when the context is off; until then nothing of it is served from the cache."""
    async with asyncio.timeout(10):
        while (reply := await edge.get(VIEW)).cache != OFF:
            assert not reply.hit
            await asyncio.sleep(0.02)


async def test_it_is_told_which_contexts_there_are_and_how_they_are_switched(edge: RunningEdge):
    await caches(edge, VIEW, "/profile/6/", OTHER)
    user = {"scope": "user", "params": ["user_id", "locale"], "enabled": True, "shadow": 0, "entries": 2}
    catalog = {"scope": "public", "params": ["category"], "enabled": True, "shadow": 0, "entries": 1}
    assert await contexts(edge) == {"catalog": catalog, "user": user}
    assert await switched(edge, False) == user | {"enabled": False, "entries": 0}
    assert await contexts(edge) == {"catalog": catalog, "user": user | {"enabled": False, "entries": 0}}


async def test_nothing_of_a_context_that_is_off_is_served_or_stored(
    edge: RunningEdge, origin: Origin, redis_url: str, namespace: str, tokens: Any
):
    signed_in = tokens("5")

    async def asked() -> list[str]:
        replies = [
            await edge.get(VIEW),
            await edge.get(VIEW, signed_in),
            await edge.get("/api/mizan/ctx/user/?user_id=5"),
            await edge.call("user_profile", user_id=5),
            await edge.request("HEAD", VIEW),
            await edge.get(VIEW, {"Cache-Control": "only-if-cached"}),
        ]
        return [reply.cache for reply in replies]

    await asked()
    assert all(cache.startswith("hit") for cache in await asked())
    await caches(edge, OTHER)
    await switched(edge, False)
    before = origin.hits
    assert await asked() + await asked() == [OFF] * 12
    assert origin.hits == before + 12
    assert (await edge.get(OTHER)).hit
    with redis.Redis.from_url(redis_url) as client:
        assert len(list(client.scan_iter(f"{{{namespace}}}:e:*"))) == 1
    # What it lets through, it lets through as it is.
    assert (await edge.get(VIEW, {"Cookie": "a=b", "If-None-Match": '"x"'})).cache == OFF
    assert (origin.asked[-1].get("Cookie"), origin.asked[-1].get("If-None-Match")) == ("a=b", '"x"')


@pytest.mark.parametrize("near", [64 << 20, 0], ids=["memory", "Redis"])
async def test_nothing_of_before_comes_back_when_it_is_on_again(make_edge: EdgeFactory, origin: Origin, near: int):
    edge = await make_edge(near=near)
    says = "before"
    origin.script = lambda _: Says(says)
    assert [(await edge.get(VIEW)).hit for _ in range(3)] == [False, True, True]
    await switched(edge, False)
    says = "changed, and nobody said so"
    assert (await edge.get(VIEW)).body == says.encode()
    assert (await switched(edge, True))["enabled"]
    reply = await edge.get(VIEW)
    assert (reply.cache, reply.body) == ("fwd=uri-miss; stored", says.encode())
    assert [((await edge.get(VIEW)).hit, (await edge.get(VIEW)).body) for _ in range(2)] == [(True, says.encode())] * 2


async def test_explain_says_so(edge: RunningEdge):
    await switched(edge, False)
    decision = (await edge.admin_request("GET", f"/explain?url={VIEW}")).json["decision"]
    assert (decision["outcome"], decision["cache_status"]) == ("pass", f"mizan-edge; {OFF}")
    assert decision["reason"] == "The cache is switched off for this context."


async def test_to_switch_it_on_which_is_on_purges_nothing(edge: RunningEdge):
    await caches(edge, VIEW)
    await switched(edge, True)
    assert (await edge.get(VIEW)).hit


@pytest.mark.parametrize("on_again", [False, True])
async def test_a_fill_that_began_before_is_joined_by_nobody_and_is_not_stored(
    edge: RunningEdge, origin: Origin, on_again: bool
):
    go = asyncio.Event()

    async def slow(_: Asked) -> Says:
        origin.script = lambda _: Says("new")
        await go.wait()
        return Says("old")

    origin.script = slow
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(edge.get(VIEW))
        await until(lambda: origin.hits == 1)
        await switched(edge, False)
        second = await edge.get(VIEW)
        assert (second.cache, second.body) == (OFF, b"new")
        if on_again:
            await switched(edge, True)
        go.set()
    first = asked.result()
    assert (first.cache, first.body) == ("fwd=uri-miss", b"old")
    replies = [await edge.get(VIEW) for _ in range(2)]
    assert [reply.body for reply in replies] == [b"new"] * 2
    assert replies[1].hit == on_again


async def test_invalidations_are_obeyed_while_it_is_off(edge: RunningEdge, origin: Origin):
    """Of a response that two contexts share, and of one that names the context in passing."""
    origin.headers = [("X-Mizan-Scope", "user;user_id=5")]
    await caches(edge, OTHER, OTHER)
    await switched(edge, False)
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5")]
    await edge.request("POST", "/x", body=b"")
    assert await caches(edge, OTHER) == ["fwd=uri-miss; stored"]


async def test_a_reload_keeps_the_switch_even_where_the_context_is_gone_meanwhile(edge: RunningEdge):
    async def reload(manifest: dict[str, Any]) -> None:
        edge.manifest_path.write_text(json.dumps(manifest))
        assert (await edge.admin_request("POST", "/reload")).status == 200

    await switched(edge, False)
    await reload(MANIFEST | {"release": "2"})
    assert await caches(edge, VIEW) == [OFF]
    await reload({"contexts": {"catalog": MANIFEST["contexts"]["catalog"]}})
    assert (await switch(edge, True)).status == 404
    assert list(await contexts(edge)) == ["catalog"]
    await reload(MANIFEST)
    assert await caches(edge, VIEW, OTHER, OTHER) == [OFF, "fwd=uri-miss; stored", "hit; ttl=86400"]


async def test_every_worker_of_every_edge_knows_when_it_is_answered(
    start_edge: Start, make_edge: EdgeFactory, server: Redis, origin: Origin
):
    edge, other = await make_edge(redis=server.url, namespace=NAMESPACE), await start_edge()
    await serves_hits(edge)
    clients = await other.clients()
    await serves_hits(other)
    for client in clients * 2:
        await client.get(VIEW)
    assert [(await client.get(VIEW)).hit for client in clients] == [True, True]
    says = "new"
    origin.script = lambda _: Says(says)
    for _ in range(3):
        await switched(edge, False)
        assert [(await client.get(VIEW)).cache for client in clients] == [OFF, OFF]
        assert await caches(edge, VIEW) == [OFF]
        # By the other one, too.
        await switched(other, True)
        says += "er"
        found = [await edge.get(VIEW), *[await client.get(VIEW) for client in clients]]
        assert [reply.body.decode() for reply in found] == [says] * 3
        assert found[-1].hit
    await switched(edge, False)
    os.kill(other.workers[0], signal.SIGKILL)
    for client in await other.clients():
        assert (await client.get(VIEW)).cache == OFF
    late = await make_edge(redis=server.url, namespace=NAMESPACE)
    assert await caches(late, VIEW) == [OFF]
    assert not (await contexts(late))["user"]["enabled"]


async def test_an_edge_that_was_frozen_wakes_knowing_it(start_edge: Start, make_edge: EdgeFactory, server: Redis):
    edge, other = await make_edge(redis=server.url, namespace=NAMESPACE), await start_edge()
    await serves_hits(edge)
    clients = await other.clients()
    for client in clients * 2:
        await client.get(VIEW)
    os.kill(other.pid, signal.SIGSTOP)
    try:
        clock = asyncio.get_running_loop().time
        since_s = clock()
        await switched(edge, False)
        assert LEASE_S / 2 < clock() - since_s < 2 * LEASE_S
        assert [(await client.get(VIEW)).cache for client in clients] == ["fwd=bypass; detail=store"] * 2
    finally:
        os.kill(other.pid, signal.SIGCONT)
    for client in clients:
        await turns_off(client)


async def test_an_edge_that_hears_nothing_is_told_by_its_renewals(make_edge: EdgeFactory, server: Redis):
    way = Deaf(str(server.socket))
    async with talking(way.talk) as address:
        edge = await make_edge(redis=server.url, namespace=NAMESPACE)
        deaf = await make_edge(redis=f"redis://{address}", namespace=NAMESPACE)
        await serves_hits(edge)
        await serves_hits(deaf)
        await caches(deaf, VIEW, VIEW)
        way.deaf = True
        await switched(edge, False)
        await turns_off(deaf)


async def test_it_stays_off_without_redis_after_a_kill_and_when_redis_has_lost_everything(
    start_edge: Start, make_edge: EdgeFactory, server: Redis, tmp_path: Path
):
    edge = await start_edge(workers=1, state=tmp_path / "killed")
    other = await make_edge(redis=server.url, namespace=NAMESPACE)
    await serves_hits(edge)
    await serves_hits(other)
    server.kill()
    reply = await switch(edge, False)
    assert (reply.status, reply.json["journaled"]) == (503, True)
    assert await caches(edge, VIEW) == [OFF]
    # To have it on is refused: nobody can say that what was stored is purged.
    assert (await switch(edge, True)).status == 503
    assert await caches(edge, VIEW) == [OFF]
    await edge.kill()
    again = await start_edge(workers=1, state=tmp_path / "killed")
    assert await caches(again, VIEW) == [OFF]
    server.start()
    await serves_hits(again)
    assert await caches(again, VIEW) == [OFF]
    await turns_off(other)
    with server.client() as client:
        client.flushall()
        await until(lambda: bool(client.exists(f"{{{NAMESPACE}}}:switched")))
    late = await make_edge(redis=server.url, namespace=NAMESPACE)
    assert [await caches(each, VIEW) for each in (again, other, late)] == [[OFF]] * 3


async def is_off_everywhere(origin: Origin, *edges: RunningEdge) -> None:
    """Returns when all edges have heard that the context is off, and nobody gets it from the cache."""
    async with asyncio.timeout(10):
        while any([(await contexts(edge))["user"]["enabled"] for edge in edges]):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    for edge in edges:
        await serves_hits(edge)
        before = origin.hits
        assert await caches(edge, VIEW, VIEW) == [OFF, OFF]
        assert origin.hits == before + 2


async def test_an_off_outlives_whatever_else_is_said_elsewhere_while_redis_is_away(
    make_edge: EdgeFactory, server: Redis, origin: Origin
):
    established(server.url, NAMESPACE)
    edges = [await make_edge(redis=server.url, namespace=NAMESPACE) for _ in range(2)]
    for edge in edges:
        await serves_hits(edge)
        await caches(edge, VIEW, VIEW)
    server.kill()

    async def says(edge: RunningEdge, *bodies: dict[str, Any]) -> list[int]:
        return [(await edge.admin_request("POST", "/contexts/user", body)).status for body in bodies]

    said = await asyncio.gather(says(edges[0], {"enabled": False}), says(edges[1], {"shadow": 0.5}, {"shadow": None}))
    assert list(said) == [[503], [503, 503]]
    assert [(await contexts(edge))["user"]["enabled"] for edge in edges] == [False, True]
    server.start()
    await is_off_everywhere(origin, *edges)


async def test_an_off_outlives_an_on_that_has_not_seen_it(make_edge: EdgeFactory, server: Redis, origin: Origin):
    """1. A is cut off from Redis. 2. A switches off. 3. B switches off, and on. 4. A is back."""
    established(server.url, NAMESPACE)
    way = Valve(str(server.socket))
    async with talking(way.talk) as address:
        apart = await make_edge(redis=f"redis://{address}", namespace=NAMESPACE)
        other = await make_edge(redis=server.url, namespace=NAMESPACE)
        await serves_hits(apart)
        way.refusing = True
        with server.client() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
        reply = await switch(apart, False)
        assert (reply.status, reply.json["journaled"]) == (503, True)
        await serves_hits(other)
        await switched(other, False)
        await switched(other, True)
        assert await caches(other, VIEW, VIEW) == ["fwd=uri-miss; stored", "hit; ttl=86400"]
        way.refusing = False
        await is_off_everywhere(origin, apart, other)
        # And whoever has seen both switches it on.
        assert (await switched(other, True))["enabled"]
        for edge in (apart, other):
            assert (await contexts(edge))["user"]["enabled"]
        assert await caches(other, VIEW, VIEW) == ["fwd=uri-miss; stored", "hit; ttl=86400"]


async def test_every_edge_purges_before_it_has_it_on_again(make_edge: EdgeFactory, server: Redis):
    established(server.url, NAMESPACE)
    way = Valve(str(server.socket))
    async with talking(way.talk) as address:
        one = await make_edge(redis=server.url, namespace=NAMESPACE)
        other = await make_edge(redis=f"redis://{address}", namespace=NAMESPACE)
        await serves_hits(one)
        await serves_hits(other)
        await switched(one, False)
        seq = (await one.admin_request("GET", "/audit?limit=1")).json["purges"][0]["seq"]
        way.next = "purge"
        async with asyncio.TaskGroup() as group:
            on = group.create_task(switched(one, True))
            await way.held.wait()
            assert await caches(other, VIEW) == [OFF]
            assert not on.done()
            way.go.set()
        assert [(await contexts(edge))["user"]["enabled"] for edge in (one, other)] == [True, True]
        purges = (await one.admin_request("GET", f"/audit?since={seq}")).json["purges"]
        assert [purge["scopes"] for purge in purges] == [["user"], ["*switch", "user"], ["user"]]
        by_other, told, by_one = [purge["edge"] for purge in purges]
        assert told == by_one != by_other


async def test_an_off_that_comes_while_an_on_is_being_purged_for_stays(make_edge: EdgeFactory, server: Redis):
    established(server.url, NAMESPACE)
    way = Valve(str(server.socket))
    async with talking(way.talk) as address:
        edge = await make_edge(redis=f"redis://{address}", namespace=NAMESPACE)
        await serves_hits(edge)
        await switched(edge, False)
        way.next = "purge"
        async with asyncio.TaskGroup() as group:
            on = group.create_task(switched(edge, True))
            await way.held.wait()
            assert not (await switched(edge, False))["enabled"]
            way.go.set()
        assert not on.result()["enabled"]
        assert await caches(edge, VIEW) == [OFF]


@pytest.mark.parametrize("where", ["Redis", "state directory"])
async def test_what_an_earlier_version_has_switched_off_is_off(
    make_edge: EdgeFactory, server: Redis, tmp_path: Path, where: str
):
    established(server.url, NAMESPACE)
    off = {"enabled": False, "shadow": None, "version": 3}
    state = tmp_path / "state"
    state.mkdir()
    if where == "Redis":
        with server.client() as client:
            client.hset(f"{{{NAMESPACE}}}:switches", "user", json.dumps(off))
    else:
        (state / "contexts.json").write_text(json.dumps({"user": off}) + "\n")
    edge = await make_edge(redis=server.url, namespace=NAMESPACE, state_dir=state)
    other = await make_edge(redis=server.url, namespace=NAMESPACE)
    assert [await caches(each, VIEW) for each in (edge, other)] == [[OFF], [OFF]]
    await switched(other, True)
    assert (await contexts(edge))["user"]["enabled"]


async def test_switches_that_cannot_be_read_keep_the_edge_from_starting(make_edge: EdgeFactory, tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "contexts.json").write_text('{"user": {"enabled": "no"}}')
    with pytest.raises(Exception, match=r"contexts\.json cannot be read: mend it"):
        await make_edge(state_dir=state)


# Who may, and what can be meant.


async def test_only_the_purge_token_may_switch(edge: RunningEdge):
    for token, status in ((None, 401), ("wrong", 401), ("read-token", 403)):
        reply = await edge.admin_request("POST", "/contexts/user", {"enabled": False}, token=token)
        assert reply.status == status
    assert (await edge.admin_request("GET", "/contexts", token=None)).status == 401
    assert (await contexts(edge))["user"]["enabled"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "enabled"),
        ({"enabled": "false"}, "enabled"),
        ({"enabled": True, "shadow": "1"}, "shadow"),
        ({"enabled": None}, "enabled"),
        ({"enabled": 0}, "enabled"),
        ({"enable": False}, "'enabled'"),
        ([], "JSON object"),
        (None, "JSON"),
    ],
)
async def test_a_body_that_says_nothing_clear_switches_nothing(edge: RunningEdge, body: Any, says: str):
    reply = await edge.admin_request("POST", "/contexts/user", b"null" if body is None else body)
    assert reply.status == 422
    assert says in reply.json["detail"]
    assert (await contexts(edge))["user"]["enabled"]


async def test_a_context_that_is_not_there_is_404_with_the_nearest_name(edge: RunningEdge):
    reply = await switch(edge, False, "catalogue")
    assert reply.status == 404
    assert "'catalog'" in reply.json["detail"]
