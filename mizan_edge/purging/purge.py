"""One purge: from a header or a person to what Redis confirms.

    # mutable state: `_unconfirmed`, the purges that Redis has not confirmed yet, oldest first.

While there is one, a hold is set, and this edge serves nothing from the cache and stores nothing: what Redis still has
may be exactly what was purged. They stand in the journal, on disk before the mutation is answered, and are repeated, in
order, until Redis confirms, by this process or by the next one; purging twice does no harm.

1. Redis does not confirm.   2. The client is answered.   3. The edge is killed.   4. Redis is back, with its data.
5. The edge starts, and reads. -- It would serve what was purged. Hence the hold of 5 is set before the edge listens.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from platform import node

from mizan_core.purge import Purge
from mizan_core.scopes import Scope, format_scopes
from mizan_core.store import AsyncStore, Purged, StoreError
from mizan_core.store.operations import Operation, parts
from mizan_edge.purging.acknowledged import Acknowledgements
from mizan_edge.purging.fleet import LEASE_S, Fleet
from mizan_edge.purging.hold import Hold
from mizan_edge.purging.intents import Intended, Intents
from mizan_edge.purging.invalidation import Pending, Source, shapes_of
from mizan_edge.purging.journal import Journal, JournalError
from mizan_edge.rules.site import InUse
from mizan_edge.system.counters import Counters
from mizan_edge.system.histograms import Histogram
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

_RETRY_S = 0.2
# Scopes of one purge that the log shows.
_TOLD = 20
# How long a purge that Redis does not confirm keeps its response waiting: until every lease that was granted before has
# run out.
PATIENCE_S = LEASE_S + 0.2


@dataclass(eq=False, slots=True)
class _Unconfirmed:
    purge: Purge
    shapes: Mapping[str, str]
    source: Source
    began_s: float
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    number: int | None = None
    """Its number in the journal, None where it could not be written."""
    result: Purged | None = None


class Purger:
    """Purges what responses and people say, and remembers what Redis has not confirmed."""

    def __init__(
        self,
        store: AsyncStore,
        in_use: InUse,
        fleet: Fleet,
        acknowledgements: Acknowledgements,
        *,
        journal: Journal,
        hold: Hold,
        counters: Counters,
        tasks: Tasks,
        lease_ms: int,
        late_s: int,
    ) -> None:
        """`lease_ms`: for how long members may have leases of which a Redis that has forgotten them knows nothing.
        `late_s`: how much later than we give it up the origin may carry a mutation out."""
        self._store = store
        self._in_use = in_use
        self._fleet = fleet
        self._acknowledgements = acknowledgements
        self._host = node()
        self._lease_ms = lease_ms
        self._journal = journal
        self._hold = hold
        self._counters = counters
        self._took = Histogram(counters, "acknowledgement_seconds")
        self._tasks = tasks
        self._late_s = late_s
        self._unconfirmed: list[_Unconfirmed] = []

    @property
    def pending(self) -> bool:
        """Whether Redis has not confirmed a purge."""
        return bool(self._unconfirmed)

    def _shapes(self, purge: Purge) -> dict[str, str]:
        """How the contexts of a purge are indexed by the manifest that is in use."""
        return shapes_of(purge, self._in_use.site.manifest.contexts)

    def resume(self) -> None:
        """Takes up what an earlier process has left in the journal. To be called before anything is served."""
        now_s = time.monotonic()
        for left in self._journal.open:
            log.warning("a purge of %s from before the start is repeated", _text(left.purge))
            # Under the shapes of then: there may be another manifest now.
            if left.intent:
                purge = self._signed(left.purge, "unknown outcome")
                self._hold_for(_Unconfirmed(self._until_late(purge), left.shapes, "journal", now_s))
                self._tasks.start(self._purge_late(purge, left.shapes, left.number), "purge-again")
            else:
                self._hold_for(_Unconfirmed(left.purge, left.shapes, "journal", now_s, number=left.number))

    def take_over(self, intents: Intents) -> None:
        """Whoever has forwarded these mutations has ended, so nobody knows how they did."""
        under_way = [(intended, self._note(intended)) for intended in intents.open]
        if under_way:
            log.warning("a worker has ended while mutations were under way: what they may have changed is purged")
        for intended, number in under_way:
            self._tasks.start(self._abandon(intended, number), "purge-for-dead-worker")
        if any(number is None for _, number in under_way):
            intents.close()  # and the next start finds the file
        else:
            intents.remove()

    def _note(self, intended: Intended) -> int | None:
        """Writes down what a mutation may change of which nobody hears any more; its number, None where it could not be
        written."""
        try:
            return self._journal.add(intended.purge, intended.shapes, intent=True)
        except JournalError as error:
            log.error("%s: a crash before the purge is repeated would lose what a mutation has changed", error)
            return None

    def _settle(self, number: int | None) -> None:
        """What is in the journal under a number, if it is, is purged."""
        if number is None:
            return
        try:
            self._journal.close(number)
        except JournalError as error:
            log.error("%s: the purge will be repeated at the next start", error)

    async def purge_twice(self, affects: Purge) -> bool:
        """As `Purges.purge_twice`."""
        intended = Intended(affects, self._shapes(affects))
        number = self._note(intended)
        await self._abandon(intended, number)
        return number is not None

    async def _abandon(self, intended: Intended, number: int | None) -> None:
        """Purges, stores nothing that matches for as long as the change may come late, and purges again then."""
        purge, shapes = intended
        await self._purge(self._until_late(purge), shapes, "unknown outcome")
        self._tasks.start(self._purge_late(purge, shapes, number), "purge-again")

    def _signed(self, purge: Purge, source: Source) -> Purge:
        """The purge, as the audit is to have it."""
        return replace(purge, by=replace(purge.by, source=source, edge=self._fleet.edge, host=self._host))

    def _until_late(self, purge: Purge) -> Purge:
        return replace(purge, hold_s=max(purge.hold_s, self._late_s))

    async def _purge_late(self, purge: Purge, shapes: Mapping[str, str], number: int | None) -> None:
        await asyncio.sleep(self._late_s)
        done = await self._purge(purge, shapes, "unknown outcome")
        if not isinstance(done, Pending) or done.journaled:
            self._settle(number)

    async def purge(self, purge: Purge, source: Source) -> Purged | Pending:
        """Purges. Returns when Redis has confirmed, or when the answer may wait no longer."""
        return await self._purge(purge, self._shapes(purge), source)

    async def purge_here(self, purge: Purge, source: Source) -> None:
        """Purges, once, for what this edge alone is about to do: it waits for no other, who may wait for this one.

        Raises StoreError where Redis does not confirm.
        """
        purge = self._signed(purge, source)
        for part in parts(purge.scopes):
            await self._fleet.purge_here(self._operation(part, purge, self._shapes(purge), purger=""))

    async def _purge(self, purge: Purge, shapes: Mapping[str, str], source: Source) -> Purged | Pending:
        if not purge.scopes and not purge.everything:
            return Purged(0, 0, 0)
        purge = self._signed(purge, source)
        began_s = time.monotonic()
        try:
            purged = await self._run(purge, shapes, began_s)
        except asyncio.CancelledError:
            self._keep_for_next_start(purge, shapes)
            raise
        except Exception as error:
            # Whatever it is: what is not confirmed must not be forgotten.
            log.error(
                "a purge of %s is not confirmed (%s): nothing is served from the cache until it is",
                _text(purge),
                error,
                exc_info=not isinstance(error, StoreError),
            )
            return await self._confirmed_later(_Unconfirmed(purge, shapes, source, began_s))
        self._confirmed(purge, source, began_s, purged)
        return purged

    def _confirmed(self, purge: Purge, source: Source, began_s: float, purged: Purged) -> None:
        self._counters.count("purges", source)
        self._counters.count("purged_entries", by=purged.entries)
        self._took.took(time.monotonic() - began_s)
        # A site may have hundreds of mutations a second.
        level = logging.DEBUG if source == "response" else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "purged %s: %d entries, seq %d", _text(purge), purged.entries, purged.seq)

    async def _confirmed_later(self, waiting: _Unconfirmed) -> Purged | Pending:
        purge, shapes = waiting.purge, waiting.shapes
        self._hold_for(waiting)
        try:
            waiting.number = await asyncio.to_thread(self._journal.add, purge, shapes)
        except asyncio.CancelledError:
            self._keep_for_next_start(purge, shapes)
            raise
        except JournalError as error:
            log.error("%s: a crash before the purge is confirmed would lose it", error)
        if waiting.confirmed.is_set():
            self._settle(waiting.number)  # confirmed before it was written down
        try:
            await asyncio.wait_for(waiting.confirmed.wait(), PATIENCE_S)
        except TimeoutError:
            self._counters.count("purges_unconfirmed")
        return waiting.result or Pending(journaled=waiting.number is not None)

    async def _run(self, purge: Purge, shapes: Mapping[str, str], began_s: float) -> Purged:
        if purge.everything:
            return await self._purge_part((), purge, shapes, began_s)
        entries = banned = seq = 0
        for part in parts(purge.scopes):
            done = await self._purge_part(part, purge, shapes, began_s)
            seq, entries, banned = done.seq, entries + done.entries, banned + done.banned
        return Purged(seq, entries, banned)

    async def _purge_part(
        self, scopes: Sequence[Scope], purge: Purge, shapes: Mapping[str, str], began_s: float
    ) -> Purged:
        purged = await self._fleet.purge(self._operation(scopes, purge, shapes, purger=self._fleet.id))
        self._acknowledgements.add(purged, time.monotonic() - began_s)
        return purged

    def _operation(
        self, scopes: Sequence[Scope], purge: Purge, shapes: Mapping[str, str], *, purger: str
    ) -> Operation[Purged]:
        return self._store.namespace.purge(
            scopes,
            everything=purge.everything,
            hold_s=purge.hold_s,
            shapes=shapes,
            purger=purger,
            lease_ms=self._lease_ms,
            by=purge.by,
        )

    def _keep_for_next_start(self, purge: Purge, shapes: Mapping[str, str]) -> None:
        # The edge is stopping, and does not wait for this any longer.
        try:
            self._journal.add(purge, shapes)
        except JournalError as error:
            log.error("%s: the purge of %s is lost", error, _text(purge))

    def _hold_for(self, waiting: _Unconfirmed) -> None:
        self._hold.set("unconfirmed purges")
        if not self._unconfirmed:
            self._tasks.start(self._repeat(), "repeat-purges")
        self._unconfirmed.append(waiting)

    async def _repeat(self) -> None:
        while self._unconfirmed:
            first = self._unconfirmed[0]
            try:
                first.result = await self._run(first.purge, first.shapes, first.began_s)
            except StoreError:
                await asyncio.sleep(_RETRY_S)
                continue
            except Exception:
                # Whatever it is, the hold stays, and so must the attempts to end it.
                log.exception("repeating the purge of %s failed", _text(first.purge))
                await asyncio.sleep(_RETRY_S)
                continue
            self._unconfirmed.remove(first)
            self._settle(first.number)
            first.confirmed.set()
            self._confirmed(first.purge, first.source, first.began_s, first.result)
            log.warning("the purge of %s is confirmed now", _text(first.purge))
        if not self._unconfirmed:
            self._hold.lift("unconfirmed purges")


def _text(purge: Purge) -> str:
    if purge.everything:
        return "everything"
    others = len(purge.scopes) - _TOLD
    return format_scopes(purge.scopes[:_TOLD]) + (f" and {others} more" if others > 0 else "")
