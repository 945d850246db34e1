"""Those who serve the public port, as their keeper speaks to them: processes that it supervises, or itself."""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import astuple
from typing import Any

from mizan_core.store import AsyncStore
from mizan_edge.purging.board import Board
from mizan_edge.purging.intents import Intents
from mizan_edge.purging.purge import Purger
from mizan_edge.rules import switches
from mizan_edge.rules.site import InUse, Rules
from mizan_edge.running.config import Settings, handed_over
from mizan_edge.running.differences import Differences
from mizan_edge.running.manifest_in_use import ManifestInUse
from mizan_edge.running.remote import Worker
from mizan_edge.running.supervisor import Launch, Supervisor
from mizan_edge.running.worker import GRACE_S, SHUTDOWN_S, Serving, serving
from mizan_edge.serving.explaining import Question
from mizan_edge.serving.popular import Asked, together
from mizan_edge.system.channel import CallFailed, Channel, ChannelClosed
from mizan_edge.system.counters import Counted, Counters
from mizan_edge.system.tasks import Tasks
from mizan_edge.system.tls import Certificate, Pair

log = logging.getLogger(__name__)

# What a worker takes to end beyond the time that it gives to its requests.
_ENDING_S = 2.0 + 2 * GRACE_S
# For how long a worker is waited for that does not say what it has counted: it may be stuck.
_COUNTING_S = 1.0


