"""Histories of versions, and what a read may show.

    # mutable state: `_firm`, the newest version of each user that every edge must show; `_loose`, for each edge that is
    # cut from Redis, the versions that were written through it meanwhile: it must show them, the others are excused.

A version counts from when its write was answered. What is still under way, or was never answered, may be shown or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["exact", "excused", "stale"]


@dataclass(frozen=True, slots=True)
class Expected:
    """The oldest versions that a read may show, in the order of its users."""

    binding: tuple[int, ...]
    """Anything older is stale."""
    wanted: tuple[int, ...]
    """Anything older needs the excuse that another edge was cut from Redis."""

    def judge(self, seen: Sequence[int]) -> Verdict:
        """What to say of a read that showed these versions."""
        if any(version < oldest for version, oldest in zip(seen, self.binding, strict=True)):
            return "stale"
        if any(version < oldest for version, oldest in zip(seen, self.wanted, strict=True)):
            return "excused"
        return "exact"


class Histories:
    """The versions that answered writes have established."""

    def __init__(self, users: int, edges: int) -> None:
        self._firm = [0] * users
        self._loose: list[dict[int, int]] = [{} for _ in range(edges)]

    def answered(self, user: int, version: int, *, edge: int, cut: bool) -> None:
        """A write through `edge` was answered; `cut`: while that edge could not reach Redis."""
        if cut:
            self._loose[edge][user] = max(version, self._loose[edge].get(user, 0))
        else:
            self._firm[user] = max(version, self._firm[user])

    def settled(self, edge: int) -> None:
        """Redis has confirmed everything that `edge` had to say: the excuse ends."""
        for user, version in self._loose[edge].items():
            self._firm[user] = max(version, self._firm[user])
        self._loose[edge].clear()

    def expect(self, users: Sequence[int], *, edge: int) -> Expected:
        """What a read of `users` at `edge` that begins now may show."""
        own = self._loose[edge]
        return Expected(
            tuple(max(self._firm[user], own.get(user, 0)) for user in users),
            tuple(max(self._firm[user], *(loose.get(user, 0) for loose in self._loose)) for user in users),
        )
