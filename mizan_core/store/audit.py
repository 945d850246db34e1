"""The audit: the latest purges of the whole fleet, for people. Operations of the store, without their I/O.

The script that purges writes the record, so there is none without a purge, and no purge without one that was asked for
by an edge or by Django. How long it took until every member had acknowledged is known later, and told then, if that can
be.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from mizan_core.store.operations import Namespace, Operation, Purged, nonce, script

KEPT = 10_000
"""How many purges the audit has at least, if there were so many."""


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
class Acknowledged:
    """Every member has acknowledged a purge."""

    incarnation: str
    seq: int
    after_ms: int

    @classmethod
    def of(cls, purged: Purged, after_s: float) -> Self:
        return cls(purged.incarnation, purged.seq, round(after_s * 1000))


def read(namespace: Namespace, count: int, before: str = "") -> Operation[list[Audited]]:
    """The latest purges, newest first; or those before the record with the id `before`."""
    return Operation(script("audit"), [namespace.control], [nonce(), before, count], _audited)


def acknowledged(namespace: Namespace, acks: Iterable[Acknowledged]) -> Operation[None]:
    """Tells of acknowledgements."""
    texts = [value for ack in acks for value in (ack.incarnation, ack.seq, ack.after_ms)]
    return Operation(script("acked"), [namespace.control], [KEPT, *texts], lambda _reply: None)


def _audited(records: Sequence[Any]) -> list[Audited]:
    return [_record(id.decode(), fields, acks) for id, fields, *acks in records]


def _record(id: str, fields: Sequence[bytes], acks: Sequence[bytes]) -> Audited:
    told = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
    return Audited(
        id,
        int(id.partition("-")[0]),
        int(told["seq"]),
        json.loads(told["by"]),
        int(told["entries"]),
        int(told["banned"]),
        tuple(told["scopes"].split("\n\n")),
        int(told["count"]),
        max(map(int, acks), default=None),
    )
