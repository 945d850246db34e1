"""Answers that are ready to be written: the same as those that are decided, and only while these would be the same."""

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizan_core.credentials import IDENTITY_COOKIES, IDENTITY_HEADERS, IGNORED_COOKIES
from mizan_core.mwt import Identity, Keyring, mint
from mizan_edge.rules.identity import IdentityRules, partition
from mizan_edge.rules.selecting import Selecting, Sender
from mizan_edge.running.config import limits_of, load_settings
from tests.support.browser import VIEW, Browser, Deciding, browsing, but_for_age, ready, selected
from tests.support.edge import MANIFEST, MWT_SECRET, EdgeFactory, RunningEdge
from tests.support.edges import Valve
from tests.support.listening import connection
from tests.support.memory import resident
from tests.support.origin import Asked, Origin, Says, until
from tests.support.proxy import talking

PROFILE = "/profile/5/"
LIMITS = limits_of(load_settings({"origin": "http://a", "manifest": Path("none")}, None))
RULES = IdentityRules(IDENTITY_COOKIES, IGNORED_COOKIES, IDENTITY_HEADERS)
BROWSER = {
    "User-Agent": "Mozilla/5.0",
    "Accept": "text/html",
    "Accept-Encoding": "gzip, br",
    "Accept-Language": "de",
}


@pytest.fixture(params=[{}, {"near": 0}], ids=["memory", "Redis"])
async def edge(request: pytest.FixtureRequest, deciding: Deciding, make_edge: EdgeFactory) -> RunningEdge:
    """One that has responses in its memory, and one that has none and so gets them from Redis."""
    return await make_edge(**request.param)


@pytest.fixture
async def browser(edge: RunningEdge) -> AsyncIterator[Browser]:
    async with browsing(edge) as browser:
        yield browser


async def test_a_request_like_one_before_is_not_decided_again(
    edge: RunningEdge, browser: Browser, deciding: Deciding, origin: Origin
):
    await browser.get(VIEW, BROWSER)
    decided = await browser.get(VIEW, BROWSER)
    assert decided.hit and deciding.count == 2
    for number in range(3):
        others = {"User-Agent": f"Other/{number}", "Referer": f"/from/{number}", "Cookie": f"_ga={number}"}
        reply = await browser.get(VIEW, BROWSER | others)
        assert reply.hit and but_for_age(reply) == but_for_age(decided)
    assert (deciding.count, origin.hits) == (2, 1)
    counters = (await edge.admin_request("GET", "/stats")).json["counters"]
    assert counters["requests.catalog.hit"] == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"Host": "other.test"},
        {"Accept-Language": "en"},
        {"Accept-Encoding": "identity"},
        {"Authorization": "Bearer x"},
        {"Cookie": "sessionid=5"},
        {"Cookie": "mizan_mwt=x"},
        {"Cookie": "a"},
        {"If-None-Match": '"x"'},
        {"Range": "bytes=0-1"},
        {"Cache-Control": "no-cache"},
        {"Cache-Control": "max-age=0"},
        {"Pragma": "no-cache"},
        {"X-Requested-With": "XMLHttpRequest"},
        {"User_Agent": "x"},
        {"Remote-User": "eva"},
        {"Connection": "User-Agent"},
        {"Content-Length": "0"},
        {"X-Anything": "else"},
        {"Expect": "100-continue"},
        {"Upgrade": "websocket"},
    ],
    ids=lambda changed: ": ".join(next(iter(changed.items()))),
)
async def test_whatever_may_make_a_difference_is_decided(browser: Browser, deciding: Deciding, changed: dict[str, str]):
    await ready(browser, deciding, VIEW, BROWSER)
    before = deciding.count
    await browser.get(VIEW, BROWSER | changed)
    assert deciding.count == before + 1


async def test_a_purge_ends_what_is_ready(edge: RunningEdge, browser: Browser, deciding: Deciding, origin: Origin):
    origin.script = lambda asked: Says(f"#{origin.hits}")
    for number in 1, 2, 3:
        assert (await ready(browser, deciding)).body == f"#{number}".encode()
        await edge.purge("catalog")
        reply = await browser.get()
        assert not reply.hit and reply.body == f"#{number + 1}".encode()


