"""The one place that composes: from settings to a running edge, and back."""

import errno
import fcntl
import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from mizan_core.seal import sealing_key
from mizan_core.store import AsyncStore, Namespace, StoreError, StoreUnusable
from mizan_edge.admin import Access, Admin
from mizan_edge.cache import Cache
from mizan_edge.config import (
    ConfigError,
    Settings,
    admin_token,
    cache_secret,
    durable_id,
    prepare_state_dir,
    rules_of,
    split_address,
)
from mizan_edge.counters import Counters
from mizan_edge.embedded import EmbeddedRedis
from mizan_edge.flight import Flights, hear_wakes
from mizan_edge.hold import Hold
from mizan_edge.journal import Journal
from mizan_edge.lease import LEASE_S, Lease, Member
from mizan_edge.listener import make_server
from mizan_edge.origin import Origin
from mizan_edge.proxy import Proxy
from mizan_edge.purge import Purger
from mizan_edge.reload import Reloader, read_manifest
from mizan_edge.site import InUse, Site
from mizan_edge.sweeper import sweep_forever
from mizan_edge.tasks import Tasks

log = logging.getLogger(__name__)

# How long a purge that Redis does not confirm keeps its response waiting: until every lease that was granted before has
# run out.
PATIENCE_S = LEASE_S + 0.2
_SHUTDOWN_S = 10.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A running edge. The addresses are those that are really bound."""

    listen: str
    admin: str
    redis_url: str
    reloader: Reloader


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Edge]:
    """Runs an edge until the block ends. Raises MizanError, with a line for people, for what keeps it from starting."""
    manifest = read_manifest(settings.manifest)
    prepare_state_dir(settings.state_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(_locked(settings.state_dir))
        secret = cache_secret(settings)
        rules = rules_of(settings, secret)
        access = Access(
            admin_token(settings),
            settings.read_token.get_secret_value() if settings.read_token else None,
            tuple(host.lower() for host in settings.admin_hosts),
        )
        redis_url, child = await _redis(stack, settings)
        reads, purges = _stores(stack, redis_url, settings, secret)
        await _check(purges)
        origin = await stack.enter_async_context(_origin(settings))
        journal = stack.enter_context(Journal(settings.state_dir / "journal"))
        tasks, counters, lease = Tasks(), Counters(), Lease()
        hold, in_use = Hold(lease), InUse(Site.of(manifest, rules))
        purger = Purger(
            purges,
            in_use,
            journal=journal,
            hold=hold,
            counters=counters,
            tasks=tasks,
            patience_s=PATIENCE_S,
            late_s=math.ceil(settings.origin_timeout),
        )
        flights = Flights(reads, tasks)
        proxy = Proxy(
            in_use,
            rules,
            cache=Cache(reads, counters, adopt=lambda: reloader.adopt()),
            origin=origin,
            purger=purger,
            flights=flights,
            hold=hold,
            counters=counters,
        )
        reloader = Reloader(
            settings.manifest, rules, in_use=in_use, store=purges, purger=purger, hold=hold, tasks=tasks
        )
        member = Member(
            purges,
            lease,
            durable_id(settings),
            may_renew=lambda: not purger.pending,
            may_leave=lambda: not journal.open,
            new_incarnation=reloader.adopt,
        )
        stack.push_async_callback(member.leave)
        stack.push_async_callback(tasks.stop)
        if child is not None:
            tasks.start(child.keep_running(), "keep-redis")
        purger.resume()
        await reloader.adopt()
        await member.renew()
        tasks.start(member.renew_forever(), "renew-lease")
        tasks.start(hear_wakes(reads, flights), "hear-wakes")
        tasks.start(sweep_forever(purges, counters), "sweep")
        admin = Admin(in_use, purger, reloader, reads, origin, hold, counters, access)
        admin_runner = web.AppRunner(admin.application(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
        admin_at = await _listen(stack, admin_runner, "admin", settings.admin)
        public_runner = web.ServerRunner(make_server(proxy, rules), shutdown_timeout=_SHUTDOWN_S)
        public_at = await _listen(stack, public_runner, "listen", settings.listen)
        if settings.workers > 1:
            log.warning("one worker process runs, not %d: more than one are not supported yet", settings.workers)
        if rules.keyring is None:
            log.warning("without MIZAN_MWT_SECRET, requests of signed-in users pass by the cache")
        yield Edge(public_at, admin_at, redis_url, reloader)


async def _redis(stack: AsyncExitStack, settings: Settings) -> tuple[str, EmbeddedRedis | None]:
    """The URL of Redis, and the child that serves it where none is configured."""
    if settings.redis is not None:
        return settings.redis, None
    child = await stack.enter_async_context(EmbeddedRedis(settings.state_dir, maxmemory=settings.redis_memory))
    return child.url, child


def _stores(stack: AsyncExitStack, url: str, settings: Settings, secret: bytes) -> tuple[AsyncStore, AsyncStore]:
    """The store as requests use it, which must not wait, and as purges do, which must get through."""
    namespace = Namespace(settings.namespace, sealing_key(secret))
    stores = [AsyncStore(url, namespace, timeout_s=s) for s in (settings.redis_timeout, settings.purge_timeout)]
    for store in stores:
        stack.push_async_callback(store.close)
    return stores[0], stores[1]


def _origin(settings: Settings) -> Origin:
    return Origin(
        settings.origin,
        connect_timeout_s=settings.origin_connect_timeout,
        read_timeout_s=settings.origin_timeout,
    )


async def _check(store: AsyncStore) -> None:
    try:
        await store.check()
    except StoreUnusable:
        raise
    except StoreError as error:
        log.warning("Redis cannot be reached (%s): the edge is a plain proxy until it can", error)


async def _listen(stack: AsyncExitStack, runner: web.BaseRunner, setting: str, address: str) -> str:
    """Starts a listener; the address that it has in the end, with the port that the system chose for port 0."""
    host, port = split_address(address)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise ConfigError(f"{setting}: {address} {why}: choose another address with --{setting}") from None
    bound = runner.addresses[0]
    return f"[{host}]:{bound[1]}" if ":" in host else f"{host}:{bound[1]}"


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Keeps a second edge out of the state directory: it would share its Redis socket and its journal."""
    try:
        file = open(state_dir / "lock", "w")  # noqa: SIM115 - the block below closes it
    except OSError as error:
        raise ConfigError(
            f"state_dir: {state_dir} cannot be written ({error.strerror}): choose another --state-dir"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"state_dir: {state_dir} is in use by another edge: give this one its own --state-dir"
            ) from None
        yield
