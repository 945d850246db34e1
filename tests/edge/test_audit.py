"""The audit: who purged what, as the admin listener of any edge tells it."""

import asyncio
import json
import time
from datetime import datetime
from typing import Any

import pytest
import redis

from mizan_core.purge import By
from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store
from tests.support.edge import MANIFEST, SECRET, EdgeFactory, RunningEdge
from tests.support.killable import Redis
from tests.support.origin import Origin, Says

FIVE = "user;user_id=5"
CALL = "POST /api/mizan/call/"


async def audit(edge: RunningEdge, query: str = "") -> list[dict[str, Any]]:
    reply = await edge.admin_request("GET", f"/audit{query}", token="read-token")
    assert reply.status == 200, reply.body
    purges: list[dict[str, Any]] = reply.json["purges"]
    return purges


async def test_a_purge_by_a_response_names_the_request_and_the_function(edge: RunningEdge, origin: Origin):
    await edge.get("/profile/5/")
    origin.headers = [("X-Mizan-Invalidate", f"{FIVE}, catalog")]
    await edge.call("rename_user", user_id=5)
    (purge,) = await audit(edge)
    assert (purge["source"], purge["request"], purge["function"]) == ("response", CALL, "rename_user")
    assert purge["scopes"] == ["catalog", FIVE]
    assert (purge["entries"], purge["scope_count"]) == (1, 2)
    assert abs(datetime.fromisoformat(purge["at"]).timestamp() - time.time()) < 60
    assert purge["at"].endswith("Z")
    assert 0 <= purge["acknowledged_ms"] < 60_000
    assert purge["edge"] and purge["host"]
    # A query may hold what nobody else is to read.
    await edge.get("/nothing/?token=secret")
    assert (await audit(edge))[0]["request"] == "GET /nothing/"


async def test_a_purge_by_a_person_names_the_role_and_the_request(edge: RunningEdge):
    await edge.purge(FIVE)
    await edge.admin_request("PURGE", "/profile/5/")
    seq = (await edge.admin_request("POST", "/purge", {"all": True})).json["seq"]
    await edge.purge(FIVE, dry_run=True)
    everything, url, scope = await audit(edge)
    assert {purge["source"] for purge in (everything, url, scope)} == {"admin"}
    assert {purge["token"] for purge in (everything, url, scope)} == {"purge"}
    assert (everything["scopes"], everything["seq"]) == (["*"], seq)
    assert url["request"] == "PURGE /profile/5/"
    assert scope["request"] == "POST /purge"
    # As it was sent: neither what it stands for, nor a query.
    await edge.admin_request("PURGE", "/catalog/%1B]0;a%07/?token=secret")
    assert (await audit(edge))[0]["request"] == "PURGE /catalog/%1B]0;a%07/"


async def test_what_nobody_has_said_is_told_as_well(edge: RunningEdge, origin: Origin):
    origin.script = lambda asked: Says(status=500 if asked.method == "POST" else 200)
    await edge.call("rename_user", user_id=5)
    unknown = (await audit(edge))[-1]
    assert (unknown["source"], unknown["request"]) == ("unknown outcome", CALL)
    assert (unknown["function"], unknown["scopes"]) == ("rename_user", [FIVE])
    origin.script = origin.default
    await edge.request("POST", "/profile/5/")
    unsafe = (await audit(edge))[0]
    assert "X-Mizan-Invalidate" in unsafe["note"]
    assert unsafe["scopes"] == ['user;*url="/profile/5/"']
    origin.headers = [("X-Mizan-Invalidate", "user;usr_id=5")]
    await edge.request("POST", "/anything/")
    assert "widened" in (await audit(edge))[0]["note"]
    assert (await audit(edge))[0]["scopes"] == ["user"]


async def test_a_reload_is_told(edge: RunningEdge):
    changed = json.loads(json.dumps(MANIFEST))
    changed["contexts"]["catalog"]["rev"] = 1
    edge.manifest_path.write_text(json.dumps(changed))
    await edge.admin_request("POST", "/reload")
    (purge,) = await audit(edge)
    assert (purge["source"], purge["scopes"]) == ("reload", ["catalog"])


async def test_it_is_one_for_the_fleet_and_outlasts_its_edges(make_edge: EdgeFactory, redis_url: str, namespace: str):
    one, other = await make_edge(), await make_edge()
    await one.purge(FIVE)
    await other.purge("catalog")
    store = Store(redis_url, Namespace(namespace, sealing_key(SECRET.encode())), timeout_s=5)
    await asyncio.to_thread(store.purge, [Scope("user")], by=By(source="django"))
    store.close()
    third = await make_edge()
    for edge in one, other, third:
        purges = await audit(edge)
        assert [purge["source"] for purge in purges] == ["django", "admin", "admin"]
        assert [purge["seq"] for purge in purges] == sorted((purge["seq"] for purge in purges), reverse=True)
        assert purges[1]["edge"] != purges[2]["edge"]
        assert purges[0]["acknowledged_ms"] is not None


