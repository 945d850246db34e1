"""Deletes in small slices what wide purges have made dead. Reads do not depend on it: it only gives memory back."""

import asyncio
import logging

from mizan_core.store import AsyncStore, StoreError
from mizan_core.store.operations import Slice
from mizan_edge.counters import Counters

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0


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
