"""Tells the audit after how long purges were acknowledged: beside them, and only if it can.

# mutable state: what is yet to be `_told`; `_telling`, the task that does, if any.
"""

import asyncio
import logging

from mizan_core.store import AsyncStore, Purged, StoreError, audit
from mizan_core.store.audit import Acknowledged
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

# For so long they wait for each other: a site may have hundreds a second.
_COMPANY_S = 0.05
# Where Redis takes no more of them, the oldest stay untold.
_MAX_TOLD = 1000


class Acknowledgements:
    """Those of this edge's purges."""

    def __init__(self, store: AsyncStore, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self._told: list[Acknowledged] = []
        self._telling: asyncio.Task[None] | None = None

    def add(self, purged: Purged, after_s: float) -> None:
        """Every member has acknowledged a purge, or its lease has run out."""
        self._told.append(Acknowledged.of(purged, after_s))
        del self._told[:-_MAX_TOLD]
        if self._telling is None or self._telling.done():
            self._telling = self._tasks.start(self._tell_soon(), "audit-acknowledgements")

    async def tell(self) -> None:
        """Tells what is yet to be told."""
        told, self._told = self._told, []
        if not told:
            return
        try:
            await self._store.run(audit.acknowledged(self._store.namespace, told))
        except StoreError as error:
            log.debug("the audit lacks when %d purges were acknowledged: %s", len(told), error)

    async def _tell_soon(self) -> None:
        while self._told:
            await asyncio.sleep(_COMPANY_S)
            await self.tell()
