"""The one store, and the one door into it: entries, indexes, fences and purges in Redis.

layout      how entries and scopes are spelled there
operations  the operations without I/O: script, arguments, meaning of the reply
replies     what they give, and what is raised where there is no reply
fills       those that decide who fetches what is missing
lua/        a script for each operation
members     what members and purgers tell each other, and who has not acknowledged a purge yet
connection  what both clients share: how they connect, what failures mean, which servers can be used
primary     which server it is, where a cluster or sentinels say so
client      runs them from blocking code; aioclient: from asyncio, each over a link
subscription  what is published, for asyncio
"""

from mizan_core.store.aioclient import AsyncStore
from mizan_core.store.client import Store
from mizan_core.store.layout import Entry, EntryError, Fence
from mizan_core.store.members import Ack, Announcement, Awaited
from mizan_core.store.operations import LEASE_MS, Namespace
from mizan_core.store.replies import Lookup, Purged, Registered, Renewed, StoreError, StoreUnusable
from mizan_core.store.subscription import Subscription

__all__ = [
    "LEASE_MS",
    "Ack",
    "Announcement",
    "AsyncStore",
    "Awaited",
    "Entry",
    "EntryError",
    "Fence",
    "Lookup",
    "Namespace",
    "Purged",
    "Registered",
    "Renewed",
    "Store",
    "StoreError",
    "StoreUnusable",
    "Subscription",
]
