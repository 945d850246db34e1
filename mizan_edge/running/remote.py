"""What a worker and its keeper ask each other, over their channel.

Both ends of each message stand here: `Keeper` is what a worker sees of its keeper, `Worker` what the keeper sees of it.

    worker -> keeper    settings, purge, purge_twice, adopt; told: led, differs, counted, ready
    keeper -> worker    site, switches, certificate, counters, remembers, popular; told: wake, stop
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from mizan_core.purge import Purge
from mizan_core.store import AsyncStore, Purged, StoreError
from mizan_core.store.fills import end
from mizan_edge.purging.invalidation import Pending, Source
from mizan_edge.purging.purge import Purger
from mizan_edge.running.differences import Differences
from mizan_edge.serving.leads import Lead
from mizan_edge.system.channel import Channel, Handler
from mizan_edge.system.counters import Counted
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)


class Keeper:
    """The keeper, as its worker speaks to it. When it has gone, so will this process: nothing here handles that."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def settings(self) -> Any:
        """What this worker needs in order to begin."""
        return await self._channel.call("settings")

    async def purge(self, purge: Purge, source: Source) -> Purged | Pending:
        """As `Purges.purge`."""
        answer = await self._channel.call("purge", [purge.to_json(), source])
        if "journaled" in answer:
            return Pending(answer["journaled"])
        return Purged(answer["seq"], answer["entries"], answer["banned"])

    async def purge_twice(self, affects: Purge) -> bool:
        """As `Purges.purge_twice`."""
        is_written: bool = await self._channel.call("purge_twice", affects.to_json())
        return is_written

    async def adopt(self) -> None:
        """The store has forgotten the manifest."""
        await self._channel.call("adopt")

    def led(self, begun: Sequence[Lead], over: Sequence[Lead]) -> None:
        """This worker leads some fills, and others no more."""
        self._channel.tell("led", [begun, over], can_wait=True)

    def differs(self, difference: Mapping[str, object]) -> None:
        """A hit of this worker was another answer than the origin's."""
        self._channel.tell("differs", difference, can_wait=True)

    def counted(self, counted: Counted) -> None:
        """What this worker has counted so far."""
        self._channel.tell("counted", [*counted], can_wait=True)

    def ready(self) -> None:
        """This worker serves."""
        self._channel.tell("ready")


class Worker:
    """One worker, as the keeper hears it. What it leaves open when it dies is taken care of.

    # mutable state: `_leads`, the fills that it leads; `counted`, what it has counted, as it said last, and `_past`,
    # what those have that are gone; whether it is `_gone`, although something that it has said is still to be read.
    """

    def __init__(
        self,
        settings: Callable[[], Any],
        purges: Purger,
        adopt: Callable[[], Awaitable[None]],
        store: AsyncStore,
        differences: Differences,
        tasks: Tasks,
        past: Counter[str],
    ) -> None:
        self._settings = settings
        self._purges = purges
        self._adopt = adopt
        self._store = store
        self._differences = differences
        self._tasks = tasks
        self._leads: dict[str, str] = {}
        self._past = past
        self.counted = Counted({}, {})
        self._gone = False

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What it may ask and tell."""
        return {
            "settings": lambda _: self._settings(),
            "purge": self._purge,
            "purge_twice": self._purge_twice,
            "adopt": lambda _: self._adopt(),
            "led": self._led,
            "differs": self._differences.add,
            "counted": self._counted,
        }

    def died(self) -> None:
        """It has gone, and nobody brings what it was fetching."""
        self._gone = True
        self._past.update(self.counted.so_far)
        if self._leads:
            self._end_fills(dict(self._leads))

    async def _purge(self, argument: Any) -> Any:
        purge, source = argument
        done = await self._purges.purge(Purge.from_json(purge), source)
        if isinstance(done, Pending):
            return {"journaled": done.journaled}
        return {"seq": done.seq, "entries": done.entries, "banned": done.banned}

    async def _purge_twice(self, affects: Any) -> bool:
        return await self._purges.purge_twice(Purge.from_json(affects))

    def _led(self, argument: Any) -> None:
        begun, over = argument
        if self._gone:
            self._end_fills({token: key for key, token in begun})
            return
        self._leads.update((token, key) for key, token in begun)
        for _key, token in over:
            self._leads.pop(token, None)

    def _counted(self, counted: Any) -> None:
        before, self.counted = self.counted, Counted(*counted)
        if self._gone:
            self._past.update(self.counted.so_far)
            self._past.subtract(before.so_far)

    def _end_fills(self, leads: Mapping[str, str]) -> None:
        self._tasks.start(self._end_each(leads), "end-fills-of-dead-worker")

    async def _end_each(self, leads: Mapping[str, str]) -> None:
        for token, key in leads.items():
            try:
                await self._store.run(end(self._store.namespace, key, token))
            except StoreError as error:
                log.debug("the fill of a dead worker goes on until its lease ends: %s", error)
