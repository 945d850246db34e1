"""What the store's operations give: replies as values, and the errors where there are none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mizan_core.errors import MizanError
from mizan_core.store.layout import Entry, Fence

StoreReply = Literal[
    "stored", "incarnation", "trimmed", "overtaken", "changed", "held", "shape", "unadopted", "malformed"
]


class StoreError(MizanError):
    """Redis could not be asked, or did not confirm. What was asked may or may not have been done.

    `answered`: it is there, and has said no (its memory is full, say).
    """

    def __init__(self, text: str, *, answered: bool = False) -> None:
        super().__init__(text)
        self.answered = answered


class StoreUnusable(StoreError):
    """Redis answers, and is not one that this program can use: the text says what to change."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a read found: for each key an entry or None, the fence for fills of what is missing, and Redis' clock."""

    fence: Fence
    now_ms: int
    entries: tuple[Entry | None, ...]
    seals: tuple[bytes, ...]
    """The seal of whatever lies under each key, which tells it from anything else there; b"" for nothing."""
    corrupt: tuple[bool, ...]
    """Whether each key holds something that is no entry of this site for it; it counts as a miss."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did, and who may serve from memory what it purged: see `members.Awaited`."""

    seq: int
    """Its place in the sequence of its incarnation."""
    entries: int
    """How many entries went."""
    banned: int
    """How many scopes were banned."""
    incarnation: str = ""
    wait_ms: int = 0
    """For how long there may yet be members of an earlier incarnation, counted from the reply."""
    members: tuple[tuple[str, int], ...] = ()
    """The sessions that must hear of it, each with the milliseconds that remained of its lease."""
    scopes: tuple[str, ...] = ()
    """What was purged, as scripts spell it: where the store knows a context otherwise, more than was asked for."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A new member: it knows nothing yet, and hears of every purge after `seq`."""

    incarnation: str
    seq: int
    now_ms: int
    """Redis' clock."""
    flushed: bool
    """Whether everything was purged because an edge that lapsed may have left purges."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """Whether a lease was renewed ("ok"), and what the member may have missed: see `lua/renew.lua`."""

    what: Literal["ok", "gone", "incarnation"]
    incarnation: str
    seq: int
    now_ms: int
    """Redis' clock."""
    scopes: tuple[str, ...]
    """What was purged since, as scripts spell it; ("",) is everything."""


@dataclass(frozen=True, slots=True)
class Switched:
    """What the store knows of switched contexts."""

    news: int
    """How many fields it has only heard of now."""
    fields: Mapping[str, str]
    earlier: Mapping[str, str]
    """By context: what edges of an earlier version have said, as JSON."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A purged scope (as scripts spell it) whose entries are dead but not yet deleted."""

    scope: str
    seq: str


@dataclass(frozen=True, slots=True)
class PurgeOf:
    """A scope (as scripts spell it), and its last purge."""

    scope: str
    seq: int


@dataclass(frozen=True, slots=True)
class Slice:
    """How far a sweep or a collection has come."""

    cursor: str = "0"
    index: str = ""
    deleted: int = 0
