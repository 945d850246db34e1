"""`X-Mizan-Invalidate` over the wire: in doubt more is purged, never less; and before anybody sees the answer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says
from tests.support.wire import Headers

SITE = {
    "contexts": {
        **MANIFEST["contexts"],
        "page": {
            "functions": [{"name": "page"}],
            "endpoints": ["/api/mizan/ctx/page/"],
            "params": ["slug", "tags"],
            "param_types": {"tags": {"list": "string"}},
        },
        "orders": {"functions": [{"name": "orders"}], "endpoints": ["/api/mizan/ctx/orders/"]},
    }
}
# One letter for each entry.
ENTRIES = {
    "a": "/api/mizan/ctx/user/?user_id=5&locale=en",
    "b": "/api/mizan/ctx/user/?user_id=5",
    "c": "/profile/6/",
    "d": "/catalog/shoes/",
    "e": "/api/mizan/ctx/catalog/?category=hats",
    "f": "/api/mizan/ctx/page/?slug=my%20post",
    "g": "/api/mizan/ctx/page/?slug=%C3%A9&tags=x&tags=y",
    "h": "/api/mizan/ctx/orders/",
}
ALL = "".join(ENTRIES)


async def fill(edge: RunningEdge) -> None:
    for target in ENTRIES.values():
        assert (await edge.get(target)).cache == "fwd=uri-miss; stored"


async def gone(edge: RunningEdge) -> str:
    """The letters of the entries that are there no more."""
    replies = {
        letter: await edge.get(target, {"Cache-Control": "only-if-cached"}) for letter, target in ENTRIES.items()
    }
    assert {reply.status for reply in replies.values()} <= {200, 504}
    return "".join(letter for letter, reply in replies.items() if reply.status == 504)


def says(*lines: str, status: int = 200, method: str = "POST") -> Callable[[Asked], Says]:
    def script(asked: Asked) -> Says:
        found = asked.method == method and "profile/99" not in asked.target
        return Says("done", status, [("X-Mizan-Invalidate", line) for line in lines]) if found else Says("x")

    return script


EXACT = {
    "user;user_id=5": "ab",
    "user;user_id=5;locale=en": "a",
    "user;locale=en;user_id=5": "a",
    "user;user_id=5;user_id=5": "ab",
    "user": "abc",
    "  user ; user_id=5  ": "ab",
    'user;user_id="5"': "ab",
    "user;user_id=7": "",
    "user;user_id=5, catalog": "abde",
    "user;user_id=5,catalog;category=hats": "abe",
    'page;slug="my post"': "f",
    "page;slug=my post": "f",
    'page;slug=%"%c3%a9"': "g",
    'page;tags="[\\"x\\",\\"y\\"]"': "g",
    "orders": "h",
    "orders;*user=5": "",
    "user;user_id=5;*user=5": "",
    "": "",
}


@pytest.mark.parametrize("field", EXACT)
async def test_what_is_said_clearly_is_purged_exactly(make_edge: EdgeFactory, origin: Origin, field: str):
    edge = await make_edge(SITE)
    origin.script = says(field)
    await fill(edge)
    reply = await edge.request("POST", "/x", body=b"")
    assert reply["X-Mizan-Invalidate"] is None
    assert await gone(edge) == EXACT[field]
    assert "invalidation_faults" not in await edge.counters()


DOUBT = {
    "an unknown parameter": ("user;user_id=5;colour=red", "ab"),
    "only an unknown parameter": ("user;userid=5", "abc"),
    "two values": ("user;user_id=5;user_id=6", "abc"),
    "two values of one of two": ("user;user_id=5;user_id=6;locale=en", "a"),
    "a padded integer": ("user;user_id=05", "abc"),
    "a decimal": ("user;user_id=5.0", "abc"),
    "text for an integer": ("user;user_id=abc;locale=en", "a"),
    "a boolean for an integer": ("user;user_id", "abc"),
    "a padded integer where none is declared": ("page;slug=05", "fg"),
    "a list that is spelled otherwise": ('page;tags="[\\"x\\", \\"y\\"]"', "fg"),
    "bytes": ("user;user_id=:NQ==:", "abc"),
    "an unknown context": ("usr;user_id=5", ""),
    "an unknown context among others": ("usr, user;user_id=5", "ab"),
    "an unbalanced quote": ('page;slug="my post, orders', "fgh"),
    "an unbalanced quote, then quotes": ('page;slug="my post, user;locale="en", orders', "afgh"),
    "a fault, then more": ("user;user_id=, catalog;category=hats, orders", "abceh"),
    "a fault between": ("orders, user;=5, catalog;category=hats", "abceh"),
    "a quoted comma after a fault": ('user;;, page;slug="orders, catalog"', "abcdefg"),
    "a member that begins with no name": ("5, orders", ALL),
    "a name and junk": ("user!?, orders", "abch"),
    "junk behind a name": ("user user_id=5", "abc"),
    "brackets": ("[user, orders]", ALL),
    "an empty member": ("user;user_id=5,, orders", "abh"),
    "an empty member in front": (",orders", "h"),
    "an empty member at the end": ("orders,", "h"),
    "commas alone": (",,", ""),
    "semicolons": ("orders;;", "h"),
    "text beyond ASCII": ("page;slug=é", "fg"),
    "a context beyond ASCII": ("é, orders", ALL),
    "a wrong display string": ('page;slug=%"%c3"', "fg"),
    "a star": ("*", ALL),
}


@pytest.mark.parametrize(("field", "purged"), DOUBT.values(), ids=list(DOUBT))
async def test_in_doubt_more_is_purged_and_it_is_said(
    make_edge: EdgeFactory, origin: Origin, caplog: pytest.LogCaptureFixture, field: str, purged: str
):
    edge = await make_edge(SITE)
    origin.script = says(field)
    await fill(edge)
    with caplog.at_level(logging.WARNING):
        await edge.request("POST", "/x", body=b"")
    left = await gone(edge)
    assert set(purged) <= set(left), "less was purged than was asked for"
    assert left == purged
    assert (await edge.counters())["invalidation_faults"] >= 1
    assert "X-Mizan-Invalidate" in caplog.text


async def test_an_unknown_context_is_purged_by_its_name(make_edge: EdgeFactory, origin: Origin):
    # Another edge, with another manifest, may have entries under that name.
    other = {"contexts": {"basket": {"endpoints": ["/api/mizan/ctx/basket/"], "functions": [{"name": "basket"}]}}}
    knows, does_not = await make_edge(other), await make_edge(SITE)
    await knows.get("/api/mizan/ctx/basket/")
    origin.script = says("basket;owner=5")
    await does_not.request("POST", "/x", body=b"")
    assert not (await knows.get("/api/mizan/ctx/basket/")).hit


async def test_several_lines_are_one_field(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(SITE)
    origin.script = says("user;user_id=5", "orders", "catalog;category=hats")
    await fill(edge)
    await edge.request("POST", "/x", body=b"")
    assert await gone(edge) == "abeh"


@pytest.mark.parametrize(
    ("length", "purged"), [(64 * 1024, "ab"), (64 * 1024 + 1, ALL), (200_000, ALL), (1_100_000, ALL)]
)
async def test_a_field_that_is_too_long_purges_everything(
    make_edge: EdgeFactory, origin: Origin, length: int, purged: str
):
    edge = await make_edge(SITE)
    field = filled(length)
    assert len(field) == length
    origin.script = says(field)
    await fill(edge)
    await edge.request("POST", "/x", body=b"")
    assert await gone(edge) == purged


def filled(length: int) -> str:
    """A sound field of exactly this length that purges what belongs to user 5."""
    field = "user;user_id=5" + ", user;user_id=5;locale=de" * ((length - 100) // 26)
    last = ", user;user_id=5;locale="
    return field + last + "x" * (length - len(field) - len(last))


@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 403, 404, 422, 500, 503])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_any_response_of_any_status_purges(edge: RunningEdge, origin: Origin, method: str, status: int):
    origin.script = says("user;user_id=5", method=method, status=status)
    await edge.get("/catalog/shoes/")
    origin.script = lambda asked: Says("x")
    await edge.get("/profile/5/")
    origin.script = says("user;user_id=5", method=method, status=status)
    reply = await edge.request(method, "/anything/", (), None if method == "GET" else b"")
    assert reply.status == status
    assert (await edge.get("/profile/5/", {"Cache-Control": "only-if-cached"})).status == 504


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("HEAD", "/profile/99/", []),
        ("GET", "/profile/99/", [("Range", "bytes=0-1")]),
        ("GET", "/profile/099/", []),
        ("GET", "/profile/99/", [("Cookie", "sessionid=a")]),
        ("OPTIONS", "/profile/99/", []),
        ("GET", "/profile/99/", []),
    ],
)
async def test_reads_of_every_kind_purge_what_their_responses_say(
    edge: RunningEdge, origin: Origin, method: str, target: str, headers: Headers
):
    await edge.get("/profile/5/")
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5")]
    await edge.request(method, target, headers)
    assert (await edge.get("/profile/5/", {"Cache-Control": "only-if-cached"})).status == 504


async def test_a_storable_response_purges_others_and_is_stored_itself(edge: RunningEdge, origin: Origin):
    await edge.get("/profile/6/")
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=6")]
    assert (await edge.get("/profile/5/")).cache == "fwd=uri-miss; stored"
    # A hit repeats no purge.
    origin.headers = []
    assert not (await edge.get("/profile/6/")).hit
    assert (await edge.get("/profile/5/")).hit
    assert (await edge.get("/profile/6/")).hit


@pytest.mark.parametrize("said", ["user;user_id=5", "user", "*"])
async def test_a_response_that_invalidates_itself_is_not_stored(edge: RunningEdge, origin: Origin, said: str):
    origin.headers = [("X-Mizan-Invalidate", said)]
    assert [(await edge.get("/profile/5/")).cache for _ in range(2)] == ["fwd=uri-miss"] * 2


async def test_a_call_that_is_a_read_purges_as_well(edge: RunningEdge, origin: Origin):
    await edge.get("/profile/5/")
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5")]
    assert (await edge.call("products", category="hats")).cache == "fwd=uri-miss; stored"
    assert not (await edge.get("/profile/5/")).hit


# Before the first byte.


class SlowOrigin:
    """Sends the head of an answer to a POST at once, and its body when it is told to."""

    def __init__(self) -> None:
        self.head_sent = asyncio.Event()
        self.go_on = asyncio.Event()
        self.reads = 0
        self.address = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                if not head.startswith("POST"):
                    self.reads += 1
                    body = f"read {self.reads}".encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                    continue
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Mizan-Invalidate: user;user_id=5\r\n\r\n" + b"half"
                )
                await writer.drain()
                self.head_sent.set()
                await self.go_on.wait()
                writer.write(b"half")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def slow_origin() -> AsyncIterator[SlowOrigin]:
    origin = SlowOrigin()
    server = await asyncio.start_server(origin, "127.0.0.1", 0)
    origin.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield origin
    finally:
        origin.go_on.set()
        server.close()


async def test_the_purge_is_done_when_the_first_byte_of_the_answer_is_seen(make_edge: EdgeFactory):
    async with slow_origin() as origin:
        edge = await make_edge(origin=f"http://{origin.address}")
        await edge.get("/profile/5/")
        assert (await edge.get("/profile/5/")).body == b"read 1"
        host, _, port = edge.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /x HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        first = await asyncio.wait_for(reader.read(1), 10)
        assert first == b"H"
        assert not origin.go_on.is_set()
        # The mutation's body is still on its way, and everybody else reads the new state.
        assert (await edge.get("/profile/5/")).body == b"read 2"
        assert (await edge.get("/profile/5/")).hit
        origin.go_on.set()
        assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"halfhalf")
        writer.close()


async def test_a_client_that_leaves_early_does_not_keep_the_purge_from_happening(edge: RunningEdge, origin: Origin):
    asked_for, go_on = asyncio.Event(), asyncio.Event()

    async def slow(asked: Asked) -> Says:
        asked_for.set()
        await go_on.wait()
        return Says("done", headers=[("X-Mizan-Invalidate", "user;user_id=5")])

    await edge.get("/profile/5/")
    origin.script = slow
    host, _, port = edge.address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /x HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n")
    await asyncio.wait_for(asked_for.wait(), 10)
    writer.transport.abort()
    go_on.set()
    async with asyncio.timeout(10):
        while (await edge.get("/profile/5/", {"Cache-Control": "only-if-cached"})).status != 504:
            pass


# What a response says that it depends on.


@pytest.mark.parametrize(
    "said",
    [
        "user;userid=5",
        "usr;user_id=5",
        "user;user_id=05",
        "user;user_id=5;user_id=6",
        "user;user_id=",
        "user;user_id=5,",
        "user;user_id=5,,catalog",
        'catalog;category="shoes',
        "*",
        "user;user_id=:NQ==:",
        ", ".join(f"user;user_id={n}" for n in range(5000)),
        "user;user_id=5" + " " * 66_000 + ", catalog",
    ],
    ids=lambda said: said[:30],
)
async def test_in_doubt_about_what_it_depends_on_a_response_is_not_stored(
    edge: RunningEdge, origin: Origin, caplog: pytest.LogCaptureFixture, said: str
):
    origin.headers = [("X-Mizan-Scope", said)]
    with caplog.at_level(logging.WARNING):
        replies = [await edge.get("/profile/5/") for _ in range(2)]
    assert [reply.cache for reply in replies] == ["fwd=uri-miss"] * 2
    assert all(reply["X-Mizan-Scope"] is None for reply in replies)
    counters = await edge.counters()
    assert counters.get("requests.user.unstorable-scope", 0) + counters.get("requests.user.miss-unstored", 0) == 2
    assert "not stored" in caplog.text


async def test_scopes_of_several_lines_all_count(edge: RunningEdge, origin: Origin):
    origin.headers = [("X-Mizan-Scope", "catalog;category=hats"), ("X-Mizan-Scope", "user;user_id=7")]
    for scope in ("catalog;category=hats", "user;user_id=7", "user;user_id=5", "catalog"):
        await edge.get("/profile/5/")
        assert (await edge.get("/profile/5/")).hit
        assert (await edge.purge(scope)).json["entries"] == 1, scope


async def test_what_is_purged_while_the_head_says_more_scopes_is_not_stored(edge: RunningEdge, origin: Origin):
    async def overtaken(asked: Asked) -> Says:
        assert (await edge.purge("catalog;category=hats")).status == 200
        return Says("old", headers=[("X-Mizan-Scope", "catalog;category=hats")])

    origin.script = overtaken
    assert (await edge.get("/profile/5/")).cache == "fwd=uri-miss"
