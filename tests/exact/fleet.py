"""The processes under test: a Redis or a cluster, two edges of two workers, and a link between each edge and Redis."""

import asyncio
import json
import mmap
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from mizan_edge.purging.fleet import LEASE_S
from mizan_edge.system.tasks import Tasks
from tests.exact.hosts import Host, host
from tests.exact.model import Histories
from tests.exact.origin import MWT_SECRET, SUBJECTS, Site, manifest, serving
from tests.exact.ways import Ways, ways
from tests.support import wire
from tests.support.cluster import Cluster
from tests.support.killable import Redis
from tests.support.processes import alive, wait_for
from tests.support.proxy import Link, linked
from tests.support.redis_server import established
from tests.support.served import SERVING, Served, spawn
from tests.support.wire import Reply

EDGES = 2
WORKERS = 2
NAMESPACE = "mizan"
TOKEN = "admin-token"
_SETTINGS = {
    "MIZAN_CACHE_SECRET": "cache-secret-" * 3,
    "MIZAN_MWT_SECRET": MWT_SECRET,
    "MIZAN_EDGE_ADMIN_TOKEN": TOKEN,
    "MIZAN_EDGE_COMPRESS": "all",
}
_ABLATED = Path(__file__).parent / "ablated"
_SETTLES_S = 20
_DIES_S = 5
_PROBES = 12
_PROBED_S = 5


