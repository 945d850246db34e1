"""What people ask of a purge beyond its scopes: to see first what it does, of whom, how much, and what it costs."""

import asyncio
import json
import re
from typing import Any

import pytest

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.killable import Redis
from tests.support.origin import Asked, Origin, Says
from tests.support.wire import Reply

PAGES = [f"/profile/{n}/" for n in range(1, 31)]


async def post(edge: RunningEdge, **body: Any) -> Reply:
    return await edge.admin_request("POST", "/purge", body)


async def fill(edge: RunningEdge, *targets: str, headers: Any = ()) -> None:
    await asyncio.gather(*(edge.get(target, headers) for target in targets))


async def hits(edge: RunningEdge, *targets: str, headers: Any = ()) -> list[str]:
    """Those that are answered from the cache, without being fetched."""
    wanted = [*(headers or {}).items(), ("Cache-Control", "only-if-cached")]
    return [target for target in targets if (await edge.get(target, wanted)).hit]


async def test_a_dry_run_shows_some_of_the_urls_that_would_go(edge: RunningEdge):
    targets = ["/profile/5/", "/profile/5/?q=ä b", "/catalog/shoes/"]
    targets = [target.replace("ä b", "%C3%A4%20b") for target in targets]
    await fill(edge, *targets, "/profile/6/")
    await edge.call("user_profile", user_id=5)
    told = (await post(edge, scopes=["user;user_id=5", "catalog"], dry_run=True)).json
    assert (told["entries"], told["exact"]) == (4, True)
    assert sorted(told["sample"]) == ["/catalog/shoes/", "/profile/5/", "/profile/5/?q=%C3%A4%20b"]
    assert await hits(edge, *targets) == targets
    done = (await post(edge, scopes=["user;user_id=5", "catalog"])).json
    assert done["entries"] == told["entries"]
    assert await hits(edge, *told["sample"]) == []
    assert await hits(edge, "/profile/6/") == ["/profile/6/"]
    nothing = (await post(edge, scopes=["user;user_id=7"], dry_run=True)).json
    assert (nothing["entries"], nothing["sample"], nothing["forecast"]["origin_seconds"]) == (0, [], 0)


async def test_a_fragment_is_no_part_of_the_url_that_is_purged(edge: RunningEdge):
    await fill(edge, "/profile/5/#me", "/profile/6/?q=1")
    assert (await post(edge, urls=["/profile/5/#me"])).json["urls"] == ["/profile/5/"]
    assert (await edge.admin_request("PURGE", "/profile/6/?q=1#me")).json["entries"] == 1
    assert await hits(edge, "/profile/5/", "/profile/6/?q=1") == []


async def test_of_many_a_dry_run_shows_twenty(edge: RunningEdge):
    await fill(edge, *PAGES)
    for body in ({"scopes": ["user"]}, {"all": True}):
        told = (await post(edge, **body, dry_run=True)).json
        assert told["entries"] == len(PAGES)
        assert len(told["sample"]) == 20
        assert set(told["sample"]) <= set(PAGES)


async def test_users_are_forgotten_in_every_context_and_nobody_else_is(make_edge: EdgeFactory, tokens):
    manifest = json.loads(json.dumps(MANIFEST))
    manifest["contexts"]["orders"] = {"views": ["/orders/"], "functions": [{"name": "orders", "path": "view"}]}
    edge = await make_edge(manifest=manifest)
    targets = ["/orders/", "/profile/5/", "/profile/6/"]
    people = {"5": tokens("5"), "6": tokens("6"), "five": tokens("five"), "nobody": {}}
    for headers in people.values():
        await fill(edge, *targets, headers=headers)
    told = (await post(edge, users=[5], dry_run=True)).json
    assert told["scopes"] == ["orders;*user=5", "user;*user=5"]
    done = (await post(edge, users=[5, "five"])).json
    assert done["entries"] == 6
    left = {name: await hits(edge, *targets, headers=headers) for name, headers in people.items()}
    assert left == {"5": [], "five": [], "6": targets, "nobody": targets}