async def test_one_that_differs_in_its_own_lines_and_body_alone_takes_its_place(
    make_edge: EdgeFactory, deciding: Deciding, origin: Origin
):
    edge = await make_edge()
    more: list[tuple[str, str]] = []
    origin.script = lambda asked: Says(f"#{origin.hits}", headers=[("ETag", f'"{origin.hits}"'), *more])
    async with browsing(edge) as browser:
        first = await ready(browser, deciding)
        for number in 2, 3:
            await edge.purge("catalog")
            before = deciding.count
            replies = [await browser.get() for _ in range(3)]
            assert [reply.hit for reply in replies] == [False, True, True]
            assert {reply.body for reply in replies} == {f"#{number}".encode()}
            assert replies[1]["ETag"] == f'"{number}"'
            assert [name for name, _ in replies[1].fields] == [name for name, _ in first.fields]
            assert deciding.count == before + 1
        more.append(("X-More", "lines"))
        await edge.purge("catalog")
        before = deciding.count
        replies = [await browser.get() for _ in range(3)]
        assert [reply["X-More"] for reply in replies] == ["lines"] * 3
        assert deciding.count == before + 2


async def test_but_not_for_a_request_with_conditions(make_edge: EdgeFactory, deciding: Deciding, origin: Origin):
    condition = {"if-none-match": '"2"'}
    edge = await make_edge()
    origin.script = lambda asked: Says(f"#{origin.hits}", headers=[("ETag", f'"{origin.hits}"')])
    async with browsing(edge) as browser:
        assert (await ready(browser, deciding, headers=condition)).status == 200
        await edge.purge("catalog")
        assert (await browser.get()).body == b"#2"
        assert [(await browser.get(headers=condition)).status for _ in range(2)] == [304] * 2


async def test_so_does_a_mutation_before_its_client_has_the_answer(
    edge: RunningEdge, browser: Browser, deciding: Deciding, origin: Origin
):
    names = ["old"]

    def script(asked: Asked) -> Says:
        if asked.method == "POST":
            names.append("new")
            return Says("{}", headers=[("X-Mizan-Invalidate", "user;user_id=5")])
        return Says(names[-1])

    origin.script = script
    assert (await ready(browser, deciding, PROFILE)).body == b"old"
    await edge.call("rename_user", user_id=5)
    assert (await browser.get(PROFILE)).body == b"new"


async def test_another_manifest_ends_it(edge: RunningEdge, browser: Browser, deciding: Deciding):
    await ready(browser, deciding)
    edge.manifest_path.write_text(json.dumps({**MANIFEST, "contexts": {"user": MANIFEST["contexts"]["user"]}}))
    assert (await edge.admin_request("POST", "/reload")).status == 200
    assert (await browser.get()).cache == "fwd=bypass; detail=undeclared"


async def test_it_ages_and_expires(browser: Browser, deciding: Deciding, origin: Origin):
    origin.headers = [("Cache-Control", "max-age=3"), ("Age", "1")]
    await ready(browser, deciding)
    ages, before = [], deciding.count
    # By chance it is refreshed a little early.
    while (reply := await browser.get()).hit and origin.hits == 1:
        ages.append(int(reply["Age"] or -1))
        assert int(reply["Age"] or 0) + int(reply.cache.partition("ttl=")[2]) == 3
        assert reply.cache == f"hit; ttl={3 - ages[-1]}"
    assert ages == sorted(ages) and set(ages) == {1, 2}
    assert deciding.count - before < len(ages) / 2
    assert origin.hits == 2


async def test_it_ends_with_the_token_of_its_client(browser: Browser, deciding: Deciding, origin: Origin):
    token = mint(Keyring.parse(MWT_SECRET), sub="5", pkey="x", now_s=int(time.time()), lifetime_s=3)
    headers = {"Authorization": f"Bearer {token}"}
    await ready(browser, deciding, PROFILE, headers)
    hits, asked = 0, origin.hits
    async with asyncio.timeout(10):
        while (reply := await browser.get(PROFILE, headers)).hit:
            hits += 1
    assert hits and reply.cache == "fwd=bypass; detail=credentials"
    assert origin.hits == asked + 1


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"Accept-Encoding": "br"}, 200),
        ("GET", {"If-None-Match": '"v1"'}, 304),
        ("HEAD", {}, 200),
        ("HEAD", {"Accept-Encoding": "gzip"}, 200),
    ],
)
async def test_it_is_what_would_have_been_decided(
    deciding: Deciding, make_edge: EdgeFactory, origin: Origin, method: str, headers: dict[str, str], status: int
):
    headers_of_all = [("Content-Type", "text/plain"), ("ETag", '"v1"'), ("X-Odd", "\xe9")]
    origin.script = lambda asked: Says("page " * 1000, headers=headers_of_all)
    near, far = await make_edge(compress="all"), await make_edge(compress="all", near=0)

    async def compressed() -> bool:
        return (await far.get(VIEW, {"Accept-Encoding": "br"}))["Content-Encoding"] == "br"

    async with asyncio.timeout(10):
        while not await compressed():
            pass
    async with browsing(far) as browser:
        decided = await browser.request(method, VIEW, headers)
    assert decided.status == status
    async with browsing(near) as browser:
        reply = await ready(browser, deciding, VIEW, headers, method)
    assert but_for_age(reply) == but_for_age(decided)
    assert reply.hit