class Workers:
    """The workers of one edge.

    # mutable state: of the processes that run, by slot, their channels, what they have said and their `_intents`, which
    # this process has as well, where it serves; `_past`, what those have counted that are gone; the `_supervisor` of
    # these; `_here`, what serves in this process.
    """

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        redis_url: str,
        certificate: Certificate | None,
        board: Board,
        store: AsyncStore,
        differences: Differences,
        tasks: Tasks,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._redis_url = redis_url
        self._certificate = certificate
        self._board = board
        self._store = store
        self._differences = differences
        self._tasks = tasks
        self._channels: dict[int, Channel] = {}
        self._heard: dict[int, Worker] = {}
        self._intents: dict[int, Intents] = {}
        self._past: Counter[str] = Counter()
        self._supervisor: Supervisor | None = None
        self._here: Serving | None = None

    @asynccontextmanager
    async def in_processes(
        self,
        sockets: Sequence[tuple[socket.socket, ...]],
        purger: Purger,
        manifest_in_use: ManifestInUse,
        in_use: InUse,
        _counters: Counters,
    ) -> AsyncIterator[None]:
        """Has processes serve, while the block runs. `sockets`: those of each. Raises MizanError where they cannot."""
        given = {
            "settings": handed_over(self._settings),
            "secret": self._rules.secret.hex(),
            "redis": self._redis_url,
        }

        def settings() -> dict[str, object]:
            certificate = astuple(self._certificate.pair) if self._certificate else None
            switched = switches.to_json(in_use.site.switches)
            return {**given, "manifest": manifest_in_use.text, "switches": switched, "certificate": certificate}

        def launch(slot: int) -> Launch:
            worker = self._heard[slot] = Worker(
                settings, purger, manifest_in_use.adopt, self._store, self._differences, self._tasks, self._past
            )
            intents = self._intents[slot] = Intents.create(self._settings.state_dir)
            fds = [self._board.fd, intents.fd]
            return Launch("mizan_edge.running.worker", list(map(str, fds)), fds, worker.handlers)

        def died(slot: int) -> None:
            self._channels.pop(slot, None)
            self._heard.pop(slot).died()
            purger.take_over(self._intents.pop(slot))

        self._supervisor = supervisor = Supervisor(
            sockets,
            launch,
            tasks=self._tasks,
            beats=self._board.beats,
            on_start=self._channels.__setitem__,
            on_death=died,
        )
        await supervisor.start()
        try:
            yield
        finally:
            await supervisor.drain(SHUTDOWN_S + _ENDING_S)

    @asynccontextmanager
    async def in_this_process(
        self,
        sockets: Sequence[tuple[socket.socket, ...]],
        purger: Purger,
        manifest_in_use: ManifestInUse,
        in_use: InUse,
        counters: Counters,
    ) -> AsyncIterator[None]:
        """Serves here, on all of the `sockets`, while the block runs."""
        self._intents[0] = Intents.create(self._settings.state_dir)
        try:
            async with serving(
                self._settings,
                self._rules,
                in_use,
                self._board,
                self._redis_url,
                self._certificate,
                purges=purger,
                intents=self._intents[0],
                adopt=manifest_in_use.adopt,
                differs=self._differences.add,
                counters=counters,
            ) as self._here:
                await self._here.listener.listen([sock for own in sockets for sock in own])
                yield
        finally:
            purger.take_over(self._intents.pop(0))

    @property
    def mutations(self) -> int:
        """How many are under way."""
        return sum(map(len, self._intents.values()))

    async def recycle(self) -> int:
        """Replaces the processes one by one; how many. Raises WorkerFailed."""
        return await self._supervisor.recycle(SHUTDOWN_S + _ENDING_S) if self._supervisor is not None else 0

    def wake(self, key: str | None) -> None:
        """A fill of a key has ended somewhere; None: of any."""
        for channel in self._channels.values():
            channel.tell("wake", key)
        if self._here is not None:
            self._here.flights.wake(key)

    async def swap(self, manifest: str) -> None:
        """Returns when all processes use another manifest."""
        await asyncio.gather(*(self._ask(channel, "site", manifest) for channel in self._channels.values()))

    async def switch(self, table: str) -> None:
        """Returns when all processes act by how contexts are switched."""
        await asyncio.gather(*(self._ask(channel, "switches", table) for channel in self._channels.values()))

    async def renew(self, pair: Pair) -> None:
        """Returns when all processes show another certificate to whoever connects."""
        asked = (self._ask(channel, "certificate", astuple(pair)) for channel in self._channels.values())
        await asyncio.gather(*asked)

    async def remember(self, question: Question) -> list[Mapping[str, Any]]:
        """What each has in memory for a request, in the order of their numbers: see `Explainer.remembers`."""
        if self._here is not None:
            return [self._here.explainer.remembers(question)]
        channels = [channel for _slot, channel in sorted(self._channels.items())]
        answers = await asyncio.gather(*(self._ask(channel, "remembers", question.to_json()) for channel in channels))
        return [answer for answer in answers if answer is not None]

    async def popular(self) -> list[Asked]:
        """What is asked for most, of all of them."""
        if self._here is not None:
            return self._here.requests.popular.most(time.monotonic())
        answers = await asyncio.gather(*(self._ask(channel, "popular") for channel in self._channels.values()))
        return together([[Asked(*asked) for asked in answer] for answer in answers if answer is not None])

    async def counted(self, own: Counters) -> Counted:
        """What they have counted, and the keeper itself."""
        if self._here is not None:
            return self._here.counted()  # they count in the same counters
        with suppress(TimeoutError):
            async with asyncio.timeout(_COUNTING_S):
                await asyncio.gather(*(self._ask(channel, "counters") for channel in self._channels.values()))
        # Of what they have said last, whenever that was: no number may go down because one is stuck, or has died.
        so_far, now = Counter(own.snapshot()), Counter({"workers": len(self._heard)})
        so_far.update(self._past)
        for worker in self._heard.values():
            so_far.update(worker.counted.so_far)
            now.update(worker.counted.now)
        return Counted(dict(sorted(so_far.items())), now)

    async def _ask(self, channel: Channel, name: str, argument: object = None) -> Any:
        try:
            answer = await channel.call(name, argument)
        except ChannelClosed:
            return None  # it has died; its successor asks for all it needs
        except CallFailed as error:
            log.error("a worker could not %s: %s", name, error)
            return None
        return answer
