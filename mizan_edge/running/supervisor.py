"""Keeps worker processes running: one for each slot, replaced when it dies, and killed when it is stuck.

Slots come in pairs: n and n + (how many workers there are) serve the same sockets. One of the two is in use, except
while a worker is recycled: then one is started in the other slot, and when that serves, the first one ends.

It knows nothing of what they do. A worker is `python -m program PLACE... ARGUMENTS...` (`processes.Place`). It tells
"ready" on its channel once it serves, moves its heartbeat counter several times a second, and when it is told "stop"
finishes the requests that are open and ends.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mizan_core.errors import MizanError
from mizan_edge.system.channel import Channel, Handler
from mizan_edge.system.processes import Place, interpreter
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

_KILL_AGAIN_S = 0.1


class WorkerFailed(MizanError):
    """A worker that ended before it was ready, when the edge was starting."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a worker is: a module to run, its arguments after the place, further descriptors it inherits under the same
    numbers, and what answers it on its channel."""

    program: str
    arguments: Sequence[str] = ()
    fds: Sequence[int] = ()
    handlers: Mapping[str, Handler] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patience:
    """How patient a supervisor is.

    Heartbeats are counted in ticks of the keeper's own loop: where the machine sleeps, or the keeper itself stands
    still, no tick passes, and no worker is taken for stuck.
    """

    tick_s: float = 0.25
    stuck_ticks: int = 20
    starting_ticks: int = 120
    young_s: float = 10.0
    first_pause_s: float = 0.1
    last_pause_s: float = 5.0

    def pause_s(self, young_deaths: int) -> float:
        """How long a slot stays empty after this many deaths in a row at an age below `young_s`; none after one."""
        if young_deaths < 2:
            return 0.0
        doublings = min(young_deaths - 2, 30)  # more overflow a float in the end
        return min(self.first_pause_s * 2.0**doublings, self.last_pause_s)


def slots(workers: int) -> int:
    """How many slots there are, and heartbeat counters are needed, for so many workers."""
    return 2 * workers


class _Worker:
    """A worker that runs.

    # mutable state: whether it is `ready`, its counter as of the last tick, and for how many ticks it has been silent.
    """

    def __init__(self, process: Process, channel: Channel, beats: int) -> None:
        self.process = process
        self.channel = channel
        self.ready = False
        self._beats = beats
        self._silent_ticks = 0

    def became_ready(self) -> None:
        self.ready = True
        self._silent_ticks = 0

    def tick(self, beats: int) -> int:
        """A tick has passed; for how many it has now been silent. One that nobody can talk to counts as silent."""
        alive = self.ready and beats != self._beats and not self.channel.closed
        self._beats = beats
        self._silent_ticks = 0 if alive else self._silent_ticks + 1
        return self._silent_ticks

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """The workers of one edge.

    # mutable state: the `_workers` that run, by slot, the tasks of the `_slots` in use and of `_watching`, the slots
    # that are `_leaving`, and whether it is `_stopping`.
    """

    def __init__(
        self,
        listening: Sequence[Sequence[socket.socket]],
        launch: Callable[[int], Launch],
        *,
        tasks: Tasks,
        beats: Callable[[int], int],
        on_start: Callable[[int, Channel], None],
        on_death: Callable[[int], None],
        patience: Patience = Patience(),
    ) -> None:
        """Takes over `listening`, the listening sockets of each slot: they stay open when a worker dies, so that its
        successor serves the connections that wait in them. `launch(slot)` is asked before each start; `beats(slot)`
        is the heartbeat counter. `on_start` gets the channel of a worker that has not said yet that it is ready, and
        `on_death` is called as soon as a death is known, or that what was launched could not be started."""
        self._listening = listening
        self._launch = launch
        self._tasks = tasks
        self._beats = beats
        self._on_start = on_start
        self._on_death = on_death
        self._patience = patience
        self._workers: dict[int, _Worker] = {}
        self._slots: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[int] = set()
        self._recycling = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> dict[int, int]:
        """Slot -> process id of the workers that run now."""
        return {slot: worker.process.pid for slot, worker in self._workers.items()}

    async def start(self) -> None:
        """Starts the workers; returns when all are ready. Raises WorkerFailed, with none left, when one dies before."""
        firsts = [self._begin(slot) for slot in range(len(self._listening))]
        self._watching = self._tasks.start(self._watch(), "watch-workers")
        try:
            await asyncio.gather(*firsts)
        except BaseException:
            await self.drain(0)
            raise

    async def recycle(self, seconds: float) -> int:
        """Replaces the workers one by one by new processes; how many. Each ends when its successor serves and its own
        requests are finished, or is killed after `seconds`.

        Raises WorkerFailed where a successor does not become ready: then its predecessor stays.
        """
        async with self._recycling:
            count = len(self._listening)
            for slot in sorted(self._slots, key=lambda slot: slot % count):
                await self._replace(slot, (slot + count) % slots(count), seconds)
            return count

    async def _replace(self, slot: int, other: int, seconds: float) -> None:
        try:
            await self._begin(other)
        except WorkerFailed:
            del self._slots[other]
            raise
        self._leaving.add(slot)
        if (worker := self._workers.get(slot)) is not None:
            worker.channel.tell("stop")
        await asyncio.wait([self._slots[slot]], timeout=seconds)
        while not self._slots[slot].done():
            if (worker := self._workers.get(slot)) is not None:
                log.warning(
                    "worker %d (process %d) has not ended after %g s: killed", slot, worker.process.pid, seconds
                )
                worker.kill()
            await asyncio.wait([self._slots[slot]], timeout=_KILL_AGAIN_S)
        del self._slots[slot]
        self._leaving.discard(slot)

    def _begin(self, slot: int) -> asyncio.Future[None]:
        """Has a slot used; gives what is told whether its first worker became ready."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slots[slot] = self._tasks.start(self._fill(slot, first), f"worker-{slot}")
        return first

    async def drain(self, seconds: float) -> None:
        """Has every worker finish its open requests and end; those that have not after `seconds` are killed."""
        self._stopping.set()
        # Once the workers have closed theirs, clients are refused at once rather than kept waiting for nobody.
        for sock in itertools.chain.from_iterable(self._listening):
            sock.close()
        for worker in self._workers.values():
            worker.channel.tell("stop")
        if self._slots:
            await asyncio.wait(self._slots.values(), timeout=seconds)
        for slot, worker in self._workers.items():
            log.warning("worker %d (process %d) has not ended after %g s: killed", slot, worker.process.pid, seconds)
        # Again and again: one of them may be just being started.
        while running := [task for task in self._slots.values() if not task.done()]:
            for worker in self._workers.values():
                worker.kill()
            await asyncio.wait(running, timeout=_KILL_AGAIN_S)
        if self._watching:
            self._watching.cancel()

    async def _fill(self, slot: int, first: asyncio.Future[None]) -> None:
        """Keeps a worker in the slot. `first` is told whether the first of them became ready."""
        clock = asyncio.get_running_loop().time
        young_deaths = 0
        while not self._is_over(slot):
            since_s = clock()
            try:
                end = await self._live(slot, first)
            except OSError as error:
                end = f"could not be started ({error.strerror})"
            if not first.done():
                first.set_exception(WorkerFailed(f"worker {slot} {end} before it was ready: see what it has printed"))
                return
            if self._is_over(slot):
                return
            young_deaths = young_deaths + 1 if clock() - since_s < self._patience.young_s else 0
            pause_s = self._patience.pause_s(young_deaths)
            log.error("worker %d %s: the next one starts %s", slot, end, f"in {pause_s:g} s" if pause_s else "now")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
        if not first.done():
            first.set_exception(WorkerFailed(f"worker {slot} is not started: the edge is being stopped"))

    def _is_over(self, slot: int) -> bool:
        """Whether nobody is to follow the worker in a slot."""
        return self._stopping.is_set() or slot in self._leaving

    async def _live(self, slot: int, first: asyncio.Future[None]) -> str:
        """The life of one worker; how it ended. Raises OSError when it cannot be started."""
        launch = self._launch(slot)
        with contextlib.ExitStack() as failed:
            failed.callback(self._on_death, slot)
            ours, theirs = socket.socketpair()
            failed.callback(ours.close)
            with theirs:
                process = await _spawn(slot, launch, theirs, self._listening[slot % len(self._listening)])
            failed.pop_all()

        def ready(_: object) -> None:
            worker.became_ready()
            if not first.done():
                first.set_result(None)

        channel = Channel(ours, {**launch.handlers, "ready": ready}, self._tasks)
        worker = self._workers[slot] = _Worker(process, channel, self._beats(slot))
        self._tasks.start(channel.run(), f"channel-{slot}")
        if self._is_over(slot):
            channel.tell("stop")
        self._on_start(slot, channel)
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            worker.kill()  # nobody would look after it any more
            raise
        del self._workers[slot]
        self._on_death(slot)
        return f"(process {process.pid}) {_end(status)}"

    async def _watch(self) -> None:
        """Kills the workers that are stuck: a stopped one goes on being given connections."""
        patience = self._patience
        while True:
            await asyncio.sleep(patience.tick_s)
            for slot, worker in self._workers.items():
                allowed = patience.stuck_ticks if worker.ready else patience.starting_ticks
                if worker.tick(self._beats(slot)) == allowed:
                    what = "shows no sign of life" if worker.ready else "does not become ready"
                    log.error("worker %d (process %d) %s: killed", slot, worker.process.pid, what)
                    worker.kill()


async def _spawn(slot: int, launch: Launch, channel: socket.socket, listening: Sequence[socket.socket]) -> Process:
    place = Place(slot, os.getpid(), channel.fileno(), tuple(sock.fileno() for sock in listening))
    return await asyncio.create_subprocess_exec(
        *interpreter(),
        "-m",
        launch.program,
        *place.arguments(),
        *launch.arguments,
        stdin=DEVNULL,
        pass_fds=[*place.listening_fds, place.channel_fd, *launch.fds],
        # The terminal's Ctrl-C must not reach it while it still drains requests.
        start_new_session=True,
    )


def _end(status: int) -> str:
    """How a process ended, for people."""
    if status >= 0:
        return f"has ended with status {status}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-status, f'signal {-status}')}"
