"""What serves the public port: in the keeper's own process, or as the program of a worker.

    python -m mizan_edge.running.worker PLACE... BOARD INTENTS

A worker inherits its listening sockets, its channel, the board and the file for its intents, and asks its keeper for
everything else. It dies with its keeper.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import uvloop

from mizan_core.manifest import parse_manifest
from mizan_core.seal import sealing_key
from mizan_core.store import AsyncStore, Namespace
from mizan_edge.client.access import Access, Logging
from mizan_edge.client.listener import Listener
from mizan_edge.http.limits import Limits
from mizan_edge.memory.memory import Memory
from mizan_edge.memory.prepared import Prepared
from mizan_edge.memory.sampling import Sampling
from mizan_edge.origin.origin import Origin
from mizan_edge.purging.board import Board
from mizan_edge.purging.intents import Intents
from mizan_edge.purging.invalidation import Invalidation, Purges
from mizan_edge.rules import switches
from mizan_edge.rules.selecting import Selecting
from mizan_edge.rules.site import InUse, Rules, Site
from mizan_edge.rules.switches import Switches
from mizan_edge.running.config import Settings, limits_of, rules_of
from mizan_edge.running.logs import set_up_logging
from mizan_edge.running.remote import Keeper
from mizan_edge.running.tracing import Tracing, tracing_of
from mizan_edge.serving.cache import Cache
from mizan_edge.serving.compressing import Compressor
from mizan_edge.serving.explaining import Explainer, Question
from mizan_edge.serving.flight import Flights
from mizan_edge.serving.leads import Lead, Leads
from mizan_edge.serving.proxy import Proxy
from mizan_edge.serving.reader import Reader
from mizan_edge.serving.reads import Reads
from mizan_edge.serving.refusals import Refusals
from mizan_edge.serving.requests import Requests
from mizan_edge.serving.shadow import Shadow, Told
from mizan_edge.serving.upstream import Upstream
from mizan_edge.system.channel import Channel
from mizan_edge.system.counters import Counted, Counters
from mizan_edge.system.descriptors import raise_limit
from mizan_edge.system.log_file import LogFile
from mizan_edge.system.processes import Place, die_with_parent
from mizan_edge.system.tasks import Tasks
from mizan_edge.system.tls import Certificate, Pair

log = logging.getLogger(__name__)

SHUTDOWN_S = 10.0
# For clients that think that they may send one more request.
GRACE_S = 1.0
# For connections to the origin, to Redis and for the rest.
_OTHER_DESCRIPTORS = 1024
_BEAT_S = 0.25
# What is counted between two reports is lost with a worker that is killed.
_REPORT_S = 1.0
# Of objects that hold others: requests that are under way are many, and cycles are few.
_COLLECT_EVERY = 20_000


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts of what serves that others speak to."""

    listener: Listener
    flights: Flights
    memory: Memory
    counters: Counters
    explainer: Explainer
    requests: Requests

    def counted(self) -> Counted:
        """What it has counted so far, and what there is here now."""
        return Counted(
            {**self.counters.snapshot(), "near_evictions": self.memory.evictions},
            {
                "connections": self.listener.connections,
                "near_bytes": self.memory.bytes,
                "near_entries": len(self.memory),
            },
        )


