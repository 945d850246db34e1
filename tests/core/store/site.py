"""One site's store as the tests see it: short verbs over both clients, and a look at the raw keys."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import redis

from mizan_core.scopes import Scope
from mizan_core.store import LEASE_MS, AsyncStore, Entry, Fence, Lookup, Namespace, Purged, Registered, Renewed, Store
from mizan_core.store.operations import VISIT_LIMIT, Operation
from mizan_core.store.replies import Ban, Slice, StoreReply

T = TypeVar("T")
SEALING = hashlib.sha256(b"a sealing key for tests").digest()
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
SHAPE = "one shape"


def scope(context: str, **params: object) -> Scope:
    """`user_` stands for `*user`, which is no Python identifier."""
    return Scope.of(context, {"*user" if name == "user_" else name: value for name, value in params.items()})


def key_of(name: str) -> str:
    """A key as `derive_cache_key` makes them, for a readable name."""
    return hashlib.sha256(name.encode()).hexdigest()


class BlockingRunner:
    """Runs operations with the blocking client."""

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float = 5.0) -> None:
        self._store = Store(url, namespace, timeout_s=timeout_s)

    def run(self, operation: Operation[T]) -> T:
        return self._store.run(operation)

    def check(self) -> None:
        self._store.check()

    def close(self) -> None:
        self._store.close()


class AsyncioRunner:
    """Runs operations with the asyncio client, on a loop of its own."""

    def __init__(self, url: str, namespace: Namespace, *, timeout_s: float = 5.0) -> None:
        self._loop = asyncio.Runner()
        self._store = AsyncStore(url, namespace, timeout_s=timeout_s)

    def run(self, operation: Operation[T]) -> T:
        return self._loop.run(self._store.run(operation))

    def check(self) -> None:
        self._loop.run(self._store.check())

    def close(self) -> None:
        self._loop.run(self._store.close())
        self._loop.close()


Runner = BlockingRunner | AsyncioRunner
RUNNERS: Mapping[str, type[BlockingRunner] | type[AsyncioRunner]] = {
    "blocking": BlockingRunner,
    "asyncio": AsyncioRunner,
}


class Site:
    """A namespace on a real Redis. Names of entries are readable; `key_of` makes keys of them."""

    def __init__(self, runner: Runner, namespace: Namespace, raw: "redis.Redis") -> None:
        self.runner = runner
        self.namespace = namespace
        self.raw = raw

    def read(self, *names: str) -> Lookup:
        return self.runner.run(self.namespace.read([key_of(name) for name in names]))

    def now_ms(self) -> int:
        """Redis' clock."""
        return self.read().now_ms

    def grow_old(self) -> None:
        """As if the incarnation had begun long ago: no purge has to wait for members of the one before."""
        self.now_ms()
        self.raw.hset(self.named("ctl"), "born", 0)

    def fence(self) -> Fence:
        return self.read().fence

    def store(
        self,
        name: str,
        *scopes: Scope,
        fence: Fence | None = None,
        payload: bytes | None = None,
        shape: str = SHAPE,
        digest: str = "",
        retention_ms: int = HOUR_MS,
        began_ms: int | None = None,
        lead: tuple[str, str] | None = None,
    ) -> StoreReply:
        began_ms = self.now_ms() if began_ms is None else began_ms
        self._know(scopes, shape)
        operation = self.namespace.store(
            key_of(name),
            payload if payload is not None else name.encode(),
            fence=fence or self.fence(),
            scopes=scopes,
            shapes={s.context: shape for s in scopes},
            digests={s.context: digest for s in scopes},
            retention_ms=retention_ms,
            began_ms=began_ms,
            lead=lead,
        )
        return self.runner.run(operation)

    def _know(self, scopes: Sequence[Scope], shape: str) -> None:
        # As an edge that has adopted its manifest, where nobody has yet.
        with suppress(redis.ResponseError):
            for context in {scope.context for scope in scopes}:
                self.raw.hsetnx(f"{{{self.namespace.name}}}:shapes", context, shape)

    def fill(self, name: str, *scopes: Scope) -> None:
        assert self.store(name, *scopes) == "stored"

    def purge(
        self,
        *scopes: Scope,
        dry_run: bool = False,
        visit: int = VISIT_LIMIT,
        hold_s: int = 0,
        lease_ms: int = LEASE_MS,
    ) -> Purged:
        return self.runner.run(
            self.namespace.purge(scopes, dry_run=dry_run, visit=visit, hold_s=hold_s, lease_ms=lease_ms)
        )

    def purge_everything(self) -> Purged:
        return self.runner.run(self.namespace.purge([], everything=True))

    def register(self, edge: str, session: str, lease_ms: int = MINUTE_MS) -> Registered:
        return self.runner.run(self.namespace.register(edge, session, lease_ms=lease_ms))

    def renew(self, edge: str, session: str, incarnation: str, seen: int, lease_ms: int = MINUTE_MS) -> Renewed:
        return self.runner.run(self.namespace.renew(edge, session, incarnation, seen, lease_ms=lease_ms))

    def lapse(self, record: str, *names: str) -> None:
        """As if these leases had run out: of edges (`edges`) or of sessions (`members`)."""
        self.raw.zadd(self.named(record), dict.fromkeys(names, 1))

    def bans(self) -> list[Ban]:
        return self.runner.run(self.namespace.bans())

    def sweep(self, ban: Ban) -> int:
        """Sweeps one ban to its end; how many entries went."""
        return sum(done.deleted for done in self.slices(ban))

    def slices(self, ban: Ban) -> Iterator[Slice]:
        done = Slice()
        while True:
            done = self.runner.run(self.namespace.sweep(ban, done))
            yield done
            if done.cursor == "0":
                return

    def adopt(self, shapes: Mapping[str, str], digests: Mapping[str, str] | None = None) -> list[str]:
        return self.runner.run(self.namespace.adopt(shapes, digests))

    def declare(self, **digests: str) -> list[str]:
        """An edge comes with a manifest of these contexts, each with what it says of it."""
        return self.adopt(dict.fromkeys(digests, SHAPE), digests)

    def served(self, *names: str) -> set[str]:
        """Those of the entries that a reader gets, with the payload that `fill` gave them."""
        entries: Sequence[Entry | None] = self.read(*names).entries
        found = {name for name, entry in zip(names, entries, strict=True) if entry}
        assert all(e is None or e.payload == n.encode() for n, e in zip(names, entries, strict=True))
        return found

    def entry_key(self, name: str) -> str:
        return self.namespace.entry(key_of(name))

    def named(self, suffix: str) -> str:
        """A Redis key of the namespace: `ctl`, `i:user`, ..."""
        return f"{{{self.namespace.name}}}:{suffix}"

    def dump(self) -> dict[str, Any]:
        """Everything that stands in the namespace, by Redis key."""
        return {key: self._value(key) for key in sorted(self._keys())}

    def index_members(self) -> set[str]:
        """The keys of all entries that stand in any index."""
        indexes = [key for key in self._keys() if key.startswith(self.named("i:"))]
        return {member.decode() for index in indexes for member in self._list("zrange", index, 0, -1)}

    def _keys(self) -> Iterable[str]:
        return [key.decode() for key in self.raw.scan_iter(match=f"{{{self.namespace.name}}}:*", count=10_000)]

    def _value(self, key: str) -> Any:
        match self.raw.type(key):
            case b"string":
                return self.raw.get(key)
            case b"hash":
                return self.raw.hgetall(key)
            case b"zset":
                return self._list("zrange", key, 0, -1, withscores=True)
            case b"set":
                return self.raw.smembers(key)
        raise AssertionError(f"{key} has a type that the store does not use")

    def _list(self, command: str, *args: Any, **kwargs: Any) -> list[Any]:
        return list(getattr(self.raw, command)(*args, **kwargs))


@contextmanager
def open_site(url: str, name: str, client: str = "blocking") -> Iterator[Site]:
    """A site on the Redis at `url`, through the client that RUNNERS names."""
    namespace = Namespace(name, SEALING)
    runner = RUNNERS[client](url, namespace)
    try:
        with redis.Redis.from_url(url) as raw:
            yield Site(runner, namespace, raw)
    finally:
        runner.close()


@contextmanager
def full_memory(site: Site) -> Iterator[None]:
    """Redis refuses whatever may allocate, and evicts nothing."""
    before = site.raw.config_get("maxmemory*")
    site.raw.config_set("maxmemory-policy", "noeviction")
    site.raw.config_set("maxmemory", 1)
    try:
        yield
    finally:
        for name in ("maxmemory", "maxmemory-policy"):
            site.raw.config_set(name, before[name] or "")
