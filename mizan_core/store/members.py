"""What members and purgers tell each other through Redis, and who has not acknowledged a purge yet. Without I/O.

1. B keeps an entry in memory. 2. A purges it, and answers. 3. B serves it from memory.

So a purge is announced to all members in the script that does it, and the purger does not answer before each of them
has acknowledged, or its lease has run out: nobody serves from memory without one, and a renewal brings what was missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from mizan_core.store.operations import Namespace, Operation, nonce, script
from mizan_core.store.replies import Purged

SWITCHED = "*switch"
"""A context that no manifest has: whoever hears that it was purged asks the store how contexts are switched now, and
acknowledges when it acts by that. So a switch is told, waited for and made up for as a purge is."""


def purges_channel(namespace: Namespace) -> str:
    """The channel of announcements."""
    return f"{{{namespace.name}}}:purges"


def acks_channel(namespace: Namespace, purger: str) -> str:
    """The channel on which the purges of `purger` are acknowledged."""
    return f"{{{namespace.name}}}:acks:{purger}"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one script call purged: see `announce` in `lua/common.lua`."""

    incarnation: str
    seq: int
    purger: str
    """Who waits for acknowledgements; "" for nobody."""
    scopes: tuple[str, ...]
    """As scripts spell them; "" is everything."""

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """The announcement that a message is; None for anything else."""
        try:
            head, *scopes = data.decode().split("\n\n")
            incarnation, seq, purger = head.split(" ")
            return cls(incarnation, int(seq), purger, tuple(scopes))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Ack:
    """A member's word that its memory is without anything that was purged in this incarnation up to `seq`."""

    incarnation: str
    session: str
    seq: int

    def to_bytes(self) -> bytes:
        return f"{self.incarnation} {self.session} {self.seq}".encode()

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """The acknowledgement that a message is; None for anything else."""
        try:
            incarnation, session, seq = data.decode().split(" ")
            return cls(incarnation, session, int(seq))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when somebody may read entries."""

    holder: str
    left_ms: int
    """Not above 0 where it has run out."""


@dataclass(frozen=True, slots=True)
class Roll:
    """Who takes part."""

    edges: tuple[Lease, ...]
    """By their durable ids. One that has lapsed stays until another one finds it so: see `lua/register.lua`."""
    sessions: tuple[Lease, ...]
    """Who must hear of purges."""


def roll(namespace: Namespace) -> Operation[Roll]:
    """Who takes part now."""
    return Operation(script("roll"), [namespace.control], [nonce()], _roll)


def _roll(reply: Sequence[Any]) -> Roll:
    now_ms, edges, sessions = reply
    return Roll(_leases(edges, now_ms), _leases(sessions, now_ms))


def _leases(reply: Sequence[bytes], now_ms: int) -> tuple[Lease, ...]:
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return tuple(Lease(holder.decode(), int(float(end_ms)) - now_ms) for holder, end_ms in pairs)


class Awaited:
    """Who has not acknowledged one purge yet. Acknowledgements may come before the reply of the purge itself.

    # mutable state: `_acks`, the latest seq that each session has acknowledged in an incarnation; `_purged` and
    # `_replied_s`, once the reply has come.
    """

    def __init__(self, own_session: str | None = None) -> None:
        """`own_session` is the caller's own, which has no need to tell itself."""
        self._own = own_session
        self._acks: dict[tuple[str, str], int] = {}
        self._purged: Purged | None = None
        self._replied_s = 0.0

    def heard(self, ack: Ack) -> None:
        """A member has acknowledged."""
        member = (ack.incarnation, ack.session)
        self._acks[member] = max(ack.seq, self._acks.get(member, ack.seq))

    def replied(self, purged: Purged, at_s: float) -> None:
        """The purge is done. `at_s` is the caller's monotonic clock *after* its reply came: leases end later than that
        says, never sooner."""
        self._purged, self._replied_s = purged, at_s

    @property
    def done(self) -> bool:
        """Whether the purge may be answered, whatever the time is."""
        return self._purged is not None and self._left_ms(self._purged) == 0

    def deadline_s(self) -> float:
        """When it may be answered at the latest, by the clock of `replied`: then nobody can have what it purged.

        Raises ValueError before the reply has come.
        """
        if self._purged is None:
            raise ValueError("a purge that has not been replied to has no deadline")
        return self._replied_s + self._left_ms(self._purged) / 1000

    def _left_ms(self, purged: Purged) -> int:
        outstanding = [
            remaining_ms
            for session, remaining_ms in purged.members
            if session != self._own and self._acks.get((purged.incarnation, session), -1) < purged.seq
        ]
        return max([purged.wait_ms, *outstanding])