@asynccontextmanager
async def serving(
    settings: Settings,
    rules: Rules,
    in_use: InUse,
    board: Board,
    redis_url: str,
    certificate: Certificate | None,
    *,
    purges: Purges,
    intents: Intents,
    adopt: Callable[[], Awaitable[None]],
    led: Callable[[Sequence[Lead], Sequence[Lead]], None] = lambda begun, over: None,
    differs: Told,
    counters: Counters,
) -> AsyncIterator[Serving]:
    """Everything from the public listener to the origin, ready for the listener's sockets."""
    namespace = Namespace(settings.namespace, sealing_key(rules.secret))
    store = AsyncStore(redis_url, namespace, timeout_s=settings.redis_timeout)
    tasks = Tasks()
    log_file = LogFile(settings.access_log, tasks) if settings.access_log else None
    tracing = tracing_of(os.environ)
    try:
        incarnation = board.incarnation if store.searches else None
        reads = Reads(store, tasks, counters, timeout_s=settings.redis_timeout, incarnation=incarnation)
        memory = Memory(board, max_bytes=settings.near)
        flights = Flights(reads, namespace, memory, Leads(reads, namespace, tasks, told=led))
        async with origin_of(settings) as origin:
            upstream = Upstream(in_use, rules, origin, Invalidation(purges, intents, counters), counters)
            cache = Cache(reads, memory, namespace, rules, counters, adopt=adopt)
            refusals = Refusals()
            sampling = Sampling()
            reader = Reader(
                in_use,
                rules,
                memory=memory,
                cache=cache,
                compressor=Compressor(in_use, memory=memory, cache=cache, counters=counters, tasks=tasks),
                upstream=upstream,
                shadow=Shadow(
                    *(in_use, rules, sampling),
                    memory=memory,
                    reads=reads,
                    upstream=upstream,
                    counters=counters,
                    tasks=tasks,
                    told=differs,
                ),
                flights=flights,
                refusals=refusals,
                counters=counters,
                tasks=tasks,
            )
            limits = _affordable(limits_of(settings))
            requests = Requests(counters)
            listener = Listener(
                Proxy(in_use, rules, reader, upstream),
                limits,
                trusted=rules.trusted_proxies,
                prepared=Prepared(
                    Selecting(rules.identity, limits),
                    memory,
                    in_use,
                    sampling,
                    fetch=cache.fetch_again,
                    max_bytes=settings.near,
                ),
                requests=requests,
                access=_access(settings, in_use, rules, log_file, tracing),
                tls=certificate.context if certificate else None,
            )
            try:
                explainer = Explainer(in_use, rules, limits, memory=memory, cache=cache, refusals=refusals)
                yield Serving(listener, flights, memory, counters, explainer, requests)
            finally:
                await listener.drain(SHUTDOWN_S, grace_s=GRACE_S)
                if log_file is not None:
                    await log_file.close()
                if tracing is not None:
                    await tracing.close()
                # What still refreshes or compresses would ask a store that is closed.
                await tasks.stop()
    finally:
        await store.close()


def origin_of(settings: Settings) -> Origin:
    """The origin of the settings; enter it to use it."""
    return Origin(
        settings.origin,
        connect_timeout_s=settings.origin_connect_timeout,
        read_timeout_s=settings.origin_timeout,
        authorities=settings.origin_ca,
    )


def _access(
    settings: Settings, in_use: InUse, rules: Rules, log_file: LogFile | None, tracing: Tracing | None
) -> Access | None:
    """What is done with every answer beside writing it; None for nothing."""
    logging_ = None
    if log_file is not None:
        how = settings.access_log_format, settings.access_log_query, settings.access_log_sample
        logging_ = Logging(log_file.add, *how)
    if logging_ is None and tracing is None and not settings.tell_request_ids:
        return None
    return Access(in_use, rules.trusted_proxies, logging_, tracing, tells_ids=settings.tell_request_ids)


