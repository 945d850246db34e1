"""A worker's memory: what it has read or fetched lately, and what it knows of the purges since.

    # mutable state: `_near`, the responses, and `_nursery`, those that came lately; `_log`, the purges; `_session`,
    # that of the keeper which all belong to; `_purged`, the keys of what lay here until a purge was found to match, and
    # nobody has asked for since.

A response in memory is as exact as one in Redis, because it is looked at together with the board:

1. A worker keeps a response in memory. 2. A purge at another edge runs in Redis, and is published. 3. The keeper here
writes it on the board, and acknowledges. 4. The purge is answered. 5. A request for that response comes to the worker.
-- The board is read at each request, so the purge of 3 is known in 5. A keeper that does not acknowledge is waited for
until its lease has run out, and past that nothing is answered from memory.

What is put here is fenced like what is put into Redis: whoever reads or fetches takes a `Mark` first, and what a purge
has overtaken since that mark, or what was begun in another session, is not kept.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mizan_core.keys import ENTRY_DIGITS
from mizan_edge.memory.near import Item, Near
from mizan_edge.memory.nursery import Nursery
from mizan_edge.memory.purge_log import PurgeLog, packed
from mizan_edge.purging.board import Board, Clocks, clocks

# Keys that are remembered because a purge has matched: of whole contexts, most are not asked for again soon.
_MAX_PURGED = 1024


class Mark(NamedTuple):
    """How far a worker had come: the keeper's session, and the last purge that it had applied."""

    session: int
    number: int


class Kept(Item):
    """What lies, or may come to lie, in a worker's memory; a subclass adds what that is."""

    __slots__ = ("facts", "number")

    def __init__(self, key: str, names: Sequence[str], facts: bytes = b"") -> None:
        """`key` is that of the entry, `names` those of the indexes that it stands in. `facts`: what a subclass has of
        numbers, which take less in one byte string with the names than by themselves."""
        super().__init__(_number(key))
        self.facts = facts + packed(names)
        self.number = 0
        """The last purge by which it was judged, and not purged."""

    @property
    def names(self) -> bytes:
        """The names of the indexes that it stands in, `packed`."""
        return self.facts

    @property
    def entry(self) -> str:
        """The key of the entry."""
        return f"{self.key:0{ENTRY_DIGITS}x}"


class Memory:
    """What one worker keeps, under the keys of the entries."""

    def __init__(self, board: Board, *, max_bytes: int, now: Callable[[], Clocks] = clocks) -> None:
        """`max_bytes`: 0 keeps nothing."""
        self._board = board
        self._now = now
        self._near: Near[Kept] = Near(max_bytes)
        self._nursery = Nursery()
        self._log = PurgeLog()
        self._session = 0
        self._purged: set[int] = set()

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._near)

    @property
    def bytes(self) -> int:
        """What they cost."""
        return self._near.bytes

    @property
    def evictions(self) -> int:
        """How many had to make room so far."""
        return self._near.evictions

    def mark(self) -> Mark | None:
        """Where purges stand now, all of which are applied when this returns. None: no cache may be used now, this
        memory or Redis."""
        current = self._board.current(self._now())
        return None if current is None else self._come_up_to(*current[:2])

    def still(self, mark: Mark) -> bool:
        """Whether a cache may be used yet by what took `mark`."""
        current = self._board.current(self._now())
        return current is not None and current[0] == mark.session

    def get(self, key: str, mark: Mark) -> Kept | None:
        """What lies in memory under `key`, as of `mark`, which was taken for this request."""
        kept = self._near.get(_number(key))
        if kept is None or (kept.number != mark.number and not self._is_left(kept)):
            return None
        return kept

    def holds(self, kept: Kept) -> tuple[float, float] | None:
        """Redis' clock and this host's (ms; s), if something lies in memory now as it did when it was got. None: it
        does not, or no cache may be used now."""
        at = self._now()
        current = self._board.current(at)
        if current is None:
            return None
        session, number, redis_ms = current
        if session != self._session or number != self._log.last:
            self._come_up_to(session, number)
        if not kept.use() or (kept.number != number and not self._is_left(kept)):
            return None
        return redis_ms, at[2]

    def clocks(self, mark: Mark) -> tuple[float, float] | None:
        """Redis' clock and this host's (ms; s), if a cache may be used yet by what took `mark`."""
        at = self._now()
        current = self._board.current(at)
        return (current[2], at[2]) if current is not None and current[0] == mark.session else None

    def under(self, kept: Kept) -> Kept | None:
        """What lies in memory where `kept` does, or did, as of the last look at the board."""
        found = self._near.get(kept.key)
        if found is None or (found.number != self._log.last and not self._is_left(found)):
            return None
        return found

    def put(self, kept: Kept, mark: Mark) -> None:
        """Keeps what was read or fetched after `mark`; unless a purge has overtaken it."""
        if not self._near.max_bytes:
            return
        now = self.mark()
        if now is not None and now.session == mark.session and not self._is_overtaken(kept, mark.number):
            kept.number = self._log.last
            self._near.put(kept)
            if kept.is_kept:
                self._nursery.add(kept)

    def was_purged(self, key: str) -> bool:
        """Whether a purge has taken what lay under `key`, as nobody was told yet: it is not in Redis either, unless
        somebody has put something there since."""
        number = _number(key)
        if number not in self._purged:
            return False
        self._purged.remove(number)
        return True

    def overtaken(self, names: Sequence[str], mark: Mark) -> bool:
        """Whether what depends on `names` may have been purged since `mark`."""
        now = self.mark()
        return now is None or now.session != mark.session or self._log.overtaken(packed(names), mark.number)

    def has_overtaken(self, kept: Kept, mark: Mark) -> bool:
        """The same for something that is, or was, in memory."""
        now = self.mark()
        return now is None or now.session != mark.session or self._is_overtaken(kept, mark.number)

    def redis_ms(self) -> int:
        """Redis' clock, or a little later."""
        return self._board.redis_ms(self._now())

    def _is_left(self, kept: Kept) -> bool:
        """Whether no purge has overtaken what lies in memory; else it does not any more."""
        if self._is_overtaken(kept, kept.number):
            self._near.drop(kept.key)
            if len(self._purged) >= _MAX_PURGED:
                self._purged.clear()
            self._purged.add(kept.key)
            return False
        # The log's own number, which takes no place of its own.
        kept.number = self._log.last
        return True

    def _is_overtaken(self, kept: Kept, number: int) -> bool:
        return number < self._log.last and self._log.overtaken(kept.names, number)

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


def _number(key: str) -> int:
    # It takes half of what the text does.
    return int(key, 16)
