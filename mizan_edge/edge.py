"""The keeper, which is where an edge is composed: from settings to a running edge, and back.

It owns what there is once for an edge: the Redis child, the lease and the subscription, the journal, every purge, the
admin listener. What serves the public port is composed in `worker`: in processes of its own, which the keeper
supervises, or with `--workers 0` in this one.
"""

import asyncio
import logging
import math
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from mizan_core.seal import sealing_key
from mizan_core.store import LEASE_MS, AsyncStore, Namespace, StoreError, StoreUnusable
from mizan_edge.admin.access import Access
from mizan_edge.admin.auditing import Auditing
from mizan_edge.admin.contexts import Contexts
from mizan_edge.admin.explaining import Explaining
from mizan_edge.admin.history import History
from mizan_edge.admin.listener import Admin
from mizan_edge.admin.live import Live
from mizan_edge.admin.metrics import Metrics
from mizan_edge.admin.page import Page
from mizan_edge.admin.probes import Probes
from mizan_edge.admin.purging import Purging
from mizan_edge.admin.recycling import Recycling
from mizan_edge.admin.reloading import Reloading
from mizan_edge.admin.shadowing import Shadowing
from mizan_edge.memory.memory import Memory
from mizan_edge.purging.acknowledged import Acknowledgements
from mizan_edge.purging.board import Board
from mizan_edge.purging.fleet import Fleet
from mizan_edge.purging.hold import Hold
from mizan_edge.purging.intents import adopt
from mizan_edge.purging.journal import Journal
from mizan_edge.purging.purge import Purger
from mizan_edge.purging.sweeper import collect_forever, sweep_forever
from mizan_edge.rules.site import InUse, Rules, Site
from mizan_edge.running.config import Settings, limits_of, rules_of
from mizan_edge.running.differences import Differences
from mizan_edge.running.files import Files, Renewal
from mizan_edge.running.manifest_in_use import ManifestInUse, read_manifest
from mizan_edge.running.state_dir import admin_token, cache_secret, durable_id, locked, prepare_state_dir
from mizan_edge.running.supervisor import slots
from mizan_edge.running.switchboard import Switchboard, read_switches
from mizan_edge.running.upgrade import HandedOn
from mizan_edge.running.watching import watch
from mizan_edge.running.worker import SHUTDOWN_S, origin_of
from mizan_edge.running.workers import Workers
from mizan_edge.serving.cache import Cache
from mizan_edge.serving.explaining import Explainer
from mizan_edge.serving.reads import Reads
from mizan_edge.serving.refusals import Refusals
from mizan_edge.system.addresses import Listening, listening
from mizan_edge.system.counters import Counted, Counters
from mizan_edge.system.embedded import EmbeddedRedis
from mizan_edge.system.inherited import NOTHING, Inherited
from mizan_edge.system.log_file import check_log_file
from mizan_edge.system.tasks import Tasks
from mizan_edge.system.tls import Certificate, Pair

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Edge:
    """A running edge."""

    public_at: Listening
    admin_at: Listening
    redis_url: str
    files: Files

    @property
    def listen(self) -> str:
        """The address of the public listener that is really bound."""
        return self.public_at.address

    @property
    def admin(self) -> str:
        """That of the admin listener."""
        return self.admin_at.address

    def hand_on(self) -> HandedOn:
        """The sockets on which it listens, which stay open beyond its end."""
        return self.public_at.hand_on(), self.admin_at.hand_on()


