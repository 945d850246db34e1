"""This edge among the others on the same Redis: its lease, what it hears of their purges, and what they say of its own.

    # mutable state: `_session`, `_incarnation` and `_seen`, up to which sequence every purge is on the board; `_heard`,
    # the incarnation and sequence of the last message; `_owed`, the purgers who wait for an acknowledgement; `_own`,
    # purges of this edge that its subscription has yet to bring; `_awaited`, what this edge's purges wait for;
    # `_former`, the last session that Redis knew; `_leased`, whether the log says that there is a lease; `_poke` and
    # `_owing`, set when there is something to do.

Without a lease nothing is used of the cache, in memory or in Redis. Three things are excluded by it:

1. An edge is frozen, or its subscription is dead. 2. Another one purges. 3. This one serves from memory. -- The purger
waits for this edge's acknowledgement, or until its lease has run out; and a renewal brings whatever was purged since
the last one, which goes to the board before the lease counts as renewed.

1. Redis is away from all edges. 2. A mutation at A is answered after its wait; its purge is in A's journal. 3. Redis is
back. 4. B reads the old value, before A has repeated its purge, or after A has died. -- An edge whose purge is not
confirmed neither takes nor renews a lease. Whoever comes back without one, and finds that another edge has lost its
own, makes everything dead: nobody can know what that one has purged.

1. A context is switched off at A, which tells the others and answers. 2. B serves from it. -- A switch is announced as
a purge is (`SWITCHED`), and B neither acknowledges it nor renews its lease before all of its workers act by it.

1. A member's subscription breaks, and is made again. 2. A purge was published in between. -- Each subscription is a
session of its own: memory is dropped, then subscribed, then registered under a new id, in this order.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from mizan_core.store import LEASE_MS, AsyncStore, Purged, StoreError
from mizan_core.store.fills import wake_channel
from mizan_core.store.members import SWITCHED, Ack, Announcement, Awaited, acks_channel, purges_channel
from mizan_core.store.operations import Operation
from mizan_core.store.subscription import Subscription
from mizan_edge.purging.board import Board, Clocks, clocks
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

LEASE_S = LEASE_MS / 1000
# Redis counts from when it grants, the edge from before it asks, and a little less: no clock is exact.
_USED_S = LEASE_S * 0.95
_RENEW_S = 0.5
_RETRY_S = 0.1


class _Forgotten(Exception):
    """Redis does not know this session any more."""


class Fleet:
    """This edge as a member, under its durable id."""

    def __init__(
        self,
        store: AsyncStore,
        board: Board,
        edge: str,
        tasks: Tasks,
        *,
        may_renew: Callable[[], bool],
        may_leave: Callable[[], bool],
        new_incarnation: Callable[[], Awaitable[None]],
        switched: Callable[[], Awaitable[None]],
        woken: Callable[[str | None], None],
    ) -> None:
        """`may_renew`: whether no purge waits to be confirmed. `may_leave`: whether the journal is empty.
        `new_incarnation` is called when the store has lost or forgotten what it held, before the lease is granted.
        `switched` asks Redis how contexts are switched, and returns when this edge acts by it; raises StoreError.
        `woken` gets the key of each fill that has ended elsewhere; None: any may have."""
        self.id = secrets.token_hex(8)
        """The name under which this edge's purges ask for acknowledgements."""
        self._store = store
        self._board = board
        self.edge = edge
        self._tasks = tasks
        self._may_renew = may_renew
        self._may_leave = may_leave
        self._new_incarnation = new_incarnation
        self._switched = switched
        self._woken = woken
        self._session = self._former = ""
        self._leased = False
        self._incarnation: str | None = None
        self._seen = -1
        self._heard: tuple[str, int] | None = None
        self._owed: set[str] = set()
        self._owing = asyncio.Event()
        self._poke = asyncio.Event()
        self._told = self._asked = 0
        self._own: dict[int, tuple[str, ...]] = {}
        self._awaited: dict[Awaited, asyncio.Event] = {}

    async def join(self) -> None:
        """Takes part from now on; returns after the first attempt."""
        tried = asyncio.Event()
        self._tasks.start(self._stay(tried), "take-part-in-the-fleet")
        await tried.wait()

    async def leave(self) -> None:
        """Gives the lease up, so that nobody takes this edge for one that has died; not with purges in the journal."""
        self._board.begin_session()
        if not self._may_leave():
            return
        try:
            await self._store.run(self._store.namespace.sign_off(self.edge, self._session))
        except StoreError as error:
            log.debug("the lease was not given up: %s", error)

    async def purge(self, operation: Operation[Purged]) -> Purged:
        """Runs a purge; returns when no member can serve any more what it has purged. Raises StoreError."""
        clock = asyncio.get_running_loop().time
        awaited = Awaited(own_session=self._session)
        acknowledged = self._awaited[awaited] = asyncio.Event()
        try:
            purged = await self._store.run(operation)
            awaited.replied(purged, clock())
            self._own_purge(purged)
            while not awaited.done and (left_s := awaited.deadline_s() - clock()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(acknowledged.wait(), left_s)
            return purged
        finally:
            del self._awaited[awaited]

    async def purge_here(self, operation: Operation[Purged]) -> None:
        """Runs a purge; returns when this edge cannot serve any more what it has purged. Raises StoreError."""
        self._own_purge(await self._store.run(operation))

    def _own_purge(self, purged: Purged) -> None:
        if purged.incarnation == self._incarnation and purged.seq <= self._seen:
            return  # its message was faster
        # What the store has made of it: it may know a context under another shape.
        self._announce(purged.scopes)
        self._own[purged.seq] = purged.scopes
        if purged.incarnation == self._incarnation and purged.seq == self._seen + 1:
            self._seen = purged.seq

    async def _stay(self, tried: asyncio.Event) -> None:
        while True:
            pause_s, why = _RETRY_S, "the subscription has ended"
            try:
                await self._take_part(tried)
            except StoreError as error:
                why = str(error)
            except _Forgotten:
                pause_s, why = 0.0, "Redis knows nothing of this edge any more"
            except Exception as error:
                # Whatever it is: an edge that stopped trying would be a plain proxy for ever.
                log.exception("taking part in the fleet failed")
                why = type(error).__name__
            finally:
                self._board.begin_session()
                tried.set()
            self._lost(why)
            self._woken(None)
            await asyncio.sleep(pause_s)

    async def _take_part(self, tried: asyncio.Event) -> None:
        """One session. Raises StoreError or _Forgotten when it ends."""
        self._board.begin_session()
        self._session, self._seen, self._heard = secrets.token_hex(8), -1, None
        self._owed.clear()
        self._own.clear()
        namespace = self._store.namespace
        channels = purges_channel(namespace), acks_channel(namespace, self.id), wake_channel(namespace)
        async with self._store.subscription(*channels) as subscription:
            hearing = self._tasks.start(self._hear(subscription), "hear-purges")
            hearing.add_done_callback(lambda _: self._poke.set())
            acknowledging = self._tasks.start(self._acknowledge(), "acknowledge-purges")
            try:
                await self._keep_lease(hearing, tried)
            finally:
                hearing.cancel()
                acknowledging.cancel()

    async def _keep_lease(self, hearing: "asyncio.Task[None]", tried: asyncio.Event) -> None:
        """Takes the lease and renews it, as long as it may and purges are heard."""
        renew = self._register
        while not hearing.done():
            self._poke.clear()
            wait_s, why = _RETRY_S, "a purge is not confirmed"
            if self._may_renew():
                try:
                    await renew()
                    renew, wait_s = self._renew, _RENEW_S
                except StoreError as error:
                    # The lease is still good for a while, and the next attempt may get through.
                    log.debug("the lease was not renewed: %s", error)
                    why = str(error)
            if not self._board.valid(clocks()):
                self._lost(why)
            tried.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poke.wait(), wait_s)

    async def _register(self) -> None:
        asked, heard = clocks(), self._heard
        reply = await self._store.run(self._store.namespace.register(self.edge, self._session, former=self._former))
        self._former = self._session
        if reply.flushed:
            log.warning("another edge was away and may have left purges: everything is purged")
        if self._incarnation not in (None, reply.incarnation):
            await self._new_incarnation()
        self._incarnation = reply.incarnation
        # As a member, which is waited for by whoever switches one from now on.
        self._told += 1
        await self._act_by_switches()
        self._board.join(reply.incarnation)
        self._granted(asked, heard, reply.seq, reply.now_ms)

    async def _renew(self) -> None:
        asked, heard = clocks(), self._heard
        reply = await self._store.run(
            self._store.namespace.renew(self.edge, self._session, incarnation=self._incarnation or "", seen=self._seen)
        )
        if reply.what != "ok":
            raise _Forgotten
        # On the board before the lease counts: what was published may never have arrived.
        self._announce(reply.scopes)
        await self._act_by_switches()
        self._granted(asked, heard, reply.seq, reply.now_ms)

    def _granted(self, asked: Clocks, heard: tuple[str, int] | None, seq: int, now_ms: int) -> None:
        """Redis has granted the lease to the request that was sent at `asked`, when `heard` was the last message."""
        self._board.grant(asked, _USED_S, now_ms)
        self._seen = max(self._seen, seq)
        if self._heard is heard:
            self._heard = None  # Redis had run that before it answered, so `seq` covers it
        if not self._leased:
            self._leased = True
            log.info("Redis has granted a lease: the cache is used")
        self._go_on()

    def _lost(self, why: str) -> None:
        """There is no lease any more. Said once, however often it is tried to get another."""
        if self._leased:
            self._leased = False
            log.warning("nothing is served from the cache until Redis grants a lease again: %s", why)

    async def _hear(self, subscription: Subscription) -> None:
        namespace = self._store.namespace
        purges, acks = purges_channel(namespace), acks_channel(namespace, self.id)
        try:
            async for channel, data in subscription:
                if channel == purges:
                    self._hear_purge(Announcement.parse(data))
                elif channel == acks:
                    self._hear_ack(Ack.parse(data))
                else:
                    self._woken(data.decode())
        except StoreError as error:
            log.debug("the subscription has ended: %s", error)

    def _hear_purge(self, said: Announcement | None) -> None:
        if said is None:
            self._heard = ("", 0)  # of no incarnation: the next renewal says what was purged
        else:
            if self._own.pop(said.seq, None) != said.scopes:
                self._announce(said.scopes)
            if said.incarnation == self._incarnation and said.seq == self._seen + 1:
                self._seen = said.seq
            self._heard = (said.incarnation, said.seq)
            if said.purger not in ("", self.id):
                self._owed.add(said.purger)
        self._go_on()

    def _hear_ack(self, ack: Ack | None) -> None:
        if ack is None:
            return
        for awaited, acknowledged in self._awaited.items():
            awaited.heard(ack)
            if awaited.done:
                acknowledged.set()

    def _announce(self, scopes: Collection[str]) -> None:
        self._board.announce(scopes)
        # "" may stand for more than could be told.
        if not {SWITCHED, ""}.isdisjoint(scopes):
            self._told += 1

    async def _act_by_switches(self) -> None:
        """Returns when this edge acts by all switches that it was told of. Raises StoreError."""
        while (told := self._told) != self._asked:
            await self._switched()
            self._asked = max(self._asked, told)

    def _behind(self) -> bool:
        """Whether a purge was published that is not known to be on the board with all before it."""
        return self._heard is not None and (self._heard[0] != self._incarnation or self._heard[1] > self._seen)

    def _go_on(self) -> None:
        if self._behind():
            self._poke.set()
        elif self._owed:
            self._owing.set()

    async def _acknowledge(self) -> None:
        """Tells those who purge that everything they did is on the board; several purges of one in one message."""
        while True:
            await self._owing.wait()
            self._owing.clear()
            if self._behind() or self._incarnation is None:
                continue  # the renewal that is under way comes back to this
            owed, self._owed = self._owed, set()
            said = Ack(self._incarnation, self._session, self._seen).to_bytes()
            try:
                await self._act_by_switches()
                for purger in owed:
                    await self._store.publish(acks_channel(self._store.namespace, purger), said)
            except StoreError as error:
                # They wait until this edge's lease has run out, unless the next attempt is sooner.
                log.debug("a purge was not acknowledged: %s", error)
                self._owed |= owed
                self._owing.set()
                await asyncio.sleep(_RETRY_S)
