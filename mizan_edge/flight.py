"""Flights: any number of requests for one missing entry, one fetch.

Who fetches is decided in Redis (`mizan_core.store.fills`), for all hosts at once; here is what happens in
one process: the leader's lease is kept alive while it fetches, and those who wait are woken.

    # mutable state: `_waiting`, for each key the event of those who wait for it here.

A waiter is not handed the response. It looks again, and finds the entry if and only if the store took it, which
no purge has overtaken then. So whoever came after a purge can never get what was fetched before it.

1. A and B miss. A leads. B asks whose turn it is: A's.   2. A stores, ends its lease, publishes.   3. B subscribes to
the wake-up. -- B would sleep on. Hence B's event exists before B asks.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, StoreError
from mizan_core.store.fills import Turn, end, lead, renew, wake_channel
from mizan_edge.tasks import Tasks

log = logging.getLogger(__name__)

LEASE_MS = 2000
# How long it is remembered that responses under a key cannot be shared.
ALONE_MS = 5000
_RESUBSCRIBE_S = 0.5


class Flight:
    """One fill that this process leads."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.token = secrets.token_hex(8)
        self.alone_ms = 0
        """Set where the response cannot be shared: for how long those who come next need not wait for each other."""


class Flights:
    """The fills of this process, and those who wait here for any."""

    def __init__(self, store: AsyncStore, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self._waiting: dict[str, asyncio.Event] = {}

    async def turn(self, flight: Flight, scopes: Sequence[Scope], seen: bytes) -> Turn:
        """Whose turn it is to fetch; returns when it is no longer somebody else's. Raises StoreError.

        `seen` is the seal of an entry that is of no use, as in `mizan_core.store.fills.lead`.
        """
        key = flight.key
        while True:
            event = self._waiting.setdefault(key, asyncio.Event())
            try:
                turn = await self._store.run(
                    lead(self._store.namespace, key, flight.token, scopes=scopes, seen=seen, lease_ms=LEASE_MS)
                )
            except StoreError:
                self.wake(key)
                raise
            if turn.what == "lead":
                return turn
            if turn.what != "wait":
                self.wake(key)
                return turn
            try:
                # A little longer than the lease, so that the one who finds it gone can take it over.
                await asyncio.wait_for(event.wait(), max(turn.wait_ms, 0) / 1000 + 0.01)
            except TimeoutError:
                self.wake(key)

    @asynccontextmanager
    async def led(self, flight: Flight) -> AsyncIterator[None]:
        """Keeps a lead while the block runs, and ends it."""
        keeping = self._tasks.start(self._keep(flight), "keep-fill-lease")
        try:
            yield
        finally:
            keeping.cancel()
            await self._end(flight)

    def wake(self, key: str) -> None:
        """Wakes who waits here for a key."""
        if event := self._waiting.pop(key, None):
            event.set()

    def wake_all(self) -> None:
        """Wakes everybody: a message may have been missed."""
        for key in list(self._waiting):
            self.wake(key)

    async def _keep(self, flight: Flight) -> None:
        while True:
            await asyncio.sleep(LEASE_MS / 3000)
            try:
                await self._store.run(renew(self._store.namespace, flight.key, flight.token, lease_ms=LEASE_MS))
            except StoreError as error:
                log.debug("a fill lease was not renewed: %s", error)

    async def _end(self, flight: Flight) -> None:
        try:
            await self._store.run(end(self._store.namespace, flight.key, flight.token, alone_ms=flight.alone_ms))
        except StoreError as error:
            log.debug("a fill lease was not ended: %s", error)
        self.wake(flight.key)


async def hear_wakes(store: AsyncStore, flights: Flights) -> None:
    """Wakes those who wait here for fills of other hosts, until cancelled."""
    while True:
        try:
            async for key in store.messages(wake_channel(store.namespace)):
                flights.wake(key)
        except StoreError as error:
            log.debug("waiting for fills of other hosts falls back to their leases: %s", error)
        flights.wake_all()
        await asyncio.sleep(_RESUBSCRIBE_S)