@asynccontextmanager
async def running(settings: Settings, inherited: Inherited = NOTHING) -> AsyncIterator[Edge]:
    """Runs an edge until the block ends. Raises MizanError, with a line for people, for what keeps it from starting.

    `inherited`: sockets to listen on, instead of at the addresses of the settings.
    """
    manifest, text = read_manifest(settings.manifest)
    pem = settings.certificate_and_key
    certificate = Certificate(Pair.read(*pem)) if pem else None
    prepare_state_dir(settings.state_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(settings.state_dir))
        if settings.access_log:
            check_log_file("access_log", settings.access_log)
        kept_switches = settings.state_dir / "contexts.json"
        edge_id = durable_id(settings)
        switches = read_switches(kept_switches, edge_id)
        secret = cache_secret(settings)
        rules = rules_of(settings, secret)
        access = Access(
            admin_token(settings),
            settings.read_token.get_secret_value() if settings.read_token else None,
            tuple(host.lower() for host in settings.admin_hosts),
        )
        redis_url, child = await _redis(stack, settings)
        store = AsyncStore(
            redis_url, Namespace(settings.namespace, sealing_key(secret)), timeout_s=settings.purge_timeout
        )
        stack.push_async_callback(store.close)
        await _check(store)
        origin = await stack.enter_async_context(origin_of(settings))
        journal = stack.enter_context(Journal(settings.state_dir / "journal"))
        adopt(settings.state_dir, journal)
        board = Board.create(slots(settings.workers))
        stack.callback(board.close)
        tasks, counters, differences = Tasks(), Counters(), Differences()
        workers = Workers(settings, rules, redis_url, certificate, board, store, differences, tasks)
        hold, in_use = Hold(board), InUse(Site.of(manifest, rules, switches))
        fleet = Fleet(
            store,
            board,
            edge_id,
            tasks,
            may_renew=lambda: not purger.pending,
            may_leave=lambda: not journal.open,
            new_incarnation=lambda: manifest_in_use.adopt(),
            switched=lambda: switchboard.come_up(),
            woken=workers.wake,
        )
        acknowledgements = Acknowledgements(store, tasks)
        purger = Purger(
            store,
            in_use,
            fleet,
            acknowledgements,
            journal=journal,
            hold=hold,
            counters=counters,
            tasks=tasks,
            # No other edge knows the socket of a Redis of our own.
            lease_ms=LEASE_MS if child is None else 0,
            late_s=math.ceil(settings.origin_timeout),
        )
        manifest_in_use = ManifestInUse(
            settings.manifest,
            rules,
            in_use=in_use,
            store=store,
            purger=purger,
            hold=hold,
            tasks=tasks,
            text=text,
            spread=workers.swap,
        )
        switchboard = Switchboard(
            kept_switches,
            edge_id,
            in_use=in_use,
            store=store,
            purger=purger,
            tasks=tasks,
            spread=workers.switch,
        )
        files = Files(manifest_in_use, Renewal(certificate, *pem, workers.renew) if certificate and pem else None)
        stack.push_async_callback(fleet.leave)
        stack.push_async_callback(tasks.stop)
        if child is not None:
            tasks.start(child.keep_running(), "keep-redis")
        purger.resume()
        await manifest_in_use.adopt()
        await fleet.join()
        tasks.start(sweep_forever(store, counters), "sweep")
        tasks.start(collect_forever(store, counters), "collect")
        if settings.watch_manifest:
            tasks.start(watch(settings.manifest, manifest_in_use), "watch-manifest")
        serving = asyncio.Event()
        auditing = Auditing(store, in_use, acknowledgements)

        async def counted() -> Counted:
            return await workers.counted(counters)

        history = History()
        tasks.start(history.keep(counted), "keep-history")
        admin = Admin(
            access,
            Purging(in_use, purger, store, settings.confirm_purge_above),
            Reloading(files),
            Recycling(workers.recycle),
            Explaining(
                _explainer(settings, rules, in_use, board, store, tasks, counters, manifest_in_use),
                store,
                hold,
                workers.remember,
                auditing.find,
                lambda: settings.allowed_hosts[0] if settings.allowed_hosts else public_at.address,
                scheme="https" if certificate else "http",
            ),
            auditing,
            Contexts(in_use, switchboard, store),
            Shadowing(in_use, differences, counted),
            Probes(in_use, store, origin, hold, counted, serving),
            Metrics(counted, journal, lambda: workers.mutations, hold),
            Live(in_use, store, hold, fleet.edge, history, int(time.time() * 1000), workers.popular),
            Page.read(),
        )
        runner = web.AppRunner(admin.application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        admin_at = await _listening(stack, runner, settings.admin, inherited.admin)
        public_at = stack.enter_context(
            listening("listen", settings.listen, max(settings.workers, 1), inherited.public)
        )
        serve = workers.in_processes if settings.workers else workers.in_this_process
        await stack.enter_async_context(serve(public_at.slots, purger, manifest_in_use, in_use, counters))
        serving.set()
        # The admin listener outlasts the public one, which drains.
        stack.callback(serving.clear)
        if rules.keyring is None:
            log.warning("without MIZAN_MWT_SECRET, requests of signed-in users pass by the cache")
        yield Edge(public_at, admin_at, redis_url, files)


def _explainer(
    settings: Settings,
    rules: Rules,
    in_use: InUse,
    board: Board,
    store: AsyncStore,
    tasks: Tasks,
    counters: Counters,
    manifest_in_use: ManifestInUse,
) -> Explainer:
    """Asks Redis as a worker does that has nothing in memory."""
    memory = Memory(board, max_bytes=0)
    reads = Reads(store, tasks, counters, timeout_s=settings.redis_timeout)
    cache = Cache(reads, memory, store.namespace, rules, counters, adopt=manifest_in_use.adopt)
    return Explainer(in_use, rules, limits_of(settings), memory=memory, cache=cache, refusals=Refusals())


async def _listening(
    stack: AsyncExitStack, runner: web.AppRunner, address: str, inherited: Sequence[socket.socket]
) -> Listening:
    """Has the admin listener listen until the stack ends; where it does."""
    found = stack.enter_context(listening("admin", address, 1, inherited))
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    for sock in found.slots[0]:
        await web.SockSite(runner, sock).start()
    return found


async def _redis(stack: AsyncExitStack, settings: Settings) -> tuple[str, EmbeddedRedis | None]:
    """The URL of Redis, and the child that serves it where none is configured."""
    if settings.redis is not None:
        return settings.redis, None
    child = await stack.enter_async_context(EmbeddedRedis(settings.state_dir, maxmemory=settings.redis_memory))
    return child.url, child


async def _check(store: AsyncStore) -> None:
    try:
        await store.check()
    except StoreUnusable:
        raise
    except StoreError as error:
        log.warning("Redis cannot be reached (%s): the edge is a plain proxy until it can", error)