async def test_what_waits_for_its_copies_is_ready_without_them(
    deciding: Deciding, make_edge: EdgeFactory, origin: Origin, redis_url: str, namespace: str
):
    origin.script = lambda asked: Says("page " * 1000, headers=[("Content-Type", "text/plain")])
    valve = Valve(redis_url.removeprefix("unix://"))
    async with talking(valve.talk) as address:
        one = await make_edge(compress="nothing")
        two = await make_edge(redis=f"redis://{address}", redis_timeout=5, compress="all")
        headers = {"Accept-Encoding": "br"}
        await one.get(VIEW)
        valve.next = "store"
        async with browsing(two) as browser:
            waiting = await ready(browser, deciding, VIEW, headers)
            assert waiting["Content-Encoding"] is None and waiting["Vary"] == "Accept-Encoding"
            await asyncio.wait_for(valve.held.wait(), 5)
            valve.go.set()
            async with asyncio.timeout(10):
                while (await browser.get(VIEW, headers))["Content-Encoding"] is None:
                    pass
            compressed = await ready(browser, deciding, VIEW, headers)
            assert compressed["Content-Encoding"] == "br"
    assert origin.hits == 1


async def test_what_varies_by_a_line_that_selects_nothing_is_always_decided(
    browser: Browser, deciding: Deciding, origin: Origin
):
    origin.script = lambda asked: Says(asked.get("User-Agent") or "", headers=[("Vary", "User-Agent")])
    for _ in range(3):
        for name in "a", "b":
            assert (await browser.get(VIEW, {"User-Agent": name})).body == name.encode()
    assert (deciding.count, origin.hits) == (6, 2)


# On the wire.


