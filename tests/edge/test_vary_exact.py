"""Variants are entries like any other: found by whom they suit, purged with their resource, and bounded in number."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest
import redis

from mizan_edge.rules.variants import MAX_VARIANTS
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says, Script, until
from tests.support.wire import Headers

VIEW, PAGE = "/profile/5/", "/catalog/hats/"
NEAR = pytest.mark.parametrize("near", [0, 1 << 22], ids=["from Redis", "from memory"])


class Kept:
    """What the edge keeps in Redis."""

    def __init__(self, raw: "redis.Redis", namespace: str) -> None:
        self._raw = raw
        self._prefix = f"{{{namespace}}}:"

    def entries(self) -> set[bytes]:
        """The keys of entries, responses and records alike."""
        return set(self._raw.scan_iter(f"{self._prefix}e:*", count=10_000))

    def lists(self) -> list[bytes]:
        """The lists of variants."""
        return list(self._raw.scan_iter(f"{self._prefix}v:*", count=10_000))


@pytest.fixture
def kept(redis_url: str, namespace: str) -> Iterator[Kept]:
    with redis.Redis.from_url(redis_url) as raw:
        yield Kept(raw, namespace)


def a(value: str) -> list[tuple[str, str]]:
    return [("X-A", value)]


def ab(one: str, other: str) -> list[tuple[str, str]]:
    return [("X-A", one), ("X-B", other)]


def saying(*names: str, **headers: str) -> Script:
    """An origin that shows X-A, X-B and how often it was asked, and says that it varies by `names`."""
    count = itertools.count(1)
    said = [("Vary", ", ".join(names))] if names else []
    said += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda asked: Says(f"{asked.get('X-A')} {asked.get('X-B')} #{next(count)}", headers=said)


async def text(edge: RunningEdge, headers: Headers = (), target: str = VIEW) -> str:
    return (await edge.get(target, headers)).body.decode()


@NEAR
@pytest.mark.parametrize("scopes", [["user;user_id=5"], ["user"], []], ids=["its scope", "its context", "everything"])
async def test_a_purge_takes_all_variants_in_all_partitions(
    make_edge: EdgeFactory, origin: Origin, kept: Kept, tokens, near: int, scopes: list[str]
):
    edge = await make_edge(near=near)
    origin.script = saying("X-A")
    signed_in = [list(tokens(sub).items()) for sub in "56"]
    asks: list[Headers] = [[*who, *a(value)] for who in ([], *signed_in) for value in "12"]
    for was_asked in (False, True):
        assert [(await edge.get(VIEW, headers)).hit for headers in asks] == [was_asked] * 6
    assert len(kept.entries()) == 9  # and a record for each partition
    await edge.purge(*scopes, **({} if scopes else {"all": True}))
    assert not any([(await edge.get(VIEW, headers)).hit for headers in asks])
    assert origin.hits == 12


async def test_a_purge_of_one_url_leaves_no_variant_of_it(edge: RunningEdge, origin: Origin, kept: Kept):
    origin.script = saying("X-A")
    for value in "123":
        await edge.get(VIEW, a(value))
    assert (await edge.admin_request("PURGE", VIEW)).json["entries"] == 4
    assert kept.entries() == set()


@NEAR
async def test_a_variant_that_was_purged_alone_is_not_found_by_the_record_that_stays(
    make_edge: EdgeFactory, origin: Origin, near: int
):
    edge = await make_edge(near=near)
    origin.script = lambda asked: Says(
        f"#{origin.hits}", headers=[("Vary", "X-A"), ("X-Mizan-Scope", f"catalog;category={asked.get('X-A')}")]
    )
    assert [await text(edge, a(value)) for value in ("hats", "shoes", "hats", "shoes")] == ["#1", "#2", "#1", "#2"]
    await edge.purge("catalog;category=hats")
    assert [await text(edge, a(value)) for value in ("hats", "shoes")] == ["#3", "#2"]


@pytest.mark.parametrize("known", [True, False], ids=["with a record", "without one"])
async def test_a_variant_that_a_purge_has_overtaken_is_not_stored(
    edge: RunningEdge, origin: Origin, kept: Kept, known: bool
):
    script = saying("X-A")
    origin.script = script
    if known:
        await edge.get(VIEW, a("1"))

    async def purged_meanwhile(asked: Asked) -> Says:
        old = script(asked)
        assert isinstance(old, Says)
        await edge.purge("user;user_id=5")
        return old

    origin.script = purged_meanwhile
    assert not (await edge.get(VIEW, a("2"))).cache.endswith("stored")
    assert kept.entries() == set()
    origin.script = script
    assert not (await edge.get(VIEW, a("2"))).hit


# What the origin says of Vary may change from response to response.


@NEAR
async def test_where_vary_grows_nothing_is_found_by_whom_it_does_not_suit(
    make_edge: EdgeFactory, origin: Origin, near: int
):
    edge = await make_edge(near=near)
    origin.script = saying("X-A")
    assert await text(edge, ab("1", "1")) == "1 1 #1"
    origin.script = saying("X-A", "X-B")
    assert await text(edge, ab("2", "1")) == "2 1 #1"
    # It was stored when the origin looked at X-A alone, and is not offered to those who differ in X-B.
    assert [await text(edge, ab("1", b)) for b in "121"] == ["1 1 #2", "1 2 #3", "1 1 #2"]
    assert [await text(edge, ab("2", b)) for b in "121"] == ["2 1 #1", "2 2 #4", "2 1 #1"]


@NEAR
async def test_where_vary_drops_a_field_nothing_of_before_comes_back(make_edge: EdgeFactory, origin: Origin, near: int):
    edge = await make_edge(near=near)
    origin.script = saying("X-A")
    await edge.get(VIEW, ab("1", "1"))
    origin.script = saying("X-A", "X-B")
    assert await text(edge, ab("2", "1")) == "2 1 #1"
    origin.script = saying("X-A")
    assert await text(edge, ab("3", "1")) == "3 1 #1"
    # The entry of the very beginning lies under X-A alone, as the origin has just said again.
    assert await text(edge, ab("1", "2")) == "1 2 #2"
    assert await text(edge, ab("2", "1")) == "2 1 #1"


@NEAR
async def test_a_response_that_omits_vary_does_not_take_the_place_of_the_others(
    make_edge: EdgeFactory, origin: Origin, near: int
):
    edge = await make_edge(near=near)

    def script(asked: Asked) -> Says:
        value = asked.get("X-A")
        return Says(f"{value} #{origin.hits}", headers=[("Vary", "X-A")] if value else [])

    origin.script = script
    assert [await text(edge, headers) for headers in (a("1"), [], a("2"))] == ["1 #1", "None #2", "2 #3"]
    assert [await text(edge, headers) for headers in (a("1"), [], a("2"))] == ["1 #1", "None #2", "2 #3"]


async def test_what_vary_no_longer_names_is_forgotten_with_the_responses_that_named_it(
    edge: RunningEdge, origin: Origin, kept: Kept
):
    origin.script = saying("X-A", Cache_Control="max-age=1")
    await edge.get(PAGE, a("1"))
    origin.script = saying(Cache_Control="max-age=600")
    await edge.get(PAGE, a("2"))
    await until(lambda: len(kept.entries()) == 1)
    assert [(await edge.get(PAGE, a(value))).hit for value in "34"] == [False, True]


# How many there are.


@NEAR
async def test_the_oldest_variants_make_room(make_edge: EdgeFactory, origin: Origin, kept: Kept, near: int):
    edge = await make_edge(near=near)
    origin.script = saying("X-A")
    for value in range(MAX_VARIANTS + 2):
        await edge.get(VIEW, a(f"{value}"))
    assert len(kept.entries()) == MAX_VARIANTS + 1  # the record
    assert len(kept.lists()) == 1
    hits = [(await edge.get(VIEW, a(f"{value}"))).hit for value in (MAX_VARIANTS + 1, 2, 1, 0)]
    assert hits == [True, True, False, False]
    # Another resource has lost nothing, and a purge finds the rest.
    await edge.purge("user;user_id=5")
    assert kept.entries() == set()


async def test_many_variants_at_once_are_bounded_as_well(make_edge: EdgeFactory, origin: Origin, kept: Kept):
    edge = await make_edge()
    origin.script = saying("X-A")
    values = [f"{value}" for value in range(MAX_VARIANTS + 20)]
    replies = await asyncio.gather(*(edge.get(VIEW, a(value)) for value in values))
    assert [reply.body.decode().split()[0] for reply in replies] == values
    assert len(kept.entries()) <= MAX_VARIANTS + 1


# Confirming them. RFC 9111 sections 4.1, 4.3.1 and 4.3.4


async def test_only_the_variant_that_was_asked_about_is_confirmed(edge: RunningEdge, origin: Origin):
    def script(asked: Asked) -> Says:
        value = asked.get("X-A")
        fields = [("Vary", "X-A"), ("ETag", f'"{value}"'), ("X-Note", f"{value}, #{origin.hits}")]
        if asked.get("If-None-Match") == f'"{value}"':
            return Says(status=304, headers=[*fields, ("Cache-Control", "max-age=600")])
        return Says(f"{value}", headers=[*fields, ("Cache-Control", "max-age=0")])

    origin.script = script
    for value in "12":
        assert (await edge.get(PAGE, a(value))).cache.endswith("stored")
    reply = await edge.get(PAGE, a("1"))
    assert (reply.status, reply.body, reply.cache) == (200, b"1", "fwd=stale; stored; fwd-status=304")
    assert (origin.asked[-1].get("X-A"), origin.asked[-1].get("If-None-Match")) == ("1", '"1"')
    reply = await edge.get(PAGE, a("1"))
    assert (reply.hit, reply.body, reply["X-Note"]) == (True, b"1", "1, #3")
    # The other one is as stale as it was, with its own fields.
    reply = await edge.get(PAGE, a("2"))
    assert (reply.hit, reply.body, reply["X-Note"]) == (False, b"2", "2, #4")
    assert origin.asked[-1].get("If-None-Match") == '"2"'
    assert (await edge.get(PAGE, a("1")))["X-Note"] == "1, #3"


async def test_a_variant_that_is_not_there_is_fetched_without_the_validators_of_others(
    edge: RunningEdge, origin: Origin
):
    origin.script = saying("X-A", ETag='"the same"', Cache_Control="max-age=0")
    await edge.get(PAGE, a("1"))
    assert (await edge.get(PAGE, a("2"))).body == b"2 None #2"
    assert origin.asked[-1].get("If-None-Match") is None


async def test_a_304_that_names_further_fields_moves_what_it_confirms(edge: RunningEdge, origin: Origin):
    def script(asked: Asked) -> Says:
        body = f"{asked.get('X-A')} {asked.get('X-B')}"
        if asked.get("If-None-Match") == f'"{body}"':
            return Says(status=304, headers=[("Vary", "X-A, X-B"), ("Cache-Control", "max-age=600")])
        life = "max-age=0" if origin.hits == 1 else "max-age=600"
        vary = "X-A" if origin.hits == 1 else "X-A, X-B"
        return Says(body, headers=[("Vary", vary), ("ETag", f'"{body}"'), ("Cache-Control", life)])

    origin.script = script
    for _ in range(2):
        assert await text(edge, ab("1", "1"), PAGE) == "1 1"
    assert (await edge.get(PAGE, ab("1", "1"))).hit
    assert await text(edge, ab("1", "2"), PAGE) == "1 2"
    assert origin.hits == 3
