"""The only place that starts background tasks: named, strongly held, their failures logged, stopped together."""

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger(__name__)

_STOP_AGAIN_S = 0.1


class Tasks:
    """A group of background tasks."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Starts a task and holds it until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def stop(self) -> None:
        """Cancels whatever still runs, and waits until it has ended."""
        while self._running:
            for task in self._running:
                task.cancel()
            # Again and again: before Python 3.12, asyncio.wait_for (in redis-py, say) may swallow a cancellation.
            await asyncio.wait(self._running, timeout=_STOP_AGAIN_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("the task %s failed: %s", task.get_name(), error, exc_info=error)
