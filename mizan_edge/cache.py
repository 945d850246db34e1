"""Stored responses: found for a request, and kept with the records that lead to them."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mizan_core.store import AsyncStore, EntryError, Fence, StoreError
from mizan_core.store.fills import Turn
from mizan_core.store.operations import StoreReply
from mizan_edge import policy
from mizan_edge.counters import Counters
from mizan_edge.entry import StoredResponse, VaryRecord, decode_payload
from mizan_edge.http import Request
from mizan_edge.policy import Lookup, Storable
from mizan_edge.site import Site

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """A request for something declared, under the manifest by which it was understood."""

    site: Site
    request: Request
    lookup: Lookup

    @property
    def context(self) -> str:
        return self.lookup.resource.context


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up gave: a response or none, the token for a fill, and Redis' clock."""

    stored: StoredResponse | None
    fence: Fence
    now_ms: int
    vary: tuple[str, ...]
    """The fields by which the responses vary that are known so far."""
    key: str
    """Under which it lies, or would."""
    seal: bytes
    """The seal of what lies there."""

    def renewed(self, turn: Turn) -> "Found":
        """The same, as of a later moment."""
        return replace(self, fence=turn.fence, now_ms=turn.now_ms)


class Cache:
    """Reads and writes responses in the store."""

    def __init__(self, store: AsyncStore, counters: Counters, *, adopt: Callable[[], Awaitable[None]]) -> None:
        """`adopt` makes the manifest known to a store that has forgotten it."""
        self._store = store
        self._adopt = adopt
        self._counters = counters

    async def look_up(self, reading: Reading) -> Found:
        """Reads what is stored for a request, through the record of what its responses vary by. Raises StoreError."""
        vary: tuple[str, ...] = ()
        while True:
            key = _key(reading, policy.variant_of(reading.request, vary))
            reply = await self._store.run(self._store.namespace.read([key]))
            if reply.corrupt:
                self._counters.count("corrupt_entries", by=reply.corrupt)
                log.error("the entry %s was altered in Redis: not used", self._store.namespace.entry(key))
            (entry,) = reply.entries
            payload = decode_payload(entry.payload) if entry else None
            if isinstance(payload, VaryRecord) and not vary:
                vary = payload.names
                continue
            stored = payload if isinstance(payload, StoredResponse) else None
            return Found(stored, reply.fence, reply.now_ms, vary, key, reply.seals[0])

    async def keep(self, reading: Reading, found: Found, stored: StoredResponse, how: Storable) -> StoreReply | None:
        """Stores a response, and whatever record leads to it. None where the store has failed."""
        variants: list[tuple[str | None, bytes]] = [(policy.variant_of(reading.request, how.vary), stored.to_bytes())]
        if how.vary:
            variants.append((None, VaryRecord(how.vary).to_bytes()))
        contexts = reading.site.manifest.contexts
        try:
            for variant, payload in variants:
                operation = self._store.namespace.store(
                    _key(reading, variant),
                    payload,
                    fence=found.fence,
                    scopes=how.scopes,
                    shapes={scope.context: contexts[scope.context].shape for scope in how.scopes},
                    began_ms=found.now_ms,
                    retention_ms=(how.lifetime.retention_s - stored.initial_age_s) * 1000,
                )
                reply = await self._store.run(operation)
                if reply == "unadopted":
                    # Redis was emptied or restarted, and the next renewal of the lease would find out.
                    await self._adopt()
                    reply = await self._store.run(operation)
                if reply != "stored":
                    self._refused(reading, reply)
                    return reply
        except (StoreError, EntryError) as error:
            self._counters.count("store_errors", "store")
            log.warning("a response is not stored: %s", error)
            return None
        return "stored"

    def _refused(self, reading: Reading, reply: StoreReply) -> None:
        self._counters.count("store_refused", reply)
        if reply == "shape":
            log.warning(
                "context %s: not stored, since the origin or another edge has a manifest with other parameters: "
                "export it again and reload",
                reading.context,
            )


def _key(reading: Reading, variant: str | None) -> str:
    return policy.entry_key(reading.site.keys, reading.request, reading.lookup, variant)
