"""The audit: the latest purges of the whole fleet, for people. Operations of the store, without their I/O.

The script that purges writes the record, so there is none without a purge, and no purge without one that was asked for
by an edge or by Django. How long it took until every member had acknowledged is known later, and told then, if that can
be.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from pydantic import TypeAdapter

from mizan_core.store.operations import Namespace, Operation, nonce, script
from mizan_core.store.replies import Purged

KEPT = 10_000
"""How many purges the audit has at least, if there were so many: `AUDITED` of common.lua, and a test holds both."""
# Of a number: more than any purge has, and JSON holds them.
_DIGITS = 15
# The end of the year 9999, and of dates.
_END_MS = 253_402_300_800_000
_BY = TypeAdapter(dict[str, str])


@dataclass(frozen=True, slots=True)
class Audited:
    """One purge: up to SCOPES_AT_ONCE scopes; a purge of more is several."""

    id: str
    at_ms: int
    """When, by Redis' clock."""
    seq: int
    by: Mapping[str, str]
    """As `By.to_json` gives it."""
    entries: int
    banned: int
    """How many scopes were banned: of these, `entries` counts what their smallest index had."""
    scopes: tuple[str, ...]
    """The first of them, as scripts spell them; "" is everything."""
    count: int
    """How many scopes there were."""
    acknowledged_ms: int | None
    """After how long every member had acknowledged; None where nobody has told."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the audit, newest first."""

    purges: tuple[Audited, ...]
    foreign: int
    """How many records there were besides that no purge has written."""
    last: str
    """The id of the last record, before which the next page begins; "" where there was none."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Every member has acknowledged a purge."""

    incarnation: str
    seq: int
    after_ms: int

    @classmethod
    def of(cls, purged: Purged, after_s: float) -> Self:
        return cls(purged.incarnation, purged.seq, round(after_s * 1000))


def read(namespace: Namespace, count: int, before: str = "") -> Operation[Page]:
    """The latest purges, newest first; or those before the record with the id `before`."""
    return Operation(script("audit"), [namespace.control], [nonce(), before, count], _page)


def acknowledged(namespace: Namespace, acks: Iterable[Acknowledged]) -> Operation[None]:
    """Tells of acknowledgements."""
    texts = [value for ack in acks for value in (ack.incarnation, ack.seq, ack.after_ms)]
    return Operation(script("acked"), [namespace.control], [KEPT, *texts], lambda _reply: None)


def _page(records: Sequence[Any]) -> Page:
    purges = []
    for id, fields, *acks in records:
        # Another hand may have put anything there, and nobody is to lose the rest for that.
        with suppress(KeyError, ValueError):
            purges.append(_record(id, fields, acks))
    return Page(tuple(purges), len(records) - len(purges), records[-1][0].decode() if records else "")


def _record(id: bytes, fields: Sequence[bytes], acks: Sequence[bytes]) -> Audited:
    """A record. Raises KeyError and ValueError."""
    told = dict(zip(fields[::2], fields[1::2], strict=True))
    at_ms = _number(id.partition(b"-")[0])
    if at_ms >= _END_MS:
        raise ValueError(f"{at_ms} ms are no date")
    return Audited(
        id.decode(),
        at_ms,
        _number(told[b"seq"]),
        _BY.validate_json(told[b"by"], strict=True),
        _number(told[b"entries"]),
        _number(told[b"banned"]),
        tuple(told[b"scopes"].decode().split("\n\n")),
        _number(told[b"count"]),
        max((_number(ack) for ack in acks), default=None),
    )


def _number(text: bytes) -> int:
    if not (text.isdigit() and len(text) <= _DIGITS):
        raise ValueError(f"{text!r} is no number of the audit's")
    return int(text)
