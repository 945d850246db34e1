"""Conditionals, ranges and HEAD: never sent on a fill, answered from it; and what misses of them leaves nothing."""

import pytest

from tests.support.edge import RunningEdge
from tests.support.origin import Asked, Origin, Says
from tests.support.wire import Headers

VIEW = "/profile/5/"
OLD, MODIFIED, NEW = (f"Mon, 01 Jan 2024 00:00:{second} GMT" for second in ("00", "10", "20"))


def page(*headers: tuple[str, str], body: bytes = b"page"):
    """An origin that knows conditionals, ranges and HEAD, as real ones do."""

    def script(asked: Asked) -> Says:
        if asked.get("If-None-Match") or asked.get("If-Modified-Since"):
            return Says(status=304, headers=list(headers))
        if asked.get("Range"):
            return Says(body[:2], 206, [*headers, ("Content-Range", f"bytes 0-1/{len(body)}")])
        return Says(body, headers=list(headers))

    return script


CONDITIONALS = {
    "If-None-Match": '"v1"',
    "If-Modified-Since": NEW,
    "If-Match": '"v2"',
    "If-Unmodified-Since": OLD,
    "If-Range": '"v1"',
}


@pytest.mark.parametrize("name", CONDITIONALS)
@pytest.mark.parametrize("target", [VIEW, "/catalog/shoes/"])
async def test_a_fill_is_unconditional_and_serves_everybody(edge: RunningEdge, origin: Origin, target: str, name: str):
    origin.script = page(("ETag", '"v1"'), ("Last-Modified", MODIFIED))
    first = await edge.get(target, {name: CONDITIONALS[name]})
    assert first.cache == "fwd=uri-miss; stored"
    assert not [n for n, _ in origin.asked[0].headers if n in CONDITIONALS]
    assert first.status == (304 if name in ("If-None-Match", "If-Modified-Since") else 200)
    plain = await edge.get(target)
    assert (plain.status, plain.body, plain.hit) == (200, b"page", True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"v1"'}, 304),
        ({"If-None-Match": 'W/"v1"'}, 304),
        ({"If-None-Match": '"v0", W/"v1" , "v2"'}, 304),
        ([("If-None-Match", '"v0"'), ("If-None-Match", '"v1"')], 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"v"'}, 200),
        ({"If-None-Match": "v1"}, 200),
        ({"If-None-Match": ""}, 200),
        ({"If-Modified-Since": MODIFIED}, 304),
        ({"If-Modified-Since": NEW}, 304),
        ({"If-Modified-Since": "Mon Jan  1 00:00:10 2024"}, 304),
        ({"If-Modified-Since": OLD}, 200),
        ({"If-Modified-Since": "Monday, 01-Jan-24 00:00:10 GMT"}, 304),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": NEW.replace("GMT", "+0000")}, 200),
        # RFC 9110 section 13.1.3: where both are there, the entity tag decides.
        ({"If-None-Match": '"v0"', "If-Modified-Since": NEW}, 200),
        ({"If-None-Match": '"v1"', "If-Modified-Since": OLD}, 304),
        # RFC 9111 section 4.3.2: these are for the origin, which is not asked.
        ({"If-Match": '"v2"'}, 200),
        ({"If-Unmodified-Since": OLD}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_conditional_is_answered_from_the_entry(
    edge: RunningEdge, origin: Origin, method: str, headers: Headers, status: int
):
    kept = [
        ("Cache-Control", "max-age=60"),
        ("Content-Location", "/profile/five/"),
        ("ETag", '"v1"'),
        ("Expires", NEW),
        ("Last-Modified", MODIFIED),
        ("Vary", "Accept-Language"),
    ]
    origin.script = page(*kept, ("Content-Language", "de"))
    first = await edge.get(VIEW)
    reply = await edge.request(method, VIEW, headers)
    assert reply.status == status
    assert reply.hit
    assert origin.hits == 1
    assert [(name, reply[name]) for name, _ in kept] == kept
    assert reply["Date"] == first["Date"]
    assert reply["Age"] is not None
    assert reply.body == (b"page" if (method, status) == ("GET", 200) else b"")
    assert reply["Content-Length"] == ("4" if status == 200 else None)
    assert reply["Content-Language"] == ("de" if status == 200 else None)


@pytest.mark.parametrize(("tag", "wanted", "status"), [("v1", "0-1", 304), ("v1", "9-", 304), ("v0", "0-1", 206)])
async def test_conditions_are_judged_before_ranges(
    edge: RunningEdge, origin: Origin, tag: str, wanted: str, status: int
):
    # RFC 9110 section 13.2.2
    origin.script = page(("ETag", '"v1"'))
    await edge.get(VIEW)
    reply = await edge.get(VIEW, {"If-None-Match": f'"{tag}"', "Range": f"bytes={wanted}"})
    assert (reply.status, reply.hit) == (status, True)


async def test_a_script_of_another_site_may_read_a_304_as_the_page(edge: RunningEdge, origin: Origin):
    allowed = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "ETag")]
    origin.script = page(("ETag", '"v1"'), *allowed)
    await edge.get(VIEW)
    reply = await edge.get(VIEW, {"If-None-Match": '"v1"'})
    assert (reply.status, [(name, reply[name]) for name, _ in allowed]) == (304, allowed)


@pytest.mark.parametrize(
    ("kept", "since", "status"),
    [
        # RFC 9111 section 4.3.2: where nothing says when it was modified, its date says it was not after that.
        ([("Date", MODIFIED)], NEW, 304),
        ([("Date", MODIFIED)], OLD, 200),
        # Within that second it may have been.
        ([("Date", MODIFIED)], MODIFIED, 200),
        # What says so wrongly says nothing.
        ([("Date", OLD), ("Last-Modified", "yesterday")], NEW, 200),
        ([("Date", "today")], NEW, 200),
    ],
)
async def test_a_page_that_is_not_known_to_be_modified_is_as_old_as_its_date(
    edge: RunningEdge, origin: Origin, kept: list[tuple[str, str]], since: str, status: int
):
    origin.script = lambda asked: Says("page", headers=kept)
    await edge.get(VIEW)
    reply = await edge.get(VIEW, {"If-Modified-Since": since})
    assert (reply.status, reply.hit) == (status, True)


async def test_a_response_without_a_validator_gets_one_that_follows_its_bytes(edge: RunningEdge, origin: Origin):
    tags = set()
    for body in (b"a", b"b", b"a"):
        origin.script = page(body=body)
        first, second = await edge.get(VIEW), await edge.get(VIEW)
        assert first["ETag"] == second["ETag"]
        assert second.hit
        assert (await edge.get(VIEW, {"If-None-Match": first["ETag"] or ""})).status == 304
        tags.add(first["ETag"])
        await edge.purge("user;user_id=5")
    assert len(tags) == 2


async def test_after_a_purge_an_old_tag_gets_the_new_page(edge: RunningEdge, origin: Origin):
    origin.script = page(body=b"old")
    tag = (await edge.get(VIEW))["ETag"] or ""
    await edge.purge("user;user_id=5")
    origin.script = page(body=b"new")
    reply = await edge.get(VIEW, {"If-None-Match": tag})
    assert (reply.status, reply.body) == (200, b"new")


@pytest.mark.parametrize("status", [404, 301])
async def test_only_a_200_answers_conditionals(edge: RunningEdge, origin: Origin, status: int):
    origin.script = lambda asked: Says("x", status, [("ETag", '"v1"')])
    for _ in range(2):
        assert (await edge.get(VIEW, {"If-None-Match": '"v1"'})).status == status


async def test_calls_know_no_conditionals(edge: RunningEdge, origin: Origin):
    origin.headers = [("ETag", '"v1"')]
    for _ in range(2):
        assert (await edge.call("user_profile", {"If-None-Match": '"v1"'}, user_id=5)).status == 200


async def test_where_nothing_is_stored_the_client_gets_the_whole_response(edge: RunningEdge, origin: Origin):
    origin.script = page(("ETag", '"v1"'), ("Mizan-Cache-Control", "no-store"))
    reply = await edge.get(VIEW, {"If-None-Match": '"v1"'})
    assert (reply.status, reply.body, reply.cache) == (200, b"page", "fwd=uri-miss")


@pytest.mark.parametrize("target", ["/undeclared/", "/profile/05/"])
async def test_a_conditional_that_passes_by_is_the_origins(edge: RunningEdge, origin: Origin, target: str):
    origin.script = page(("ETag", '"v1"'))
    assert (await edge.get(target, {"If-None-Match": '"v1"'})).status == 304


@pytest.mark.parametrize("extra", [{}, {"If-Range": '"v1"'}, {"If-None-Match": '"v0"', "Range": "bytes=0-1"}])
async def test_a_range_that_misses_is_forwarded_and_leaves_nothing(
    edge: RunningEdge, origin: Origin, extra: dict[str, str]
):
    origin.script = lambda asked: Says(b"pa", 206, [("Content-Range", "bytes 0-1/4")])
    headers = {"Range": "bytes=0-1"} | extra
    for hits in (1, 2):
        reply = await edge.get(VIEW, headers)
        assert (reply.status, reply.body, reply["Content-Range"]) == (206, b"pa", "bytes 0-1/4")
        assert origin.hits == hits
        assert reply.cache.startswith("fwd=")
        assert "stored" not in reply.cache
        assert [(n, v) for n, v in origin.asked[-1].headers if n in headers] == list(headers.items())


async def test_a_whole_response_to_a_range_is_not_stored_either(edge: RunningEdge, origin: Origin):
    assert "stored" not in (await edge.get(VIEW, {"Range": "bytes=0-1"})).cache
    assert (await edge.get(VIEW)).cache == "fwd=uri-miss; stored"


async def test_a_range_of_what_is_stored_needs_no_origin(edge: RunningEdge, origin: Origin):
    origin.script = page()
    await edge.get(VIEW)
    reply = await edge.get(VIEW, {"Range": "bytes=0-1"})
    assert reply.hit
    assert origin.hits == 1
    assert (reply.status, reply.body) in ((200, b"page"), (206, b"pa"))


@pytest.mark.parametrize("target", [VIEW, "/catalog/shoes/", "/api/mizan/ctx/user/?user_id=5"])
async def test_a_head_that_misses_is_forwarded_and_leaves_nothing(edge: RunningEdge, origin: Origin, target: str):
    for hits in (1, 2):
        reply = await edge.request("HEAD", target)
        assert (reply.status, reply.body, reply.cache) == (200, b"", "fwd=uri-miss")
        assert origin.hits == hits
    assert [asked.method for asked in origin.asked] == ["HEAD", "HEAD"]
    page = await edge.get(target)
    assert page.cache == "fwd=uri-miss; stored"
    assert page.body == f"GET {target} #3".encode()


async def test_a_head_is_answered_from_a_stored_get(edge: RunningEdge, origin: Origin):
    origin.script = page(("X-Title", "five"))
    got = await edge.get(VIEW)
    head = await edge.request("HEAD", VIEW)
    assert head.hit
    assert origin.hits == 1
    assert head.body == b""
    for name in ("Content-Length", "Content-Type", "ETag", "X-Title", "Date"):
        assert head[name] == got[name] is not None


async def test_a_304_to_a_fill_is_not_taken_for_a_page(edge: RunningEdge, origin: Origin):
    # A broken origin, or one that reads conditionals out of something else.
    origin.script = lambda asked: Says(status=304, headers=[("Cache-Control", "max-age=60")])
    for hits in (1, 2):
        reply = await edge.get(VIEW)
        assert (reply.status, reply.cache) == (304, "fwd=uri-miss; fwd-status=304")
        assert origin.hits == hits
