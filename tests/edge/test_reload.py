"""A reload swaps the manifest as a whole: no request fails, and nothing that was made under the old one misleads."""

import asyncio
import json
from typing import Any

import pytest

from mizan_core.manifest import Context
from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says

CONTEXT = "/api/mizan/ctx/user/?user_id=5"


def changed(context: str, **keys: Any) -> dict[str, Any]:
    """The usual manifest, with one context that says other things."""
    contexts = MANIFEST["contexts"]
    return {**MANIFEST, "contexts": {**contexts, context: {**contexts[context], **keys}}}


FEWER_PARAMS = changed("user", params=["user_id"], param_types={"user_id": "integer"})


async def reload(edge: RunningEdge, manifest: dict[str, Any]) -> dict[str, Any]:
    edge.manifest_path.write_text(json.dumps(manifest))
    reply = await edge.admin_request("POST", "/reload")
    assert reply.status == 200
    found: dict[str, Any] = reply.json
    return found


async def hits(edge: RunningEdge, *targets: str) -> list[bool]:
    return [(await edge.get(target)).hit for target in targets]


async def test_no_request_fails_while_manifests_are_swapped(edge: RunningEdge, origin: Origin):
    origin.script = lambda asked: Says(asked.target)
    manifests = [FEWER_PARAMS, changed("user", ttl=5), {"contexts": {}}, MANIFEST] * 5
    done = False

    async def ask(number: int) -> int:
        count = 0
        while not done:
            target = f"/profile/{(number + count) % 7}/"
            reply = await edge.get(target)
            assert (reply.status, reply.body.decode()) == (200, target)
            count += 1
        return count

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(number)) for number in range(4)]
        for manifest in manifests:
            await reload(edge, manifest)
        done = True
    assert all(task.result() for task in asking)
    await edge.get("/profile/5/")
    assert await hits(edge, "/profile/5/") == [True]


async def test_what_is_declared_from_now_on_is_cached_and_what_is_not_any_more_is_not(edge: RunningEdge):
    assert await hits(edge, "/new/", "/new/", "/profile/5/", "/profile/5/") == [False, False, False, True]
    await reload(edge, {"contexts": {"new": {"views": ["/new/"]}}})
    assert await hits(edge, "/new/", "/new/", "/profile/5/") == [False, True, False]
    assert (await edge.get("/profile/5/")).cache == "fwd=bypass; detail=undeclared"


async def test_only_contexts_that_changed_are_purged(edge: RunningEdge):
    targets = ["/profile/5/", CONTEXT, "/catalog/shoes/"]
    await hits(edge, *targets)
    assert (await reload(edge, changed("user", ttl=5)))["purged"] == ["user"]
    assert await hits(edge, *targets) == [False, False, True]
    await reload(edge, FEWER_PARAMS)
    assert await hits(edge, *targets) == [False, False, True]
    await reload(edge, changed("user", param_types={"user_id": "integer", "locale": "boolean"}))
    assert await hits(edge, *targets) == [False, False, True]


async def test_entries_of_another_shape_do_not_survive_a_restart(make_edge: EdgeFactory):
    first = await make_edge()
    targets = ["/profile/5/", CONTEXT, "/catalog/shoes/"]
    await hits(first, *targets)
    assert await hits(await make_edge(), *targets) == [True, True, True]
    second = await make_edge(FEWER_PARAMS)
    assert await hits(second, *targets) == [False, False, True]
    # Nor can an edge that has not heard of the new manifest store what the new one could not purge.
    assert "stored" not in (await first.get("/profile/6/")).cache
    assert await hits(second, "/profile/6/", "/profile/6/") == [False, True]


async def test_an_edge_that_starts_with_another_manifest_purges_what_a_reload_would(make_edge: EdgeFactory):
    targets = ["/profile/5/", "/catalog/shoes/"]
    await hits(await make_edge(), *targets)
    never = await make_edge(changed("user", ttl=0))
    assert await hits(never, *targets, "/profile/5/") == [False, True, False]
    await hits(await make_edge(), *targets)
    gone = {**MANIFEST, "contexts": {"user": MANIFEST["contexts"]["user"]}}
    assert await hits(await make_edge(gone), *targets) == [True, False]
    assert await hits(await make_edge(), *targets) == [True, False]


async def test_the_same_manifest_again_keeps_what_is_stored_wherever_an_edge_starts(make_edge: EdgeFactory):
    await hits(await make_edge(), "/profile/5/")
    as_it_was = changed("user", ttl=86400, scope="user")  # what stands there unsaid
    assert await hits(await make_edge(as_it_was), "/profile/5/") == [True]


