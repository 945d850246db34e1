"""Reasons for which the cache must not be used at the moment; while there is one, the edge is a plain proxy."""

from typing import Literal

from mizan_edge.purging.board import Board, clocks

Reason = Literal["unconfirmed purges", "manifest not adopted"]
NO_LEASE = "no lease from Redis"


class Hold:
    """The reasons that hold now, as the workers see them.

    # mutable state: the reasons; on the board, whether there is any.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._reasons: set[Reason] = set()

    def active(self) -> bool:
        """Whether there is a reason now."""
        return self._board.current(clocks()) is None

    def told(self) -> list[str]:
        """The reasons, for people."""
        return [*sorted(self._reasons), *([] if self._board.valid(clocks()) else [NO_LEASE])]

    def set(self, reason: Reason) -> None:
        """From now on nothing is served from the cache, or stored."""
        self._reasons.add(reason)
        self._board.set_flags(1)

    def lift(self, reason: Reason) -> None:
        """The cache may be used again, as far as `reason` goes."""
        self._reasons.discard(reason)
        if not self._reasons:
            self._board.set_flags(0)
