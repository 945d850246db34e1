"""Fill leases: one fetch for a missing entry on the whole fleet. Operations of the store, without their I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mizan_core.scopes import Scope
from mizan_core.store.layout import Fence, index_names
from mizan_core.store.operations import Namespace, Operation, nonce, script


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is to fetch: see `lua/lead.lua`."""

    what: Literal["entry", "lead", "wait", "alone"]
    fence: Fence
    now_ms: int
    wait_ms: int = 0


def wake_channel(namespace: Namespace) -> str:
    """The channel on which the key of an ended fill is published where somebody waits for it."""
    return f"{{{namespace.name}}}:wake"


def _lease(namespace: Namespace, key: str) -> str:
    return f"{{{namespace.name}}}:f:{key}"


def lead(
    namespace: Namespace, key: str, token: str, *, scopes: Sequence[Scope], seen: bytes, lease_ms: int
) -> Operation[Turn]:
    """Who fetches the entry `key`, which will depend on `scopes` and perhaps on more.

    `seen` is the seal of an entry that lies there and is of no use to the caller, b"" where there was none.
    """

    def parse(reply: Sequence[Any]) -> Turn:
        what, incarnation, seq, now_ms, wait_ms = reply
        return Turn(what.decode(), Fence(incarnation.decode(), seq), now_ms, wait_ms)

    return Operation(
        script("lead"),
        [namespace.control, namespace.entry(key), _lease(namespace, key)],
        [nonce(), token, lease_ms, "\n".join(index_names(scopes)), seen, key],
        parse,
    )


def renew(namespace: Namespace, key: str, token: str, *, lease_ms: int) -> Operation[bool]:
    """Prolongs a lease; whether it was still the token's."""
    return Operation(
        script("renew_fill"), [namespace.control, _lease(namespace, key)], [token, lease_ms], lambda reply: reply == 1
    )


def end(namespace: Namespace, key: str, token: str, *, alone_ms: int = 0) -> Operation[bool]:
    """Ends a fill; for `alone_ms`, fills of the key are not shared."""
    return Operation(
        script("end_fill"),
        [namespace.control, _lease(namespace, key)],
        [token, key, alone_ms],
        lambda reply: reply == 1,
    )