async def test_it_is_narrowed_by_number_and_by_scope(edge: RunningEdge):
    scopes = [FIVE, "user;user_id=6", "catalog", 'user;locale="de"', 'user;*url="/profile/5/"', "user"]
    seqs = [(await edge.purge(scope)).json["seq"] for scope in scopes]

    async def found(query: str) -> list[str]:
        return [scope for purge in await audit(edge, query) for scope in purge["scopes"]][::-1]

    assert await found("") == scopes
    assert await found("?limit=2") == scopes[-2:]
    assert await found(f"?since={seqs[2]}") == scopes[3:]
    assert await found(f"?before={seqs[2]}&limit=1") == scopes[1:2]
    assert await found("?scope=catalog") == ["catalog"]
    assert await found("?scope=user") == [scope for scope in scopes if scope != "catalog"]
    # Whatever may have removed something of it.
    assert await found("?scope=user;user_id=6") == [scopes[1], *scopes[3:]]
    await edge.admin_request("POST", "/purge", {"all": True})
    assert (await found("?scope=catalog")) == ["catalog", "*"]


async def test_it_comes_as_json_lines(edge: RunningEdge):
    await edge.purge(FIVE)
    await edge.purge("catalog")
    for query, headers in (("?format=jsonl", {}), ("", {"Accept": "application/x-ndjson"})):
        reply = await edge.admin_request("GET", f"/audit{query}", **headers)
        assert reply["Content-Type"] == "application/x-ndjson"
        assert [json.loads(line) for line in reply.body.splitlines()] == await audit(edge)


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "since=1.5", "scope=usr", "scope=a,b", "format=xml", "n=1"])
async def test_what_cannot_be_meant_is_refused(edge: RunningEdge, query: str):
    reply = await edge.admin_request("GET", f"/audit?{query}")
    assert reply.status == 422
    assert reply["Content-Type"] == "application/problem+json"


GOOD = {"inc": "a", "seq": "1", "by": "{}", "entries": "0", "banned": "0", "scopes": "user", "count": "1"}


async def test_what_another_hand_has_put_there_is_left_out_and_logged(
    edge: RunningEdge, redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
):
    foreign: list[dict[Any, Any]] = [
        {"what": "ever"},
        {**GOOD, "seq": "one"},
        {**GOOD, "seq": "-inf"},
        {**GOOD, "entries": "9" * 40},
        {**GOOD, "by": "no JSON"},
        {**GOOD, "by": "[]"},
        {**GOOD, "by": '{"source": 1}'},
        {**GOOD, "scopes": b"\xff"},
        {name: value for name, value in GOOD.items() if name != "count"},
    ]
    key = f"{{{namespace}}}:audit"
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(key, {"before": "all"}, id="1-1")
        first = (await edge.purge(FIVE)).json["seq"]
        for record in foreign * 60:
            client.xadd(key, record)
        second = (await edge.purge("catalog")).json["seq"]
        incarnation = client.hget(f"{{{namespace}}}:ctl", "inc").decode()
        client.zadd(f"{{{namespace}}}:acked", {"nothing": second, f"{incarnation} {second} x": second})
        purges = await audit(edge)
        assert [purge["seq"] for purge in purges] == [second, first]
        assert purges[0]["acknowledged_ms"] is not None
        assert "records of the audit in Redis are of no purge" in caplog.text
        # One that is far in the future takes all that come with it.
        client.xadd(key, GOOD, id="999999999999999-1")
        assert [purge["seq"] for purge in await audit(edge)] == [second, first]


async def acknowledged(edge: RunningEdge) -> list[dict[str, Any]]:
    """What is audited, as soon as Redis answers and all of it is acknowledged."""
    reply = await edge.admin_request("GET", "/audit")
    purges: list[dict[str, Any]] = reply.json.get("purges", [])
    return purges if all(purge["acknowledged_ms"] is not None for purge in purges) else []


async def test_what_redis_confirms_later_is_audited_then(make_edge: EdgeFactory, origin: Origin, server: Redis):
    edge = await make_edge(redis=server.url, purge_timeout=0.2)
    server.kill()
    assert (await edge.admin_request("GET", "/audit")).status == 503
    origin.headers = [("X-Mizan-Invalidate", FIVE)]
    began = time.monotonic()
    await edge.call("rename_user", user_id=5)
    waited_ms = (time.monotonic() - began) * 1000
    server.start()
    async with asyncio.timeout(10):
        while not (purges := await acknowledged(edge)):
            pass
    assert [(p["source"], p["request"], p["function"]) for p in purges] == [("response", CALL, "rename_user")]
    assert purges[0]["acknowledged_ms"] > waited_ms
