"""What the clients make of servers that are wrong, elsewhere, or silent: one clear line, never redis-py's own error."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import redis

from mizan_core.store import AsyncStore, Namespace, Store, StoreError, StoreUnusable
from mizan_core.store.connection import check_server
from mizan_edge.system.embedded import find_server
from tests.conftest import NO_SERVER
from tests.core.store.site import RUNNERS, SEALING, Runner, Site, key_of, open_site, scope
from tests.support import redis_server

NAMESPACE = Namespace("test-clients", SEALING)
READ = NAMESPACE.read([key_of("a")])


@pytest.fixture
def own_redis() -> Iterator[str]:
    """The URL of a Redis that only this test uses, and may spoil."""
    server = find_server()
    if server is None:
        pytest.fail(NO_SERVER)
    with redis_server.running(server) as url:
        yield url


@contextmanager
def answering(reply: bytes | None) -> Iterator[str]:
    """The URL of a server that answers anything with `reply`, or hangs up."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with connection:
                    if connection.recv(4096) and reply is not None:
                        connection.sendall(reply)
                        while connection.recv(4096):
                            pass
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


@contextmanager
def client(kind: str, url: str, *, timeout_s: float = 5.0) -> Iterator[Runner]:
    with closing(RUNNERS[kind](url, NAMESPACE, timeout_s=timeout_s)) as runner:
        yield runner


def line_of(caught: "pytest.ExceptionInfo[StoreError]") -> str:
    (line,) = str(caught.value).splitlines()
    return line


@pytest.fixture(params=RUNNERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


FOREIGN = {
    "an HTTP server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "memcached": b"ERROR\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
}


@pytest.mark.parametrize("reply", FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_redis_is_unusable(kind: str, reply: bytes):
    with answering(reply) as url, client(kind, url) as runner:
        with pytest.raises(StoreUnusable, match="does not answer like Redis") as checked:
            runner.check()
        line_of(checked)
    with (
        answering(reply) as url,
        client(kind, url) as runner,
        pytest.raises(StoreUnusable, match="check host and port"),
    ):
        runner.run(READ)


def test_a_server_that_hangs_up_may_come_back(kind: str):
    with answering(None) as url, client(kind, url) as runner, pytest.raises(StoreError) as caught:
        runner.check()
    assert not isinstance(caught.value, StoreUnusable)
    assert line_of(caught).startswith("Redis: ")


def test_a_server_that_says_nothing_times_out(kind: str):
    with answering(b"") as url, client(kind, url, timeout_s=0.05) as runner, pytest.raises(StoreError) as caught:
        runner.run(READ)
    assert not isinstance(caught.value, StoreUnusable)
    assert "imeout" in line_of(caught)


def test_a_closed_port_may_open_later(kind: str):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
    with client(kind, url) as runner, pytest.raises(StoreError) as caught:
        runner.check()
    assert not isinstance(caught.value, StoreUnusable)
    line_of(caught)


@pytest.mark.parametrize("url", ["", "http://localhost", "localhost:6379", "redis://:se#cret@host", "redis://h:port"])
def test_a_url_that_is_none_is_unusable_and_not_quoted(kind: str, url: str):
    with pytest.raises(StoreUnusable, match="Redis URL") as caught, client(kind, url):
        pass
    assert "cret" not in line_of(caught)


def test_a_missing_or_wrong_password_is_unusable(kind: str, own_redis: str):
    with redis.Redis.from_url(own_redis) as raw:
        raw.config_set("requirepass", "right")
    for url in (own_redis, f"{own_redis}?password=wrong"):
        with client(kind, url) as runner:
            with pytest.raises(StoreUnusable, match="password"):
                runner.check()
            with pytest.raises(StoreUnusable, match="password") as caught:
                runner.run(READ)
            line_of(caught)
    with client(kind, f"{own_redis}?password=right") as runner:
        runner.check()
        runner.run(READ)


def test_a_read_only_replica_is_refused_until_it_is_promoted(kind: str, own_redis: str):
    with redis.Redis.from_url(own_redis) as raw, client(kind, own_redis) as runner:
        raw.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreError, match="replica") as caught:
            runner.check()
        assert not isinstance(caught.value, StoreUnusable)
        with pytest.raises(StoreError, match="read only replica") as caught:
            runner.run(NAMESPACE.purge([scope("user")]))
        line_of(caught)
        raw.replicaof("NO", "ONE")
        runner.check()
        runner.run(NAMESPACE.purge([scope("user")]))


def test_a_demoted_primary_neither_stores_nor_serves(own_redis: str):
    with open_site(own_redis, "test-demoted") as site:
        site.fill("a", scope("user"))
        fence = site.fence()
        site.raw.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreError):
            site.store("a", scope("user"), fence=fence)
        # It would still answer a GET, while purges go to its successor.
        with pytest.raises(StoreError):
            site.read("a")
        site.raw.replicaof("NO", "ONE")
        assert site.served("a") == {"a"}


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_redis_that_evicts_indexes_is_unusable_and_told_how_not_to(kind: str, own_redis: str, policy: str):
    with redis.Redis.from_url(own_redis) as raw, client(kind, own_redis) as runner:
        raw.config_set("maxmemory-policy", policy)
        with pytest.raises(StoreUnusable, match="set `maxmemory-policy volatile-lru`"):
            runner.check()
        raw.config_set("maxmemory-policy", "noeviction")
        runner.check()