async def test_users_must_be_somebodys(make_edge: EdgeFactory):
    edge = await make_edge(manifest={"contexts": {"catalog": MANIFEST["contexts"]["catalog"]}})
    assert (await post(edge, users=[5])).status == 422
    usual = await make_edge()
    for users in ([""], [True], [None], [1.5], 5):
        assert (await post(usual, users=users)).status == 422


async def test_thousands_of_scopes_and_urls_go_at_once(edge: RunningEdge):
    scopes = [f"user;user_id={n}" for n in range(2000)]
    urls = [f"/catalog/{n}/" for n in range(2000)]
    stay = ["/profile/2000/", "/catalog/2000/"]
    gone = ["/profile/0/", "/profile/150/", "/profile/1999/", "/catalog/0/", "/catalog/1999/"]
    await fill(edge, *stay, *gone)
    told = (await post(edge, scopes=scopes, urls=urls, dry_run=True)).json
    assert (told["entries"], told["exact"]) == (len(gone), False)
    assert sorted(told["sample"]) == sorted(gone)
    done = (await post(edge, scopes=scopes, urls=urls)).json
    assert (done["entries"], len(done["scopes"])) == (len(gone), 4000)
    assert await hits(edge, *stay, *gone) == stay


async def test_the_forecast_is_the_time_that_the_origin_took_for_what_would_go(edge: RunningEdge, origin: Origin):
    async def slow(asked: Asked) -> Says:
        if asked.target.startswith("/profile/"):
            await asyncio.sleep(0.05)
        return Says("text")

    origin.script = slow
    await fill(edge, *PAGES[:4], "/catalog/1/")
    told = (await post(edge, all=True, dry_run=True)).json["forecast"]
    assert told["entries"] == 5
    assert told["contexts"]["user"]["entries"] == 4
    assert told["contexts"]["user"]["mean_ms"] >= 50
    assert told["contexts"]["catalog"]["entries"] == 1
    total = sum(context["entries"] * context["mean_ms"] for context in told["contexts"].values()) / 1000
    assert told["origin_seconds"] == pytest.approx(total, abs=0.01)


async def test_what_costs_more_than_is_set_has_to_be_confirmed(make_edge: EdgeFactory, origin: Origin):
    async def slow(asked: Asked) -> Says:
        await asyncio.sleep(0.05)
        return Says("text")

    origin.script = slow
    edge = await make_edge(confirm_purge_above=0.12)
    await fill(edge, *PAGES[:4])
    reply = await post(edge, scopes=["user"])
    assert reply.status == 409
    assert reply.json["forecast"]["entries"] == 4
    assert re.search(r"4 entries.*confirm", reply.json["detail"])
    assert await hits(edge, *PAGES[:4]) == PAGES[:4]
    # Little is purged as ever, and so is one URL.
    assert (await post(edge, scopes=["user;user_id=1"])).json["entries"] == 1
    assert (await edge.admin_request("PURGE", PAGES[1])).json["entries"] == 1
    assert (await post(edge, scopes=["user"], dry_run=True)).status == 200
    await fill(edge, *PAGES[:4])
    assert (await post(edge, scopes=["user"], confirm=True)).json["entries"] == 4


async def test_what_was_asked_for_softly_says_that_it_was_hard(edge: RunningEdge):
    assert "note" not in (await post(edge, scopes=["user"])).json
    assert "hard" in (await post(edge, scopes=["user"], soft=True)).json["note"]


async def test_what_cannot_be_forecast_is_purged_as_soon_as_redis_is_back(make_edge: EdgeFactory, server: Redis):
    edge = await make_edge(redis=server.url, purge_timeout=0.2, confirm_purge_above=0.001)
    server.kill()
    reply = await post(edge, scopes=["user"])
    assert (reply.status, reply.json["journaled"]) == (503, True)
