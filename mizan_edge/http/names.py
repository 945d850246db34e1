"""Lists of field names, and what they alone decide.

Clients and origins send few of them: a browser's requests mostly have the same fields in the same order, and only the
values differ. So what follows from the names is worked out once for each list, and not for each message.
"""

from collections.abc import Callable, Hashable
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Of ordinary lists so many are remembered; when there are more all are forgotten, and those in use made again.
_MAX_LISTS = 1024
_MAX_NAMES = 64
_MAX_NAME_CHARS = 64
# What is worked out of one list has few arguments; what somebody makes up is not remembered.
_MAX_FACTS = 64


class Names:
    """The names of some field lines, in their order and in lower case.

    # mutable state: `facts`, what was worked out of them.
    """

    __slots__ = ("at", "facts", "lower")

    def __init__(self, lower: tuple[str, ...]) -> None:
        self.lower = lower
        at: dict[str, tuple[int, ...]] = {}
        for i, name in enumerate(lower):
            at[name] = (*at.get(name, ()), i)
        self.at = at
        """Name -> the places of its lines."""
        self.facts: dict[Hashable, object] = {}


# mutable state: the lists that came lately.
_lists: dict[tuple[str, ...], Names] = {}


def names_of(lower: tuple[str, ...]) -> Names:
    """The list of these names (lower case)."""
    found = _lists.get(lower)
    if found is None:
        found = Names(lower)
        if len(lower) <= _MAX_NAMES and all(len(name) <= _MAX_NAME_CHARS for name in lower):
            if len(_lists) >= _MAX_LISTS:
                _lists.clear()
            _lists[lower] = found
    return found


def of_names(work_out: Callable[Concatenate[Names, P], T]) -> Callable[Concatenate[Names, P], T]:
    """Has what a pure function of names works out remembered with them. Its other arguments must be hashable."""

    def fact(names: Names, /, *args: P.args, **kwargs: P.kwargs) -> T:
        facts = names.facts
        key = (work_out, args)
        try:
            return facts[key]  # type: ignore[return-value]
        except KeyError:
            value = work_out(names, *args, **kwargs)
            if len(facts) < _MAX_FACTS:
                facts[key] = value
            return value

    return fact
