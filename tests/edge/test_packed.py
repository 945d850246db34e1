"""Stored responses in memory: they come out as they went in, and cost what they are charged for, which is little."""

import gc
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mizan_core.manifest import Manifest
from mizan_edge.http.cache_status import Hit, hit
from mizan_edge.http.framing import Octets, response_bytes
from mizan_edge.http.freshness import Lifetime
from mizan_edge.http.message import Request, Response
from mizan_edge.memory.memory import Memory
from mizan_edge.memory.near import Near
from mizan_edge.memory.packed import PackedResponse, Templates
from mizan_edge.memory.prepared import Prepared, Repeatable
from mizan_edge.memory.sampling import Sampling
from mizan_edge.purging.board import Board, clocks
from mizan_edge.rules.entry import StoredResponse, Written, decode_payload
from mizan_edge.rules.selecting import Selecting, Sender
from mizan_edge.rules.site import InUse, Site
from mizan_edge.running.config import limits_of, load_settings, rules_of
from mizan_edge.serving.answer import from_stored
from mizan_edge.serving.requests import Outcome, Requests
from mizan_edge.system.counters import Counters
from tests.support.listening import nowhere

DAY = "Sat, 21 Nov 2026 19:{:02}:{:02} GMT"
NAMES = ("page", 'page;*url="/page/1/"', "page;page_id=1", "site", "site;*user=1")
BODY = b"<p>\r\n\r\n</p>" * 200
HEAD = Response(
    200,
    (
        ("Date", DAY.format(0, 0)),
        ("Content-Type", "text/html"),
        ("X-Odd", Octets("\xe9")),
        ("etag", '"v: 1"'),
        ("X-Odd", "\xe9"),
        ("Vary", "Accept-Language"),
    ),
    "Fine",
)
COPIES = {"br": b"as br", "gzip": b"\r\n\r\n"}
LIFE = Lifetime(60, 1, 2, 3)
TEMPLATES = Templates()
SETTINGS = load_settings({"origin": "http://a", "manifest": Path("none")}, None)
REQUEST = Request("GET", "/page/1/", "site.test", ())


def written(value: StoredResponse) -> Written:
    found = decode_payload(value.to_bytes())
    assert isinstance(found, Written)
    return found


