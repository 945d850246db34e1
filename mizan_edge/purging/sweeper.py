"""Deletes in small slices what wide purges have made dead, and what has expired from indexes.

Reads do not depend on it: it only gives memory back.
"""

import asyncio
import logging

from mizan_core.store import AsyncStore, StoreError
from mizan_core.store.replies import Slice
from mizan_edge.system.counters import Counters

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
# Between two slices that found something: 10,000 entries a second at most, in a fortieth of Redis' time.
_BUSY_S = 0.05


async def sweep_forever(store: AsyncStore, counters: Counters) -> None:
    """Looks for bans, and sweeps them, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL_S)
        try:
            counters.count("swept_entries", by=await sweep(store))
        except StoreError as error:
            log.debug("the sweep waits: %s", error)


async def sweep(store: AsyncStore) -> int:
    """Sweeps every ban that stands; how many entries went. Raises StoreError."""
    deleted = 0
    for ban in await store.run(store.namespace.bans()):
        done = await store.run(store.namespace.sweep(ban, Slice()))
        deleted += done.deleted
        while done.cursor != "0":
            done = await store.run(store.namespace.sweep(ban, done))
            deleted += done.deleted
    return deleted


async def collect_forever(store: AsyncStore, counters: Counters) -> None:
    """Looks through the database for indexes that hold what has expired, a slice at a time, until cancelled."""
    done = Slice()
    while True:
        await asyncio.sleep(_BUSY_S if done.deleted else _INTERVAL_S)
        try:
            done = await store.run(store.namespace.collect(done))
            counters.count("collected_entries", by=done.deleted)
        except StoreError as error:
            done = Slice()
            log.debug("collecting waits: %s", error)
