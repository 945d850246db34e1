"""What `/explain` says of a request is what becomes of it, and why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from tests.support.edge import MWT_SECRET, SECRET, EdgeFactory, RunningEdge
from tests.support.edges import Start
from tests.support.origin import Asked, Origin, Says
from tests.support.wire import Headers, Reply

PAGE = "/profile/5/"
CATALOG = "/catalog/books/"
CALL = "/api/mizan/call/"


@dataclass(frozen=True)
class Step:
    """One request, and what its client sees of the cache: the member of Cache-Status, up to the seconds of a ttl."""

    cache: str
    target: str = PAGE
    headers: Headers = field(default_factory=dict)
    method: str = "GET"
    body: bytes | None = None


async def explain(edge: RunningEdge, url: str, headers: Headers = (), **how: Any) -> Reply:
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    query = [("url", url), *(("header", f"{name}: {value}") for name, value in pairs)]
    query += list(({"host": "site.test"} | how).items())
    return await edge.admin_request("GET", f"/explain?{urlencode(query)}")


async def explained(edge: RunningEdge, step: Step) -> Any:
    body = {} if step.body is None else {"body": step.body.decode()}
    reply = await explain(edge, step.target, step.headers, method=step.method, **body)
    assert reply.status == 200, reply.body
    return reply.json


def member(cache_status: str | None) -> str:
    """What can be known of a member beforehand, and without the seconds of a ttl."""
    text = (cache_status or "").removeprefix("mizan-edge; ")
    text = re.sub(r"; (stored|collapsed|fwd-status=\d+)", "", text)
    return re.sub(r"ttl=(-?)\d+", r"ttl=\1", text)


def outcome(cache: str) -> str:
    """How `/explain` calls it, in a word."""
    if cache.startswith("hit"):
        return "stale" if "=-" in cache else "hit"
    if cache.startswith(("fwd=bypass; ", "fwd=method")):
        return "pass"
    return "miss" if cache else "refused"


def stale(*, swr: int = 0) -> list[tuple[str, str]]:
    return [("Cache-Control", f"max-age=10, stale-while-revalidate={swr}"), ("Age", "20"), ("ETag", '"1"')]


def call(fn: str, **args: Any) -> bytes:
    return (f'{{"fn": "{fn}", "args": {args!r}}}').replace("'", '"').encode()


MISS, HIT = Step("fwd=uri-miss"), Step("hit; ttl=")
JSON = {"Content-Type": "application/json"}
READ = call("user_profile", user_id=5)

CASES: dict[str, tuple[list[tuple[str, str]], list[Step]]] = {
    "stored by the first and answered to the second": ([], [MISS, HIT]),
    "an endpoint": (
        [],
        [Step(cache, "/api/mizan/ctx/user/?user_id=5&locale=de") for cache in ("fwd=uri-miss", "hit; ttl=")],
    ),
    "other parameters": ([], [MISS, Step("fwd=uri-miss", "/profile/5/?page=2"), Step("fwd=uri-miss", "/profile/6/")]),
    "not declared": ([], [Step("fwd=bypass; detail=undeclared", "/nothing/")]),
    "not canonical, in the path": ([], [Step("fwd=bypass; detail=non-canonical", "/profile/05/")]),
    "not canonical, in the query": (
        [],
        [
            Step("fwd=bypass; detail=non-canonical", "/api/mizan/ctx/user/?user_id=5&user_id=6"),
            Step("fwd=bypass; detail=non-canonical", "/profile/5/?user_id=5"),
            Step("fwd=bypass; detail=non-canonical", "/profile/5/?q=%ff"),
        ],
    ),
    "ignored parameters": ([], [Step("fwd=uri-miss", CATALOG), Step("hit; ttl=", f"{CATALOG}?utm_source=x")]),
    "a session without a token": ([], [Step("fwd=bypass; detail=credentials", headers={"Cookie": "sessionid=1"})]),
    "other credentials": (
        [],
        [
            Step("fwd=bypass; detail=credentials", headers={"Authorization": "Basic YTpi"}),
            Step("fwd=bypass; detail=credentials", headers={"Authorization": "Bearer no.token.atall"}),
            Step("fwd=bypass; detail=credentials", headers={"X-Forwarded-User": "eve"}),
            Step("fwd=bypass; detail=credentials", headers={"Cookie": "=;;"}),
        ],
    ),
    "cookies in a public context": (
        [],
        [Step("fwd=uri-miss", CATALOG, {"Cookie": "sessionid=1"}), Step("hit; ttl=", CATALOG)],
    ),
    "variants": (
        [("Vary", "Accept-Language")],
        [
            Step("fwd=uri-miss", headers={"Accept-Language": "de"}),
            Step("fwd=vary-miss", headers={"Accept-Language": "en"}),
            Step("hit; ttl=", headers={"Accept-Language": "de"}),
            Step("fwd=vary-miss"),
        ],
    ),
    "varies by who asks": ([("Vary", "Cookie")], [Step("fwd=uri-miss", CATALOG), Step("fwd=uri-miss", CATALOG)]),
    "no-store": ([("Cache-Control", "no-store")], [MISS, MISS]),
    "private": ([("Cache-Control", "private")], [MISS, MISS]),
    "a cookie is set": ([("Set-Cookie", "a=secret")], [MISS, MISS]),
    "a stream": ([("Content-Type", "text/event-stream")], [MISS, MISS]),
    "stale, with a validator": (stale(), [MISS, Step("fwd=stale")]),
    "stale, and the client takes that": (
        stale(),
        # At a URL of its own, since it is fetched in the background then, which may be stored after the next purge.
        [
            Step("fwd=uri-miss", "/profile/8/"),
            Step("hit; ttl=-", "/profile/8/", {"Cache-Control": "max-stale"}),
        ],
    ),
    "the client's own directives": (
        [],
        [
            MISS,
            Step("fwd=request", headers={"Cache-Control": "no-cache"}),
            Step("fwd=request", headers={"Cache-Control": "min-fresh=999999"}),
            Step("hit; ttl=", headers={"Cache-Control": "only-if-cached"}),
            Step("", "/profile/7/", {"Cache-Control": "only-if-cached"}),
        ],
    ),
    "HEAD": ([], [Step("fwd=uri-miss", method="HEAD"), MISS, Step("hit; ttl=", method="HEAD")]),
    "Range": (
        [],
        [
            Step("fwd=uri-miss", headers={"Range": "bytes=0-1"}),
            MISS,
            Step("hit; ttl=", headers={"Range": "bytes=0-1"}),
        ],
    ),
    "conditional": ([("ETag", '"1"')], [MISS, Step("hit; ttl=", headers={"If-None-Match": '"1"'})]),
    "a part of a page": ([], [MISS, Step("fwd=bypass", headers={"HX-Request": "true"})]),
    "another method by a field": (
        [],
        [Step("fwd=bypass; detail=non-canonical", headers={"X-HTTP-Method-Override": "DELETE"})],
    ),
    "unsafe methods": ([], [MISS, Step("fwd=method", method="POST"), MISS, Step("fwd=method", method="OPTIONS")]),
    "a call that reads": (
        [],
        [Step(cache, CALL, JSON, "POST", READ) for cache in ("fwd=uri-miss", "hit; ttl=")],
    ),
    "a call that changes": ([], [Step("fwd=method", CALL, JSON, "POST", call("rename_user", user_id=5))]),
    "a call that could be read otherwise": (
        [],
        [Step("fwd=bypass; detail=non-canonical", CALL, JSON, "POST", call("user_profile", user_id="05"))],
    ),
    "a call that is none": ([], [Step("fwd=bypass; detail=non-canonical", CALL, JSON, "POST", b"[]")]),
    "stale while it is revalidated": (stale(swr=60), [MISS, Step("hit; ttl=-")]),
}


async def test_what_is_explained_is_what_happens(edge: RunningEdge, origin: Origin):
    for number, (case, (origin.headers, steps)) in enumerate(CASES.items(), start=100):
        await edge.admin_request("POST", "/purge", {"all": True})
        for step in steps:
            # A page of its own: what is stale is fetched in the background, and may be stored later than that purge.
            step = replace(step, target=step.target.replace(PAGE, f"/profile/{number}/"))
            told = (await explained(edge, step))["decision"]
            reply = await edge.request(step.method, step.target, step.headers, step.body)
            assert (case, member(reply["Cache-Status"])) == (case, step.cache)
            assert (case, member(told["cache_status"])) == (case, step.cache)
            assert (case, told["outcome"]) == (case, outcome(step.cache))
            assert told["reason"].endswith(".")


async def test_asking_changes_nothing_and_takes_no_more_than_the_read_token(edge: RunningEdge, origin: Origin):
    for token, status in (("read-token", 200), ("wrong", 401)):
        assert (await edge.admin_request("GET", f"/explain?url={PAGE}", token=token)).status == status
    for _ in range(3):
        assert (await explained(edge, MISS))["decision"]["cache_status"] == "mizan-edge; fwd=uri-miss"
    assert origin.hits == 0


async def test_of_a_response_in_redis_all_is_told_but_its_body(edge: RunningEdge, origin: Origin):
    body = "<p>text</p>" * 300
    origin.script = lambda asked: Says(body, headers=[("Content-Type", "text/html"), ("X-Mizan-Scope", "catalog")])
    await edge.get(PAGE)
    reply = await explain(edge, PAGE)
    told = reply.json
    assert told["rule"] | {"ttl": 86400, "context": "user", "kind": "view"} == told["rule"]
    assert told["rule"]["pattern"] == "/profile/:user_id/"
    assert told["rule"]["functions"] == ["profile_page"]
    assert told["key"]["params"] == {"user_id": "5", "*host": "site.test"}
    assert told["partition"] == told["key"]["partition"] == "anon"
    stored = told["stored"]
    assert (stored["status"], stored["size"]) == (200, len(body))
    assert stored["age"] + stored["ttl"] == 86400
    assert stored["indexes"] == ["catalog", "user", 'user;*url="/profile/5/"', "user;user_id=5"]
    assert told["workers"] == [{"worker": 0, "holds": True, "ttl": stored["ttl"]}]
    assert [entry["partition"] for entry in told["entries"]] == ["anon"]
    assert told["purged_by"]["mutations"] == [{"mutation": "rename_user", "scope": "user;user_id=5"}]
    assert "<p>" not in reply.body.decode()
    for secret in (SECRET, MWT_SECRET):
        assert secret not in reply.body.decode()
    # What is told to purge it, purges it.
    for scope in told["purged_by"]["scopes"]:
        await edge.get(PAGE)
        assert (await edge.purge(scope)).json["entries"] >= 1, scope
        assert not (await edge.get(PAGE)).hit


NOT_STORED = [
    (("Cache-Control", "no-store"), "RFC 9111 section 5.2.2", "cache-control: no-store"),
    (("Mizan-Cache-Control", "private"), "RFC 9111 section 5.2.2", "mizan-cache-control: private"),
    (("Set-Cookie", "sessionid=secret"), "RFC 6265 section 3", None),
    (("X-Mizan-Partition", "user:7:secret"), None, None),
    (("X-Mizan-Scope", "nobody"), None, "x-mizan-scope: nobody"),
]


async def test_what_was_not_stored_is_told_with_its_reason(edge: RunningEdge, origin: Origin):
    for said, section, quoted in NOT_STORED:
        origin.headers = [said]
        assert (await edge.get(PAGE)).cache == "fwd=uri-miss"
        reply = await explain(edge, PAGE)
        told = reply.json
        assert told["stored"] is None
        assert told["not_stored"]["section"] == section
        assert told["not_stored"]["said"] == ([quoted] if quoted else [])
        assert b"secret" not in reply.body
    # Until it is.
    origin.headers = []
    await edge.get(PAGE)
    told = (await explain(edge, PAGE)).json
    assert told["not_stored"] is None
    assert told["stored"]["status"] == 200


async def test_a_status_without_a_lifetime_and_a_purge_in_between_are_told_as_well(edge: RunningEdge, origin: Origin):
    origin.script = lambda asked: Says("no", status=500)
    await edge.get(PAGE)
    assert (await explain(edge, PAGE)).json["not_stored"]["status"] == 500

    async def overtaken(asked: Asked) -> Says:
        await edge.purge("user;user_id=5")
        return Says("old")

    origin.script = overtaken
    assert (await edge.get(PAGE)).cache == "fwd=uri-miss"
    assert "was purged while" in (await explain(edge, PAGE)).json["not_stored"]["reason"]


async def test_a_users_partition_is_explained_by_his_token(edge: RunningEdge, origin: Origin, tokens):
    people: list[dict[str, str]] = [{}, tokens("5"), tokens("6")]
    for who in people:
        for cache in ("fwd=uri-miss", "hit; ttl="):
            told = await explained(edge, Step(cache, headers=who))
            assert member(told["decision"]["cache_status"]) == cache
            assert member((await edge.get(PAGE, who))["Cache-Status"]) == cache
    told = await explained(edge, Step("", headers=tokens("6")))
    assert told["partition"] == "user:6:p1"
    assert "user;*user=6" in told["stored"]["indexes"]
    assert sorted(entry["partition"] for entry in told["entries"]) == ["anon", "user:5", "user:6"]
    assert tokens("6")["Authorization"].encode() not in (await explain(edge, PAGE, tokens("6"))).body
    expired = await explained(edge, Step("", headers=tokens("5", now_s=1)))
    assert "expired" in expired["decision"]["reason"]


async def test_the_last_purge_that_touched_it_is_told(edge: RunningEdge):
    assert (await explain(edge, PAGE)).json["last_purge"] is None
    for scope in ("user;user_id=6", "catalog", "user;user_id=5;locale=de"):
        await edge.purge(scope)
    assert (await explain(edge, PAGE)).json["last_purge"] is None
    for scope in ("user;user_id=5", "user", 'user;*url="/profile/5/"'):
        seq = (await edge.purge(scope)).json["seq"]
        await edge.purge("user;user_id=6")
        told = (await explain(edge, PAGE)).json["last_purge"]
        assert (told["seq"], told["scope"]) == (seq, scope)
    seq = (await edge.admin_request("POST", "/purge", {"all": True})).json["seq"]
    told = (await explain(edge, PAGE)).json["last_purge"]
    assert (told["seq"], told["scope"]) == (seq, "*")


async def test_the_reason_of_what_is_passed_on_names_what_makes_it_so(edge: RunningEdge):
    for url, words in (("/profile/05/", "'05'"), ("/x/", "No view"), ("/profile/5/?user_id=6", "user_id")):
        told = (await explain(edge, url)).json
        assert words in told["decision"]["reason"]
        assert told["rule"] is None
    told = (await explain(edge, PAGE, {"Cookie": "sessionid=secret"})).json
    assert "cookies" in told["decision"]["reason"]
    assert told["rule"]["pattern"] == "/profile/:user_id/"
    told = await explained(edge, Step("", CALL, JSON, "POST", call("rename_user", user_id=5)))
    assert told["affects"] == ["user;user_id=5"]


async def test_without_redis_the_cache_is_passed_by_and_why_is_told(make_edge: EdgeFactory):
    edge = await make_edge(redis="redis://127.0.0.1:1")
    told = (await explain(edge, PAGE)).json
    assert told["decision"]["cache_status"] == "mizan-edge; fwd=bypass; detail=store"
    assert "manifest not adopted" in told["decision"]["reason"]
    assert member((await edge.get(PAGE))["Cache-Status"]) == "fwd=bypass; detail=store"


async def test_the_host_is_the_first_that_is_served_or_that_of_the_url(make_edge: EdgeFactory):
    edge = await make_edge(allowed_hosts="shop.test, www.shop.test")
    await edge.request("GET", PAGE, host="shop.test")
    assert (await edge.admin_request("GET", f"/explain?url={PAGE}")).json["decision"]["outcome"] == "hit"
    for url, outcome in (("http://shop.test/profile/5/", "hit"), ("http://www.shop.test/profile/5/", "miss")):
        told = (await edge.admin_request("GET", f"/explain?url={url}")).json
        assert told["decision"]["outcome"] == outcome
        assert told["host"] == url.split("/")[2]


async def test_of_what_cannot_be_asked_nothing_is_told(make_edge: EdgeFactory):
    edge = await make_edge(allowed_hosts="site.test")
    for query in (
        "",
        "url=",
        "url=/profile/5/&url=/profile/6/",
        "url=/profile/5/&hots=a",
        "url=http://evil.test/profile/5/",
        "url=/profile/5/&host=evil.test",
        "url=/profile/5/&host=a%20b",
        "url=/profile%205/",
        "url=/profile/5/&method=G%20T",
        "url=/profile/5/&header=nothing",
        "url=/profile/5/&header=A:%20b%0d%0aC:%20d",
    ):
        reply = await edge.admin_request("GET", f"/explain?{query}")
        assert reply.status == 422, query
        assert reply["Content-Type"] == "application/problem+json"
        assert reply.json["detail"]


async def test_what_lies_in_the_memory_of_workers_is_told_of_each(start_edge: Start, origin: Origin):
    edge = await start_edge()
    client = await edge.client()
    await client.get(PAGE)
    told = (await explain(edge, PAGE)).json
    assert sorted(worker["holds"] for worker in told["workers"]) == [False, True]
    origin.headers = [("Cache-Control", "private")]
    await client.get(CATALOG)
    assert (await explain(edge, CATALOG)).json["not_stored"]["said"] == ["cache-control: private"]
