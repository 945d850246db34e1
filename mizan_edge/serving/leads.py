"""The fills that this process leads: each is kept alive in Redis, and somebody knows of it who lives longer.

    # mutable state: `_leads`, the fills under way, and `_young`, those among them of which the keeper has yet to hear,
    both as keys by their tokens; `_over`, those that have ended since it heard of them; the timers.

Most are over within milliseconds, before any of this is due. So none has a task or a message of its own: what has begun
and lasts is told together, and all are renewed together.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from mizan_core.store import Namespace, StoreError
from mizan_core.store.fills import renew
from mizan_edge.serving.reads import Reads
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

LEASE_MS = 2000
TELL_S = 0.02
"""A process that dies leaves fills that are younger than this to the end of their leases."""
_RENEW_S = LEASE_MS / 3000

Lead = tuple[str, str]
"""The key that is fetched, and the token of who fetches it."""


class Leads:
    """The fills that one process leads."""

    def __init__(
        self,
        reads: Reads,
        namespace: Namespace,
        tasks: Tasks,
        *,
        told: Callable[[Sequence[Lead], Sequence[Lead]], None],
    ) -> None:
        """`told` hears of those that have begun and of those that are over."""
        self._reads = reads
        self._namespace = namespace
        self._tasks = tasks
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._leads: dict[str, str] = {}
        self._young: dict[str, str] = {}
        self._over: list[Lead] = []
        self._telling: asyncio.TimerHandle | None = None
        self._renewing: asyncio.TimerHandle | None = None

    def begin(self, key: str, token: str) -> None:
        """A fill has begun, under a lease of `LEASE_MS`."""
        self._leads[token] = self._young[token] = key
        if self._telling is None:
            self._telling = self._loop.call_later(TELL_S, self._tell)
        if self._renewing is None:
            self._renewing = self._loop.call_later(_RENEW_S, self._renew)

    def end(self, token: str) -> None:
        """It is over, and its lease was ended."""
        key = self._leads.pop(token)
        if self._young.pop(token, None) is None:
            self._over.append((key, token))
            if self._telling is None:
                self._telling = self._loop.call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        self._telling = None
        begun = [(key, token) for token, key in self._young.items()]
        over, self._over = self._over, []
        self._young.clear()
        if begun or over:
            self._told(begun, over)

    def _renew(self) -> None:
        self._renewing = None
        if self._leads:
            self._tasks.start(self._renewed(dict(self._leads)), "renew-fill-leases")
            self._renewing = self._loop.call_later(_RENEW_S, self._renew)

    async def _renewed(self, leads: dict[str, str]) -> None:
        await asyncio.gather(*[self._renew_one(key, token) for token, key in leads.items()])

    async def _renew_one(self, key: str, token: str) -> None:
        try:
            await self._reads.run(renew(self._namespace, key, token, lease_ms=LEASE_MS))
        except StoreError as error:
            log.debug("a fill lease was not renewed: %s", error)