def _affordable(limits: Limits) -> Limits:
    """The limits, with no more connections than this process may have. It is allowed as many as the system lets it."""
    files = raise_limit()
    most = max(files - min(_OTHER_DESCRIPTORS, files // 2), 1)
    if files == resource.RLIM_INFINITY or limits.connections <= most:
        return limits
    log.warning("max_connections is %d here: more would take a higher limit of open files than %d", most, files)
    return replace(limits, connections=most)


class _Program:
    """One worker process.

    # mutable state: `_in_use`, `_rules` and `_certificate`, once the keeper has sent them; `_serving`.
    """

    def __init__(self, place: Place, board: Board, intents: Intents) -> None:
        self._slot = place.slot
        self._sockets = place.listening_sockets()
        self._board = board
        self._intents = intents
        self._tasks = Tasks()
        self._stop = asyncio.Event()
        self._composed = asyncio.Event()
        self._swapping = asyncio.Lock()
        self._channel = Channel(
            place.channel_socket(),
            {
                "site": self._swap,
                "switches": self._switch,
                "certificate": self._renew,
                "counters": self._count,
                "remembers": self._remembers,
                "popular": self._popular,
                "wake": self._wake,
                "stop": self._end,
            },
            self._tasks,
        )
        self._keeper = Keeper(self._channel)
        self._in_use: InUse
        self._rules: Rules
        self._certificate: Certificate | None = None
        self._serving: Serving

    async def run(self) -> None:
        """Serves until the keeper says stop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop.set)
        self._tasks.start(self._live_with_keeper(), "channel")
        keeper = self._keeper
        given = await keeper.settings()
        settings = Settings(**given["settings"])
        set_up_logging(settings, f"worker {self._slot}")
        self._rules = rules_of(settings, bytes.fromhex(given["secret"]))
        self._in_use = InUse(self._site(given["manifest"], switches.of_json(given["switches"])))
        if given["certificate"] is not None:
            self._certificate = Certificate(Pair(*given["certificate"]))
        async with serving(
            settings,
            self._rules,
            self._in_use,
            self._board,
            given["redis"],
            self._certificate,
            purges=keeper,
            intents=self._intents,
            adopt=keeper.adopt,
            led=keeper.led,
            differs=keeper.differs,
            counters=Counters(),
        ) as self._serving:
            await self._serving.listener.listen(self._sockets)
            self._composed.set()
            self._tasks.start(self._beat(), "heartbeat")
            self._tasks.start(self._report(keeper), "report-counts")
            # What is here now stays, and is not looked at each time that garbage is sought.
            gc.collect()
            gc.freeze()
            gc.set_threshold(_COLLECT_EVERY)
            keeper.ready()
            await self._stop.wait()
        keeper.counted(self._serving.counted())
        await self._tasks.stop()

    async def _live_with_keeper(self) -> None:
        await self._channel.run()
        # Nobody tells this process of purges any more, and it can tell nobody of its own.
        os._exit(1)

    async def _beat(self) -> None:
        while True:
            self._board.beat(self._slot)
            await asyncio.sleep(_BEAT_S)

    async def _report(self, keeper: Keeper) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            keeper.counted(self._serving.counted())

    def _site(self, manifest: str, switched: Switches) -> Site:
        parsed, _warnings = parse_manifest(manifest.encode(), source="the keeper's manifest")
        return Site.of(parsed, self._rules, switched)

    async def _swap(self, manifest: Any) -> None:
        await self._composed.wait()
        try:
            async with self._swapping:  # the later one is used later
                # In a thread: a large one takes seconds.
                site = await asyncio.to_thread(self._site, manifest, self._in_use.site.switches)
                self._in_use.site = site.switched(self._in_use.site.switches)
        except Exception:
            log.exception(
                "the manifest that the keeper has sent cannot be used; this worker's successor begins with it"
            )
            os._exit(1)

    async def _switch(self, table: Any) -> None:
        await self._composed.wait()
        self._in_use.site = self._in_use.site.switched(switches.of_json(table))

    async def _renew(self, pair: Any) -> None:
        await self._composed.wait()
        if self._certificate is not None:
            self._certificate.use(Pair(*pair))

    async def _count(self, _: Any) -> None:
        await self._composed.wait()
        # Told, as at other times: so nothing that is older can come behind it.
        self._keeper.counted(self._serving.counted())

    async def _remembers(self, question: Any) -> Mapping[str, Any]:
        await self._composed.wait()
        return self._serving.explainer.remembers(Question.from_json(question))

    async def _popular(self, _: Any) -> list[list[Any]]:
        await self._composed.wait()
        return [[*asked] for asked in self._serving.requests.popular.most(time.monotonic())]

    def _wake(self, key: Any) -> None:
        if self._composed.is_set():
            self._serving.flights.wake(key)

    def _end(self, _: Any) -> None:
        self._stop.set()


async def _main(arguments: Sequence[str]) -> None:
    place, (board, intents) = Place.parse(arguments)
    die_with_parent(place.keeper)
    await _Program(place, Board.attach(int(board)), Intents(int(intents))).run()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1:]))
