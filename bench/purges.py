"""What purges take in the store: of a few entries among more and more, and of many at once."""

import random
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import redis

from bench.client import percentile
from bench.processes import BenchError, Processors
from bench.report import table
from bench.servers import open_rig
from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import Fence, Namespace, Store
from mizan_core.store.operations import Operation
from mizan_core.store.replies import Slice, StoreReply

SIZES = (1_000, 100_000, 1_000_000)
GROUP = 10
"""Entries that have one value of `group`."""
_SHELVES = 1000
_SCOPES = 1000
_LARGE_ROUNDS = 11
_BATCH = 1000
_TIMEOUT_S = 60
_HOUR_MS = 3_600_000
_CONTEXT, _SHAPE = "items", "a shape"
_PAYLOAD = b"x" * 100


@dataclass(frozen=True, slots=True)
class Taken:
    """How long each of several purges took."""

    what: str
    times_s: list[float]

    @property
    def median_ms(self) -> float:
        """What half of them did not exceed."""
        return 1000 * statistics.median(self.times_s)

    @property
    def row(self) -> list[str]:
        """For a table: the median, and the 99th percentile."""
        return [self.what, f"{self.median_ms:.2f}", f"{1000 * percentile(sorted(self.times_s), 99):.2f}"]


@dataclass(frozen=True, slots=True)
class InStore:
    """What purges take in the store."""

    scoped: list[Taken]
    """Of ten entries, for each number of entries beside them."""
    large: list[Taken]
    """Of many entries at once."""
    swept: int
    """The entries that a whole context left to the sweeper,"""
    sweep_s: float
    """how long it took to delete them,"""
    slice_s: float
    """and the longest single step."""


def measure(processors: Processors, *, sizes: Sequence[int] = SIZES, rounds: int = 200) -> InStore:
    """Purges in as many Redis servers as there are sizes, in turn. `rounds`: purges of ten entries in each."""
    with open_rig(processors) as rig:
        namespace = Namespace("bench", sealing_key("a secret of thirty-two characters"))
        stores = {size: _Filled(rig.start_redis(f"redis-{size}"), namespace, size) for size in sizes}
        try:
            return _purged(stores, rounds)
        finally:
            for one in stores.values():
                one.close()


class _Filled:
    """So many entries in a Redis of their own, each in three indexes: its context, its group of ten, its shelf."""

    def __init__(self, url: str, namespace: Namespace, size: int) -> None:
        self._store = Store(url, namespace, timeout_s=_TIMEOUT_S)
        self._redis = redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S)
        self._size = size
        self._store.run(namespace.adopt({_CONTEXT: _SHAPE}))
        self.fill(range(size))

    def fill(self, numbers: Iterable[int]) -> None:
        """Stores entries by the store's own operation."""
        began = self._store.run(self._store.namespace.read([]))
        iterator = iter(numbers)
        for number in islice(iterator, 1):
            # Alone, so that the script is known to Redis.
            _expect(self._store.run(self._storing(number, began.fence, began.now_ms)) == "stored")
        while batch := list(islice(iterator, _BATCH)):
            with self._redis.pipeline(transaction=False) as pipeline:
                for number in batch:
                    operation = self._storing(number, began.fence, began.now_ms)
                    pipeline.evalsha(operation.script.sha, len(operation.keys), *operation.keys, *operation.args)
                _expect(set(pipeline.execute()) == {b"stored"})

    def _storing(self, number: int, fence: Fence, now_ms: int) -> Operation[StoreReply]:
        scope = Scope.of(_CONTEXT, {"group": str(number // GROUP), "shelf": str(number % _SHELVES)})
        return self._store.namespace.store(
            f"{number:064}",
            _PAYLOAD,
            fence=fence,
            scopes=[scope],
            shapes={_CONTEXT: _SHAPE},
            began_ms=now_ms,
            retention_ms=_HOUR_MS,
        )

    def purge(self, scopes: Sequence[Scope]) -> tuple[float, int]:
        """How long a purge took, the way to Redis and back included, and how many entries went."""
        operation = self._store.namespace.purge(scopes, shapes={_CONTEXT: _SHAPE})
        began_s = time.perf_counter()
        purged = self._store.run(operation)
        return time.perf_counter() - began_s, purged.entries

    def purge_a_group(self) -> float:
        """Purges ten entries, and stores them again; how long the purge took."""
        group = random.randrange(self._size // GROUP)
        took_s, entries = self.purge([_group(group)])
        _expect(entries == GROUP)
        self.fill(range(group * GROUP, (group + 1) * GROUP))
        return took_s

    def sweep(self) -> Iterator[tuple[float, int]]:
        """Deletes what purges have left; how long each step took, and how many entries went."""
        while bans := self._store.run(self._store.namespace.bans()):
            for ban in bans:
                done = None
                while done is None or done.cursor != "0":
                    began_s = time.perf_counter()
                    done = self._store.run(self._store.namespace.sweep(ban, done or Slice()))
                    yield time.perf_counter() - began_s, done.deleted

    def close(self) -> None:
        """Leaves."""
        self._store.close()
        self._redis.close()


def _purged(stores: dict[int, _Filled], rounds: int) -> InStore:
    times: dict[int, list[float]] = {size: [] for size in stores}
    for _ in range(rounds):
        for size, one in stores.items():
            times[size].append(one.purge_a_group())
    size = max(stores)
    largest = stores[size]
    many = [
        largest.purge([_group(group) for group in range(first, first + _SCOPES)])[0]
        for first in range(0, _LARGE_ROUNDS * _SCOPES, _SCOPES)
    ]
    # What is banned must be gone before it is stored again, or it would be swept with the rest.
    for _ in largest.sweep():
        pass
    largest.fill(range(min(size, _LARGE_ROUNDS * _SCOPES * GROUP)))
    # Nothing is swept meanwhile, so each of these has all of them before it.
    whole = [largest.purge([Scope(_CONTEXT)])[0] for _ in range(_LARGE_ROUNDS)]
    steps = list(largest.sweep())
    return InStore(
        scoped=[Taken(f"{GROUP} entries of {size:,}", times_s) for size, times_s in times.items()],
        large=[
            Taken(f"{_SCOPES:,} scopes of {GROUP} entries each, of {size:,}", many),
            Taken(f"a whole context of {size:,}", whole),
        ],
        swept=sum(deleted for _, deleted in steps),
        sweep_s=sum(took_s for took_s, _ in steps),
        slice_s=max(took_s for took_s, _ in steps),
    )


def markdown(store: InStore) -> str:
    """The table, and what it comes to."""
    least, most = store.scoped[0], store.scoped[-1]
    return "\n\n".join(
        [
            table(["purge", "median ms", "p99 ms"], [taken.row for taken in [*store.scoped, *store.large]]),
            f"{most.what} to {least.what}: {most.median_ms / least.median_ms:.2f} (wanted: at most 1.5, and 2 ms).",
            f"Of the whole context, {store.swept:,} entries were deleted in {store.sweep_s:.1f} s afterwards, in steps "
            f"of at most {1000 * store.slice_s:.1f} ms.",
        ]
    )


def _group(number: int) -> Scope:
    return Scope.of(_CONTEXT, {"group": str(number)})


def _expect(condition: bool) -> None:
    if not condition:
        raise BenchError("the store did not do what it was asked for")
