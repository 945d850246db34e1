"""Secrets stay where they are needed: not in logs, answers, arguments, nor what children inherit; files are private."""

import asyncio
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis.asyncio

from tests.support import wire
from tests.support.edge import MWT_SECRET, SECRET, TOKEN
from tests.support.killable import Redis
from tests.support.origin import until
from tests.support.processes import children
from tests.support.served import Serve, Served, run

PASSWORD = "hunter2-of-redis"
SECRETS = {
    "MIZAN_CACHE_SECRET": SECRET,
    "MIZAN_MWT_SECRET": MWT_SECRET,
    "MIZAN_EDGE_ADMIN_TOKEN": TOKEN,
    "MIZAN_EDGE_READ_TOKEN": "read-token-read-token",
}

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@contextmanager
def mask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


async def told(served: Served, *targets: str) -> str:
    """All that the admin listener says about an edge."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    replies = [await wire.request(served.admin, "GET", target, headers, host="localhost") for target in targets]
    replies.append(await wire.request(served.admin, "POST", "/reload", headers, b"", host="localhost"))
    return "".join(f"{reply.fields}{reply.body.decode()}" for reply in replies)


@linux
async def test_no_secret_is_logged_told_inherited_or_an_argument(serve: Serve, server: Redis):
    async with redis.asyncio.from_url(server.url) as client:
        await client.config_set("requirepass", PASSWORD)
    url = server.url.replace("unix://", f"unix://:{PASSWORD}@")
    served = await serve("--workers", "2", "--log-level", "debug", MIZAN_EDGE_REDIS=url, **SECRETS)
    pids = [served.process.pid, *children(served.process.pid)]
    assert len(pids) == 3
    arguments = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in pids]
    inherited = [Path(f"/proc/{pid}/environ").read_bytes().decode() for pid in pids[1:]]
    reply = await wire.request(served.listen, "GET", "/profile/5/", {"Authorization": f"Bearer {TOKEN}"})
    assert reply.status == 200
    said = await told(served, "/stats", "/readyz", "/metrics", "/nothing")
    server.kill()
    # It says what is wrong with its Redis, in the log and here.
    async with asyncio.timeout(10):
        while '"redis":"down"' not in (down := await told(served, "/readyz")):
            pass
    await wire.request(served.listen, "GET", "/profile/5/")
    served.process.terminate()
    await served.end()
    assert "Redis" in served.log
    for secret in (PASSWORD, *SECRETS.values()):
        assert secret not in served.log
        assert secret not in said + down
        assert not any(secret in text for text in arguments)
        assert not any(secret in text for text in inherited)
    assert not any("MIZAN_" in text for text in inherited)


async def test_a_redis_with_another_password_does_not_show_the_one_that_was_tried(
    server: Redis, manifest: Path, tmp_path: Path
):
    async with redis.asyncio.from_url(server.url) as client:
        await client.config_set("requirepass", "right-" + PASSWORD)
    url = server.url.replace("unix://", f"unix://:{PASSWORD}@")
    usual = ("serve", "--origin", "http://127.0.0.1:1", "--manifest", manifest, "--state-dir", tmp_path / "state")
    status, out, error = await run(*usual, "--log-level", "debug", MIZAN_EDGE_REDIS=url)
    assert status == 1
    assert "password" in error
    assert PASSWORD not in out + error


async def test_a_password_on_the_command_line_is_warned_of_and_not_shown_again(serve: Serve):
    served = await serve("--redis", f"redis://:{PASSWORD}@127.0.0.1:1", "--log-level", "debug")
    assert "everybody on this machine can see the password in --redis: set MIZAN_EDGE_REDIS instead" in served.log
    served.process.terminate()
    await served.end()
    assert PASSWORD not in served.log


@pytest.mark.parametrize("there", [False, True])
async def test_every_file_in_the_state_directory_is_private(serve: Serve, tmp_path: Path, there: bool):
    state = tmp_path / "state"
    if there:
        state.mkdir(mode=0o755)
    with mask(0):
        served = await serve()
    await wire.request(served.listen, "POST", "/x", {"X": "y"}, b"")
    await until(lambda: (state / "journal").exists())
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.rglob("*")}
    assert {"admin.token", "cache.secret", "edge.id", "journal", "lock", "redis.log", "redis.sock"} <= set(found)
    assert not {name: oct(mode) for name, mode in found.items() if mode & 0o077}
    if not there:
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
