"""What edges make of each other's switches: an off counts until an on that has seen it, whoever hears what when."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store
from mizan_edge.rules import switches
from mizan_edge.rules.switches import Switch, Switches
from tests.support.edge import SECRET

# Whatever few edges do, one after the other.


class Table(Protocol):
    """What one edge, or Redis, knows of one context."""

    @property
    def enabled(self) -> bool: ...
    def off(self, edge: str, now_ms: int) -> Self: ...
    def on(self) -> Self: ...
    def compared(self, share: float | None) -> Self: ...
    def merged(self, other: Self) -> Self: ...


@dataclass(frozen=True)
class OneCounter:
    """The rule that was: of what was said, that counts which came after more."""

    version: int = 0
    is_off: bool = False

    @property
    def enabled(self) -> bool:
        return not self.is_off

    def off(self, _edge: str, _now_ms: int) -> "OneCounter":
        return OneCounter(self.version + 1, True)

    def on(self) -> "OneCounter":
        return OneCounter(self.version + 1, False)

    def compared(self, _share: float | None) -> "OneCounter":
        return replace(self, version=self.version + 1)

    def merged(self, other: "OneCounter") -> "OneCounter":
        return max(self, other, key=lambda table: (table.version, table.is_off))


@dataclass(frozen=True)
class Told:
    """Every off that one has heard of, and those of them that some on had seen."""

    offs: frozenset[int] = frozenset()
    seen: frozenset[int] = frozenset()


T = TypeVar("T", bound=Table)
World = tuple[tuple[T, Told], ...]
"""What is known at Redis, and at each edge."""
DID = ("off", "on", "shadow", "meets Redis")


def after(world: World[T], edge: int, did: str, step: int) -> World[T]:
    """The world after an edge did something."""
    there, (table, told) = world[0], world[edge]
    match did:
        case "off":
            here = table.off(f"edge {edge}", 0), replace(told, offs=told.offs | {step})
        case "on":
            here = table.on(), replace(told, seen=told.seen | told.offs)
        case "shadow":
            here = table.compared(0.5), told
        case _:
            both = Told(told.offs | there[1].offs, told.seen | there[1].seen)
            there = here = table.merged(there[0]), both
    return (there, *world[1:edge], here, *world[edge + 1 :])


def wrong(world: World[T], steps: int, story: str = "") -> Iterator[str]:
    """What was done, of all that can be, where somebody who has heard of an off that no on has seen has it on; or where
    it is off although all were seen."""
    if any(table.enabled != (told.offs <= told.seen) for table, told in world):
        yield story
    elif steps:
        for edge in range(1, len(world)):
            for did in DID:
                if (then := after(world, edge, did, steps)) != world:
                    yield from wrong(then, steps - 1, f"{story}; {edge} {did}".removeprefix("; "))


def start(table: T, edges: int) -> World[T]:
    return ((table, Told()),) * (edges + 1)


@pytest.mark.parametrize(("edges", "steps"), [(2, 6), (3, 5)])
def test_in_every_order_an_off_counts_until_an_on_that_has_seen_it(edges: int, steps: int):
    assert list(wrong(start(Switch(), edges), steps)) == []


def test_one_counter_for_all_that_is_said_loses_offs():
    """So the test above sees what it is to see."""
    lost = set(wrong(start(OneCounter(), 2), 5))
    assert "1 off; 1 meets Redis; 2 off; 2 on; 2 meets Redis" in lost
    assert "1 off; 1 meets Redis; 2 shadow; 2 shadow; 2 meets Redis" in lost


# Merging, by Python and by Redis.

EDGES = st.sampled_from(["a" * 43, "b" * 43, "earlier", "unreadable"])
NUMBERS = st.dictionaries(EDGES, st.integers(1, 10**15 - 1) | st.integers(1, 3))
SHARES = st.none() | st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-05])
TABLES = st.dictionaries(
    st.sampled_from(["user", "catalog", "_Basket2"]),
    st.builds(Switch, NUMBERS, NUMBERS, SHARES, st.integers(1, 3)),
)


@given(TABLES, TABLES, TABLES)
def test_it_does_not_matter_who_hears_of_whom_when_and_how_often(one: Switches, two: Switches, three: Switches):
    together = switches.merged(one, two)
    assert together == switches.merged(two, one) == switches.merged(together, one)
    assert switches.merged(together, three) == switches.merged(one, switches.merged(two, three))


@given(TABLES)
def test_a_table_is_itself_again_as_text(table: Switches):
    assert switches.of_json(switches.to_json(table)) == dict(table)


def test_a_table_does_not_grow_with_switches():
    switch = Switch()
    for now_ms in range(1000):
        switch = switch.off("a", now_ms).on().compared(now_ms / 1000).off("b", 5).on()
    assert switch.enabled
    assert len(switches.to_fields({"user": switch})) == 5


def test_an_edge_that_has_lost_its_table_has_its_next_off_seen_by_no_on_of_before():
    others = Switch().off("a", 1000).on()
    assert others.enabled
    assert not Switch().off("a", 2000).merged(others).enabled


@pytest.fixture(scope="module")
def known_to_redis(redis_url: str) -> Iterator["KnownToRedis"]:
    store = Store(redis_url, Namespace("switches", sealing_key(SECRET.encode())), timeout_s=5)
    with redis.Redis.from_url(redis_url) as client:
        known = KnownToRedis(store, client)
        yield known
        known.forget()
    store.close()


@dataclass(frozen=True)
class KnownToRedis:
    """What Redis knows of switches."""

    store: Store
    client: redis.Redis

    def forget(self) -> None:
        self.client.delete("{switches}:switched", "{switches}:switches")

    def told(self, table: Switches) -> tuple[dict[str, Switch], int]:
        """What it knows once it is told a table, and how much of that was news."""
        said = self.store.run(self.store.namespace.switch(switches.to_fields(table)))
        return switches.of_fields(said.fields.items(), said.earlier), said.news


@settings(max_examples=60)
@given(st.lists(TABLES, max_size=4))
def test_redis_merges_as_edges_do(known_to_redis: KnownToRedis, tables: list[Switches]):
    known_to_redis.forget()
    together: dict[str, Switch] = {}
    for table in tables:
        before, together = together, switches.merged(together, table)
        known, news = known_to_redis.told(table)
        assert (known, news > 0) == (together, together != before)
    assert known_to_redis.told(together) == (together, 0)


# What was written before, and by other hands.


@given(
    st.text("05.e- x\n\0", max_size=12), st.sampled_from(["user off b", "user seen a", "user shadow", "user", "user x"])
)
def test_what_cannot_be_read_in_redis_is_off_until_somebody_switches_it_on(
    known_to_redis: KnownToRedis, value: str, name: str
):
    known_to_redis.forget()
    known_to_redis.client.hset("{switches}:switched", name, value)
    known, _ = known_to_redis.told({})
    try:
        assert known == switches.of_json(json.dumps({name: value}))
    except ValueError:
        assert not known["user"].enabled
        known, _ = known_to_redis.told({"user": known["user"].on()})
        assert known["user"].enabled
    # An edge that knows better makes it good, and none is kept from switching it off.
    known, news = known_to_redis.told({"user": known["user"].off("b", 10**14)})
    assert news
    assert not known["user"].enabled


def test_another_type_in_redis_is_no_table(known_to_redis: KnownToRedis):
    off = {"user": Switch().off("a", 1)}
    known_to_redis.forget()
    for key in ("switched", "switches"):
        known_to_redis.client.set(f"{{switches}}:{key}", "another type")
    assert known_to_redis.told(off) == (off, 1)


def earlier(enabled: bool, version: int, shadow: float | None = None) -> str:
    """A switch, as it was written when there was one counter."""
    return json.dumps({"enabled": enabled, "shadow": shadow, "version": version})


def test_what_was_off_in_redis_before_is_off_until_an_on_has_seen_it(known_to_redis: KnownToRedis):
    known_to_redis.forget()

    def said(text: str) -> None:
        known_to_redis.client.hset("{switches}:switches", "user", text)

    said(earlier(True, 7, 0.25))
    known, _ = known_to_redis.told({})
    assert (known["user"].enabled, known["user"].shadow) == (True, 0.25)
    for text in (earlier(False, 8), earlier(False, 9), "yes", earlier(False, 9).replace("9", '"9"')):
        said(text)
        known, _ = known_to_redis.told(known)
        assert not known["user"].enabled, text
        known, _ = known_to_redis.told({"user": known["user"].on()})
        assert known["user"].enabled, text


def test_what_was_off_in_the_state_directory_is_off_unless_this_very_off_was_seen():
    """Of two offs with one number, on edges that had not heard of each other."""
    one, other = (
        switches.of_json(f'{{"user": {earlier(False, 3)}, "catalog": {earlier(True, 4)}}}', f"earlier-{edge}")
        for edge in "ab"
    )
    assert switches.off(one) == {"user"}
    on = {"user": one["user"].on()}
    assert switches.off(on) == set()
    assert switches.off(switches.merged(on, one)) == set()
    assert switches.off(switches.merged(on, other)) == {"user"}