def get(target: str = VIEW, *lines: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: site.test", *lines, "", "")).encode()


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """The bodies of so many answers."""
    bodies = []
    for _ in range(count):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        bodies.append(await reader.readexactly(int(length)))
    return bodies


@pytest.fixture
async def warm(edge: RunningEdge, browser: Browser, deciding: Deciding, origin: Origin) -> RunningEdge:
    """An edge at which the answers to `get()` and `get(PROFILE)` are ready; elsewhere the origin echoes."""

    async def script(asked: Asked) -> Says:
        return Says(asked.body or asked.target.encode(), headers=[("Content-Type", "text/plain")])

    origin.script = script
    for target in VIEW, PROFILE:
        await ready(browser, deciding, target)
    deciding.count = 0
    return edge


async def test_pipelines_mix_what_is_ready_with_what_passes(warm: RunningEdge, deciding: Deciding):
    async with connection(warm.address) as (reader, writer):
        writer.write(get() + get(PROFILE) + get("/x") + get() + get("/y") + get(PROFILE))
        said = await answers(reader, 6)
    assert said == [target.encode() for target in (VIEW, PROFILE, "/x", VIEW, "/y", PROFILE)]


async def test_a_body_that_looks_like_a_request_is_a_body(warm: RunningEdge, deciding: Deciding, origin: Origin):
    body = get()
    post = b"POST /echo HTTP/1.1\r\nHost: site.test\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with connection(warm.address) as (reader, writer):
        writer.write(get() + post)
        assert await answers(reader, 1) == [VIEW.encode()]
        await until(lambda: deciding.count == 1)
        # By itself, as any other request that is ready would come.
        writer.write(body)
        assert await answers(reader, 1) == [body]
        writer.write(get())
        assert await answers(reader, 1) == [VIEW.encode()]
    assert origin.asked[-1].body == body


@pytest.mark.parametrize("size", [1, 7, 60])
async def test_heads_may_come_in_pieces(warm: RunningEdge, size: int):
    data = get() + get("/x") + get(PROFILE)
    async with connection(warm.address) as (reader, writer):
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        assert await answers(reader, 3) == [VIEW.encode(), b"/x", PROFILE.encode()]


async def test_a_client_may_end_its_side_with_its_last_request(warm: RunningEdge):
    async with connection(warm.address) as (reader, writer):
        writer.write(get() + get())
        writer.write_eof()
        said = await asyncio.wait_for(reader.read(), 5)
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2 and said.endswith(VIEW.encode())


async def test_a_client_that_takes_nothing_has_a_bounded_share_of_memory(
    deciding: Deciding, make_edge: EdgeFactory, origin: Origin
):
    edge = await make_edge(workers=0)
    origin.script = lambda asked: Says(b"x" * 50_000)
    async with browsing(edge) as browser:
        await ready(browser, deciding)
    before = resident([os.getpid()])
    async with connection(edge.address, limit=1024) as (_, writer):
        # 250 MB of answers.
        writer.write(get() * 5000)
        async with browsing(edge) as browser:
            for _ in range(100):
                assert (await browser.get()).hit
        assert resident([os.getpid()]) - before < 30 << 20


@pytest.mark.parametrize(
    "head",
    [
        get().replace(b"HTTP/1.1", b"HTTP/1.0"),
        get(VIEW, "Connection: close"),
        get(VIEW, "User-Agent : x"),
        get(VIEW, "User-Agent: a\x00b"),
        get(VIEW, " User-Agent: folded"),
        get(VIEW, "User-Agent: a\nX: b"),
        get(VIEW, "User-Agent"),
        get(VIEW, "Cookie: _ga=a\x01"),
        get(VIEW, "Host: site.test"),
        get(VIEW, *(f"User-Agent: {number}" for number in range(200))),
        get(VIEW, *(f"User-Agent: {number}" for number in range(12))),
        get(VIEW, "Transfer-Encoding: chunked"),
    ],
)
async def test_what_the_parser_judges_is_left_to_it(deciding: Deciding, make_edge: EdgeFactory, head: bytes):
    """An edge without memory has nothing ready: both say the same."""
    near, far = await make_edge(max_fields=10), await make_edge(near=0, max_fields=10)
    async with browsing(near) as browser:
        await ready(browser, deciding)

    async def first_line(edge: RunningEdge) -> bytes:
        async with connection(edge.address) as (reader, writer):
            writer.write(head)
            writer.write_eof()
            said = await asyncio.wait_for(reader.read(), 5)
            return b" ".join(said.split(b"\r\n")[0].split()[1:]) + (b" close" if b"Connection: close" in said else b"")

    assert await first_line(near) == await first_line(far)


# Which lines select.


def block(*lines: str) -> bytes:
    return ("\r\n" + "\r\n".join((*lines, "", ""))).encode("latin-1")


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (["Host: a", "User-Agent: b", "Accept: c"], [b"Host: a", b"Accept: c"]),
        (["Host: a", "USER-AGENT:b"], [b"Host: a"]),
        (["Host: a", "User_Agent: b"], [b"Host: a", b"User_Agent: b"]),
        (["Host: a", "Cookie: _ga=1; csrftoken=2"], [b"Host: a"]),
        (["Host: a", "Cookie: _ga=1; sessionid=2"], [b"Host: a", b"\r\nCookie:sessionid"]),
        (["Host: a", "Cookie: mizan_mwt=t; sessionid=2"], [b"Host: a", b"\r\nCookie:mizan_mwt=t;sessionid"]),
        (["Host: a", "Cookie: _ga"], [b"Host: a", b"\r\nCookie: _ga"]),
        (
            ["Host: a", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"],
            [b"Host: a", b"X-Forwarded-Proto: https"],
        ),
    ],
)
def test_the_lines_that_select(lines: list[str], kept: list[bytes]):
    selecting = Selecting(RULES, LIMITS)
    for _ in range(3):
        assert selected(selecting, block(*lines)) == tuple(kept)


def test_a_field_that_may_say_who_is_asking_selects():
    rules = IdentityRules(IDENTITY_COOKIES, IGNORED_COOKIES, (*IDENTITY_HEADERS, "user-*"))
    assert selected(Selecting(rules, LIMITS), block("Host: a", "User-Agent: b")) == (b"Host: a", b"User-Agent: b")


IDENTITIES = {"a": Identity("5", "p", 9), "b": Identity("6", "p", 9)}
NAMES = ["_ga", "csrftoken", "sessionid", "mizan_mwt", "__Host-mizan_mwt", "other", "", " _ga", "mizan_mwt "]
CONTENTS = ["", "a", "b", '"a"', "a=b", " a", "é", "\t"]
COOKIES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(CONTENTS)).map("=".join),
        st.sampled_from(["", " ", "_ga", "=", "=a"]),
    ),
    max_size=4,
).map("; ".join)


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(COOKIES, max_size=2), st.lists(COOKIES, max_size=2))
def test_clients_whose_lines_select_the_same_are_the_same(one: list[str], other: list[str]):
    def who(cookies: list[str]) -> object:
        return partition(tuple(("Cookie", line) for line in cookies), RULES, verify)

    def lines(cookies: list[str]) -> object:
        return selected(selecting, block("Host: a", *(f"Cookie: {line}" for line in cookies)))

    verify: Callable[[str], Any] = IDENTITIES.get
    selecting = Selecting(RULES, LIMITS)
    if lines(one) == lines(other):
        assert who(one) == who(other)


