"""The processes under test: one Redis, two edges, and a link between each of them and Redis."""

import asyncio
import json
import shutil
import signal
import tempfile
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

from mizan_edge.tasks import Tasks
from tests.exact.model import Histories
from tests.exact.origin import USERS, Site, manifest, serving
from tests.support import wire
from tests.support.killable import Redis
from tests.support.proxy import Link, linked
from tests.support.served import SERVING, Served, spawn
from tests.support.wire import Reply

EDGES = 2
TOKEN = "admin-token"
_SECRETS = {"MIZAN_CACHE_SECRET": "cache-secret-" * 3, "MIZAN_EDGE_ADMIN_TOKEN": TOKEN}
_SETTLES_S = 20


class Edge:
    """An edge's process, its directory, and its way to Redis.

    # mutable state: the process; `stopped`; `cut`; `disturbed`, which counts what was done to the process.
    """

    def __init__(self, number: int, home: Path, origin: str, link: Link) -> None:
        self.number = number
        self.link = link
        self.stopped = False
        self.cut = False
        """Whether purges through it may be unknown to Redis, since it is cut off."""
        self.disturbed = 0
        self.listen = self.admin = ""
        self.log: deque[str] = deque(maxlen=20_000)
        self.state = home / "state"
        self._home = home
        self._origin = origin
        self._tasks = Tasks()
        self._locale = False
        self._process: Process | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None

    async def start(self) -> None:
        """Starts it on the state that it has left behind; returns when it serves."""
        path = self._home / "manifest.json"
        path.write_text(json.dumps(manifest(locale=self._locale)))
        peers = ("--origin", self._origin, "--origin-timeout", "2", "--redis", self.link.url)
        places = ("--state-dir", self.state, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        process = await spawn("serve", "--manifest", path, *peers, *places, **_SECRETS)
        served = Served(process)
        match = await served.read_until(SERVING)
        self.listen, self.admin, self._process = match[1], match[2], process
        self.log.extend(served.said)
        self._tasks.start(self._drain(process), "log")

    async def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        self.disturbed += 1
        if process is not None:
            process.kill()
            await process.wait()

    def stop(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)
        self.stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self.stopped = False

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

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self.disturbed += 1
        self._process.send_signal(number)

    async def _drain(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:  # a pipe that nobody reads would stop it
            self.log.append(line.decode())


class Fleet:
    """All of it, with the histories of what was written through it."""

    def __init__(self, home: Path, redis: Redis, site: Site, edges: list[Edge]) -> None:
        self.redis = redis
        self.site = site
        self.edges = edges
        self.histories = Histories(USERS, len(edges))
        self._home = home

    def forget(self) -> None:
        """Deletes the data of a Redis that was killed."""
        for path in self._home.glob("appendonly*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@asynccontextmanager
async def running(rng: Random, *, forgetful: bool = False) -> AsyncIterator[Fleet]:
    """A fleet for the length of the block."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mizan-test-")))
        redis = Redis(home, keep=True)
        stack.callback(redis.kill)
        await asyncio.to_thread(redis.start)
        site = Site(rng, forgetful=forgetful)
        origin = await stack.enter_async_context(serving(site))
        edges = []
        for number in range(EDGES):
            (home / f"edge-{number}").mkdir()
            link = await stack.enter_async_context(linked(str(redis.socket)))
            edges.append(Edge(number, home / f"edge-{number}", origin, link))
            stack.push_async_callback(edges[-1].close)
            await edges[-1].start()
        yield Fleet(home, redis, site, edges)
