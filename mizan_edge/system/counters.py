"""What is counted. Plain numbers in one process; reading them never waits."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple


class Counted(NamedTuple):
    """What was counted, by names and labels that are joined with dots."""

    so_far: Mapping[str, int]
    """Since the start. These never go down."""
    now: Mapping[str, int]
    """How much there is of what comes and goes."""


class Counters:
    """Counts by name and label: `count("requests", "user", "hit")`."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0])

    def count(self, *name: str, by: int = 1) -> None:
        self._counts[name][0] += by

    def cell(self, *name: str) -> list[int]:
        """The one number that `count` of a name adds to, for those who count at every hit."""
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Every count, its name and labels joined with dots."""
        return {".".join(name): count for name, (count,) in sorted(self._counts.items()) if count}
