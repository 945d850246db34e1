"""Clients that never try again, while what serves them is replaced under their hands."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support import wire
from tests.support.edge import MANIFEST
from tests.support.edges import Edge
from tests.support.origin import Asked, Says, until
from tests.support.wire import Reply

RELOAD_EVERY_S = 0.1
SLOW_S = 0.3
_TARGETS = ("/profile/{}/", "/catalog/{}/", "/not-declared/{}/", "/slow/{}/")
_OTHER = {**MANIFEST, "contexts": {**MANIFEST["contexts"], "user": {**MANIFEST["contexts"]["user"], "ttl": 60}}}


async def site(asked: Asked) -> Says:
    """An origin that says what it was asked for, now and then late, and whose POSTs purge."""
    if asked.target.startswith("/slow/"):
        await asyncio.sleep(SLOW_S)
    if asked.method == "POST":
        return Says(asked.target, headers=[("X-Mizan-Invalidate", "user;user_id=5")])
    return Says(asked.target)


@dataclass
class Seen:
    """What the clients have seen.

    # mutable state: all of it.
    """

    answers: Counter[str] = field(default_factory=Counter)
    """How many, by what the cache did."""
    failures: list[str] = field(default_factory=list)
    connections: int = 0
    longest_s: float = 0.0


class _Client:
    """Keeps its connection as long as it may, and never asks twice."""

    def __init__(self, address: str, seen: Seen, *, keep_alive: bool) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._seen = seen
        self._keep_alive = keep_alive
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, target: str) -> None:
        clock = asyncio.get_running_loop().time
        since_s = clock()
        try:
            reply = await self._reply(method, target)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self._seen.failures.append(f"{method} {target}: {error!r}")
            self._open = None
            return
        self._seen.longest_s = max(self._seen.longest_s, clock() - since_s)
        if (reply.status, reply.body.decode()) != (200, target):
            self._seen.failures.append(f"{method} {target}: {reply.status} {reply.body[:200]!r}")
        self._seen.answers[reply.cache.partition(";")[0]] += 1

    async def _reply(self, method: str, target: str) -> Reply:
        if self._open is not None and self._open[0].at_eof():
            self.close()  # ended before anything was asked
        if self._open is None:
            self._open = await asyncio.open_connection(self._host, self._port)
            self._seen.connections += 1
        reader, writer = self._open
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        asks = "" if self._keep_alive else "Connection: close\r\n"
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: site.test\r\n{length}{asks}\r\n".encode())
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            reply = wire.parse(head + await reader.readexactly(_length(head)), method)
        if "close" in (reply["Connection"] or ""):
            self.close()
        return reply

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _length(head: bytes) -> int:
    (value,) = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return int(value)


@asynccontextmanager
async def crowd(address: str, *, clients: int, pause_s: float) -> AsyncIterator[Seen]:
    """Clients that ask without end while the block runs; some of them for each request on a new connection."""
    seen, done = Seen(), False

    async def visit(number: int) -> None:
        client = _Client(address, seen, keep_alive=number % 4 != 0)
        turn = number
        while not done:
            turn += 1
            if turn % 23 == 0:
                await client.ask("POST", "/change/")
            else:
                await client.ask("GET", _TARGETS[turn // 3 % len(_TARGETS)].format(turn % 7))
            await asyncio.sleep(pause_s)
        client.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(visit(number))
        try:
            yield seen
        finally:
            done = True


async def reloading(edge: Edge, done: Callable[[], bool]) -> int:
    """Has the edge reload ten times a second, each time another manifest; how often it did."""
    count = 0
    while not done():
        count += 1
        edge.manifest_path.write_text(json.dumps(_OTHER if count % 2 else MANIFEST))
        reply = await edge.admin_request("POST", "/reload")
        assert reply.status == 200, reply.body
        await asyncio.sleep(RELOAD_EVERY_S)
    return count


async def recycle(edge: Edge) -> None:
    """Every worker is another process when this returns."""
    before = edge.workers
    assert (await edge.admin_request("POST", "/recycle")).json == {"recycled": len(before)}
    assert len(edge.workers) == len(before)
    assert not set(before) & set(edge.workers)


async def upgrade(edge: Edge) -> None:
    """The edge is the program as it is installed now, in the same process, when this returns."""
    before, starts = edge.workers, _starts(edge)
    edge.served.process.send_signal(signal.SIGUSR2)
    await until(lambda: _starts(edge) > starts, seconds=30)
    assert edge.served.process.returncode is None
    assert len(edge.workers) == len(before)
    assert not set(before) & set(edge.workers)


def _starts(edge: Edge) -> int:
    return edge.served.log.count("serving http")