def key_of(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


def stored(head: Response = HEAD, body: bytes = BODY, **more: Any) -> StoredResponse:
    return replace(StoredResponse.of(head, body, 1_000_000, LIFE, took_ms=40), **more)


def packed(value: StoredResponse, number: int = 0, templates: Templates = TEMPLATES) -> PackedResponse:
    return PackedResponse(key_of(number), NAMES, written(value), templates.of("page", value, copies=True), hidden=True)


def on_the_wire(value: StoredResponse) -> tuple[bytes, list[bytes]]:
    first, *lines = response_bytes(value.response).split(b"\r\n")
    return first, sorted(lines, key=lambda line: line.partition(b":")[0].lower())


@pytest.mark.parametrize(
    "value",
    [
        stored(),
        stored().compressed(COPIES),
        stored().compressed({}),
        stored(encoded=None),
        stored(body=b""),
        stored(initial_age_s=7, own_tag=True, took_ms=0),
        stored(Response(404, ())),
        stored(Response(204, (("Date", DAY.format(0, 0)),)), b""),
        stored(Response(204, ()), b""),
        stored(Response(200, (("Content-Type", "text/html"), ("ETag", 'W/"1"'), ("Expires", "0")))),
    ],
)
def test_what_was_packed_is_unpacked(value: StoredResponse):
    unpacked = packed(value).unpacked()
    assert replace(unpacked, response=value.response) == value
    assert on_the_wire(unpacked) == on_the_wire(value)


def test_what_follows_from_the_rest_is_left_out():
    head = HEAD.with_fields(("Age", "7"), ("Content-Length", str(len(BODY))))
    unpacked = packed(stored(head)).unpacked()
    assert unpacked.age_s(1_000_000) == 7
    assert on_the_wire(unpacked) == on_the_wire(stored())


def test_responses_that_are_alike_share_what_they_have_in_common():
    first, second = (stored(HEAD.with_fields(("Date", DAY.format(0, s)), without=["date"]), b"x") for s in (1, 2))
    templates = Templates()
    one, other = packed(first, 1, templates), packed(second, 2, templates)
    assert one.template is other.template


@pytest.mark.parametrize(
    "other",
    [
        stored(HEAD.with_fields(("X-Odd", "\xe9"))),
        stored(Response(200, tuple((n, "\xe9" if n == "X-Odd" else v) for n, v in HEAD.fields), "Fine")),
        stored(lifetime=Lifetime(61, 1, 2, 3)),
        stored(encoded=None),
        stored(replace(HEAD, status=203)),
    ],
)
def test_what_differs_is_not_shared(other: StoredResponse):
    templates = Templates()
    one, another = packed(stored(), 1, templates), packed(other, 2, templates)
    assert one.template is not another.template
    assert on_the_wire(another.unpacked()) == on_the_wire(other)


def page(number: int, *further: tuple[str, str]) -> StoredResponse:
    """A small page of a Django site behind nginx."""
    fields = (
        ("Server", "nginx/1.22.1"),
        ("Date", DAY.format(number // 60 % 60, number % 60)),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "public, max-age=3600"),
        ("X-Frame-Options", "DENY"),
        ("Vary", "Accept-Language"),
    )
    body = sha256(b"%d" % number).hexdigest().encode() * 16
    head = Response(200, (*fields, *further), "OK")
    return StoredResponse.of(head, body, int(time.time() * 1000), Lifetime(3600), took_ms=300)


def names_of(number: int) -> tuple[str, ...]:
    return "page", f'page;*url="/page/{number}/"', f"page;page_id={number}"


Make = Callable[[int], StoredResponse]


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Says how many bytes Python's objects have come to take."""

    def used() -> int:
        gc.collect()  # so that Python keeps no tuples for reuse
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    yield used
    tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [
        lambda number: page(number).compressed({}),
        page,
        lambda number: page(number).compressed({"br": b"x" * number, "gzip": b"y" * number}),
        lambda number: page(number, ("X-Anything", str(number))),
    ],
    ids=["plain", "waiting", "with copies", "with a head of its own"],
)
def test_a_response_takes_no_more_than_it_is_charged(make: Make, traced: Callable[[], int]):
    near: Near[PackedResponse] = Near(1 << 30)
    templates, before = Templates(), traced()
    for number in range(1_000):
        value = make(number)
        template = templates.of("page", value, copies=True)
        near.put(PackedResponse(key_of(number), names_of(number), written(value), template, hidden=True))
    used = traced() - before
    assert near.bytes / 2 < used <= near.bytes


def test_what_had_to_make_room_takes_none_wherever_it_is_held(traced: Callable[[], int]):
    bound = 1 << 20
    near: Near[PackedResponse] = Near(bound)
    templates, before, held = Templates(), traced(), []
    for number in range(1_000):
        held.append(packed(stored(body=b"x" * 10_000 + b"%d" % number), number, templates))
        near.put(held[-1])
    for number in range(900, 1_000):
        near.drop(held[number].key)
    assert traced() - before < bound + len(held) * 400
    assert near.evictions > 800


def test_an_answer_that_is_ready_takes_500_bytes_beyond_its_body(traced: Callable[[], int]):
    """With all that it takes of memory, for one browser that asks for each page."""
    rules = rules_of(SETTINGS, b"x" * 32)
    in_use = InUse(Site.of(Manifest.model_validate({"contexts": {}, "mutations": {}}), rules, {}))
    board, templates = Board.create(0), Templates()
    try:
        board.begin_session()
        board.grant(clocks(), 3600, int(time.time() * 1000))
        memory = Memory(board, max_bytes=1 << 30)
        prepared = Prepared(
            *(Selecting(rules.identity, limits_of(SETTINGS)), memory, in_use, Sampling()),
            fetch=nowhere,
            max_bytes=1 << 30,
        )

        sender, outcome = Sender(), Outcome("hit", "page")
        tally = Requests(Counters()).tally(outcome, 200)

        def head_of(number: int) -> bytes:
            return b"GET /page/%d/ HTTP/1.1\r\nHost: site.test\r\nAccept: text/html\r\n\r\n" % number

        def learn(number: int) -> None:
            mark = memory.mark()
            assert mark is not None
            value = page(number).compressed({})
            template = templates.of("page", value, copies=True)
            kept = PackedResponse(key_of(number), names_of(number), written(value), template, hidden=True)
            memory.put(kept, mark)
            unpacked, now_ms = kept.unpacked(), memory.redis_ms()
            said = hit(Hit(unpacked.ttl_s(now_ms)))
            answer = from_stored(
                REQUEST, unpacked, outcome, said, now_ms=now_ms, compressed=True, forward_mizan_headers=False
            )
            assert isinstance(answer.body, bytes)
            repeatable = Repeatable(in_use.site, kept, None, unpacked, now_ms, math.inf)
            start = response_bytes(answer.response)
            prepared.learn(head_of(number), repeatable, start, answer.body, tally, trusted=False)

        # As many as leave the dicts about as full as they are on average.
        first, last = 10_000, 11_500
        for number in range(500):
            learn(number)
        before = traced()
        for number in range(first, last):
            learn(number)
        used = traced() - before
        assert all(prepared.answer(head_of(number), sender, trusted=False) for number in range(first, last))
        assert used / (last - first) - 1024 <= 500
    finally:
        board.close()
