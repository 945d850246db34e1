"""What a worker keeps in its own memory: values under keys, bounded in bytes.

Eviction is S3-FIFO (Yang et al., SOSP 2023). A new value is on trial in a small queue, a tenth of the bound; only one
that was used there moves on to the main queue, which gives a value another round for each use, up to three. So a
crawler that asks for everything once passes through the trial and leaves the main queue alone, where LRU would throw
out what is in use; and a hit only counts up, where LRU moves a node. SIEVE is smaller still, but not made to resist
scans. Keys that failed the trial are remembered for a while, as ghosts: what is asked for again was wanted, and skips
it.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

OVERHEAD_BYTES = 512
"""What a value costs beyond its own size: a key of 64 characters, its places here, half a ghost. A test measures it."""
# Both are a share of the bound, so that what is on trial never has to make room for itself.
_TRIAL_SHARE = 10
_LARGEST_SHARE = 10
_ROUNDS = 3
# How many values one eviction may spare. Where everything is in use it would go around all of them, and requests wait.
_PATIENCE = 32

V = TypeVar("V")


class _Item(Generic[V]):
    __slots__ = ("cost", "uses", "value")

    def __init__(self, value: V, cost: int) -> None:
        self.value = value
        self.cost = cost
        self.uses = 0


class Near(Generic[V]):
    """A map from keys to values that cost at most `max_bytes` together; 0 keeps nothing.

    # mutable state: a key is in `_trial` or in `_main`, in order of arrival, or in neither; `_trial_bytes` and `bytes`
    # are the costs of `_trial` and of both; `_ghosts`, in order too, are never more than half as many.
    """

    __slots__ = ("_ghosts", "_main", "_max_bytes", "_trial", "_trial_bytes", "bytes", "evictions")

    def __init__(self, max_bytes: int) -> None:
        self.bytes = 0
        """What the values cost, `OVERHEAD_BYTES` each included."""
        self.evictions = 0
        """How many values had to make room."""
        self._max_bytes = max_bytes
        # OrderedDict, since the first key of a dict is O(n) away after many deletions at its front.
        self._main: OrderedDict[str, _Item[V]] = OrderedDict()
        self._trial: OrderedDict[str, _Item[V]] = OrderedDict()
        self._trial_bytes = 0
        self._ghosts: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._main) + len(self._trial)

    def get(self, key: str) -> V | None:
        """The value under a key; None where there is none."""
        item = self._main.get(key) or self._trial.get(key)
        if item is None:
            return None
        item.uses += 1
        return item.value

    def put(self, key: str, value: V, size: int) -> None:
        """Puts a value of `size` bytes in place of what was there; nothing where it costs over a tenth of the bound."""
        self.drop(key)
        cost = size + OVERHEAD_BYTES
        if cost > self._max_bytes // _LARGEST_SHARE:
            return
        while self.bytes + cost > self._max_bytes:
            self._evict()
        self.bytes += cost
        if key in self._ghosts:
            del self._ghosts[key]
            self._main[key] = _Item(value, cost)
        else:
            self._trial[key] = _Item(value, cost)
            self._trial_bytes += cost

    def drop(self, key: str) -> None:
        """Forgets the value under a key, if there is one. If it was used, its successor skips the trial."""
        if item := self._main.pop(key, None):
            wanted = True
        elif item := self._trial.pop(key, None):
            self._trial_bytes -= item.cost
            wanted = item.uses > 0
        else:
            return
        self.bytes -= item.cost
        if wanted:
            self._ghosts[key] = None
        self._trim_ghosts()

    def clear(self) -> None:
        """Forgets everything."""
        self._main.clear()
        self._trial.clear()
        self._ghosts.clear()
        self.bytes = self._trial_bytes = 0

    def _evict(self) -> None:
        """Takes one value out; there must be one."""
        patience = _PATIENCE
        while True:
            on_trial = not self._main or self._trial_bytes > self._max_bytes // _TRIAL_SHARE
            key, item = (self._trial if on_trial else self._main).popitem(last=False)
            if on_trial:
                self._trial_bytes -= item.cost
            if not item.uses or not patience:
                break
            patience -= 1
            item.uses = 0 if on_trial else min(item.uses, _ROUNDS) - 1
            self._main[key] = item
        self.bytes -= item.cost
        self.evictions += 1
        if on_trial:
            self._ghosts[key] = None
        self._trim_ghosts()

    def _trim_ghosts(self) -> None:
        while len(self._ghosts) > len(self) // 2:
            self._ghosts.popitem(last=False)
