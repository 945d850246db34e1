"""Stored responses: found for a request in memory or in Redis, and kept in both with the records that lead to them."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from mizan_core.manifest import Manifest
from mizan_core.store import EntryError, Fence, Namespace, StoreError
from mizan_core.store.fills import Turn
from mizan_core.store.layout import index_names
from mizan_core.store.operations import Operation
from mizan_core.store.replies import StoreReply
from mizan_edge.http.body import Body
from mizan_edge.http.message import Request
from mizan_edge.http.trace import within
from mizan_edge.memory.memory import Mark, Memory
from mizan_edge.memory.packed import PackedRecord, PackedResponse, Templates
from mizan_edge.origin.exchange import Informational
from mizan_edge.rules import compression, policy, variants
from mizan_edge.rules.entry import StoredResponse, VaryRecord, Written, decode_payload
from mizan_edge.rules.policy import Lookup
from mizan_edge.rules.site import Rules, Site
from mizan_edge.rules.storing import Storable
from mizan_edge.serving.reads import Look, Reads
from mizan_edge.system.counters import Counters

log = logging.getLogger(__name__)

# By which nothing can be stored.
_NEVER = Fence("", 0)


@dataclass(frozen=True, slots=True)
class Reading:
    """A request for something declared, under the manifest by which it was understood."""

    site: Site
    request: Request
    """As the cache looks it up and the origin is asked: see `variants.narrowed`."""
    lookup: Lookup
    client: Request
    """As the client made it, which says how it is answered."""
    body: Body = None
    informational: Informational | None = None
    """Gets the 1xx responses of the origin, where it is asked for this request."""
    keys: dict[str | None, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What has been worked out: the key of each variant that was looked for."""

    @property
    def context(self) -> str:
        return self.lookup.resource.context


class Recalled(NamedTuple):
    """A response in memory."""

    kept: PackedResponse
    through: PackedRecord | None
    """The record that led to it, where it is a variant."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up in Redis gave: a response or none, the token for a fill, and Redis' clock."""

    stored: StoredResponse | None
    names: tuple[str, ...]
    """The indexes that the response stands in."""
    fence: Fence
    now_ms: int
    mark: Mark
    """From before the look-up."""
    vary: tuple[str, ...]
    """The fields by which the responses vary that are known so far."""
    key: str
    """Under which it lies, or would."""
    seal: bytes
    """The seal of what lies there."""
    kept: PackedResponse | None
    """The response as it was put into memory."""

    @property
    def is_known(self) -> bool:
        """Whether Redis was asked; else nobody may store by this fence, or tell an age by this clock."""
        return self.fence != _NEVER

    def renewed(self, turn: Turn, mark: Mark) -> "Found":
        """The same, as of a later moment."""
        return replace(self, fence=turn.fence, now_ms=turn.now_ms, mark=mark)