async def test_while_a_fleet_changes_its_manifest_nothing_is_stored_by_the_old_one(
    make_edge: EdgeFactory, caplog: pytest.LogCaptureFixture
):
    old = await make_edge()
    new = await make_edge(changed("user", ttl=60))
    assert [(await old.get(f"/profile/{number}/")).cache for number in (5, 5, 6)] == ["fwd=uri-miss"] * 3
    assert caplog.text.count("context user: not stored, since the origin or another edge has come") == 1
    assert await hits(old, "/catalog/a/", "/catalog/a/") == [False, True]
    assert await hits(new, "/profile/5/", "/profile/5/") == [False, True]
    # The next one to change leaves it there: nothing of it was made under the old manifest.
    assert await hits(await make_edge(changed("user", ttl=60)), "/profile/5/") == [True]
    assert (await reload(old, changed("user", ttl=60)))["purged"] == ["user"]
    assert await hits(old, "/profile/5/", "/profile/5/") == [False, True]


def test_contexts_have_the_same_digest_where_they_are_the_same_and_nowhere_else():
    usual = MANIFEST["contexts"]["user"]
    said: list[dict[str, Any]] = [
        {},
        {"ttl": 5},
        {"swr": 5},
        {"sie": 5},
        {"hold": 5},
        {"rev": 5},
        {"scope": "public"},
        {"purge": "soft"},
        {"ignore_query": ["a"]},
        {"views": []},
        {"endpoints": []},
        {"functions": []},
        {"param_types": {}},
        {"params": ["locale", "user_id"]},
        {"unknown": 1},
    ]
    contexts = [Context.model_validate(usual | more) for more in said]
    assert {key for more in said for key in more} > set(Context.model_fields)
    assert len({context.digest for context in contexts}) == len(contexts)
    assert Context.model_validate(usual | {"ttl": 86400}).digest == contexts[0].digest


async def test_a_fill_that_began_under_the_old_manifest_is_not_stored(edge: RunningEdge, origin: Origin):
    async def slow(asked: Asked) -> Says:
        await reload(edge, changed("user", ttl=60))
        return Says("made before")

    origin.script = slow
    first = await edge.get("/profile/5/")
    assert (first.body, first.cache) == (b"made before", "fwd=uri-miss")
    origin.script = lambda asked: Says("made after")
    assert (await edge.get("/profile/5/")).cache == "fwd=uri-miss; stored"
    assert (await edge.get("/profile/5/")).cache == "hit; ttl=60"


async def test_what_a_mutation_says_is_read_by_the_manifest_of_now(edge: RunningEdge, origin: Origin):
    """The old manifest knows `locale`; by the new one, `user;locale=en` names nothing narrower than the context."""

    async def mutation(asked: Asked) -> Says:
        origin.script = origin.default
        await reload(edge, FEWER_PARAMS)
        assert await hits(edge, "/profile/5/", "/profile/5/") == [False, True]
        return Says("done", headers=[("X-Mizan-Invalidate", "user;locale=en")])

    origin.script = mutation
    await edge.request("POST", "/x", body=b"")
    assert await hits(edge, "/profile/5/") == [False]


async def test_a_new_release_changes_the_keys_of_views_and_of_nothing_else(edge: RunningEdge):
    targets = ["/profile/5/", CONTEXT]
    await reload(edge, {**MANIFEST, "release": "1"})
    assert await hits(edge, *targets, *targets) == [False, False, True, True]
    found = await reload(edge, {**MANIFEST, "release": "2"})
    assert (found["purged"], found["unreachable"]) == ([], ["catalog", "user"])
    assert await hits(edge, *targets, *targets) == [False, True, True, True]
    # And the entries of both are found by a purge.
    assert (await edge.purge("user;user_id=5")).json["entries"] == 3
    await reload(edge, {**MANIFEST, "release": "1"})
    assert await hits(edge, *targets) == [False, False]


async def test_a_new_rev_leaves_the_old_entries_unreachable(edge: RunningEdge):
    await hits(edge, "/profile/5/", CONTEXT)
    await reload(edge, changed("user", rev=1))
    assert await hits(edge, "/profile/5/", CONTEXT) == [False, False]


async def test_reloads_at_the_same_time_leave_one_whole_manifest(edge: RunningEdge):
    edge.manifest_path.write_text(json.dumps(FEWER_PARAMS))
    replies = await asyncio.gather(*(edge.admin_request("POST", "/reload") for _ in range(8)))
    assert [reply.status for reply in replies] == [200] * 8
    assert sorted(len(reply.json["changed"]) for reply in replies) == [0] * 7 + [1]
    assert await hits(edge, "/profile/5/", "/profile/5/") == [False, True]
