"""The memory of a worker: never beyond its bound, never anything but what was last put, and hard to flush by scans."""

import random
import sys
import tracemalloc
from bisect import bisect_left
from collections import OrderedDict
from hashlib import sha256
from itertools import accumulate

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mizan_edge.memory.near import OVERHEAD_BYTES, Item, Near

BOUND = 40 * OVERHEAD_BYTES
LARGEST = BOUND // 10 - OVERHEAD_BYTES
keys = st.integers(0, 60)


class Sized(Item):
    """A value of some size."""

    __slots__ = ("_size", "value")

    def __init__(self, key: int, value: int = 0, size: int = 0) -> None:
        super().__init__(key)
        self.value = value
        self._size = size

    @property
    def size(self) -> int:
        return self._size


class Empty(Item):
    """Nothing but what each item costs."""

    __slots__ = ()

    @property
    def size(self) -> int:
        return 0


def value(near: Near[Sized], key: int) -> int | None:
    item = near.get(key)
    return None if item is None else item.value


class Memory(RuleBasedStateMachine):
    """Puts, gets, drops and clears in any order, beside a plain dict of what was put last."""

    def __init__(self) -> None:
        super().__init__()
        self.near: Near[Sized] = Near(BOUND)
        self.costs: dict[int, int] = {}
        self.values: dict[int, int] = {}
        self.items: list[Sized] = []
        self.puts = 0

    @rule(key=keys, size=st.integers(0, LARGEST))
    def put(self, key: int, size: int) -> None:
        self.puts += 1
        item = Sized(key, self.puts, size)
        self.near.put(item)
        self.items.append(item)
        self.values[key] = self.puts
        self.costs[key] = size + OVERHEAD_BYTES
        assert self.near.get(key) is item

    @rule(first=keys, size=st.sampled_from([0, LARGEST]))
    def put_many(self, first: int, size: int) -> None:
        for key in range(first, first + 15):
            self.put(key, size)

    @rule(key=keys, size=st.integers(LARGEST + 1, BOUND * 2))
    def put_what_is_too_large(self, key: int, size: int) -> None:
        item = Sized(key, -1, size)
        self.near.put(item)
        assert not item.is_kept
        self.values.pop(key, None)

    @rule(key=keys)
    def get(self, key: int) -> None:
        assert value(self.near, key) in (None, self.values.get(key))

    @rule()
    def get_all(self) -> None:
        there = [key for key in self.values if self.near.get(key) is not None]
        assert len(there) == len(self.near)
        assert self.near.bytes == sum(self.costs[key] for key in there)

    @rule(key=keys)
    def drop(self, key: int) -> None:
        before, there = len(self.near), self.near.get(key) is not None
        self.near.drop(key)
        assert self.near.get(key) is None
        assert len(self.near) == before - there
        self.values.pop(key, None)

    @rule()
    @precondition(lambda self: len(self.near) > 20)
    def clear(self) -> None:
        self.near.clear()
        self.values.clear()
        assert self.near.bytes == len(self.near) == 0

    @invariant()
    def bounded(self) -> None:
        assert 0 <= self.near.bytes <= BOUND
        assert self.near.bytes >= len(self.near) * OVERHEAD_BYTES

    @invariant()
    def an_item_knows_whether_it_is_kept(self) -> None:
        kept = [item for item in self.items if item.is_kept]
        assert len(kept) == len(self.near)
        assert all(self.near.get(item.key) is item for item in kept)
        self.items = kept


Memory.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMemory = Memory.TestCase


class Lru:
    """Plain LRU over values of one size."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[int, Sized] = OrderedDict()

    def get(self, key: int) -> Sized | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, item: Sized) -> None:
        self._kept[item.key] = item
        if len(self._kept) > self._room:
            self._kept.popitem(last=False)


def zipf(*, keys: int = 10_000, length: int = 60_000, alpha: float = 0.9) -> list[int]:
    """Requests whose keys are as popular as those of the web; the same at each call."""
    chance = random.Random(1)
    weights = list(accumulate(1 / rank**alpha for rank in range(1, keys + 1)))
    return [bisect_left(weights, chance.random() * weights[-1]) for _ in range(length)]


def with_scans(trace: list[int], *, every: int = 2_000, length: int = 1_000) -> list[int]:
    """The trace, and a crawler now and then that asks for what nobody else does: keys below 0."""
    scanned = []
    for at, key in enumerate(trace):
        if at % every == 0:
            scanned += [-1 - at - step for step in range(length)]
        scanned.append(key)
    return scanned


def hits(cache: Near[Sized] | Lru, trace: list[int], size: int = 1_000) -> float:
    """The share of the requests answered from memory, a crawler's not counted."""
    found = asked = 0
    for key in trace:
        hit = cache.get(key) is not None
        if not hit:
            cache.put(Sized(key, size=size))
        if key >= 0:
            asked += 1
            found += hit
    return found / asked