@pytest.mark.parametrize("version", ["6.0.16", "5.0.14", "2.8"])
def test_an_old_redis_is_unusable(version: str):
    with pytest.raises(StoreUnusable, match=f"{version} is too old: 6.2 or newer"):
        check_server({"redis_version": version})


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.0.1", "10.1.0", "7.2.4-rc1"])
def test_a_newer_redis_is_usable(version: str):
    check_server({"redis_version": version, "role": "master"})


def test_scripts_that_redis_has_forgotten_are_sent_again(site: Site):
    site.fill("a", scope("user"))
    site.raw.script_flush()
    assert site.served("a") == {"a"}
    site.raw.script_flush()
    assert site.purge(scope("user")).entries == 1


async def test_a_cancelled_read_leaves_no_answer_behind_for_the_next_one(redis_url: str, namespace: str):
    # 1. A read is sent. 2. Its caller leaves. 3. The next read gets the connection, and must not get the first answer.
    names = [f"{n}" for n in range(20)]
    with open_site(redis_url, namespace) as site:
        for name in names:
            site.fill(name, scope("user"))
        store = AsyncStore(redis_url, site.namespace, timeout_s=5.0)
        try:
            for turns in range(12):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(store.run(site.namespace.read([key_of(name)]))) for name in names]
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    for task in tasks[::2]:
                        task.cancel()
                for name, task in zip(names[1::2], tasks[1::2], strict=True):
                    (entry,) = task.result().entries
                    assert entry is not None
                    assert entry.payload == name.encode()
        finally:
            await store.close()


async def test_a_crowd_waits_for_a_connection(redis_url: str, namespace: str):
    store = AsyncStore(redis_url, Namespace(namespace, SEALING), timeout_s=5)
    try:
        looks = await asyncio.gather(*(store.run(store.namespace.read([key_of(str(n))])) for n in range(500)))
    finally:
        await store.close()
    assert len(looks) == 500


def test_both_clients_are_the_same_store(redis_url: str, namespace: str):
    with open_site(redis_url, namespace, "blocking") as django, open_site(redis_url, namespace, "asyncio") as edge:
        edge.fill("a", scope("user", user_id=5))
        fence = edge.fence()
        assert django.purge(scope("user", user_id=5)).entries == 1
        assert edge.served("a") == set()
        assert edge.store("a", scope("user", user_id=5), fence=fence) == "overtaken"
        assert Store(redis_url, django.namespace, timeout_s=5.0).run(edge.namespace.bans()) == []


async def test_whether_redis_answers(redis_url: str):
    there = AsyncStore(redis_url, NAMESPACE, timeout_s=5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = AsyncStore(f"redis://127.0.0.1:{listener.getsockname()[1]}", NAMESPACE, timeout_s=5)
    assert await there.answers()
    assert not await closed.answers()
    await there.close()
