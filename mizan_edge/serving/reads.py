"""Reading from Redis without waiting for it: look-ups share round trips, and a breaker ends those that nobody answers.

    # mutable state: `_waiting`, the keys that no batch has taken yet and who waits for each, oldest first; `_batching`,
    # how many tasks take and send batches; `_timer`, which ends the oldest wait; the breaker.

A look-up shares the batch that has not been sent yet, never one that has been:

1. A asks for K; the batch is sent, and Redis reads K.   2. K is stored or purged, and that is confirmed.   3. B asks
for K, and joins A. -- B would see what was there before it began. Hence keys leave `_waiting` before they are sent.

Whoever awaits an answer has a future of his own, and the batch runs in a task of its own: a caller that is cancelled
takes neither the others' answers nor the connection with it. Who cannot leave is called back instead, without the turn
of the event loop that a future takes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from mizan_core.store import AsyncStore, Entry, Fence, StoreError
from mizan_core.store.operations import Operation
from mizan_edge.serving.breaker import LONGEST_S, Breaker
from mizan_edge.system.counters import Counters
from mizan_edge.system.histograms import Histogram
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_KEYS = 64
"""Keys in one batch."""
MAX_BATCHES = 4
"""Batches in flight where many keys wait."""
USUAL_BATCHES = 2
"""Batches in flight where fewer keys wait than one batch holds: they wait for the next one, which is the larger. Each
costs as much as a dozen keys."""


class Look(NamedTuple):
    """What was found under one key, with the fence for a fill of what was not, and Redis' clock."""

    entry: Entry | None
    fence: Fence
    now_ms: int
    seal: bytes
    """The seal of whatever lies there, which tells it from anything else there; b"" for nothing."""
    corrupt: bool
    """Whether something lies there that is no entry of this site for this key."""


Then = Callable[[Look | StoreError], None]
"""Gets what was found, or why that is not known."""


class _Wait:
    """Those who wait for one key."""

    __slots__ = ("callers", "thens", "until_s")

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s
        self.thens: list[Then] = []
        self.callers: list[asyncio.Future[Look]] = []
        """Of whom some may have left."""

    @property
    def is_over(self) -> bool:
        """Whether all have left."""
        return not self.thens and all(caller.done() for caller in self.callers)

    def end(self, found: Look | StoreError) -> None:
        """Tells all."""
        for then in self.thens:
            try:
                then(found)
            except Exception:
                log.exception("what was read could not be used")
        for caller in self.callers:
            if not caller.done():
                if isinstance(found, Look):
                    caller.set_result(found)
                else:
                    caller.set_exception(found)


class Reads:
    """One process's way to Redis."""

    def __init__(
        self,
        store: AsyncStore,
        tasks: Tasks,
        counters: Counters,
        *,
        timeout_s: float,
        incarnation: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s` is the store's own; nobody waits longer for a batch to take his key. `incarnation` is that of the
        store which has granted the lease; None where no other server can answer. `clock` is monotonic."""
        self._store = store
        self._tasks = tasks
        self._incarnation = incarnation
        self._timeout_s = timeout_s
        self._clock = clock
        self._took = Histogram(counters, "redis_seconds")
        # To ask for the running loop each time takes a system call.
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker()
        self._waiting: dict[str, _Wait] = {}
        self._batching = 0
        self._timer: asyncio.TimerHandle | None = None

    def look(self, key: str) -> "asyncio.Future[Look]":
        """What lies under a key, read after this was called; or a StoreError."""
        caller: asyncio.Future[Look] = self._loop.create_future()
        wait = self._wait(key)
        if wait is None:
            caller.set_exception(_silent())
        else:
            wait.callers.append(caller)
        return caller

    def call(self, key: str, then: Then) -> None:
        """Calls `then`, a little later, with what lies under a key, read after this was called; or a StoreError."""
        wait = self._wait(key)
        if wait is None:
            self._loop.call_soon(then, _silent())
        else:
            wait.thens.append(then)

    async def run(self, operation: Operation[T]) -> T:
        """The operation's result, or its failure at once while Redis does not answer. Raises StoreError."""
        began_s = self._clock()
        if not self._breaker.allows(began_s):
            raise _silent()
        try:
            result = await self._store.run(operation)
        except StoreError as error:
            if error.answered:
                self._breaker.succeeded()
            else:
                self._breaker.failed(self._clock())
            raise
        self._breaker.succeeded()
        self._took.took(self._clock() - began_s)
        return result

    @property
    def are_refused(self) -> bool:
        """Whether Redis has not answered lately, and is left alone."""
        return self._clock() < self._breaker.open_until

    def _wait(self, key: str) -> _Wait | None:
        """The wait for the next answer under a key; None while Redis does not answer."""
        now = self._clock()
        if now < self._breaker.open_until:
            return None
        wait = self._waiting.get(key)
        if wait is None:
            wait = self._waiting[key] = _Wait(now + self._timeout_s)
            if len(self._waiting) % MAX_KEYS == 1:
                self._start_batching()
                self._watch(now)
        return wait

    def _start_batching(self) -> None:
        if self._batching < (USUAL_BATCHES if len(self._waiting) < MAX_KEYS else MAX_BATCHES):
            self._batching += 1
            # Its first step comes after those who are about to ask in this turn of the loop.
            self._tasks.start(self._batches(), "read-batches")

    async def _batches(self) -> None:
        """Sends batches until nobody waits."""
        try:
            while self._waiting:
                if batch := self._take():
                    await self._answer(batch)
        finally:
            self._batching -= 1

    def _take(self) -> Mapping[str, _Wait]:
        """The keys of the next batch, without those whose callers have all left."""
        batch: dict[str, _Wait] = {}
        while self._waiting and len(batch) < MAX_KEYS:
            key = next(iter(self._waiting))
            wait = self._waiting.pop(key)
            if not wait.is_over:
                batch[key] = wait
        if self._waiting:
            self._start_batching()
        return batch

    async def _answer(self, batch: Mapping[str, _Wait]) -> None:
        try:
            found = await self.run(self._store.namespace.read(list(batch)))
        except StoreError as error:
            _end(batch.values(), error)
        except BaseException:  # the process stops, or something is broken: nobody is left waiting for ever
            _end(batch.values(), StoreError("the look-up was not finished"))
            raise
        else:
            fence, now_ms, entries = found.fence, found.now_ms, found.entries
            # 1. A primary is cut off, and replaced. 2. The keeper has a lease from its successor, where a purge runs.
            # 3. A worker still reaches the former one. -- What lies there is of the past.
            if self._incarnation is not None and int(fence.incarnation, 16) != self._incarnation():
                entries = (None,) * len(batch)
            looks = zip(batch.values(), entries, found.seals, found.corrupt, strict=True)
            for wait, entry, seal, corrupt in looks:
                wait.end(Look(entry, fence, now_ms, seal, corrupt))

    def _watch(self, now: float) -> None:
        """Sees to it that the oldest wait ends in time."""
        if self._timer is None and self._waiting:
            oldest = next(iter(self._waiting.values()))
            self._timer = self._loop.call_later(oldest.until_s - now, self._expire)

    def _expire(self) -> None:
        now = self._clock()
        late = [key for key, wait in self._waiting.items() if wait.until_s <= now]
        _end([self._waiting.pop(key) for key in late], StoreError("Redis: too many look-ups wait for it"))
        self._timer = None
        self._watch(now)


def _end(waits: Iterable[_Wait], error: StoreError) -> None:
    for wait in waits:
        wait.end(error)


def _silent() -> StoreError:
    return StoreError(f"Redis has not answered lately: it is tried again within {LONGEST_S:g} s")
