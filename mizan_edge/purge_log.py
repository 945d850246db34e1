"""The purges that a worker knows of, by which it judges what it holds in memory; the rules are those of `common.lua`.

Scopes are spelled as by `mizan_core.store.layout.scope_argument`, an entry's names as by `index_names`. A scope matches
an entry whose names hold all of `context + term`, or the context where the scope has no terms; "" matches every entry.
"""

from collections import OrderedDict
from collections.abc import Sequence

# Up to here scanning the purges is cheaper than making and looking up the scopes that match an entry.
_FEW = 32
# Up to here looking the scopes up that match an entry is cheaper than scanning.
_MAX_SUBSETS = 64


class PurgeLog:
    """The last purge of each scope, for the `capacity` scopes purged last.

    # mutable state: `_purges`, scope -> its last number and the names it needs, by rising number; `last`; and `_floor`,
    # the highest number of which a purge may have been forgotten.
    """

    __slots__ = ("_capacity", "_floor", "_purges", "last")

    def __init__(self, capacity: int = 10_000) -> None:
        self.last = 0
        """The number of the last purge: what is judged now need not be judged again by purges up to this one."""
        self._capacity = capacity
        self._floor = 0
        self._purges: OrderedDict[str, tuple[int, tuple[str, ...]]] = OrderedDict()

    def record(self, number: int, scope: str) -> None:
        """Notes a purge; several may have one number. Raises ValueError where `number` is below the last."""
        if number < self.last:
            raise ValueError(f"purge {number} after {self.last}: numbers never fall")
        self.last = number
        self._purges[scope] = number, _needed(scope)
        self._purges.move_to_end(scope)
        if len(self._purges) > self._capacity:
            _, (trimmed, _) = self._purges.popitem(last=False)
            self._floor = trimmed

    def forget(self, number: int) -> None:
        """Forgets every purge; entries from before `number`, or before the last purge, cannot be judged any more."""
        self._purges.clear()
        self._floor = self.last = max(number, self.last)

    def overtaken(self, names: Sequence[str], since: int) -> bool:
        """Whether a purge with a number above `since` matches an entry with these index names, or may have matched."""
        if since >= self.last:
            return False
        if since < self._floor:
            return True
        # Numbers may skip or repeat, so their difference chooses the cheaper way, and both ways are exact.
        if self.last - since > _FEW and (scopes := _matching_scopes(names)):
            purges = self._purges
            return any(scope in purges and purges[scope][0] > since for scope in scopes)
        present = set(names)
        for number, needed in reversed(self._purges.values()):
            if number <= since:
                return False
            if present.issuperset(needed):
                return True
        return False


def _needed(scope: str) -> tuple[str, ...]:
    """The index names that an entry must all have to be matched by a scope."""
    if not scope:
        return ()
    context, *terms = scope.split("\n")
    return tuple(context + text for text in terms) or (context,)


def _matching_scopes(names: Sequence[str]) -> list[str] | None:
    """Every scope that matches an entry with these index names; None where they are too many."""
    terms: dict[str, list[str]] = {}
    for name in names:
        context, mark, rest = name.partition(";")
        of_context = terms.setdefault(context, [])
        if mark:
            of_context.append(mark + rest)
    if 1 + sum(2 ** len(of_context) for of_context in terms.values()) > _MAX_SUBSETS:
        return None
    scopes = [""]
    for context, of_context in terms.items():
        subsets = [context]
        for text in of_context:
            subsets += [f"{subset}\n{text}" for subset in subsets]
        scopes += subsets
    return scopes
