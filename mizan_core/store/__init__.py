"""The one store, and the one door into it: entries, indexes, fences and purges in Redis.

layout      how entries and scopes are spelled there
operations  the operations without I/O: script, arguments, meaning of the reply
fills       those that decide who fetches what is missing
lua/        a script for each operation
connection  what both clients share: how they connect, what failures mean, which servers can be used
client      runs them from blocking code; aioclient: from asyncio
"""

from mizan_core.store.aioclient import AsyncStore
from mizan_core.store.client import Store
from mizan_core.store.layout import Entry, EntryError, Fence
from mizan_core.store.operations import Lookup, Namespace, Purged, StoreError, StoreUnusable

__all__ = [
    "AsyncStore",
    "Entry",
    "EntryError",
    "Fence",
    "Lookup",
    "Namespace",
    "Purged",
    "Store",
    "StoreError",
    "StoreUnusable",
]
