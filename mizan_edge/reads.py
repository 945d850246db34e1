"""Reading from Redis without waiting for it: look-ups share round trips, and a breaker ends those that nobody answers.

    # mutable state: `_waiting`, the keys that no batch has taken yet and who waits for each, oldest first; `_batching`,
    # how many tasks take and send batches; `_timer`, which ends the oldest wait; the breaker.

A look-up shares the batch that has not been sent yet, never one that has been:

1. A asks for K; the batch is sent, and Redis reads K.   2. K is stored or purged, and that is confirmed.   3. B asks
for K, and joins A. -- B would see what was there before it began. Hence keys leave `_waiting` before they are sent.

Whoever waits has a future of his own, and the batch runs in a task of its own: a caller that is cancelled takes neither
the others' answers nor the connection with it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from mizan_core.store import AsyncStore, Entry, Fence, StoreError
from mizan_core.store.operations import Operation
from mizan_edge.breaker import LONGEST_S, Breaker
from mizan_edge.tasks import Tasks

T = TypeVar("T")

MAX_KEYS = 64
"""Keys in one batch."""
MAX_BATCHES = 4
"""Batches in flight; further keys wait, and so the next batch is the larger."""


class Look(NamedTuple):
    """What was found under one key, with the fence for a fill of what was not, and Redis' clock."""

    entry: Entry | None
    fence: Fence
    now_ms: int
    seal: bytes
    """The seal of whatever lies there, which tells it from anything else there; b"" for nothing."""
    corrupt: bool
    """Whether something lies there that is no entry of this site for this key."""


class _Wait(NamedTuple):
    until: float
    callers: list[asyncio.Future[Look]]


class Reads:
    """One process's way to Redis."""

    def __init__(
        self, store: AsyncStore, tasks: Tasks, *, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`timeout_s` is the store's own; nobody waits longer for a batch to take his key. `clock` is monotonic."""
        self._store = store
        self._tasks = tasks
        self._timeout_s = timeout_s
        self._clock = clock
        # To ask for the running loop each time takes a system call.
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker()
        self._waiting: dict[str, _Wait] = {}
        self._batching = 0
        self._timer: asyncio.TimerHandle | None = None

    def look(self, key: str) -> "asyncio.Future[Look]":
        """What lies under a key, read after this was called; or a StoreError."""
        now = self._clock()
        caller: asyncio.Future[Look] = self._loop.create_future()
        if now < self._breaker.open_until:
            caller.set_exception(_silent())
            return caller
        if wait := self._waiting.get(key):
            wait.callers.append(caller)
        else:
            self._waiting[key] = _Wait(now + self._timeout_s, [caller])
            if len(self._waiting) == 1:
                self._start_batching()
                self._watch(now)
        return caller

    async def run(self, operation: Operation[T]) -> T:
        """The operation's result, or its failure at once while Redis does not answer. Raises StoreError."""
        if not self._breaker.allows(self._clock()):
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
        return result

    def _start_batching(self) -> None:
        if self._batching < MAX_BATCHES:
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

    def _take(self) -> Mapping[str, list[asyncio.Future[Look]]]:
        """The keys of the next batch, without those whose callers have all left."""
        batch: dict[str, list[asyncio.Future[Look]]] = {}
        while self._waiting and len(batch) < MAX_KEYS:
            key = next(iter(self._waiting))
            callers = self._waiting.pop(key).callers
            if not all(caller.done() for caller in callers):
                batch[key] = callers
        if self._waiting:
            self._start_batching()
        return batch

    async def _answer(self, batch: Mapping[str, list[asyncio.Future[Look]]]) -> None:
        try:
            looks = await self._read(list(batch))
        except StoreError as error:
            _fail(batch.values(), error)
        except BaseException:  # the process stops, or something is broken: nobody is left waiting for ever
            _fail(batch.values(), StoreError("the look-up was not finished"))
            raise
        else:
            for key, callers in batch.items():
                for caller in callers:
                    if not caller.done():
                        caller.set_result(looks[key])

    async def _read(self, keys: Sequence[str]) -> dict[str, Look]:
        found = await self.run(self._store.namespace.read(keys))
        return {
            key: Look(entry, found.fence, found.now_ms, seal, corrupt)
            for key, entry, seal, corrupt in zip(keys, found.entries, found.seals, found.corrupt, strict=True)
        }

    def _watch(self, now: float) -> None:
        """Sees to it that the oldest wait ends in time."""
        if self._timer is None and self._waiting:
            oldest = next(iter(self._waiting.values()))
            self._timer = self._loop.call_later(oldest.until - now, self._expire)

    def _expire(self) -> None:
        now = self._clock()
        late = [key for key, wait in self._waiting.items() if wait.until <= now]
        _fail([self._waiting.pop(key).callers for key in late], StoreError("Redis: too many look-ups wait for it"))
        self._timer = None
        self._watch(now)


def _fail(waits: Iterable[list[asyncio.Future[Look]]], error: StoreError) -> None:
    for callers in waits:
        for caller in callers:
            if not caller.done():
                caller.set_exception(error)


def _silent() -> StoreError:
    return StoreError(f"Redis has not answered lately: it is tried again within {LONGEST_S:g} s")
