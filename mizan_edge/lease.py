"""The edge's lease: without one, nothing is read from the store.

    # mutable state: `_granted`, the clocks when the request was sent that was granted last.

1. Redis is away from all edges. 2. A mutation at A is answered after its wait; its purge is in A's journal. 3. Redis is
back. 4. B reads the old value, before A has repeated its purge, or after A has died.

So an edge renews its lease as long as its journal is empty, and reads only while it has one. Whoever comes back without
a lease, and finds that another edge has lost its own, makes everything dead: nobody can know what that one has purged.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from mizan_core.store import AsyncStore, StoreError

log = logging.getLogger(__name__)

LEASE_S = 2.0
# The store counts from when it grants, the edge from before it asks, and a little less: no clock is exact.
_USED = 0.95
_RENEW_S = 0.5
_RETRY_S = 0.1


def _clocks() -> tuple[float, float, float]:
    # CLOCK_MONOTONIC stands still while a machine sleeps, CLOCK_BOOTTIME in some frozen guests, and the wall clock may
    # be set: the one that has advanced most is believed.
    boot = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    return time.monotonic(), boot, time.time()


class Lease:
    """What was granted last, and whether it still holds."""

    def __init__(self, clocks: Callable[[], tuple[float, ...]] = _clocks) -> None:
        self._clocks = clocks
        self._granted: tuple[float, ...] | None = None

    def valid(self) -> bool:
        """Whether entries may be read now."""
        if self._granted is None:
            return False
        passed = max(now - then for now, then in zip(self._clocks(), self._granted, strict=True))
        return passed < LEASE_S * _USED

    def ask(self) -> tuple[float, ...]:
        """The clocks, to be read before the lease is asked for."""
        return self._clocks()

    def grant(self, asked: tuple[float, ...]) -> None:
        """The lease was granted to the request that was sent at `asked`."""
        self._granted = asked

    def drop(self) -> None:
        """There is no lease any more."""
        self._granted = None


class Member:
    """An edge as a member of the fleet, under its durable id.

    # mutable state: `_incarnation`, the store's when the lease was granted last.
    """

    def __init__(
        self,
        store: AsyncStore,
        lease: Lease,
        edge: str,
        *,
        may_renew: Callable[[], bool],
        may_leave: Callable[[], bool],
        new_incarnation: Callable[[], Awaitable[None]],
    ) -> None:
        """`may_renew`: whether no purge waits to be confirmed. `may_leave`: whether the journal is empty.
        `new_incarnation` is called when the store has lost or forgotten what it held, before the lease is granted."""
        self._store = store
        self._lease = lease
        self._edge = edge
        self._may_renew = may_renew
        self._may_leave = may_leave
        self._new_incarnation = new_incarnation
        self._incarnation: str | None = None

    async def renew(self) -> None:
        """Takes or renews the lease, if it may."""
        if not self._may_renew():
            return
        asked, had_one = self._lease.ask(), self._lease.valid()
        try:
            reply = await self._store.run(self._store.namespace.check_in(self._edge, lease_ms=int(LEASE_S * 1000)))
        except StoreError as error:
            if had_one and not self._lease.valid():
                log.warning("nothing is served from the cache until Redis answers: %s", error)
            return
        if reply.flushed:
            log.warning("another edge was away and may have left purges: everything is purged")
        if self._incarnation not in (None, reply.incarnation):
            await self._new_incarnation()
        self._incarnation = reply.incarnation
        self._lease.grant(asked)

    async def renew_forever(self) -> None:
        """Renews the lease until cancelled."""
        while True:
            await asyncio.sleep(_RENEW_S if self._lease.valid() else _RETRY_S)
            await self.renew()

    async def leave(self) -> None:
        """Gives the lease up, so that nobody takes this edge for one that has died; not with purges in the journal."""
        self._lease.drop()
        if not self._may_leave():
            return
        try:
            await self._store.run(self._store.namespace.check_out(self._edge))
        except StoreError as error:
            log.debug("the lease was not given up: %s", error)
