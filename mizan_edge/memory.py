"""A worker's memory: what it has read or fetched lately, and what it knows of the purges since.

    # mutable state: `_near`, the responses; `_log`, the purges; `_session`, that of the keeper which both belong to.

A response in memory is as exact as one in Redis, because it is looked at together with the board:

1. A worker keeps a response in memory. 2. A purge at another edge runs in Redis, and is published. 3. The keeper here
writes it on the board, and acknowledges. 4. The purge is answered. 5. A request for that response comes to the worker.
-- The board is read at each request, so the purge of 3 is known in 5. A keeper that does not acknowledge is waited for
until its lease has run out, and past that nothing is answered from memory.

What is put here is fenced like what is put into Redis: whoever reads or fetches takes a `Mark` first, and what a purge
has overtaken since that mark, or what was begun in another session, is not kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from mizan_edge.board import Board, Clocks, clocks
from mizan_edge.near import Near
from mizan_edge.purge_log import PurgeLog

V = TypeVar("V")


class Mark(NamedTuple):
    """How far a worker had come: the keeper's session, and the last purge that it had applied."""

    session: int
    number: int


@dataclass(slots=True)
class _Kept(Generic[V]):
    value: V
    names: tuple[str, ...]
    """The indexes that it stands in."""
    number: int
    """The last purge by which it was judged, and not purged."""


class Memory(Generic[V]):
    """Values of one worker, under the keys of their entries."""

    def __init__(self, board: Board, *, max_bytes: int, now: Callable[[], Clocks] = clocks) -> None:
        """`max_bytes`: 0 keeps nothing."""
        self._board = board
        self._now = now
        self._near: Near[_Kept[V]] = Near(max_bytes)
        self._log = PurgeLog()
        self._session = 0

    def mark(self) -> Mark | None:
        """Where purges stand now, all of which are applied when this returns. None: no cache may be used now, this
        memory or Redis."""
        current = self._board.current(self._now())
        return None if current is None else self._come_up_to(*current[:2])

    def still(self, mark: Mark) -> bool:
        """Whether a cache may be used yet by what took `mark`."""
        current = self._board.current(self._now())
        return current is not None and current[0] == mark.session

    def get(self, key: str, mark: Mark) -> V | None:
        """What lies in memory under `key`, as of `mark`, which was taken for this request."""
        kept = self._near.get(key)
        if kept is None:
            return None
        if kept.number != mark.number and not self._still_holds(key, kept, mark.number):
            return None
        return kept.value

    def find(self, key: str) -> tuple[V, float, float] | None:
        """What lies in memory under `key` now, Redis' clock and this host's (ms; s). None: nothing, or no cache may be
        used now."""
        at = self._now()
        seen = self._board.current(at)
        if seen is None:
            return None
        session, number, redis_ms = seen
        if session != self._session or number != self._log.last:
            self._come_up_to(session, number)
        kept = self._near.get(key)
        if kept is None:
            return None
        if kept.number != number and not self._still_holds(key, kept, number):
            return None
        return kept.value, redis_ms, at[2]

    def holds(self, key: str, value: V) -> bool:
        """Whether what lies in memory under `key` equals `value`, as of the last look at the board."""
        kept = self._near.get(key)
        if kept is None or (kept.number != self._log.last and not self._still_holds(key, kept, self._log.last)):
            return False
        return kept.value is value or kept.value == value

    def put(self, key: str, value: V, names: tuple[str, ...], size: int, mark: Mark) -> None:
        """Keeps what depends on `names`, and was read or fetched after `mark`; unless a purge has overtaken it."""
        now = self.mark()
        if now is not None and now.session == mark.session and not self._log.overtaken(names, mark.number):
            self._near.put(key, _Kept(value, names, now.number), size)

    def overtaken(self, names: Sequence[str], mark: Mark) -> bool:
        """Whether what depends on `names` may have been purged since `mark`."""
        now = self.mark()
        return now is None or now.session != mark.session or self._log.overtaken(names, mark.number)

    def redis_ms(self) -> int:
        """Redis' clock, or a little later."""
        return self._board.redis_ms(self._now())

    def _still_holds(self, key: str, kept: _Kept[V], number: int) -> bool:
        """Whether no purge up to `number` has overtaken what lies under `key`; else it does not any more."""
        if self._log.overtaken(kept.names, kept.number):
            self._near.drop(key)
            return False
        kept.number = number
        return True

    def _come_up_to(self, session: int, number: int) -> Mark:
        if session != self._session:
            self._drop(number)
            self._session = session
        elif number != self._log.last:
            self._catch_up(number)
        return Mark(session, number)

    def _catch_up(self, number: int) -> None:
        records = self._board.records(self._log.last)
        if records is None:
            self._drop(number)
            return
        for applied, scope in records:
            self._log.record(applied, scope)

    def _drop(self, number: int) -> None:
        self._near.clear()
        self._log.forget(number)
