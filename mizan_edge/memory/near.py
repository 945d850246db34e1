"""What a worker keeps in its own memory: items under keys, bounded in bytes.

Eviction is S3-FIFO (Yang et al., SOSP 2023). A new item is on trial in a small queue, a tenth of the bound; only one
that was used there moves on to the main queue, which gives an item another round for each use, up to three. So a
crawler that asks for everything once passes through the trial and leaves the main queue alone, where LRU would throw
out what is in use; and a hit only counts up, where LRU moves a node. SIEVE is smaller still, but not made to resist
scans. Keys that failed the trial are remembered for a while, as ghosts: what is asked for again was wanted, and skips
it.

There are many items, so each is one object with its place here, and whoever holds it sees whether it is kept yet.
"""

from collections import deque
from typing import Generic, TypeVar

from mypy_extensions import mypyc_attr

OVERHEAD_BYTES = 320
"""What an item costs beyond its own size: an `Item`, its key, its places here, a share of those that were. A test
measures it."""
# Both are a share of the bound, so that what is on trial never has to make room for itself.
_TRIAL_SHARE = 10
_LARGEST_SHARE = 10
_ROUNDS = 3
# How many items one eviction may spare. Where everything is in use it would go around all of them, and requests wait.
_PATIENCE = 32
# Of the items: ghosts in each of two generations, and what was dropped and stands in a queue yet.
_GHOST_SHARE = 4
_GONE_SHARE = 4
_GONE = -1


@mypyc_attr(allow_interpreted_subclasses=True)  # those elsewhere are not compiled
class Item:
    """Something to keep, which a subclass adds. It is put once."""

    __slots__ = ("key", "uses")

    def __init__(self, key: int) -> None:
        self.key = key
        self.uses = _GONE

    @property
    def size(self) -> int:
        """The bytes of what a subclass adds; the same each time."""
        return 0

    @property
    def is_kept(self) -> bool:
        """Whether it is in memory: it has been put, and neither dropped nor evicted since."""
        return self.uses >= 0

    def let_go(self) -> None:
        """It is not kept any more, and whoever holds it yet must not hold what it stood for."""
        self.uses = _GONE

    def move(self) -> object:
        """Copies what a subclass adds; what it was before, for as long as nothing else shall lie there."""
        return None

    def use(self) -> bool:
        """Counts a use of it, if it is kept."""
        uses = self.uses
        if 0 <= uses < _ROUNDS:
            self.uses = uses + 1
        return uses >= 0


T = TypeVar("T", bound=Item)


class Near(Generic[T]):
    """Items that cost at most `max_bytes` together, by their keys; 0 keeps nothing.

    # mutable state: an item is in `_trial` or in `_main`, and once in the queue of the same name, in order of arrival;
    # `_trial_bytes` and `bytes` are the costs of `_trial` and of both. `_gone` counts what stands in a queue and is not
    # kept. `_ghosts` are hashes of keys, and `_older_ghosts` those of the generation before.
    """

    __slots__ = (
        "_ghosts",
        "_gone",
        "_main",
        "_main_queue",
        "_older_ghosts",
        "_trial",
        "_trial_bytes",
        "_trial_queue",
        "bytes",
        "evictions",
        "max_bytes",
    )

    def __init__(self, max_bytes: int) -> None:
        self.bytes = 0
        """What the items cost, `OVERHEAD_BYTES` each included."""
        self.evictions = 0
        """How many items had to make room."""
        self.max_bytes = max_bytes
        """The bound."""
        # Beside a dict a queue, since the first key of a dict is O(n) away after many deletions at its front.
        self._main: dict[int, T] = {}
        self._main_queue: deque[T] = deque()
        self._trial: dict[int, T] = {}
        self._trial_queue: deque[T] = deque()
        self._trial_bytes = 0
        self._gone = 0
        self._ghosts: set[int] = set()
        self._older_ghosts: set[int] = set()

    def __len__(self) -> int:
        return len(self._main) + len(self._trial)

    def get(self, key: int) -> T | None:
        """The item under a key; None where there is none."""
        item = self._main.get(key) or self._trial.get(key)
        if item is not None:
            item.use()
        return item

    def put(self, item: T) -> None:
        """Keeps an item in place of what was there; nothing where it costs over a tenth of the bound."""
        key, cost = item.key, _cost(item)
        self.drop(key)
        if cost > self.max_bytes // _LARGEST_SHARE:
            return
        while self.bytes + cost > self.max_bytes:
            self._evict()
        self.bytes += cost
        item.uses = 0
        ghost = hash(key)
        if ghost in self._ghosts or ghost in self._older_ghosts:
            self._ghosts.discard(ghost)
            self._older_ghosts.discard(ghost)
            self._main[key] = item
            self._main_queue.append(item)
        else:
            self._trial[key] = item
            self._trial_queue.append(item)
            self._trial_bytes += cost

    def drop(self, key: int) -> None:
        """Forgets the item under a key, if there is one. If it was used, its successor skips the trial."""
        if item := self._main.pop(key, None):
            wanted = True
        elif item := self._trial.pop(key, None):
            self._trial_bytes -= _cost(item)
            wanted = item.uses > 0
        else:
            return
        self._gone += 1
        self._forget(item, wanted=wanted)
        if self._gone > len(self) // _GONE_SHARE:
            self._main_queue = deque(item for item in self._main_queue if item.is_kept)
            self._trial_queue = deque(item for item in self._trial_queue if item.is_kept)
            self._gone = 0

    def clear(self) -> None:
        """Forgets everything."""
        for items in self._main, self._trial:
            for item in items.values():
                item.let_go()
            items.clear()
        self._main_queue, self._trial_queue = deque(), deque()
        self._ghosts.clear()
        self._older_ghosts.clear()
        self.bytes = self._trial_bytes = self._gone = 0

    def _evict(self) -> None:
        """Takes one item out; there must be one."""
        patience = _PATIENCE
        while True:
            on_trial = not self._main or self._trial_bytes > self.max_bytes // _TRIAL_SHARE
            item = (self._trial_queue if on_trial else self._main_queue).popleft()
            if not item.is_kept:
                self._gone -= 1
                continue
            if on_trial:
                del self._trial[item.key]
                self._trial_bytes -= _cost(item)
            if not item.uses or not patience:
                break
            patience -= 1
            item.uses = 0 if on_trial else item.uses - 1
            self._main[item.key] = item
            self._main_queue.append(item)
        self._main.pop(item.key, None)
        self.evictions += 1
        self._forget(item, wanted=on_trial)

    def _forget(self, item: T, *, wanted: bool) -> None:
        """`wanted`: it leaves a ghost."""
        self.bytes -= _cost(item)
        item.let_go()
        if wanted:
            self._ghosts.add(hash(item.key))
        if len(self._ghosts) > len(self) // _GHOST_SHARE:
            self._older_ghosts, self._ghosts = self._ghosts, set()


def _cost(item: Item) -> int:
    return item.size + OVERHEAD_BYTES
