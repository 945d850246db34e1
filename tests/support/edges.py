"""Edges of several processes, and how a test speaks to one of these."""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store
from mizan_core.store.operations import script
from mizan_edge.system.tasks import Tasks
from tests.support import wire
from tests.support.edge import MWT_SECRET, SECRET, TOKEN, RunningEdge
from tests.support.killable import Redis
from tests.support.origin import until
from tests.support.processes import children
from tests.support.redis_server import established
from tests.support.served import Serve, Served
from tests.support.wire import Headers, Reply

LEASE_S = 2.0
NAMESPACE = "mizan"
SETTINGS = {
    "MIZAN_CACHE_SECRET": SECRET,
    "MIZAN_MWT_SECRET": MWT_SECRET,
    "MIZAN_EDGE_ADMIN_TOKEN": TOKEN,
    # Machines that run tests stall; a Redis that does not answer is made so.
    "MIZAN_EDGE_REDIS_TIMEOUT": "5",
    "MIZAN_EDGE_PURGE_TIMEOUT": "5",
}
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass
class Client:
    """A connection that stays open, and the worker that serves it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pid: int

    async def request(self, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> Reply:
        """One request; its response has a length, or is chunked."""
        self.send(method, target, headers, body)
        return await self.receive(method)

    def send(self, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> None:
        """Sends a request: its bytes are on the way when this returns."""
        pairs = list(headers.items()) if hasattr(headers, "items") else list(headers)
        if body is not None:
            pairs.append(("Content-Length", str(len(body))))
        lines = [f"{method} {target} HTTP/1.1", "Host: site.test", *(f"{name}: {value}" for name, value in pairs)]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))

    async def receive(self, method: str = "GET") -> Reply:
        """The response to what was sent."""
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            if length := _LENGTH.search(head):
                data = await self.reader.readexactly(int(length[1]))
            else:
                data = await self.reader.readuntil(b"0\r\n\r\n")
        return wire.parse(head + data, method)

    async def get(self, target: str, headers: Headers = ()) -> Reply:
        """A GET of it."""
        return await self.request("GET", target, headers)

    def found(self, pids: Sequence[int]) -> bool:
        """Whether it is known who serves it."""
        self.pid = next(iter(pids), 0)
        return self.pid != 0

    async def close(self) -> None:
        """Leaves."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Edge(RunningEdge):
    """A keeper and its workers."""

    served: Served
    state: Path
    opened: list[Client]
    """What is left to be closed."""

    @property
    def pid(self) -> int:
        """The keeper's process id."""
        return self.served.process.pid

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers, oldest first."""
        return children(self.pid, b"mizan_edge.running.worker")

    async def client(self) -> Client:
        """A connection to whichever worker gets it."""
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        client = Client(reader, writer, 0)
        self.opened.append(client)
        own_port = writer.get_extra_info("sockname")[1]
        await until(lambda: client.found(self._serving(own_port)))
        return client

    async def clients(self) -> list[Client]:
        """A connection to each worker, in the order of `workers`."""
        found: dict[int, Client] = {}
        async with asyncio.timeout(20):
            while set(found) < set(self.workers):
                client = await self.client()
                if client.pid in found:
                    await client.close()
                else:
                    found[client.pid] = client
        return [found[pid] for pid in sorted(found)]

    async def kill(self) -> None:
        """SIGKILL to the keeper."""
        self.served.process.kill()
        await self.served.process.wait()

    def _serving(self, port: int) -> list[int]:
        """The worker that has accepted the connection from a port."""
        inodes = set(_accepted(int(self.address.rpartition(":")[2]), port))
        return [pid for pid in self.workers if inodes & set(_sockets(pid))]


Start = Callable[..., Awaitable[Edge]]


@asynccontextmanager
async def starting(serve: Serve, server: Redis, manifest: Path, home: Path) -> AsyncIterator[Start]:
    """Starts edges on one Redis, each of two workers: `await start("--near", "0", state=..., MIZAN_EDGE_X="1")`."""
    established(server.url, NAMESPACE)
    tasks = Tasks()
    opened: list[Client] = []
    count = 0

    async def start(*flags: str | Path, state: Path | None = None, workers: int = 2, **settings: str) -> Edge:
        nonlocal count
        count += 1
        state = state or home / f"edge-{count}"
        usual = {"MIZAN_EDGE_REDIS": server.url, **SETTINGS}
        served = await serve("--state-dir", state, "--workers", str(workers), *flags, **usual | settings)
        tasks.start(_drain(served), "log")  # a pipe that nobody reads would stop it
        return Edge(served.listen, served.admin, manifest, served, state, opened)

    try:
        yield start
    finally:
        for client in opened:
            await client.close()
        await tasks.stop()


@asynccontextmanager
async def outside(server: Redis) -> AsyncIterator[Callable[..., Coroutine[None, None, float]]]:
    """`Store.purge` as a process outside any edge runs it: `await purge(*scopes)` gives the seconds that it took."""
    store = Store(server.url, Namespace(NAMESPACE, sealing_key(SECRET.encode())), timeout_s=5)

    async def purge(*scopes: Scope, everything: bool = False) -> float:
        clock = asyncio.get_running_loop().time
        since_s = clock()
        await asyncio.to_thread(store.purge, scopes, everything=everything)
        return clock() - since_s

    try:
        yield purge
    finally:
        store.close()


def somebody_waits(url: str, namespace: str = NAMESPACE) -> bool:
    """Whether a request waits for a fill of another process."""
    with redis.Redis.from_url(url) as client:
        return any(client.hexists(key, "waited") for key in client.scan_iter(f"{{{namespace}}}:f:*"))


class Watch:
    """Which scripts Redis was asked to run, from its own slow log."""

    def __init__(self, url: str, namespace: str = NAMESPACE) -> None:
        self._redis = redis.Redis.from_url(url)
        self._control = Namespace(namespace, b"").control.encode()
        self._before = {str(name): str(value) for name, value in self._redis.config_get("slowlog*").items()}
        self._redis.config_set("slowlog-max-len", 100_000)
        self.reset()

    def reset(self) -> None:
        """Forgets what it has seen."""
        self._redis.config_set("slowlog-log-slower-than", 0)
        self._redis.slowlog_reset()

    def asked(self, *names: str) -> int:
        """How many calls of these scripts there were."""
        shas = {script(name).sha.encode() for name in names}
        commands = [entry["command"].split(b" ") for entry in self._redis.slowlog_get(100_000)]
        return sum(len(words) > 3 and words[1] in shas and words[3] == self._control for words in commands)

    def close(self) -> None:
        """Leaves the server as it was."""
        for name, value in self._before.items():
            self._redis.config_set(name, value)
        self._redis.close()


class Valve:
    """A way to the Redis on a Unix socket that can hold one reply back, and nothing else.

    # mutable state: the script of which the `next` reply is to be held, if any; `held`, once Redis has given it;
    # `refusing`, whether new connections are broken.
    """

    def __init__(self, socket: str) -> None:
        self.next: str | None = None
        self.refusing = False
        self.held = asyncio.Event()
        self.go = asyncio.Event()
        self._socket = socket

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Passes bytes both ways until either end closes."""
        if self.refusing:
            return
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        asked = asyncio.Event()

        async def ask() -> None:
            while data := await reader.read(65536):
                if self.next and script(self.next).sha.encode() in data:
                    self.next = None
                    asked.set()
                there_writer.write(data)

        async def answer() -> None:
            while data := await there_reader.read(65536):
                if asked.is_set():
                    asked.clear()
                    self.held.set()
                    await self.go.wait()
                writer.write(data)

        with suppress(ConnectionError):
            await asyncio.wait(
                [asyncio.get_running_loop().create_task(work()) for work in (ask, answer)],
                return_when=asyncio.FIRST_COMPLETED,
            )
        there_writer.close()


