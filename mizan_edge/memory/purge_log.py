"""The purges that a worker knows of, by which it judges what it holds in memory; the rules are those of `common.lua`.

Scopes are spelled as by `mizan_core.store.layout.scope_argument`, an entry's names as by `index_names`. A scope matches
an entry whose names hold all of `context + term`, or the context where the scope has no terms; "" matches every entry.

An entry is judged at its first hit after each purge, so nothing is looked at there but what could match it: each purge
stands under one of the names that it needs, the one under which there were fewest, as `purge.lua` walks the smallest
of a scope's indexes. An entry that has none of the names under which anything stands is left.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

_NAME: Final = struct.Struct("I")
_HASH: Final = 0xFFFFFFFF

Needed = tuple[int, ...]
"""The names that an entry must all have to be matched by a scope."""


def packed(names: Iterable[str]) -> bytes:
    """Index names as `PurgeLog.overtaken` takes them, 4 bytes each: a hash which others cannot foresee. It holds in
    this process. Names that are one by chance are purged together, of a million a pair in thousands of purges."""
    return b"".join([_NAME.pack(_hash(name)) for name in names])


class PurgeLog:
    """The last purge of each scope, for the `capacity` scopes purged last.

    # mutable state: `_purges`, what each scope needs -> its last number and the name under which it stands, by rising
    number; `_under`, for each of these names what stands under it with its number, by rising number; `last`; and
    `_floor`, the highest number of a purge that was of everything or may have been forgotten.
    """

    __slots__ = ("_capacity", "_floor", "_purges", "_under", "last")

    def __init__(self, capacity: int = 10_000) -> None:
        self.last = 0
        """The number of the last purge: what is judged now need not be judged again by purges up to this one."""
        self._capacity = capacity
        self._floor = 0
        self._purges: OrderedDict[Needed, tuple[int, int]] = OrderedDict()
        self._under: dict[int, dict[Needed, int]] = {}

    def record(self, number: int, scope: str) -> None:
        """Notes a purge; several may have one number. Raises ValueError where `number` is below the last."""
        if number < self.last:
            raise ValueError(f"purge {number} after {self.last}: numbers never fall")
        if not scope:
            self.forget(number)
            return
        self.last = number
        needed = _needed(scope)
        self._take(needed)
        name = min(needed, key=self._count)
        self._purges[needed] = number, name
        self._under.setdefault(name, {})[needed] = number
        if len(self._purges) > self._capacity:
            oldest = next(iter(self._purges))
            self._floor, _ = self._purges[oldest]
            self._take(oldest)

    def forget(self, number: int) -> None:
        """Forgets every purge; entries from before `number`, or before the last purge, cannot be judged any more."""
        self._purges.clear()
        self._under.clear()
        self._floor = self.last = max(number, self.last)

    def overtaken(self, names: bytes, since: int) -> bool:
        """Whether a purge with a number above `since` matches an entry with these names, or may have matched.

        `names` are its index names, `packed`.
        """
        if since >= self.last:
            return False
        if since < self._floor:
            return True
        for (name,) in _NAME.iter_unpack(names):
            purges = self._under.get(name)
            if purges is not None and _is_matched(names, purges, since):
                return True
        return False

    def _count(self, name: int) -> int:
        return len(self._under.get(name, ()))

    def _take(self, needed: Needed) -> None:
        """Takes a scope out, if it is here."""
        found = self._purges.pop(needed, None)
        if found is not None:
            name = found[1]
            del self._under[name][needed]
            if not self._under[name]:
                del self._under[name]


def _hash(name: str) -> int:
    return hash(name) & _HASH


def _needed(scope: str) -> Needed:
    context, *terms = scope.split("\n")
    return tuple([_hash(context + text) for text in terms]) or (_hash(context),)


def _is_matched(names: bytes, purges: dict[Needed, int], since: int) -> bool:
    """Whether one of these purges, of which the last are the latest, has a number above `since` and matches."""
    present = {name for (name,) in _NAME.iter_unpack(names)}
    for needed, number in reversed(purges.items()):
        if number <= since:
            return False
        if present.issuperset(needed):
            return True
    return False
