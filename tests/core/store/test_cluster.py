"""A site in a Redis Cluster: found wherever its slot is, exact while that moves, and after its primary was lost."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mizan_core.store import Store, StoreError, StoreUnusable
from mizan_core.store.operations import Namespace
from tests.core.store.site import RUNNERS, SEALING, Site, scope
from tests.support.cluster import Cluster, cluster
from tests.support.killable import Redis
from tests.support.processes import wait_for


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as home, cluster(Path(home)) as running:
        yield running


@pytest.fixture(params=RUNNERS)
def site(nodes: Cluster, namespace: str, request: pytest.FixtureRequest) -> Iterator[Site]:
    nodes.settled()
    first = nodes.nodes[0]
    names = Namespace(namespace, SEALING)
    runner = RUNNERS[request.param](nodes.url, names)
    with redis.RedisCluster("127.0.0.1", first.port) as raw:
        yield Site(runner, names, raw)
    runner.close()


def test_a_site_is_served_by_the_node_of_its_slot(site: Site, nodes: Cluster):
    site.runner.check()
    site.fill("a", scope("user", user_id=5))
    assert site.served("a") == {"a"}
    assert nodes.owner(site.namespace.name).ask("EXISTS", site.entry_key("a")) == 1
    site.purge(scope("user", user_id=5))
    assert site.served("a") == set()


def test_a_node_that_is_named_as_if_it_were_alone_is_refused(nodes: Cluster, namespace: str):
    store = Store(f"redis://{nodes.nodes[0].address}", Namespace(namespace, SEALING), timeout_s=5)
    with pytest.raises(StoreUnusable, match=r"write redis\+cluster://"):
        store.check()


def test_a_server_that_is_no_node_of_a_cluster_is_refused(namespace: str):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as home:
        alone = Redis(Path(home), keep=False)
        alone.start(port=str(port))
        store = Store(f"redis+cluster://127.0.0.1:{port}", Namespace(namespace, SEALING), timeout_s=5)
        try:
            with pytest.raises(StoreUnusable, match="write redis://"):
                store.check()
        finally:
            alone.kill()


@pytest.mark.parametrize("gone_ahead", ["members", "log", "ctl"])
def test_while_its_slot_moves_nothing_is_done_and_then_all_that_has_moved_is_dead(
    site: Site, nodes: Cluster, gone_ahead: str
):
    name = site.namespace.name
    site.register("edge", "session")
    site.fill("a", scope("user", user_id=5))
    late = site.fence()
    before = site.purge(scope("user", user_id=6))
    assert before.members, "somebody has to be waited for"

    source, target = nodes.begin_move(name)
    nodes.move_keys(source, target, site.named(gone_ahead))
    for attempt in (
        lambda: site.purge(scope("user", user_id=5)),
        lambda: site.store("a", scope("user", user_id=5), fence=late),
        lambda: site.store("b", scope("user", user_id=6), fence=late),
        lambda: site.read("a"),
        lambda: site.renew("edge", "session", before.incarnation, before.seq),
    ):
        with pytest.raises((StoreError, redis.RedisError)):
            attempt()
    nodes.end_move(name, source, target)

    assert target.ask("EXISTS", site.entry_key("a")) == 1
    assert site.served("a", "b") == set()
    assert site.renew("edge", "session", before.incarnation, before.seq).what == "incarnation"
    after = site.purge(scope("user", user_id=5))
    assert after.incarnation != before.incarnation and after.wait_ms > 0, "there may be members that nobody knows of"
    site.fill("a", scope("user", user_id=5))
    assert site.served("a") == {"a"}


def test_what_a_lost_primary_had_not_told_its_replica_yet_is_dead_with_all_the_rest(site: Site, nodes: Cluster):
    name = site.namespace.name
    site.fill("a", scope("user", user_id=5))
    owner = nodes.owner(name)
    replica = nodes.replica_of(owner)
    assert wait_for(lambda: replica.ask("CLUSTER", "COUNTKEYSINSLOT", owner.slot(name)) > 0)
    replica.freeze()
    owner.ask("CLIENT", "KILL", "TYPE", "replica")
    before = site.purge(scope("user", user_id=5))
    assert site.served("a") == set()
    owner.kill()
    replica.thaw()
    try:
        nodes.replaced(owner, name)
        assert replica.ask("EXISTS", site.entry_key("a")) == 1, "it has not heard of the purge"

        def served() -> set[str] | None:
            try:
                return site.served("a")
            except StoreError:  # the connections to the one that has died
                return None

        assert wait_for(lambda: served() is not None)
        assert served() == set()
        assert site.purge(scope("user", user_id=5)).incarnation != before.incarnation
    finally:
        owner.start()
