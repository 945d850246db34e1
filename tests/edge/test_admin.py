"""The admin API: who may, what is answered, and what a purge of it leaves behind."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from tests.support import wire
from tests.support.edge import MANIFEST, TOKEN, EdgeFactory, RunningEdge
from tests.support.origin import Origin, until
from tests.support.wire import Reply

CONTEXT = "/api/mizan/ctx/user/"


def problem(reply: Reply) -> str:
    """The detail of a problem document, which must be one."""
    assert reply["Content-Type"] == "application/problem+json"
    document = reply.json
    assert document["status"] == reply.status
    assert document["title"]
    assert document["type"]
    assert isinstance(document["detail"], str)
    assert "Traceback" not in document["detail"]
    return str(document["detail"])


async def cached(edge: RunningEdge, *targets: str, **headers: Any) -> list[bool]:
    """Whether each target is answered from the cache. It is afterwards."""
    return [(await edge.get(target, **headers)).hit for target in targets]


# Who may.


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/purge"), ("POST", "/reload"), ("GET", "/stats"), ("PURGE", "/profile/5/")]
)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \udcff\udcfe",
        "Bearer ä",
    ],
)
async def test_without_a_known_token_everything_is_401(
    edge: RunningEdge, method: str, target: str, authorization: str | None
):
    headers = {"Authorization": authorization} if authorization is not None else {}
    reply = await wire.request(edge.admin, method, target, headers, host="127.0.0.1")
    assert reply.status == 401
    assert reply["WWW-Authenticate"] == "Bearer"
    assert "Bearer" in problem(reply)


@pytest.mark.parametrize(("method", "target"), [("POST", "/purge"), ("POST", "/reload"), ("PURGE", "/profile/5/")])
async def test_the_read_token_reads_and_does_nothing_else(edge: RunningEdge, method: str, target: str):
    await edge.get("/profile/5/")
    body = {"all": True} if target == "/purge" else None
    reply = await edge.admin_request(method, target, body, token="read-token")
    assert reply.status == 403
    assert problem(reply)
    assert await cached(edge, "/profile/5/") == [True]
    assert (await edge.admin_request("GET", "/stats", token="read-token")).status == 200


@pytest.mark.parametrize("target", ["/healthz", "/readyz"])
async def test_probes_need_neither_token_nor_host(edge: RunningEdge, target: str):
    assert (await edge.admin_request("GET", target, token=None, host="pod-7.cluster.internal")).status == 200
    # And what is exempt is the probe, not the path.
    assert (await edge.admin_request("PURGE", target, token=None)).status == 401
    assert (await edge.admin_request("PURGE", target, host="evil.test")).status == 421


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8081", "127.0.0.1", "127.0.0.1:8081", "[::1]", "[::1]:8081", "192.0.2.7:80", "edge.lan:1"],
)
async def test_loopback_names_ip_literals_and_admin_hosts_are_served(make_edge: EdgeFactory, host: str):
    edge = await make_edge(admin_hosts="Edge.lan, other.lan")
    assert (await edge.admin_request("GET", "/stats", host=host)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:8081", "127.0.0.1.evil.test", "localhost.evil.test", "", "[evil.test]", "::1x"]
)
async def test_a_name_that_may_have_been_rebound_is_421(edge: RunningEdge, host: str):
    await edge.get("/profile/5/")
    reply = await edge.admin_request("POST", "/purge", {"all": True}, host=host)
    assert reply.status == 421
    assert "admin_hosts" in problem(reply)
    assert await cached(edge, "/profile/5/") == [True]


async def test_the_public_listener_knows_nothing_of_the_admin_api(edge: RunningEdge, origin: Origin):
    await edge.get("/profile/5/")
    token = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    for method, target in [
        ("POST", "/purge"),
        ("POST", "/reload"),
        ("PURGE", "/elsewhere/"),
        ("GET", "/stats"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    ]:
        before = origin.hits
        reply = await edge.request(method, target, token, b'{"all": true}' if method == "POST" else None)
        assert reply.body.startswith(f"{method} {target}".encode())
        assert origin.hits == before + 1
    assert await cached(edge, "/profile/5/") == [True]


# What cannot be meant.


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"scopes": ["usr;user_id=5"]}, "'user'"),
        ({"scopes": ["user;userid=5"]}, "'user_id'"),
        ({"scopes": ["user;user_id=5", "catalogue"]}, "'catalog'"),
        ({"scopes": ["user;user_id=05"]}, "'05'"),
        ({"scopes": ["user;user_id=five"]}, "'five'"),
        ({"scopes": ["user;user_id=5;user_id=6"]}, "several values"),
        ({"scopes": [""]}, "names nothing"),
        ({"scopes": ['user;locale="']}, "does not parse"),
        ({"scopes": "user"}, "scopes"),
        ({"scopes": [5]}, "scopes.0"),
        ({"scope": ["user"]}, "'scopes'"),
        ({"all": "yes"}, "all"),
        ({"all": 1}, "all"),
        ({}, "Nothing is named"),
        ({"scopes": [], "urls": []}, "Nothing is named"),
        ([], "JSON object"),
        ({"urls": ["/nowhere/"]}, "'/nowhere/'"),
        ({"urls": ["/profile/05/"]}, "canonical"),
        ({"urls": ["/profile/5/?user_id=6"]}, "canonical"),
        ({"urls": ["/profile/../profile/5/"]}, "never cached"),
    ],
)
async def test_what_cannot_be_meant_is_a_422_that_names_it_and_purges_nothing(edge: RunningEdge, body: Any, says: str):
    await edge.get("/profile/5/")
    reply = await edge.admin_request("POST", "/purge", body)
    assert reply.status == 422
    assert says in problem(reply)
    assert await cached(edge, "/profile/5/") == [True]


async def test_what_is_not_json_is_400_and_what_does_not_say_that_it_is_415(edge: RunningEdge):
    for body in b"", b"{", b"\xff", b'{"scopes": ["\\ud800"]}':
        reply = await edge.admin_request("POST", "/purge", body)
        assert reply.status == 400
        assert "JSON" in problem(reply)
    for kind in "text/plain", "application/x-www-form-urlencoded", "application/jsonp":
        reply = await edge.admin_request("POST", "/purge", b'{"all": true}', Content_Type=kind)
        assert reply.status == 415
        assert problem(reply)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await wire.request(edge.admin, "POST", "/purge", headers, b'{"all": true}', host="[::1]")).status == 415
    ok = await edge.admin_request("POST", "/purge", b'{"all": true}', Content_Type="application/json; charset=utf-8")
    assert ok.status == 200


@pytest.mark.parametrize("body", [b'{"all": true, "dry_run": false, "dry_run": true}', b'{"a": {"b": 1, "b": 1}}'])
async def test_a_key_that_stands_twice_is_refused(edge: RunningEdge, body: bytes):
    reply = await edge.admin_request("POST", "/purge", body)
    assert reply.status == 422
    assert "twice" in problem(reply)


async def test_a_body_with_a_content_coding_is_415(edge: RunningEdge):
    for body in b"junk", gzip.compress(b'{"all": true}'):
        reply = await edge.admin_request("POST", "/purge", body, Content_Encoding="gzip")
        assert reply.status == 415
        assert "Content-Encoding" in problem(reply)


async def test_a_body_without_end_is_413(edge: RunningEdge):
    reply = await edge.admin_request("POST", "/purge", b" " * (2 << 20))
    assert reply.status == 413
    assert problem(reply)


async def test_unknown_paths_and_methods_are_problem_documents(edge: RunningEdge):
    reply = await edge.admin_request("GET", "/nothing")
    assert reply.status == 404
    assert problem(reply)
    reply = await edge.admin_request("GET", "/purge")
    assert reply.status == 405
    assert "POST" in (reply["Allow"] or "")
    assert problem(reply)


# What a purge does, and says.


async def test_a_purge_answers_with_exactly_what_it_did(edge: RunningEdge):
    targets = ["/profile/5/", f"{CONTEXT}?user_id=5", "/profile/6/"]
    await cached(edge, *targets)
    reply = await edge.purge("user;user_id=5")
    document = reply.json
    seq = document.pop("seq")
    assert reply.status == 200
    assert isinstance(seq, int)
    assert document == {
        "entries": 2,
        "urls": [f"{CONTEXT}?user_id=5", "/profile/5/"],
        "scopes": ["user;user_id=5"],
        "dry_run": False,
    }
    assert await cached(edge, *targets) == [False, False, True]
    assert (await edge.purge("user;user_id=7")).json["seq"] > seq


async def test_a_dry_run_counts_changes_nothing_and_has_the_current_seq(edge: RunningEdge):
    targets = ["/profile/5/", f"{CONTEXT}?user_id=5", "/catalog/shoes/"]
    await cached(edge, *targets)
    seq = (await edge.purge("user;user_id=99")).json["seq"]
    dry = [
        await edge.purge("user;user_id=5", dry_run=True),
        await edge.purge("user", "catalog", dry_run=True),
        await edge.admin_request("POST", "/purge", {"all": True, "dry_run": True}),
        await edge.admin_request("POST", "/purge", {"urls": ["/profile/5/"], "dry_run": True}),
    ]
    assert [(reply.json["entries"], reply.json["seq"], reply.json["dry_run"]) for reply in dry] == [
        (2, seq, True),
        (3, seq, True),
        (3, seq, True),
        (1, seq, True),
    ]
    assert await cached(edge, *targets) == [True, True, True]


async def test_all_purges_everything(edge: RunningEdge, tokens):
    targets = ["/profile/5/", f"{CONTEXT}?user_id=5", "/catalog/shoes/"]
    await cached(edge, *targets)
    await edge.get("/profile/5/", tokens("5"))
    reply = await edge.admin_request("POST", "/purge", {"all": True})
    assert reply.status == 200
    assert reply.json["entries"] == 4
    assert await cached(edge, *targets) == [False, False, False]


async def test_scopes_are_shown_in_their_canonical_text_and_once(edge: RunningEdge):
    reply = await edge.purge("user;locale=en;user_id=5", "user;user_id=5", "catalog;category=a b")
    assert reply.json["scopes"] == ['catalog;category="a b"', "user;user_id=5"]
    assert "/catalog/a%20b/" in reply.json["urls"]


async def test_a_soft_purge_is_no_less_than_a_purge(edge: RunningEdge):
    await cached(edge, "/profile/5/")
    assert (await edge.purge("user;user_id=5", soft=True)).status == 200
    assert await cached(edge, "/profile/5/") == [False]


@pytest.mark.parametrize("how", ["PURGE", "urls"])
async def test_a_url_is_purged_in_every_variant_partition_and_host_and_nothing_else_is(
    edge: RunningEdge, origin: Origin, tokens, how: str
):
    origin.headers = [("Vary", "Accept-Language")]
    gone = f"{CONTEXT}?user_id=5&locale=en&z=1"
    others = ["/profile/5/", f"{CONTEXT}?user_id=5", f"{CONTEXT}?user_id=5&locale=en", f"{CONTEXT}?user_id=6&locale=en"]
    ways: list[tuple[dict[str, str], str]] = [
        ({}, "site.test"),
        ({"Accept-Language": "de"}, "site.test"),
        (tokens("5"), "site.test"),
        (tokens("6") | {"Accept-Language": "de"}, "site.test"),
        ({}, "other.test"),
        ({}, "site.test:8080"),
    ]
    for headers, host in ways:
        assert await cached(edge, gone, headers=headers, host=host) == [False]
    await cached(edge, *others)
    turned = f"{CONTEXT}?z=1&locale=en&user_id=5"
    if how == "PURGE":
        reply = await edge.admin_request("PURGE", turned)
    else:
        reply = await edge.admin_request("POST", "/purge", {"urls": [turned]})
    assert reply.status == 200
    assert reply.json["entries"] >= len(ways)
    assert reply.json["urls"] == [f"{CONTEXT}?locale=en&user_id=5&z=1"]
    assert await cached(edge, *others) == [True] * len(others)
    for headers, host in ways:
        assert await cached(edge, gone, headers=headers, host=host) == [False]


async def test_purge_finds_a_url_however_it_is_spelled(edge: RunningEdge):
    for stored, purged in [
        ("/catalog/a%20b/", "/catalog/%61%20b/"),
        ("/catalog/x%0Ay/", "/catalog/x%0ay/"),
        ("/catalog/shoes/?q=a+b", "/catalog/shoes/?q=a%20b"),
        ("/catalog/shoes/?utm_source=x", "/catalog/shoes/"),
    ]:
        assert await cached(edge, stored, stored) == [False, True]
        reply = await edge.admin_request("PURGE", purged)
        assert (reply.status, reply.json["entries"]) == (200, 1)
        assert await cached(edge, stored) == [False]


async def test_purge_of_a_url_that_is_never_cached_is_422(edge: RunningEdge):
    for target in "/nowhere/", "/profile/x/", "/profile//5/":
        reply = await edge.admin_request("PURGE", target)
        assert reply.status == 422
        assert problem(reply)


async def test_a_context_of_more_entries_than_a_purge_visits_is_gone_at_once(edge: RunningEdge):
    targets = [f"/profile/{number}/" for number in range(520)]
    for start in range(0, len(targets), 40):
        await asyncio.gather(*(edge.get(target) for target in targets[start : start + 40]))
    await edge.get("/catalog/shoes/")
    assert (await edge.purge("user", dry_run=True)).json["entries"] == 520
    assert (await edge.purge("user")).json["entries"] == 520
    assert await cached(edge, *targets[::40]) == [False] * 13
    assert await cached(edge, "/catalog/shoes/") == [True]
    assert (await edge.purge("user;user_id=40")).json["entries"] == 1


async def test_many_scopes_in_one_purge_are_all_purged(edge: RunningEdge):
    await cached(edge, "/profile/1/", "/profile/1500/", "/profile/9999/")
    reply = await edge.purge(*(f"user;user_id={number}" for number in range(1600)))
    assert (reply.status, reply.json["entries"]) == (200, 2)
    assert await cached(edge, "/profile/1/", "/profile/1500/", "/profile/9999/") == [False, False, True]


# Probes and numbers.


async def test_ready_says_what_is_up(edge: RunningEdge):
    assert (await edge.admin_request("GET", "/healthz")).json == {"status": "alive"}
    document = (await edge.admin_request("GET", "/readyz")).json
    assert document == {"status": "ready", "contexts": 2, "redis": "up", "origin": "up", "cache": "in use"}


async def test_an_origin_and_a_redis_that_are_away_do_not_make_it_unready(make_edge: EdgeFactory):
    edge = await make_edge(redis="redis://127.0.0.1:1", origin="http://127.0.0.1:1")
    reply = await edge.admin_request("GET", "/readyz", token=None)
    assert reply.status == 200
    assert (reply.json["redis"], reply.json["origin"]) == ("down", "down")
    assert reply.json["cache"].startswith("held")
    assert (await edge.admin_request("GET", "/healthz", token=None)).status == 200


async def test_counters_tell_hits_from_misses_by_context(edge: RunningEdge):
    before = await edge.counters()
    await cached(edge, "/profile/5/", "/profile/5/", "/profile/5/", "/catalog/a/")
    after = await edge.counters()
    more = {name: count - before.get(name, 0) for name, count in after.items()}
    assert (more["requests.user.hit"], more["requests.user.miss"], more["requests.catalog.miss"]) == (2, 1, 1)


# Reloading over the API: what it answers. What it does is in test_reload.


async def test_reload_answers_with_the_difference(edge: RunningEdge):
    contexts = {"user": MANIFEST["contexts"]["user"] | {"ttl": 5}, "new": {}}
    edge.manifest_path.write_text(json.dumps({"contexts": contexts}))
    reply = await edge.admin_request("POST", "/reload")
    assert reply.status == 200
    assert reply.json == {
        "added": ["new"],
        "removed": ["catalog"],
        "changed": ["user"],
        "changes": {"user": {"ttl": {"old": 86400, "new": 5}}},
        "routes": {"added": [], "removed": ["/api/mizan/ctx/catalog/", "/catalog/:category/"], "changed": []},
        "mutations": {"added": [], "removed": ["rename_user"], "changed": []},
        "site": {},
        "purged": ["catalog", "user"],
        "unreachable": [],
        "dry_run": False,
    }
    again = (await edge.admin_request("POST", "/reload")).json
    assert [again[name] for name in ("added", "removed", "changed", "purged")] == [[], [], [], []]


async def test_a_reload_that_is_a_dry_run_answers_the_same_and_swaps_nothing(edge: RunningEdge):
    assert await cached(edge, "/profile/5/", "/profile/5/") == [False, True]
    edge.manifest_path.write_text(json.dumps({"contexts": {}}))
    found = (await edge.admin_request("POST", "/reload", {"dry_run": True})).json
    assert (found["purged"], found["dry_run"]) == (["catalog", "user"], True)
    assert await cached(edge, "/profile/5/") == [True]
    assert (await edge.admin_request("POST", "/reload")).json == {**found, "dry_run": False}
    assert (await edge.get("/profile/5/")).cache == "fwd=bypass; detail=undeclared"
    edge.manifest_path.write_text("{")
    reply = await edge.admin_request("POST", "/reload", {"dry_run": True})
    assert (reply.status, "line 1" in problem(reply)) == (422, True)
    assert (await edge.admin_request("POST", "/reload", {"dry": True})).status == 422


async def test_a_reload_that_fails_is_a_422_with_the_place(edge: RunningEdge):
    await edge.get("/profile/5/")
    for content, place in [("{", "line 1"), ('{"contexts": {"user": 5}}', "contexts.user")]:
        edge.manifest_path.write_text(content)
        reply = await edge.admin_request("POST", "/reload")
        assert reply.status == 422
        assert place in problem(reply)
    edge.manifest_path.unlink()
    assert (await edge.admin_request("POST", "/reload")).status == 422
    assert await cached(edge, "/profile/5/") == [True]


async def test_an_admin_client_that_leaves_does_not_stop_its_purge(edge: RunningEdge):
    await edge.get("/profile/5/")
    host, _, port = edge.admin.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = b'{"scopes": ["user"]}'
    writer.write(
        f"POST /purge HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    writer.transport.abort()
    purged = False

    async def look() -> None:
        nonlocal purged
        while not purged:
            purged = (await edge.counters()).get("purges.admin", 0) == 1

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        await until(lambda: purged)
    assert await cached(edge, "/profile/5/") == [False]
