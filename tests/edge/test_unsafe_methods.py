"""What a successful unsafe request invalidates by itself: RFC 9111 section 4.4, and the groups of RFC 9875."""

import pytest

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says, Script

HATS, SHOES = "/catalog/hats/", "/catalog/shoes/"
PROFILE = "/profile/5/"


def answering(status: int = 200, **fields: str) -> Script:
    """An origin whose pages are numbered, and whose answers to anything unsafe have these fields."""
    said = [(name.replace("_", "-"), value) for name, value in fields.items()]

    def script(asked: Asked) -> Says:
        if asked.method == "GET":
            groups = [("Cache-Groups", '"sale", "hats";x=1')] if asked.target == HATS else []
            return Says(f"{asked.target}", headers=groups)
        return Says("", status, [(name, value.replace("HOST", asked.get("Host") or "")) for name, value in said])

    return script


async def stored(edge: RunningEdge, *targets: str) -> None:
    for target in targets:
        await edge.get(target)
        assert (await edge.get(target)).hit


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "LOCK"])
@pytest.mark.parametrize("status", [200, 204, 303])
async def test_the_url_of_an_unsafe_request_is_purged(edge: RunningEdge, origin: Origin, method: str, status: int):
    origin.script = answering(status)
    await stored(edge, HATS, SHOES)
    await edge.request(method, HATS, body=b"x")
    assert [(await edge.get(target)).hit for target in (HATS, SHOES)] == [False, True]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_what_was_refused_has_changed_nothing(edge: RunningEdge, origin: Origin, status: int):
    origin.script = answering(status, Location=SHOES, Cache_Group_Invalidation='"sale"')
    await stored(edge, HATS, SHOES)
    await edge.request("POST", HATS, body=b"x")
    assert [(await edge.get(target)).hit for target in (HATS, SHOES)] == [True, True]


@pytest.mark.parametrize("name", ["Location", "Content_Location"])
@pytest.mark.parametrize(
    ("value", "is_purged"),
    [
        (SHOES, True),
        (f"{SHOES}#top", True),
        ("../shoes/", True),
        (f"http://HOST{SHOES}", True),
        (f"//HOST{SHOES}", True),
        (f"http://HOST.example{SHOES}", False),
        (f"https://HOST{SHOES}", False),
        ("http://[", False),
    ],
)
async def test_so_are_the_urls_of_the_same_origin_that_the_response_names(
    edge: RunningEdge, origin: Origin, name: str, value: str, is_purged: bool
):
    origin.script = answering(201, **{name: value})
    await stored(edge, SHOES)
    await edge.request("POST", "/catalog/new/", body=b"x")
    assert (await edge.get(SHOES)).hit is not is_purged


async def test_also_where_the_request_went_to_something_undeclared(edge: RunningEdge, origin: Origin):
    origin.script = answering(303, Location=SHOES)
    await stored(edge, SHOES)
    await edge.request("POST", "/shop/edit/", body=b"x")
    assert not (await edge.get(SHOES)).hit


@pytest.mark.parametrize(
    ("value", "is_purged"),
    [('"sale"', True), ('"other", "hats";a', True), ('"other"', False), ("sale", False), ('"sale', False), ("", False)],
)
async def test_a_group_is_invalidated_by_its_name(edge: RunningEdge, origin: Origin, value: str, is_purged: bool):
    origin.script = answering(204, Cache_Group_Invalidation=value)
    await stored(edge, HATS, SHOES)
    await edge.request("POST", "/shop/edit/", body=b"x")
    assert [(await edge.get(target)).hit for target in (HATS, SHOES)] == [not is_purged, True]


async def test_a_safe_request_invalidates_no_group(edge: RunningEdge, origin: Origin):
    origin.script = answering()
    await stored(edge, HATS)
    origin.script = lambda asked: Says("", headers=[("Cache-Group-Invalidation", '"sale"')])
    await edge.get("/shop/")
    assert (await edge.get(HATS)).hit


async def test_a_group_is_of_one_host(edge: RunningEdge, origin: Origin):
    origin.script = answering(204, Cache_Group_Invalidation='"sale"')
    await stored(edge, HATS)
    await edge.request("POST", "/shop/edit/", body=b"x", host="another.test")
    assert (await edge.get(HATS)).hit
    await edge.request("POST", "/shop/edit/", body=b"x")
    assert not (await edge.get(HATS)).hit


async def test_a_response_whose_groups_cannot_be_read_is_not_stored(edge: RunningEdge, origin: Origin):
    origin.headers = [("Cache-Groups", "sale")]
    assert [(await edge.get(HATS)).cache for _ in range(2)] == ["fwd=uri-miss"] * 2


