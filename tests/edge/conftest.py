"""An edge in this process, over real sockets: `edge` serves MANIFEST in front of a scripted `origin` and real Redis."""

import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mizan_core.mwt import Keyring, mint
from tests.support.browser import Deciding
from tests.support.edge import MANIFEST, MWT_SECRET, EdgeFactory, RunningEdge, edges
from tests.support.edges import Start, starting
from tests.support.killable import Redis
from tests.support.origin import Origin, running_origin
from tests.support.served import SERVING, Serve, Served, spawn


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with running_origin() as server:
        yield server


@pytest.fixture
async def make_edge(origin: Origin, redis_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[EdgeFactory]:
    """Starts edges: `await make_edge(manifest=..., any_setting=...)`."""
    async with edges(origin.url, redis_url, namespace, tmp_path) as start:
        yield start


@pytest.fixture
def deciding(monkeypatch: pytest.MonkeyPatch) -> Deciding:
    return Deciding(monkeypatch)


@pytest.fixture
async def edge(make_edge: EdgeFactory) -> RunningEdge:
    """An edge with the usual manifest and settings."""
    return await make_edge()


@pytest.fixture
def tokens():
    """The headers of a signed-in user: `tokens("5")`."""
    keyring = Keyring.parse(MWT_SECRET)

    def headers(sub: str, pkey: str = "p1", now_s: int | None = None, **how: Any) -> dict[str, str]:
        token = mint(keyring, sub=sub, pkey=pkey, now_s=int(time.time()) if now_s is None else now_s, **how)
        return {"Authorization": f"Bearer {token}"}

    return headers


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "edge.json"
    path.write_bytes(json.dumps(MANIFEST).encode())
    return path


@pytest.fixture
async def serve(origin: Origin, manifest: Path, tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts `mizan-edge serve`, with a Redis of its own unless told otherwise."""
    started = []

    async def start(*flags: str | Path, **environment: str) -> Served:
        usual: list[str | Path] = ["--origin", origin.url, "--manifest", manifest, "--state-dir", tmp_path / "state"]
        process = await spawn(
            "serve", *usual, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *flags, **environment
        )
        started.append(process)
        served = Served(process)
        match = await served.read_until(SERVING)
        served.listen, served.admin = match[1], match[2]
        return served

    yield start
    for process in started:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.communicate()


@pytest.fixture
def server() -> Iterator[Redis]:
    """A Redis of this test alone, which it may kill and freeze."""
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as home:
        redis = Redis(Path(home), keep=False)
        redis.start()
        yield redis
        redis.kill()


@pytest.fixture
async def start_edge(serve: Serve, server: Redis, manifest: Path, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts edges of two worker processes on one Redis."""
    async with starting(serve, server, manifest, tmp_path) as start:
        yield start
