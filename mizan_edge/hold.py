"""Reasons for which the cache must not be used at the moment; while there is one, the edge is a plain proxy."""

from typing import Literal

from mizan_edge.lease import Lease

Reason = Literal["unconfirmed purges", "manifest not adopted"]


class Hold:
    """The reasons that hold now."""

    def __init__(self, lease: Lease) -> None:
        self.reasons: set[Reason] = set()
        self._lease = lease

    def active(self) -> bool:
        """Whether there is a reason now."""
        return bool(self.reasons) or not self._lease.valid()

    def told(self) -> list[str]:
        """The reasons, for people."""
        return [*sorted(self.reasons), *([] if self._lease.valid() else ["no lease from Redis"])]

    def set(self, reason: Reason) -> None:
        """From now on nothing is served from the cache, or stored."""
        self.reasons.add(reason)

    def lift(self, reason: Reason) -> None:
        """The cache may be used again, as far as `reason` goes."""
        self.reasons.discard(reason)