class Deaf:
    """A way to the Redis on a Unix socket on which, once `deaf`, no message to a subscriber arrives."""

    def __init__(self, socket: str) -> None:
        self.deaf = False
        self._socket = socket

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Passes bytes both ways until either end closes."""
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        subscribed = False

        async def ask() -> None:
            nonlocal subscribed
            while data := await reader.read(65536):
                subscribed = subscribed or b"SUBSCRIBE" in data
                there_writer.write(data)

        async def answer() -> None:
            while data := await there_reader.read(65536):
                if not (self.deaf and subscribed):
                    writer.write(data)

        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            await asyncio.wait(
                [loop.create_task(work()) for work in (ask, answer)], return_when=asyncio.FIRST_COMPLETED
            )
        there_writer.close()


async def _drain(served: Served) -> None:
    assert served.process.stderr is not None
    async for line in served.process.stderr:
        served.said.append(line.decode())


def _accepted(port: int, peer_port: int) -> Iterable[str]:
    """The inode of the socket on `port` whose other end is on `peer_port`."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *_rest = fields = line.split()
        if int(local.rpartition(":")[2], 16) == port and int(remote.rpartition(":")[2], 16) == peer_port:
            yield fields[9]


def _sockets(pid: int) -> Iterable[str]:
    """The inodes of a process's sockets."""
    try:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = str(fd.readlink())
            except OSError:
                continue  # closed meanwhile
            if name.startswith("socket:["):
                yield name[8:-1]
    except OSError:
        return