LINES = st.lists(
    st.one_of(
        COOKIES.map("Cookie: {}".format),
        st.sampled_from(["a=1", "=1", "_ga=", "_gab=b; csrftoken=c", "_ga=1;csrftoken=2"]).map("Cookie: {}".format),
        st.sampled_from(["/a", "b\x01", "\xff", ""]).map("Referer: {}".format),
        st.sampled_from(["cookie: _ga=1", "referer: /", "Accept: c", "Accept-Language: d", "User-Agent: e"]),
    ),
    max_size=5,
)


CHANGES = [("=a", "=b"), ("=a", "=é"), ("/a", "/b"), ("/a", "/\x01"), ("a", "a=b"), ("=b", "= b "), ("a", "a; _ga=1")]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(LINES, min_size=1, max_size=4), st.sampled_from([("_ga*", "mizan*", "csrftoken", "[x]"), ("*",), ()]))
def test_what_was_read_before_makes_no_difference(blocks: list[list[str]], ignored: tuple[str, ...]):
    rules = IdentityRules(IDENTITY_COOKIES, ignored, IDENTITY_HEADERS)
    limits = replace(LIMITS, fields=6)
    selecting, sender = Selecting(rules, limits), Sender()
    for lines in blocks:
        asked = block("Host: a", *lines)
        first = selected(Selecting(rules, limits), asked)
        for _ in range(20):
            assert selected(selecting, asked, sender) == first
        for old, new in CHANGES:
            # The form is the same, or almost.
            changed = block("Host: a", *[line.replace(old, new) for line in lines])
            assert selected(selecting, changed, sender) == selected(Selecting(rules, limits), changed)
            assert selected(selecting, asked, sender) == first


def test_a_cookie_that_is_another_one_each_time_is_read_as_one_that_is_known():
    selecting, sender = Selecting(RULES, LIMITS), Sender()
    for number in range(1000):
        lines = ("Host: a", f"Referer: /{number}", "Accept: c", f"Cookie: _ga={number}; csrftoken={number}")
        assert selected(selecting, block(*lines), sender) == (b"Host: a", b"Accept: c")
    assert sender.form is not None
    lines = ("Host: a", "Referer: /1", "Accept: c", "Cookie: _ga=1; mizan_mwt=t")
    assert selected(selecting, block(*lines), sender) == (b"Host: a", b"Accept: c", b"\r\nCookie:mizan_mwt=t")


def test_a_connection_that_stays_keeps_nothing_of_what_was_forgotten():
    selecting, sender, other = Selecting(RULES, LIMITS), Sender(), Sender()
    ask = "Host: a", "User-Agent: b"
    for number in range(20):
        selected(selecting, block(*ask, f"Cookie: mizan_mwt={number}"), sender)
    form = sender.form
    assert form is not None and form.of_tokens
    for number in range(20_000):
        selected(selecting, block("Host: a", "User-Agent: c", f"Cookie: mizan_mwt={number}"), other)
    assert sender.form is form and not form.of_tokens


async def test_requests_that_come_together_are_answered_in_their_order(
    edge: RunningEdge, deciding: Deciding, origin: Origin
):
    """Ready or not, and whatever comes while the response of one is on its way from Redis."""
    origin.script = lambda asked: Says(asked.target)
    targets = [VIEW, "/undeclared/1", "/catalog/caps/", VIEW, VIEW, "/undeclared/2", "/catalog/caps/"]
    async with browsing(edge) as browser:
        for target in set(targets):
            await ready(browser, deciding, target) if "undeclared" not in target else await browser.get(target)
        before = deciding.count
        browser.writer.write(b"".join(b"GET %b HTTP/1.1\r\nHost: site.test\r\n\r\n" % t.encode() for t in targets))
        browser.writer.write_eof()
        said = await asyncio.wait_for(browser.reader.read(), 10)
    assert [body.decode() for body in re.findall(rb"\r\n\r\n(/[^ H]*)", said)] == targets
    assert deciding.count >= before + 2
