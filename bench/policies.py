"""Other ways of choosing what a memory keeps, for comparison: as short as they can be, and all values of one size."""

from collections import Counter, OrderedDict
from itertools import islice
from typing import Protocol


class Policy(Protocol):
    """What keeps up to a number of values."""

    def asked(self, key: str) -> bool:
        """Whether the value was there; from now on it may be."""
        ...


class Lru:
    """The one that was used least recently goes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys: OrderedDict[str, None] = OrderedDict()

    def asked(self, key: str) -> bool:
        if key in self._keys:
            self._keys.move_to_end(key)
            return True
        if len(self._keys) >= self._size:
            self._keys.popitem(last=False)
        self._keys[key] = None
        return False


class Sieve:
    """A hand goes from old to new, and takes the first that was not used since it last came by (Zhang, NSDI 2024)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used: dict[str, bool] = {}
        # Each key's neighbours; "" is both ends.
        self._newer: dict[str, str] = {"": ""}
        self._older: dict[str, str] = {"": ""}
        self._hand = ""

    def asked(self, key: str) -> bool:
        if key in self._used:
            self._used[key] = True
            return True
        if len(self._used) >= self._size:
            self._evict()
        newest = self._older[""]
        self._newer[newest], self._older[key] = key, newest
        self._newer[key], self._older[""] = "", key
        self._used[key] = False
        return False

    def _evict(self) -> None:
        key = self._hand or self._newer[""]
        while self._used[key]:
            self._used[key] = False
            key = self._newer[key] or self._newer[""]
        older, newer = self._older.pop(key), self._newer.pop(key)
        self._newer[older], self._older[newer] = newer, older
        self._hand = newer
        del self._used[key]


class TinyLfu:
    """W-TinyLFU (Einziger, TOS 2017): who leaves a window of LRU is let in only if asked for more often than who would
    have to go. Counts exactly what the sketch of the original estimates, and halves all counts now and then."""

    _WINDOW_SHARE = 100
    _PROTECTED_SHARE = 0.8
    _SAMPLE = 10

    def __init__(self, size: int) -> None:
        self._window_size = max(1, size // self._WINDOW_SHARE)
        self._main_size = size - self._window_size
        self._protected_size = int(self._main_size * self._PROTECTED_SHARE)
        self._sample = self._SAMPLE * size
        self._window: OrderedDict[str, None] = OrderedDict()
        self._probation: OrderedDict[str, None] = OrderedDict()
        self._protected: OrderedDict[str, None] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._counted = 0

    def asked(self, key: str) -> bool:
        self._count(key)
        if key in self._window:
            self._window.move_to_end(key)
        elif key in self._protected:
            self._protected.move_to_end(key)
        elif key in self._probation:
            del self._probation[key]
            self._protected[key] = None
            if len(self._protected) > self._protected_size:
                self._probation[self._protected.popitem(last=False)[0]] = None
        else:
            self._window[key] = None
            if len(self._window) > self._window_size:
                self._admit(self._window.popitem(last=False)[0])
            return False
        return True

    def _admit(self, candidate: str) -> None:
        if len(self._probation) + len(self._protected) >= self._main_size:
            among = self._probation or self._protected
            (victim,) = islice(among, 1)
            if self._counts[candidate] <= self._counts[victim]:
                return
            del among[victim]
        self._probation[candidate] = None

    def _count(self, key: str) -> None:
        self._counts[key] = min(15, self._counts[key] + 1)
        self._counted += 1
        if self._counted >= self._sample:
            self._counted //= 2
            self._counts = Counter({key: count // 2 for key, count in self._counts.items() if count > 1})
