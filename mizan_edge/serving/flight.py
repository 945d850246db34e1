"""Flights: any number of requests for one missing entry, one fetch.

Who fetches is decided in Redis (`mizan_core.store.fills`), for all hosts at once. Here is what happens in one process:
one request asks there whose turn it is, and the others join it; the leader's lease is kept alive while it fetches
(`leads`); who waits for a fetch of another process is woken.

    # mutable state: `_open`, for each key the flight that may be joined; `_wakes`, the events of those that wait for
    # another process.

Those who joined get what the flight brings, even where a purge has overtaken it meanwhile: they came before that purge.
Whoever comes after it must not join, and begins another flight:

1. A fetches. 2. The origin reads the old value. 3. A mutation is answered, its purge known to this process. 4. B asks.
-- Hence `joinable` looks at the purges since the flight's mark.

1. A asks whose turn it is: somebody else's. 2. That one stores, ends its lease, publishes. 3. A begins to listen for
that. -- A would sleep on. Hence the event exists before A asks.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mizan_core.scopes import Scope
from mizan_core.store import Namespace, StoreError, fills
from mizan_core.store.fills import Turn
from mizan_core.store.layout import index_names
from mizan_edge.http.errors import OriginError
from mizan_edge.memory.memory import Mark, Memory
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.site import Site
from mizan_edge.serving.leads import LEASE_MS, Lead, Leads
from mizan_edge.serving.reads import Reads

log = logging.getLogger(__name__)

# How long it is remembered that responses under a key cannot be shared.
ALONE_MS = 5000
# A key may be purged faster than it can be fetched. Who has waited so often for others fetches for himself.
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Landed:
    """What a flight has brought. With neither response nor error: nothing that could be shared."""

    stored: StoredResponse | None = None
    names: tuple[str, ...] = ()
    """The indexes that the response stands in."""
    vary: tuple[str, ...] = ()
    variant: str | None = None
    """Which of the responses it is that differ by the fields in `vary`."""
    error: OriginError | None = None
    look: bool = False
    """Whether those who joined should look into the cache again."""


@dataclass(eq=False, slots=True)
class Flight:
    """A fill that a request of this process has begun."""

    key: str
    site: Site
    scopes: Sequence[Scope]
    """Those that the response will depend on at least."""
    mark: Mark
    """Where purges stood before it asked the origin, or Redis."""
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    alone_ms: int = 0
    """Set where the response cannot be shared: for how long those who come next need not wait for each other."""
    waited: bool = False
    """Whether it has waited for the fetch of another process."""
    lead: Lead | None = None
    """The lease of the fill, while this process holds it."""
    landed: asyncio.Future[Landed] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Flights:
    """The flights of this process."""

    def __init__(self, reads: Reads, namespace: Namespace, memory: Memory, leads: Leads) -> None:
        self._leads = leads
        self._reads = reads
        self._namespace = namespace
        self._memory = memory
        self._open: dict[str, Flight] = {}
        self._wakes: dict[str, set[asyncio.Event]] = {}

    def joinable(self, key: str, site: Site, scopes: Sequence[Scope], mark: Mark) -> Flight | None:
        """A flight whose response may answer a request that came at `mark`."""
        flight = self._open.get(key)
        if flight is None or flight.site is not site or flight.mark.session != mark.session:
            return None
        return None if self._memory.overtaken(index_names(scopes), flight.mark) else flight

    async def joined(self, flight: Flight, mark: Mark) -> Landed:
        """What a flight brings for somebody who found it joinable at `mark`."""
        # Not to be cancelled with whoever waits here: others wait for the same.
        landed = await asyncio.shield(flight.landed)
        further = not set(landed.names) <= set(index_names(flight.scopes))
        if (
            landed.stored
            # It depends on more than anybody knew when `joinable` looked, and that may have been purged before `mark`.
            and further
            and mark.number > flight.mark.number
            and self._memory.overtaken(landed.names, flight.mark)
        ):
            return Landed(look=True)
        return landed

    def begin(self, key: str, site: Site, scopes: Sequence[Scope], mark: Mark) -> Flight:
        """A new flight, which those who come from now on may join."""
        flight = self._open[key] = Flight(key, site, scopes, mark)
        return flight

    def unshared(self, key: str, site: Site, mark: Mark) -> Flight:
        """A flight that nobody can join."""
        return Flight(key, site, (), mark)

    def land(self, flight: Flight, landed: Landed) -> None:
        """Hands over what a flight has brought. What is said first counts."""
        if self._open.get(flight.key) is flight:
            del self._open[flight.key]
        if not flight.landed.done():
            flight.landed.set_result(landed)

    def alone(self, flight: Flight) -> None:
        """What a flight brings cannot be shared, and neither can what is fetched next: all fetch at once."""
        flight.alone_ms = ALONE_MS
        self.land(flight, Landed())

    async def turn(self, flight: Flight, seen: bytes) -> Turn:
        """Whose turn it is to fetch; returns when it is no longer somebody else's. Raises StoreError.

        `seen` is the seal of an entry that is of no use, as in `mizan_core.store.fills.lead`.
        """
        woken = 0
        while True:
            wake = asyncio.Event()
            self._wakes.setdefault(flight.key, set()).add(wake)
            try:
                operation = fills.lead(
                    self._namespace, flight.key, flight.token, scopes=flight.scopes, seen=seen, lease_ms=LEASE_MS
                )
                turn = await self._reads.run(operation)
                if turn.what != "wait":
                    return turn
                if woken == _PATIENCE:
                    return replace(turn, what="lead")  # without a lease: others may fetch it as well
                flight.waited = True
                # A little longer than the lease, so that the one who finds it gone can take it over.
                await asyncio.wait_for(wake.wait(), min(max(turn.wait_ms, 0), LEASE_MS) / 1000 + 0.01)
                woken += 1
            except TimeoutError:
                pass
            finally:
                waiting = self._wakes.get(flight.key, set())
                waiting.discard(wake)
                if not waiting:
                    self._wakes.pop(flight.key, None)

    def lead(self, flight: Flight) -> None:
        """It is this process's turn: the lease is kept alive until `end`."""
        flight.lead = flight.key, flight.token
        self._leads.begin(*flight.lead)

    async def end(self, flight: Flight) -> None:
        """What this process has led is over; its lease may be already, by a `store`."""
        try:
            if flight.lead is not None:
                await self._reads.run(fills.end(self._namespace, flight.key, flight.token, alone_ms=flight.alone_ms))
        except StoreError as error:
            log.debug("a fill lease was not ended: %s", error)
        finally:
            self._leads.end(flight.token)
        self.wake(flight.key)

    def wake(self, key: str | None) -> None:
        """A fill of a key has ended somewhere. None: any may have, and the message was missed."""
        for woken in list(self._wakes) if key is None else [key]:
            for wake in self._wakes.pop(woken, ()):
                wake.set()
