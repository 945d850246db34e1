"""The fills that this process leads: each is kept alive in Redis, and somebody knows of it who lives longer.

    # mutable state: `_leads`, the fills under way, by their tokens; `_over`, those that are not any more and of
    which the keeper has yet to hear; `_timer`, while there is something to do.

Most are over within milliseconds, before any of this is due. So none has a task or a message of its own: a sweep looks
at all that are under way.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from mizan_core.store import Namespace, StoreError
from mizan_core.store.fills import renew
from mizan_edge.reads import Reads
from mizan_edge.tasks import Tasks

log = logging.getLogger(__name__)

LEASE_MS = 2000
SWEEP_S = 0.02
"""A process that dies leaves fills that are younger than this to the end of their leases."""
_RENEW_S = LEASE_MS / 3000

Lead = tuple[str, str]
"""The key that is fetched, and the token of who fetches it."""


class _Lead:
    __slots__ = ("is_told", "key", "renew_at_s")

    def __init__(self, key: str, renew_at_s: float) -> None:
        self.key = key
        self.renew_at_s = renew_at_s
        self.is_told = False


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
        self._tell = told
        self._loop = asyncio.get_running_loop()
        self._leads: dict[str, _Lead] = {}
        self._over: list[Lead] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, key: str, token: str) -> None:
        """A fill has begun, under a lease of `LEASE_MS`."""
        self._leads[token] = _Lead(key, self._loop.time() + _RENEW_S)
        self._watch()

    def end(self, token: str) -> None:
        """It is over, and its lease was ended."""
        lead = self._leads.pop(token)
        if lead.is_told:
            self._over.append((lead.key, token))
            self._watch()

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        now_s = self._loop.time()
        begun: list[Lead] = []
        due: list[Lead] = []
        for token, lead in self._leads.items():
            if not lead.is_told:
                lead.is_told = True
                begun.append((lead.key, token))
            if lead.renew_at_s <= now_s:
                lead.renew_at_s = now_s + _RENEW_S
                due.append((lead.key, token))
        if begun or self._over:
            over, self._over = self._over, []
            self._tell(begun, over)
        if due:
            self._tasks.start(self._renew(due), "renew-fill-leases")
        self._timer = None
        if self._leads:
            self._watch()

    async def _renew(self, leads: Sequence[Lead]) -> None:
        await asyncio.gather(*[self._renewed(key, token) for key, token in leads])

    async def _renewed(self, key: str, token: str) -> None:
        try:
            await self._reads.run(renew(self._namespace, key, token, lease_ms=LEASE_MS))
        except StoreError as error:
            log.debug("a fill lease was not renewed: %s", error)
