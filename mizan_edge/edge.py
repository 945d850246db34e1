"""The keeper, which is where an edge is composed: from settings to a running edge, and back.

It owns what there is once for an edge: the Redis child, the lease and the subscription, the journal, every purge, the
admin listener. What serves the public port is composed in `worker`: in processes of its own, which the keeper
supervises, or with `--workers 0` in this one.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from mizan_core.seal import sealing_key
from mizan_core.store import LEASE_MS, AsyncStore, Namespace, StoreError, StoreUnusable
from mizan_edge.admin import connections
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
from mizan_edge.origin.origin import Origin
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
from mizan_edge.system.descriptors import raise_limit
from mizan_edge.system.embedded import EmbeddedRedis
from mizan_edge.system.inherited import NOTHING, Inherited
from mizan_edge.system.log_file import check_log_file
from mizan_edge.system.tasks import Tasks
from mizan_edge.system.tls import Certificate, Pair

log = logging.getLogger(__name__)

# In the state directory: how contexts are switched.
_SWITCHES = "contexts.json"


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
    raise_limit()
    manifest, text = read_manifest(settings.manifest)
    pem = settings.certificate_and_key
    certificate = Certificate(Pair.read(*pem)) if pem else None
    prepare_state_dir(settings.state_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(settings.state_dir))
        if settings.access_log:
            check_log_file("access_log", settings.access_log)
        edge_id = durable_id(settings)
        switches = read_switches(settings.state_dir / _SWITCHES, edge_id)
        rules = rules_of(settings, cache_secret(settings))
        access = _access(settings)
        redis_url, child = await _redis(stack, settings)
        namespace = Namespace(settings.namespace, sealing_key(rules.secret))
        store = AsyncStore(redis_url, namespace, timeout_s=settings.purge_timeout)
        stack.push_async_callback(store.close)
        await _check(store)
        origin = await stack.enter_async_context(origin_of(settings))
        journal = stack.enter_context(Journal(settings.state_dir / "journal"))
        adopt(settings.state_dir, journal)
        board = Board.create(slots(settings.workers))
        stack.callback(board.close)
        in_use = InUse(Site.of(manifest, rules, switches))
        keeper = _Keeper(settings, rules, in_use, text, certificate, redis_url, store, journal, board, edge_id)
        stack.push_async_callback(keeper.fleet.leave)
        stack.push_async_callback(keeper.tasks.stop)
        if child is not None:
            keeper.tasks.start(child.keep_running(), "keep-redis")
        await keeper.begin()
        serving = asyncio.Event()
        admin = keeper.admin(access, origin, serving, lambda: public_at.address)
        admin_at = stack.enter_context(listening("admin", settings.admin, 1, inherited.admin))
        await stack.enter_async_context(
            connections.serving(admin.application(), admin_at.slots[0], shutdown_s=SHUTDOWN_S)
        )
        public_at = stack.enter_context(
            listening("listen", settings.listen, max(settings.workers, 1), inherited.public)
        )
        await stack.enter_async_context(keeper.serving(public_at))
        serving.set()
        # The admin listener outlasts the public one, which drains.
        stack.callback(serving.clear)
        if rules.keyring is None:
            log.warning("without MIZAN_MWT_SECRET, requests of signed-in users pass by the cache")
        yield Edge(public_at, admin_at, redis_url, keeper.files)


class _Keeper:
    """What there is once for an edge, put together: each part with those that it speaks to."""

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        in_use: InUse,
        manifest: str,
        certificate: Certificate | None,
        redis_url: str,
        store: AsyncStore,
        journal: Journal,
        board: Board,
        edge_id: str,
    ) -> None:
        """`manifest`: the text of that in use. Nothing begins yet.

        They know each other in circles: what the fleet asks is answered by what is made after it, and calls that.
        """
        self._settings, self._rules, self._in_use, self._certificate = settings, rules, in_use, certificate
        self._store, self._journal, self._board = store, journal, board
        self._counters, self._differences = Counters(), Differences()
        self.tasks = tasks = Tasks()
        self._hold = hold = Hold(board)
        self._workers = workers = Workers(
            settings, rules, redis_url, certificate, board, store, self._differences, tasks
        )
        self.fleet = Fleet(
            store,
            board,
            edge_id,
            tasks,
            may_renew=lambda: not self._purger.pending,
            may_leave=lambda: not journal.open,
            new_incarnation=lambda: self._manifest_in_use.adopt(),
            switched=lambda: self._switchboard.come_up(),
            woken=workers.wake,
        )
        self._acknowledgements = Acknowledgements(store, tasks)
        self._purger = purger = Purger(
            store,
            in_use,
            self.fleet,
            self._acknowledgements,
            journal=journal,
            hold=hold,
            counters=self._counters,
            tasks=tasks,
            # No other edge knows the socket of a Redis of our own.
            lease_ms=0 if settings.redis is None else LEASE_MS,
            late_s=math.ceil(settings.origin_timeout),
        )
        self._manifest_in_use = ManifestInUse(
            settings.manifest,
            rules,
            in_use=in_use,
            store=store,
            purger=purger,
            hold=hold,
            tasks=tasks,
            text=manifest,
            spread=workers.swap,
        )
        kept = settings.state_dir / _SWITCHES
        self._switchboard = Switchboard(
            kept, edge_id, in_use=in_use, store=store, purger=purger, tasks=tasks, spread=workers.switch
        )
        pem = settings.certificate_and_key
        renewal = Renewal(certificate, *pem, workers.renew) if certificate and pem else None
        self.files = Files(self._manifest_in_use, renewal)

    async def begin(self) -> None:
        """Takes part in the fleet from now on, and looks after the store. What was left to purge comes first."""
        self._purger.resume()
        await self._manifest_in_use.adopt()
        await self.fleet.join()
        self.tasks.start(sweep_forever(self._store, self._counters), "sweep")
        self.tasks.start(collect_forever(self._store, self._counters), "collect")
        if self._settings.watch_manifest:
            self.tasks.start(watch(self._settings.manifest, self._manifest_in_use), "watch-manifest")

    def admin(self, access: Access, origin: Origin, serving: asyncio.Event, public: Callable[[], str]) -> Admin:
        """What answers at the admin listener. `serving`: whether the edge does; `public`: the address at which."""
        settings, store, in_use, hold = self._settings, self._store, self._in_use, self._hold
        auditing, history = Auditing(store, in_use, self._acknowledgements), History()
        self.tasks.start(history.keep(self._counted), "keep-history")
        return Admin(
            access,
            Purging(in_use, self._purger, store, settings.confirm_purge_above),
            Reloading(self.files),
            Recycling(self._workers.recycle),
            Explaining(
                self._explainer(),
                store,
                hold,
                self._workers.remember,
                auditing.find,
                lambda: settings.allowed_hosts[0] if settings.allowed_hosts else public(),
                scheme="https" if self._certificate else "http",
            ),
            auditing,
            Contexts(in_use, self._switchboard, store),
            Shadowing(in_use, self._differences, self._counted),
            Probes(in_use, store, origin, hold, self._counted, serving),
            Metrics(self._counted, self._journal, lambda: self._workers.mutations, hold),
            Live(in_use, store, hold, self.fleet.edge, history, int(time.time() * 1000), self._workers.popular),
            Page.read(),
        )

    def serving(self, at: Listening) -> AbstractAsyncContextManager[None]:
        """Serves the public port, in processes or here, while the block runs."""
        serve = self._workers.in_processes if self._settings.workers else self._workers.in_this_process
        return serve(at.slots, self._purger, self._manifest_in_use, self._in_use, self._counters)

    async def _counted(self) -> Counted:
        return await self._workers.counted(self._counters)

    def _explainer(self) -> Explainer:
        """Asks Redis as a worker does that has nothing in memory."""
        memory = Memory(self._board, max_bytes=0)
        reads = Reads(self._store, self.tasks, self._counters, timeout_s=self._settings.redis_timeout)
        cache = Cache(
            reads, memory, self._store.namespace, self._rules, self._counters, adopt=self._manifest_in_use.adopt
        )
        limits = limits_of(self._settings)
        return Explainer(self._in_use, self._rules, limits, memory=memory, cache=cache, refusals=Refusals())


def _access(settings: Settings) -> Access:
    """Who may ask at the admin listener."""
    read_token = settings.read_token.get_secret_value() if settings.read_token else None
    return Access(admin_token(settings), read_token, tuple(host.lower() for host in settings.admin_hosts))


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