@pytest.mark.parametrize("fields", [{}, {"X_Mizan_Invalidate": "user;user_id=5"}])
@pytest.mark.parametrize("target", [HATS, "/shop/edit/"], ids=["url", "group"])
async def test_what_it_purges_is_held_back_for_as_long_as_replicas_lag(
    make_edge: EdgeFactory, origin: Origin, target: str, fields: dict[str, str]
):
    contexts = {**MANIFEST["contexts"], "catalog": {**MANIFEST["contexts"]["catalog"], "hold": 60}}
    edge = await make_edge({"contexts": contexts})
    origin.script = answering(204, Cache_Group_Invalidation='"sale"', **fields)
    await stored(edge, HATS, SHOES)
    await edge.request("POST", target, body=b"x")
    assert [(await edge.get(HATS)).cache for _ in range(2)] == ["fwd=uri-miss"] * 2
    assert (await edge.get(SHOES)).hit


@pytest.mark.parametrize(
    ("status", "fields", "is_hit"),
    [
        (200, [("ETag", '"v1"')], True),
        (200, [("ETag", '"v2"')], False),
        (200, [("ETag", '"v1"'), ("Last-Modified", "Tue, 14 Nov 2023 22:13:21 GMT")], False),
        (404, [], False),
        (503, [], True),
    ],
)
async def test_a_head_that_shows_a_change_purges_what_is_stored(
    make_edge: EdgeFactory, origin: Origin, status: int, fields: list[tuple[str, str]], is_hit: bool
):
    # RFC 9111 section 4.3.5. The HEAD goes to the origin because its client demands that.
    edge = await make_edge(MANIFEST)
    kept = [("ETag", '"v1"'), ("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT"), ("X-From", "GET")]

    def script(asked: Asked) -> Says:
        return Says("page", 200, kept) if asked.method == "GET" else Says("page", status, [*fields, ("X-From", "HEAD")])

    origin.script = script
    await stored(edge, HATS)
    head = await edge.request("HEAD", HATS, {"Cache-Control": "no-cache"})
    assert (head.status, head["X-From"], head.cache) == (
        status,
        "HEAD",
        "fwd=request" + (f"; fwd-status={status}" if status >= 400 else ""),
    )
    reply = await edge.get(HATS)
    assert (reply.hit, reply.body) == (is_hit, b"page")
    assert reply["X-From"] == ("HEAD" if is_hit and status == 200 else "GET"), "its fields are updated"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"Cookie": "sessionid=1"}, 200),
        ({"Cookie": "sessionid=1"}, 302),
        ({"Authorization": "Bearer x"}, 401),
        ({"If-Match": '"v0"'}, 412),
        ({"If-None-Match": '"v1"'}, 304),
        ({"Range": "bytes=0-1"}, 206),
        ({}, 405),
        ({}, 429),
    ],
)
async def test_a_head_tells_nothing_of_what_all_get_by_what_it_says_to_one(
    edge: RunningEdge, origin: Origin, asked: dict[str, str], status: int
):
    # Else any client could purge, and a field that is for the owner of a cookie would be stored for all.
    origin.script = lambda asked: Says(
        "page", 200 if asked.method == "GET" else status, [("ETag", '"v1"'), ("X-For", asked.get("Cookie") or "all")]
    )
    await stored(edge, HATS)
    assert (await edge.request("HEAD", HATS, {"Cache-Control": "no-cache", **asked})).status == status
    reply = await edge.get(HATS)
    assert (reply.hit, reply["X-For"]) == (True, "all")


async def test_a_head_without_a_validator_makes_nothing_fresher(edge: RunningEdge, origin: Origin):
    origin.headers = [("Cache-Control", "max-age=60"), ("Age", "50")]
    await stored(edge, HATS)
    body = (await edge.get(HATS)).body
    # As long, and another one.
    origin.script = lambda asked: Says(body.upper(), headers=[("Cache-Control", "max-age=60")])
    assert (await edge.request("HEAD", HATS, {"Cache-Control": "no-cache"})).status == 200
    reply = await edge.get(HATS)
    assert (reply.hit, reply.body) == (True, body)
    assert int(reply["Age"] or "0") >= 50


async def test_nor_does_a_head_whose_query_is_in_no_key(edge: RunningEdge, origin: Origin):
    tag = ("ETag", '"v1"')
    origin.script = lambda asked: Says("page", headers=[tag, ("X-Asked", asked.target)])
    await stored(edge, HATS)
    await edge.request("HEAD", f"{HATS}?utm_source=evil", {"Cache-Control": "no-cache"})
    reply = await edge.get(HATS)
    assert (reply.hit, reply["X-Asked"]) == (True, HATS)
