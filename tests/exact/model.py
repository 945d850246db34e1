"""Histories of versions, and what a read may show.

    # mutable state: `_firm`, the newest version of each subject that every edge must show; `_loose`, for each edge that
    # is cut from Redis, the versions that were written through it meanwhile: it must show them, and others that reach
    # Redis are excused.

A version counts from when its write was answered. What is still under way, or was never answered, may be shown or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["exact", "excused", "stale"]


@dataclass(frozen=True, slots=True)
class Expected:
    """The oldest versions that a read may show, in the order of its subjects."""

    binding: tuple[int, ...]
    """Anything older is stale."""
    wanted: tuple[int, ...]
    """Anything older needs the excuse that another edge was cut from Redis."""

    def judge(self, seen: Sequence[int], *, reaches_redis: bool = True) -> Verdict:
        """What to say of a read that showed these versions; `reaches_redis`: whether its edge may have had a lease."""
        if any(version < oldest for version, oldest in zip(seen, self.binding, strict=True)):
            return "stale"
        if any(version < oldest for version, oldest in zip(seen, self.wanted, strict=True)):
            return "excused" if reaches_redis else "stale"
        return "exact"


class Histories:
    """The versions that answered writes have established."""

    def __init__(self, subjects: int, edges: int) -> None:
        self._firm = [0] * subjects
        self._loose: list[dict[int, int]] = [{} for _ in range(edges)]

    def answered(self, subject: int, version: int, *, edge: int, confirmed: bool) -> None:
        """A write through `edge` was answered; not `confirmed`: while that edge could not reach Redis."""
        if confirmed:
            self._firm[subject] = max(version, self._firm[subject])
        else:
            self._loose[edge][subject] = max(version, self._loose[edge].get(subject, 0))

    def settled(self, edge: int) -> None:
        """Redis has confirmed everything that `edge` had to say: the excuse ends."""
        for subject, version in self._loose[edge].items():
            self._firm[subject] = max(version, self._firm[subject])
        self._loose[edge].clear()

    def expect(self, subjects: Sequence[int], *, edge: int) -> Expected:
        """What a read of `subjects` at `edge` that begins now may show."""
        own = self._loose[edge]
        return Expected(
            tuple(max(self._firm[subject], own.get(subject, 0)) for subject in subjects),
            tuple(max(self._firm[subject], *(loose.get(subject, 0) for loose in self._loose)) for subject in subjects),
        )
