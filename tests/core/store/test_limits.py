"""A full memory, and how much work a purge is."""

from collections.abc import Iterator

import pytest
import redis

from mizan_core.store import StoreError
from tests.core.store.site import HOUR_MS, SHAPE, Site, full_memory, key_of, open_site, scope

MANY = 20_000


def test_a_full_memory_refuses_a_store_and_leaves_what_was_there(site: Site):
    site.fill("a", scope("user", user_id=5))
    before = site.dump()
    with full_memory(site):
        with pytest.raises(StoreError, match="^Redis: .*OOM|maxmemory"):
            site.store("a", scope("user", user_id=6), payload=b"x" * 1000)
        assert site.served("a") == {"a"}
        assert site.dump() == before


@pytest.mark.parametrize("visit", [500, 0], ids=["visiting", "banning"])
def test_a_full_memory_does_not_keep_a_purge_from_working(site: Site, visit: int):
    site.fill("a", scope("user", user_id=5))
    site.fill("b", scope("catalog"))
    fence = site.fence()
    with full_memory(site):
        site.purge(scope("user"), visit=visit)
        assert site.served("a", "b") == {"b"}
        site.purge_everything()
        assert site.served("a", "b") == set()
        for ban in site.bans():
            site.sweep(ban)
    assert site.store("a", scope("user", user_id=5), fence=fence) == "overtaken"
    site.fill("a", scope("user", user_id=5))
    assert site.served("a") == {"a"}


def test_a_full_memory_does_not_keep_a_new_incarnation_from_beginning(site: Site):
    site.fill("a", scope("user", user_id=5))
    site.raw.hset(site.named("ctl"), "run", "0")
    with full_memory(site):
        assert site.served("a") == set()
        site.purge(scope("user"))
        assert site.adopt({"user": "another shape"}) == []


@pytest.fixture(scope="module")
def large(any_redis_url: str) -> Iterator[Site]:
    """20,000 entries of one context, ten of them in the team 7."""
    with open_site(any_redis_url, "test-large") as site:
        fence = site.fence()
        with site.raw.pipeline(transaction=False) as pipeline:
            site.store("warm", scope("user"), fence=fence)  # loads the script
            for n in range(MANY):
                operation = site.namespace.store(
                    key_of(f"{n}"),
                    b"x",
                    fence=fence,
                    began_ms=0,
                    scopes=[scope("user", user_id=n, team=7 if n < 10 else 8)],
                    shapes={"user": SHAPE},
                    retention_ms=HOUR_MS,
                )
                pipeline.evalsha(operation.script.sha, len(operation.keys), *operation.keys, *operation.args)
                if n % 2000 == 1999:
                    assert set(pipeline.execute()) == {b"stored"}
        yield site


def commands_of(raw: "redis.Redis", command: str) -> int:
    return int(raw.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def test_a_purge_of_ten_among_twenty_thousand_visits_ten(large: Site):
    visited, unlinked = (commands_of(large.raw, name) for name in ("getrange", "unlink"))
    assert large.purge(scope("user", team=7)).entries == 10
    assert commands_of(large.raw, "getrange") - visited == 10
    assert commands_of(large.raw, "unlink") - unlinked == 10


def test_a_purge_of_one_parameter_among_twenty_thousand_visits_one(large: Site):
    visited = commands_of(large.raw, "getrange")
    assert large.purge(scope("user", team=8, user_id=15)).entries == 1
    assert commands_of(large.raw, "getrange") - visited == 1


def test_a_whole_context_of_twenty_thousand_is_purged_without_visiting_any(large: Site):
    visited = commands_of(large.raw, "getrange")
    done = large.purge(scope("user"))
    assert done.banned == 1
    assert done.entries > MANY - 100
    assert commands_of(large.raw, "getrange") == visited
    assert large.served("15000", "19999") == set()


def test_no_slice_of_a_sweep_visits_much_more_than_fifty(large: Site):
    large.purge(scope("user"))
    (ban,) = large.bans()
    visited = commands_of(large.raw, "getrange")
    for n, done in enumerate(large.slices(ban)):
        now = commands_of(large.raw, "getrange")
        assert now - visited < 200
        visited = now
        if n == 20 or done.cursor == "0":
            break
