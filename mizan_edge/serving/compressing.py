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
from collections.abc import Mapping
from dataclasses import replace

from mizan_core.store import StoreError
from mizan_core.store.layout import index_names
from mizan_edge.memory.memory import Memory
from mizan_edge.rules import storing, variants
from mizan_edge.rules.compression import encode
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.site import InUse
from mizan_edge.rules.storing import Storable
from mizan_edge.serving.cache import Cache, Reading, key_of
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

# Each hit on what is not compressed offers it again, so whatever does not fit in now comes later.
_MAX_OFFERED = 256
# So that a Redis that takes nothing (its memory is full, say) costs no work at each hit.
_REST_S = 10.0
_TRIES = 3
# How many are under way, mostly to Redis and back.
_AT_A_TIME = 8
# To hand as much over to a thread takes longer than to compress it: the thread waits for the interpreter's lock, which
# a busy process yields every five milliseconds, before and after each coding.
_AT_ONCE_BYTES = 8 << 10


class Compressor:
    """One process's way to compressed copies: small bodies between requests, and others one at a time in a thread,
    which leaves the other processors to requests.

    # mutable state: `_offered`, the keys of what waits, is being compressed, or could not be stored lately.
    """

    def __init__(self, in_use: InUse, *, memory: Memory, cache: Cache, counters: Counters, tasks: Tasks) -> None:
        self._in_use = in_use
        self._memory = memory
        self._cache = cache
        self._counters = counters
        self._tasks = tasks
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._thread = asyncio.Lock()
        self._offered: set[str] = set()

    def offer(self, reading: Reading, stored: StoredResponse) -> bool:
        """Has the response to a request compressed, which was just found or stored; unless it has been, or will be.
        Whether it will be: then it need not be offered again."""
        if not stored.uncompressed:
            return False
        key = key_of(reading, stored)
        if key not in self._offered:
            if len(self._offered) >= _MAX_OFFERED:
                return False
            self._offered.add(key)
            self._tasks.start(self._compress(reading, key), "compress")
        return True

    async def _compress(self, reading: Reading, key: str) -> None:
        try:
            for _ in range(_TRIES):
                if await self._is_done(reading):
                    break
                await asyncio.sleep(_REST_S)
        finally:
            self._offered.discard(key)

    async def _is_done(self, reading: Reading) -> bool:
        async with self._turns:
            try:
                return await self._compress_now(reading)
            except StoreError as error:
                log.debug("a response is not compressed: %s", error)
                return False

    async def _compress_now(self, reading: Reading) -> bool:
        """False where it should not be tried again soon. Raises StoreError."""
        mark = self._memory.mark()
        if mark is None:
            return False
        found = await self._cache.look_up(reading, mark)
        if found.stored is None or not found.stored.uncompressed:
            return True
        verdict = storing.storable(
            reading.request, reading.lookup, found.stored.response, reading.site.manifest.contexts
        )
        # What was found must lie in the same place, and in the same indexes, as before.
        if (
            not isinstance(verdict, Storable)
            or variants.selecting(found.vary, verdict.vary) != found.vary
            or index_names(verdict.scopes) != found.names
        ):
            return False
        compressed = found.stored.compressed(await self._encoded(found.stored.body))
        # What was read under another manifest was judged by it.
        if not self._memory.still(mark) or reading.site is not self._in_use.site:
            return True
        how = replace(verdict, lifetime=compressed.lifetime)
        reply = await self._cache.keep(reading, found, compressed, how, confirmed=True)
        if reply == "stored":
            self._counters.count("compressed", reading.context)
        return reply == "stored"

    async def _encoded(self, body: bytes) -> Mapping[str, bytes]:
        if len(body) <= _AT_ONCE_BYTES:
            return encode(body)
        async with self._thread:
            return await asyncio.to_thread(encode, body)
