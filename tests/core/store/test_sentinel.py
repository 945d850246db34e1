"""A primary that sentinels name: the store finds it, and its successor."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from mizan_core.store import StoreError, StoreUnusable
from mizan_core.store.operations import Namespace
from mizan_edge.system.embedded import find_server, launch_environment
from tests.core.store.site import RUNNERS, SEALING, Site, scope
from tests.support.killable import Redis
from tests.support.processes import wait_for


@dataclass
class Watched:
    """A primary, its replica, and a sentinel of both."""

    url: str
    primary: Redis
    replica: Redis


@pytest.fixture
def watched() -> Iterator[Watched]:
    ports = _free_ports(3)
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as home:
        servers = []
        for name, port in zip(("a", "b"), ports, strict=False):
            (Path(home) / name).mkdir()
            servers.append(Redis(Path(home) / name, keep=False))
            servers[-1].start(port=str(port), bind="127.0.0.1", **{"repl-diskless-sync-delay": "0"})
        primary, replica = servers
        with replica.client() as client:
            client.replicaof("127.0.0.1", ports[0])
        configuration = Path(home) / "sentinel.conf"
        configuration.write_text(
            f"port {ports[2]}\nbind 127.0.0.1\ndir {home}\nsentinel monitor site 127.0.0.1 {ports[0]} 1\n"
            "sentinel down-after-milliseconds site 500\nsentinel failover-timeout site 3000\n"
        )
        server = find_server()
        assert server is not None
        sentinel = subprocess.Popen(
            [server, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL, env=launch_environment()
        )
        try:
            with redis.Redis(port=ports[2]) as client:
                assert wait_for(lambda: _replicas(client) == 1)
            yield Watched(f"redis+sentinel://127.0.0.1:{ports[2]}/site", primary, replica)
        finally:
            for process in (sentinel,):
                process.kill()
                process.wait()
            primary.kill()
            replica.kill()


@pytest.mark.parametrize("client", RUNNERS)
def test_what_a_lost_primary_held_is_dead_and_its_successor_is_found(watched: Watched, namespace: str, client: str):
    names = Namespace(namespace, SEALING)
    runner = RUNNERS[client](watched.url, names)
    runner.check()
    with watched.primary.client() as raw, watched.replica.client() as copy:
        site = Site(runner, names, raw)
        site.fill("a", scope("user", user_id=5))
        assert site.served("a") == {"a"}
        before = site.purge(scope("user", user_id=6))
        assert wait_for(lambda: bool(copy.exists(site.entry_key("a"))))
        watched.primary.kill()

        def served() -> set[str] | None:
            try:
                return site.served("a")
            except StoreError:
                return None

        assert served() is None
        assert wait_for(lambda: served() is not None, seconds=20)
        assert copy.exists(site.entry_key("a")) and served() == set()
        assert site.purge(scope("user", user_id=6)).incarnation != before.incarnation
    runner.close()


@pytest.mark.parametrize("client", RUNNERS)
def test_a_name_that_sentinels_do_not_know_is_refused(watched: Watched, namespace: str, client: str):
    runner = RUNNERS[client](watched.url.replace("/site", "/another"), Namespace(namespace, SEALING))
    with pytest.raises(StoreUnusable, match="no primary named 'another'"):
        runner.check()
    runner.close()


def _replicas(client: redis.Redis) -> int:
    try:
        return int(client.execute_command("SENTINEL", "MASTERS")[0][b"num-slaves"])
    except redis.RedisError:
        return 0


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
