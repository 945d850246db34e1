"""A declared read is cached; what a mutation says is purged, before its answer is seen."""

import pytest

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says

CONTEXT = "/api/mizan/ctx/user/?user_id=5"

SMALLEST = {
    "contexts": {
        "user": {
            "functions": [{"name": "user_profile", "path": "rpc"}, {"name": "profile_page", "path": "view"}],
            "endpoints": ["/api/mizan/ctx/user/"],
            "params": ["user_id"],
            "views": ["/profile/:user_id/"],
        }
    }
}


def invalidating(value: str):
    """A script of an origin whose POSTs invalidate."""

    def script(asked: Asked) -> Says:
        if asked.method == "POST":
            return Says("done", headers=[("X-Mizan-Invalidate", value)])
        return Says(f"{asked.target} {len(asked.headers)}")

    return script


@pytest.mark.parametrize("target", ["/profile/5/", CONTEXT, "/catalog/shoes/", "/api/mizan/ctx/catalog/"])
async def test_the_second_read_is_a_hit_that_the_origin_does_not_see(edge: RunningEdge, origin: Origin, target: str):
    first = await edge.get(target)
    second = await edge.get(target)
    assert (first.cache, first["Age"]) == ("fwd=uri-miss; stored", None)
    assert second.hit and second["Age"] == "0" and second.cache == "hit; ttl=86400"
    assert second.body == first.body and origin.hits == 1


async def test_the_smallest_manifest_works_as_it_stands(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(SMALLEST)
    origin.script = invalidating("user;user_id=5")
    targets = ["/profile/5/", CONTEXT, "/profile/6/"]
    assert [(await edge.get(t)).hit for t in targets] == [False, False, False]
    assert [(await edge.get(t)).hit for t in targets] == [True, True, True]
    await edge.request("POST", "/anything", body=b"")
    assert [(await edge.get(t)).hit for t in targets] == [False, False, True]


async def test_a_read_after_a_mutation_is_new_and_other_users_stay(edge: RunningEdge, origin: Origin):
    names = {"5": "Ada", "6": "Bob"}

    def script(asked: Asked) -> Says:
        if asked.method == "POST":
            names["5"] = "Eva"
            return Says('{"result":null}', headers=[("X-Mizan-Invalidate", "user;user_id=5")])
        return Says(names[asked.target.strip("/").rpartition("/")[2]])

    origin.script = script
    for user in "5", "6":
        await edge.get(f"/profile/{user}/")
    mutation = await edge.call("rename_user", user_id=5, name="Eva")
    assert mutation.cache == "fwd=method" and mutation["X-Mizan-Invalidate"] is None
    new, other = await edge.get("/profile/5/"), await edge.get("/profile/6/")
    assert (new.body, new.cache) == (b"Eva", "fwd=uri-miss; stored")
    assert other.hit and other.body == b"Bob"


async def test_and_scopes_over_two_parameters_and_three_partitions_leave_exactly_the_rest(
    edge: RunningEdge, origin: Origin, tokens
):
    origin.script = invalidating("user;user_id=5;locale=en")
    targets = [f"/api/mizan/ctx/user/?user_id={u}&locale={lo}" for u in (5, 6) for lo in ("en", "de")]
    targets += ["/api/mizan/ctx/user/?user_id=5", "/api/mizan/ctx/user/?locale=en"]
    people = [{}, tokens("1"), tokens("2")]
    for target in targets:
        for headers in people:
            assert not (await edge.get(target, headers)).hit
    await edge.request("POST", "/x", body=b"")
    left = {target: [(await edge.get(target, headers)).hit for headers in people] for target in targets}
    assert left.pop("/api/mizan/ctx/user/?user_id=5&locale=en") == [False] * 3
    assert left == {target: [True] * 3 for target in left}


async def test_a_scope_of_one_user_purges_that_partition_alone(edge: RunningEdge, origin: Origin, tokens):
    origin.script = invalidating("user;*user=1")
    people = [{}, tokens("1"), tokens("2")]
    for headers in people * 2:
        await edge.get("/profile/5/", headers)
    await edge.request("POST", "/x", body=b"")
    assert [(await edge.get("/profile/5/", headers)).hit for headers in people] == [True, False, True]


async def test_calls_of_context_functions_are_reads_purged_with_their_context(edge: RunningEdge, origin: Origin):
    first = await edge.call("user_profile", user_id=5)
    second = await edge.call("user_profile", user_id=5)
    assert first.cache == "fwd=uri-miss; stored" and second.hit and origin.hits == 1
    assert not (await edge.call("user_profile", user_id=6)).hit
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5")]
    await edge.call("rename_user", user_id=5)
    origin.headers = []
    assert not (await edge.call("user_profile", user_id=5)).hit
    assert (await edge.call("user_profile", user_id=6)).hit


async def test_what_is_not_declared_streams_through(edge: RunningEdge, origin: Origin):
    for _ in range(2):
        reply = await edge.get("/undeclared/?a=%20b", {"X-Mizan-Invalidate": "user", "X_Mizan_Scope": "user"})
        assert reply.cache == "fwd=bypass; detail=undeclared"
    assert origin.hits == 2 and origin.asked[0].target == "/undeclared/?a=%20b"
    assert not [name for name, _ in origin.asked[0].headers if "mizan" in name.lower() and name != "Via"]


async def test_a_client_cannot_purge_by_sending_a_field(edge: RunningEdge):
    await edge.get("/profile/5/")
    await edge.request("POST", "/x", {"X-Mizan-Invalidate": "user"}, b"")
    assert (await edge.get("/profile/5/")).hit


async def test_a_whole_context_is_purged_and_the_others_stay(edge: RunningEdge, origin: Origin):
    origin.script = invalidating("user")
    targets = ["/profile/5/", "/profile/6/", CONTEXT, "/catalog/shoes/"]
    for target in targets:
        await edge.get(target)
    await edge.request("POST", "/x", body=b"")
    assert [(await edge.get(target)).hit for target in targets] == [False, False, False, True]


async def test_a_response_may_name_further_scopes_that_it_depends_on(make_edge: EdgeFactory, origin: Origin):
    contexts = {**MANIFEST["contexts"]}
    contexts["user"] = {**contexts["user"], "params": ["user_id", "locale", "username"], "views": ["/by/:username/"]}
    edge = await make_edge({"contexts": contexts})
    origin.headers = [("X-Mizan-Scope", "user;user_id=5, catalog;category=shoes")]
    reply = await edge.get("/by/ada/")
    assert reply.cache.endswith("stored") and reply["X-Mizan-Scope"] is None
    assert (await edge.purge("user;user_id=6")).json["entries"] == 0
    assert (await edge.get("/by/ada/")).hit
    assert (await edge.purge("user;user_id=5;username=ada")).json["entries"] == 1
    await edge.get("/by/ada/")
    assert (await edge.purge("catalog;category=shoes")).json["entries"] == 1
    assert not (await edge.get("/by/ada/")).hit


async def test_a_fill_that_a_purge_overtakes_answers_and_is_not_stored(edge: RunningEdge, origin: Origin):
    async def slow(asked: Asked) -> Says:
        # The purge runs while this very fill is under way.
        purged = await edge.purge("user;user_id=5")
        assert purged.status == 200
        return Says("old")

    origin.script = slow
    overtaken = await edge.get("/profile/5/")
    assert (overtaken.body, overtaken.cache) == (b"old", "fwd=uri-miss")
    origin.script = lambda asked: Says("new")
    assert (await edge.get("/profile/5/")).body == b"new"
