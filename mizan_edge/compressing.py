"""Has stored responses compressed, beside the requests.

A copy must not outlive what it was made of:

1. A worker finds a response in Redis, and compresses it.   2. It is purged; or it expires, and another takes its place.
3. The worker stores the response again, with its copies. -- It would be back. So it is stored under the fence token of
the look-up of 1, which the purge has overtaken, and only if the very entry of 1 still lies there.

What is compressed is therefore looked up first, even where it lies in memory. That also shows when another worker has
been faster.
"""

import asyncio
import logging
from dataclasses import replace

from mizan_core.store import StoreError
from mizan_core.store.layout import index_names
from mizan_edge import policy, variants
from mizan_edge.cache import Cache, Reading, key_of
from mizan_edge.compression import encode
from mizan_edge.counters import Counters
from mizan_edge.entry import StoredResponse
from mizan_edge.memory import Memory
from mizan_edge.policy import Storable
from mizan_edge.site import InUse
from mizan_edge.tasks import Tasks

log = logging.getLogger(__name__)

# Each hit on what is not compressed offers it again, so whatever does not fit in now comes later.
_MAX_OFFERED = 256
# So that a Redis that takes nothing (its memory is full, say) costs no work at each hit.
_REST_S = 10.0


class Compressor:
    """One process's way to compressed copies: one body at a time, in a thread, which leaves the other processors to
    requests.

    # mutable state: `_offered`, the keys of what waits, is being compressed, or could not be stored lately.
    """

    def __init__(self, in_use: InUse, *, memory: Memory, cache: Cache, counters: Counters, tasks: Tasks) -> None:
        self._in_use = in_use
        self._memory = memory
        self._cache = cache
        self._counters = counters
        self._tasks = tasks
        self._turn = asyncio.Lock()
        self._offered: set[str] = set()

    def offer(self, reading: Reading, stored: StoredResponse) -> None:
        """Has the response to a request compressed, which was just found or stored; unless it has been, or will be."""
        if not stored.uncompressed or len(self._offered) >= _MAX_OFFERED:
            return
        key = key_of(reading, stored)
        if key not in self._offered:
            self._offered.add(key)
            self._tasks.start(self._compress(reading, key), "compress")

    async def _compress(self, reading: Reading, key: str) -> None:
        try:
            try:
                async with self._turn:
                    done = await self._compress_now(reading)
            except StoreError as error:
                log.debug("a response is not compressed: %s", error)
                done = False
            if not done:
                await asyncio.sleep(_REST_S)
        finally:
            self._offered.discard(key)

    async def _compress_now(self, reading: Reading) -> bool:
        """False where it should not be tried again soon. Raises StoreError."""
        mark = self._memory.mark()
        if mark is None:
            return False
        found = await self._cache.look_up(reading, mark)
        if found.stored is None or not found.stored.uncompressed:
            return True
        verdict = policy.storable(
            reading.request, reading.lookup, found.stored.response, reading.site.manifest.contexts
        )
        # What was found must lie in the same place, and in the same indexes, as before.
        if (
            not isinstance(verdict, Storable)
            or variants.selecting(found.vary, verdict.vary) != found.vary
            or index_names(verdict.scopes) != found.names
        ):
            return False
        compressed = found.stored.compressed(await asyncio.to_thread(encode, found.stored.body))
        # What was read under another manifest was judged by it.
        if not self._memory.still(mark) or reading.site is not self._in_use.site:
            return True
        how = replace(verdict, lifetime=compressed.lifetime)
        reply = await self._cache.keep(reading, found, compressed, how, confirmed=True)
        if reply == "stored":
            self._counters.count("compressed", reading.context)
        return reply == "stored"