@pytest.mark.parametrize("room", [300, 1_000])
def test_scans_flush_lru_and_hardly_touch_this(room: int):
    bound = room * (1_000 + OVERHEAD_BYTES)
    clean, scanned = zipf(), with_scans(zipf())
    assert hits(Near(bound), clean) > hits(Lru(room), clean)
    assert hits(Near(bound), scanned) > hits(Lru(room), scanned) + 0.08
    assert hits(Near(bound), scanned) > hits(Near(bound), clean) - 0.03


def test_the_same_trace_leaves_the_same_behind():
    def left() -> tuple[int, list[bool]]:
        near: Near[Sized] = Near(100 * OVERHEAD_BYTES)
        for key in zipf(length=5_000):
            if not near.get(key):
                near.put(Sized(key))
        return near.evictions, [near.get(key) is not None for key in range(10_000)]

    assert left() == left()


def test_what_is_purged_and_fetched_again_skips_the_trial():
    near: Near[Sized] = Near(100 * OVERHEAD_BYTES)
    for key in range(50):
        near.put(Sized(key, key))
    assert value(near, 7) == 7
    near.drop(7)
    near.put(Sized(7, 8))
    for key in range(1_000, 2_000):
        near.put(Sized(key))
    assert value(near, 7) == 8 and near.get(8) is None


def test_where_everything_is_in_use_making_room_does_not_walk_around_it_all():
    near: Near[Sized] = Near(2_000 * OVERHEAD_BYTES)
    for key in range(2_000):
        near.put(Sized(key, key))
    for key in range(2_000):
        assert value(near, key) == key
    calls = []
    item = Sized(2_000, 1)
    sys.setprofile(lambda _frame, event, _arg: calls.append(event))
    try:
        near.put(item)
    finally:
        sys.setprofile(None)
    assert near.evictions == 1 and value(near, 2_000) == 1
    assert len(calls) < 800


def test_evictions_count_what_made_room_and_nothing_else():
    near: Near[Sized] = Near(10 * OVERHEAD_BYTES)
    for key in range(10):
        near.put(Sized(key))
    near.put(Sized(3))
    near.drop(4)
    assert near.evictions == 0 and len(near) == 9
    for key in range(10, 14):
        near.put(Sized(key))
    assert near.evictions == 3 and len(near) == 10


def test_no_room_keeps_nothing():
    near: Near[Sized] = Near(0)
    near.put(Sized(1))
    assert near.get(1) is None and near.bytes == len(near) == near.evictions == 0


def long_key(number: int) -> int:
    """A key of 128 bits, as those of entries."""
    return int(sha256(str(number).encode()).hexdigest()[:32], 16)


# Just behind the sizes at which dicts grow, where they are emptiest.
@pytest.mark.parametrize("room", [1_000, 2_800, 5_600, 11_000])
def test_an_item_costs_no_more_memory_than_it_is_charged(room: int):
    near: Near[Item] = Near(room * OVERHEAD_BYTES)
    tracemalloc.start()
    try:
        for number in range(2 * room):
            near.put(Empty(long_key(number)))
            for _ in range(5 if number % 3 == 0 else 0):
                near.get(long_key(number))
        used, _ = tracemalloc.get_traced_memory()
        assert len(near) == room and OVERHEAD_BYTES / 2 < used / room <= OVERHEAD_BYTES
        near.clear()
        assert tracemalloc.get_traced_memory()[0] < used / 20
    finally:
        tracemalloc.stop()


def test_what_was_dropped_leaves_nothing_behind_that_grows():
    near: Near[Item] = Near(100 * OVERHEAD_BYTES)
    tracemalloc.start()
    try:
        for number in range(5_000):
            near.put(Empty(long_key(number)))
            near.get(long_key(number))
            near.drop(long_key(number))
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


def test_what_is_replaced_and_dropped_all_the_time_costs_no_more_than_it_is_charged():
    near: Near[Item] = Near(1_500 * OVERHEAD_BYTES)
    tracemalloc.start()
    try:
        for number in range(1_000):
            near.put(Empty(long_key(number)))
        for number in range(20_000):
            near.put(Empty(long_key(number * 7 % 1_000)))
            near.get(long_key(number * 7 % 1_000))
        used, _ = tracemalloc.get_traced_memory()
        assert len(near) == 1_000 and used / len(near) <= OVERHEAD_BYTES
    finally:
        tracemalloc.stop()