class Cache:
    """Reads and writes responses in memory and in Redis.

    # mutable state: `_refused_under`, a manifest that another edge's has followed, and `_told`, the contexts of which
    # the log says so.
    """

    def __init__(
        self,
        reads: Reads,
        memory: Memory,
        namespace: Namespace,
        rules: Rules,
        counters: Counters,
        *,
        adopt: Callable[[], Awaitable[None]],
    ) -> None:
        """`adopt` makes the manifest known to a store that has forgotten it."""
        self._reads = reads
        self._memory = memory
        self._namespace = namespace
        self._rules = rules
        self._hidden = not rules.forward_mizan_headers
        self._templates = Templates()
        self._adopt = adopt
        self._counters = counters
        self._refused_under: Manifest | None = None
        self._told: set[str] = set()

    def recall(self, reading: Reading, mark: Mark) -> Recalled | None:
        """The response to a request, if it is in memory."""
        found, through = self._memory.get(_key(reading, None), mark), None
        if isinstance(found, PackedRecord):
            through = found
            found = self._memory.get(_key(reading, variants.variant_of(reading.request, through.vary)), mark)
        return Recalled(found, through) if isinstance(found, PackedResponse) else None

    def gone(self, reading: Reading, mark: Mark) -> Found | None:
        """What `look_up` would find, where a purge has just taken it from memory: nothing. None: it has to be asked.

        Whose turn it is to fetch is asked next, and that reply says whether there is something again.
        """
        key = _key(reading, None)
        if not policy.may_lead(reading.lookup) or not self._memory.was_purged(key):
            return None
        return Found(None, (), _NEVER, 0, mark, (), key, b"", None)

    async def look_up(self, reading: Reading, mark: Mark) -> Found:
        """Reads what Redis has for a request, through the record of what its responses vary by. Raises StoreError.

        `mark` was taken before.
        """
        vary: tuple[str, ...] = ()
        while True:
            key = _key(reading, variants.variant_of(reading.request, vary))
            with within(reading.request.trace, "redis look-up"):
                look = await self._reads.look(key)
            if look.corrupt:
                self._counters.count("corrupt_entries")
                log.error("the entry %s was altered in Redis: not used", self._namespace.entry(key))
            payload = decode_payload(look.entry.payload) if look.entry else None
            names = look.entry.names if look.entry else ()
            if isinstance(payload, VaryRecord) and not vary:
                self._memory.put(PackedRecord(key, names, payload.names), mark)
                vary = payload.names
                continue
            stored, kept = None, None
            if isinstance(payload, Written):
                stored = StoredResponse.of_written(payload)
                kept = self._remember(reading, key, names, stored, payload, mark)
            return Found(stored, names, look.fence, look.now_ms, mark, vary, key, look.seal, kept)

    def fetch_again(self, gone: PackedResponse, mark: Mark, then: Callable[[PackedResponse | None], None]) -> None:
        """Has what is not in memory any more from Redis, and in memory again, where there is room.

        `mark` was taken before. `then` gets it a little later; None where it does not lie there, or Redis fails.
        """
        # Without a task or a future, which would cost as much as the look itself.
        key = gone.entry
        self._reads.call(key, partial(self._fetched, gone, key, mark, then))

    def _fetched(
        self,
        gone: PackedResponse,
        key: str,
        mark: Mark,
        then: Callable[[PackedResponse | None], None],
        look: Look | StoreError,
    ) -> None:
        kept = None
        if isinstance(look, Look) and look.entry is not None:
            written = decode_payload(look.entry.payload)
            if isinstance(written, Written) and gone.was(written):
                kept = PackedResponse(key, look.entry.names, written, gone.template, hidden=self._hidden)
                self._memory.put(kept, mark)
        then(kept)

    async def keep(
        self,
        reading: Reading,
        found: Found,
        stored: StoredResponse,
        how: Storable,
        *,
        confirmed: bool = False,
        lead: tuple[str, str] | None = None,
    ) -> StoreReply | None:
        """Stores a response, and whatever record leads to it. None where Redis has failed.

        `confirmed`: it is what was found, which the origin has confirmed; if that still lies there. `lead` is the fill
        that has brought it, by its key and token, which is over when this gives "stored".
        """
        names = variants.selecting(found.vary, how.vary)
        resource = _key(reading, None)
        key = _key(reading, variants.variant_of(reading.request, names))
        lying: list[tuple[str, bytes]] = [(key, stored.to_bytes())]
        # What the record says holds for as long as any response that it leads to is kept.
        if names and (how.vary == names or names != found.vary):
            lying.append((resource, VaryRecord(names).to_bytes()))
        contexts = reading.site.manifest.contexts
        indexes = index_names(how.scopes)
        retention_ms = (how.lifetime.retention_s - stored.age_s(found.now_ms)) * 1000
        try:
            for at, data in lying:
                payload = decode_payload(data)
                storing = self._namespace.store(
                    at,
                    data,
                    fence=found.fence,
                    scopes=how.scopes,
                    shapes={scope.context: contexts[scope.context].shape for scope in how.scopes},
                    digests={scope.context: contexts[scope.context].digest for scope in how.scopes},
                    began_ms=found.now_ms,
                    retention_ms=retention_ms,
                    expected=found.seal if confirmed and at == found.key else b"",
                    outlasting=isinstance(payload, VaryRecord),
                    # Who is woken finds all of it.
                    lead=lead if at == lying[-1][0] else None,
                )
                with within(reading.request.trace, "redis store"):
                    reply, gone = await self._store(storing, at, resource)
                if reply == "unadopted":
                    # Redis was emptied or restarted, and the next renewal of the lease would find out.
                    await self._adopt()
                    reply, gone = await self._store(storing, at, resource)
                if reply != "stored":
                    self._refused(reading, reply)
                    return reply
                if isinstance(payload, VaryRecord):
                    self._memory.put(PackedRecord(at, indexes, payload.names), found.mark)
                else:
                    self._remember(reading, at, indexes, stored, payload, found.mark)
                for oldest in gone:
                    # Whoever recalls it asks Redis. Another process may have that variant in its memory for longer,
                    # where purges find it as long as it lasts.
                    self._memory.put(PackedRecord(oldest, (), ()), found.mark)
        except (StoreError, EntryError) as error:
            self._counters.count("store_errors", "store")
            log.warning("a response is not stored: %s", error)
            return None
        return "stored"

    def _remember(
        self, reading: Reading, key: str, names: Sequence[str], stored: StoredResponse, written: Written, mark: Mark
    ) -> PackedResponse:
        """Puts into memory what was read from Redis or stored there, which is `written` like this."""
        copies = compression.applies(self._rules.compress, reading.lookup.partition)
        template = self._templates.of(reading.context, stored, copies=copies)
        kept = PackedResponse(key, names, written, template, hidden=self._hidden)
        self._memory.put(kept, mark)
        return kept

    async def _store(self, storing: Operation[StoreReply], key: str, resource: str) -> tuple[StoreReply, Sequence[str]]:
        """Stores under `key`; and the keys of the variants of the resource that had to make room. Raises StoreError."""
        if key == resource:
            return await self._reads.run(storing), ()
        return await self._reads.run(self._namespace.as_variant(storing, resource, variants.MAX_VARIANTS))

    def _refused(self, reading: Reading, reply: StoreReply) -> None:
        self._counters.count("store_refused", reply)
        if reply != "shape":
            return
        if self._refused_under is not reading.site.manifest:
            self._refused_under, self._told = reading.site.manifest, set()
        # While a fleet changes its manifest, every fetch of a context is refused.
        if reading.context not in self._told:
            self._told.add(reading.context)
            log.warning(
                "context %s: not stored, since the origin or another edge has come with a manifest that says something "
                "else of it: export it again and reload",
                reading.context,
            )


def key_of(reading: Reading, stored: StoredResponse) -> str:
    """The key under which a response that answers a request lies, or would."""
    vary = variants.vary_of(stored, reading.site.manifest.contexts[reading.context])
    return _key(reading, variants.variant_of(reading.request, vary))


def resource_key(reading: Reading) -> str:
    """The key of what a request asks for, whichever variant that selects."""
    return _key(reading, None)


def _key(reading: Reading, variant: str | None) -> str:
    key = reading.keys.get(variant)
    if key is None:
        key = reading.keys[variant] = policy.entry_key(reading.site.keys, reading.request, reading.lookup, variant)
    return key
