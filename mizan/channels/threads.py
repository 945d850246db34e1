"""Where the application's code runs: in threads that may use the ORM, many at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 32
"""Each may hold a connection to every database, where these persist."""

# Not asgiref's one thread for all, in which connections would wait for each other. Not the event loop's own threads: an
# async function occupies one of ours while it runs, and may itself wait for one of those (to_thread, getaddrinfo).
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="mizan-channels")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs it in a thread. Cancelled, it leaves the function to run to its end."""
    work = database_sync_to_async(function, thread_sensitive=False, executor=_pool)
    # asgiref would cancel an async function that the thread waits for.
    result: T = await asyncio.shield(work(*args, **kwargs))
    return result