class Edge:
    """An edge's processes, its directory, its clock, and its way to Redis.

    # mutable state: the keeper's process; `stopped` and `worker_stopped`; `cut` and since when; `disturbed` and
    # `worker_disturbed`, which count what was done to all of its processes, and to one worker.
    """

    def __init__(
        self, number: int, home: Path, origin: str, link: Link | Ways, host: Host, environment: Mapping[str, str]
    ) -> None:
        """`environment`: of its processes, beside what every edge has."""
        self.number = number
        self.link = link
        self.stopped = False
        self.worker_stopped = False
        self.cut = False
        """Whether purges through it may be unknown to Redis, since it is or was cut off."""
        self.disturbed = 0
        self.worker_disturbed = 0
        self.listen = self.admin = ""
        self.log: deque[str] = deque(maxlen=20_000)
        self.state = home / "state"
        self._home = home
        self._origin = origin
        self._host = host
        self._tasks = Tasks()
        self._locale = False
        self._process: Process | None = None
        self._cut_since: float | None = None
        path = [str(_ABLATED), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join(path), "EXACT_CLOCK": str(home / "clock")}
        (home / "clock").write_bytes(bytes(8))
        with open(home / "clock", "r+b") as file:
            self._off_s = memoryview(mmap.mmap(file.fileno(), 8)).cast("d")

    @property
    def alive(self) -> bool:
        return self._process is not None

    @property
    def without_lease(self) -> bool:
        """Whether it has been cut from Redis for longer than any lease lasts."""
        return self._cut_since is not None and asyncio.get_running_loop().time() - self._cut_since > LEASE_S

    async def start(self) -> None:
        """Starts it on the state that it has left behind; returns when it serves."""
        path = self._home / "manifest.json"
        path.write_text(json.dumps(manifest(locale=self._locale)))
        peers = ("--origin", self._origin, "--origin-timeout", "2", "--redis", self.link.url)
        at = f"{self._host.address}:0"
        places = ("--state-dir", self.state, "--listen", at, "--admin", at)
        usual = ("--workers", str(WORKERS), "--manifest", path)
        settings = {**_SETTINGS, **self._environment}
        process = await spawn("serve", *usual, *peers, *places, inside=self._host.inside, **settings)
        served = Served(process)
        match = await served.read_until(SERVING)
        self.listen, self.admin, self._process = match[1], match[2], process
        self.log.extend(served.said)
        self._tasks.start(self._drain(process), "log")

    async def kill(self) -> None:
        """SIGKILL for the keeper; returns when its workers have died of it, and raises TimeoutError if one does not."""
        process, self._process = self._process, None
        self.disturbed += 1
        if process is None:
            return
        workers = _children(process.pid)
        process.kill()
        await process.wait()
        await _gone(workers, "whose keeper was killed")

    def stop(self) -> None:
        """SIGSTOP for all of its processes."""
        self.disturbed += 1
        self.stopped = True
        self._signal([self._keeper, *self._workers], signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT for all of its processes."""
        self._signal([self._keeper, *self._workers], signal.SIGCONT)
        self.disturbed += 1
        self.stopped = False

    def stop_keeper(self) -> None:
        """SIGSTOP for its keeper alone. Everybody is still answered, if late."""
        self._signal([self._keeper], signal.SIGSTOP)

    def let_keeper_go_on(self) -> None:
        """SIGCONT for its keeper."""
        self._signal([self._keeper], signal.SIGCONT)

    def stop_worker(self) -> int:
        """SIGSTOP for its oldest worker; the process id."""
        self.worker_disturbed += 1
        self.worker_stopped = True
        pid = self._workers[0]
        self._signal([pid], signal.SIGSTOP)
        return pid

    def let_worker_go_on(self, pid: int) -> None:
        """SIGCONT for a worker."""
        self._signal([pid], signal.SIGCONT)
        self.worker_disturbed += 1
        self.worker_stopped = False

    async def kill_worker(self) -> None:
        """SIGKILL for its oldest worker; returns when it has died. Its successor is the supervisor's affair."""
        self.worker_disturbed += 1
        pid = self._workers[0]
        self._signal([pid], signal.SIGKILL)
        await _gone([pid], "that was killed")

    async def answers(self) -> None:
        """Returns when one of several requests is answered, and raises TimeoutError if none is: the kernel gives some
        to each worker."""

        async def probe() -> None:
            await wire.request(self.listen, "GET", "/catalog/hats/")

        asking = [self._tasks.start(probe(), "probe") for _ in range(_PROBES)]
        try:
            async with asyncio.timeout(_PROBED_S):
                done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in asking:
                task.cancel()

    def set_clock(self, off_s: float) -> None:
        """Steps its wall clock to be this wrong."""
        self._off_s[0] = off_s

    def lose_redis(self) -> None:
        """To be called when all of its way to Redis is cut."""
        self.cut = True
        self._cut_since = asyncio.get_running_loop().time()

    def find_redis(self) -> None:
        """To be called when it is about to reach Redis again. What it had to say is yet to be said."""
        self._cut_since = None

    def swap_manifest(self) -> None:
        """Puts another manifest in the place of its own, which indexes otherwise."""
        self._locale = not self._locale
        (self._home / "manifest.json").write_text(json.dumps(manifest(locale=self._locale)))

    async def administer(self, path: str, body: object) -> Reply:
        """A request of somebody who may purge."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        return await wire.request(self.admin, "POST", path, headers, json.dumps(body).encode(), host="127.0.0.1")

    async def settled(self) -> None:
        """Returns when Redis has confirmed all that it had to say, and it serves from the cache again."""
        async with asyncio.timeout(_SETTLES_S):
            while True:
                reply = await wire.request(self.admin, "GET", "/readyz", host="127.0.0.1")
                if reply.json["cache"] == "in use":
                    return
                await asyncio.sleep(0.05)

    def complaints(self) -> list[str]:
        """The last of its log from the first traceback on."""
        lines = list(self.log)
        first = next((number for number, line in enumerate(lines) if line.startswith("Traceback")), len(lines))
        return lines[max(first - 1, 0) : first + 60]

    async def close(self) -> None:
        await self.kill()
        await self._tasks.stop()

    @property
    def _keeper(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _workers(self) -> list[int]:
        return _children(self._keeper)

    def _signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            if alive(pid):
                os.kill(pid, number)

    async def _drain(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:  # a pipe that nobody reads would stop it
            self.log.append(line.decode())


class Fleet:
    """All of it, with the histories of what was written through it."""

    def __init__(self, home: Path, server: Redis | Cluster, site: Site, edges: list[Edge]) -> None:
        self._server = server
        self.site = site
        self.edges = edges
        self.histories = Histories(len(SUBJECTS), len(edges))
        self._home = home
        self._kept = home / "kept"

    @property
    def redis(self) -> Redis:
        """The server of a fleet that has one."""
        assert isinstance(self._server, Redis)
        return self._server

    @property
    def cluster(self) -> Cluster:
        """The cluster of a fleet that has one."""
        assert isinstance(self._server, Cluster)
        return self._server

    def forget(self) -> None:
        """Deletes the data of a Redis that was killed."""
        for path in self._home.glob("appendonly*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remember(self) -> None:
        """Keeps a copy of Redis' data as they are now."""
        shutil.rmtree(self._kept, ignore_errors=True)
        self._kept.mkdir()
        _copy(self._home, self._kept)

    def rewind(self) -> None:
        """Gives a Redis that was killed the data back that were kept."""
        self.forget()
        _copy(self._kept, self._home)


def _copy(source: Path, target: Path) -> None:
    for path in source.glob("appendonly*"):
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copy(path, target)


def _children(pid: int) -> list[int]:
    """The processes that `pid` has started and that run, oldest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; state and parent follow the last one.
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


async def _gone(pids: Sequence[int], which: str) -> None:
    if not await asyncio.to_thread(wait_for, lambda: not any(map(alive, pids)), seconds=_DIES_S):
        raise TimeoutError(f"of the workers {pids}, {which}, some live on")


@asynccontextmanager
async def running(
    rng: Random,
    *,
    clustered: bool = False,
    apart_s: float | None = None,
    forgetful: bool = False,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Fleet]:
    """A fleet for the length of the block, over a cluster where it is `clustered`. Where `apart_s` is given, each edge
    has a host of its own, which hears what Redis says so many seconds later. `environment` is for the processes of the
    edges."""
    if sys.platform != "linux":
        raise RuntimeError("the checker looks for workers in /proc: it needs Linux")
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mizan-test-")))
        server = await _start_cluster(home, stack) if clustered else await _start_redis(home, stack)
        site = Site(rng, forgetful=forgetful)
        hosts = [Host() if apart_s is None else stack.enter_context(host()) for _ in range(EDGES)]
        origins = await stack.enter_async_context(serving(site, [place.outside for place in hosts]))
        edges = []
        for number, (place, origin) in enumerate(zip(hosts, origins, strict=True)):
            (home / f"edge-{number}").mkdir()
            how: Any = {"delay_s": apart_s or 0, "host": place.outside}
            way = ways(server, **how) if isinstance(server, Cluster) else linked(str(server.socket), **how)
            link: Link | Ways = await stack.enter_async_context(way)
            edges.append(Edge(number, home / f"edge-{number}", origin, link, place, environment or {}))
            stack.push_async_callback(edges[-1].close)
            await edges[-1].start()
        yield Fleet(home, server, site, edges)


async def _start_redis(home: Path, stack: AsyncExitStack) -> Redis:
    redis = Redis(home, keep=True)
    stack.callback(redis.kill)
    await asyncio.to_thread(redis.start)
    await asyncio.to_thread(established, redis.url, NAMESPACE)
    return redis


async def _start_cluster(home: Path, stack: AsyncExitStack) -> Cluster:
    nodes = Cluster(home)
    stack.callback(nodes.close)
    await asyncio.to_thread(nodes.start)
    return nodes
