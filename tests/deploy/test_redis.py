"""What docs/redis.md and deploy/redis.conf say of Redis is so."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mizan_core.scopes import Scope
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store, StoreUnusable
from mizan_core.store.replies import Slice
from tests.support.killable import Redis
from tests.support.redis_server import established

TOP = Path(__file__).parents[2]
GUIDE = (TOP / "docs" / "redis.md").read_text()
CONFIGURATION = dict(
    line.split(" ", 1) for line in (TOP / "deploy" / "redis.conf").read_text().splitlines() if line and line[0] != "#"
)
SITE = Namespace("mizan", sealing_key(b"s" * 32))


@pytest.fixture
def server() -> Iterator[Redis]:
    """A Redis with the settings that are shipped."""
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as home:
        server = Redis(Path(home), keep=False)
        server.start(**CONFIGURATION | {"save": ""})
        yield server
        server.kill()


def opened(url: str) -> Store:
    return Store(url, SITE, timeout_s=5)


def test_an_edge_takes_a_redis_with_the_shipped_settings(server: Redis):
    with server.client() as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(256 << 20)
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-lru"
        assert client.config_get("save")["save"] == ""
    opened(server.url).check()


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_every_policy_that_spares_indexes_is_taken(server: Redis, policy: str):
    assert policy in GUIDE or policy.removeprefix("volatile") in GUIDE
    with server.client() as client:
        client.config_set("maxmemory-policy", policy)
    opened(server.url).check()


def test_a_policy_that_does_not_is_refused(server: Redis):
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreUnusable, match="volatile-lru"):
        opened(server.url).check()


def test_the_user_of_the_guide_can_do_what_an_edge_does_and_nothing_to_others(server: Redis):
    (rule,) = re.findall(r"^    ACL SETUSER edge (.+)$", GUIDE, re.MULTILINE)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "edge", *rule.split())
        client.set("theirs", "1")
    established(server.url, SITE.name)
    store = opened(server.url.replace("unix://", "unix://edge:PASSWORD@"))
    store.check()
    assert store.run(SITE.register("edge", "session")).flushed is False
    assert store.run(SITE.adopt({"user": "shape"})) == []
    assert store.run(SITE.read(["a" * 64])).entries == (None,)
    assert store.run(SITE.collect(Slice())).cursor == "0"
    assert store.run(SITE.sign_off("edge", "session"))
    assert store.purge([Scope("user", ())]).seq == 1
    store.close()
    with redis.Redis.from_url(server.url.replace("unix://", "unix://edge:PASSWORD@")) as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("theirs")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushall()
