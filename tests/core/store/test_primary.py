"""Who is asked for the primary, and what is made of the answer."""

import pytest
import redis

from mizan_core.store import StoreError, StoreUnusable
from mizan_core.store.primary import Search, guides

SITE = "mizan"  # in slot 14521


def test_the_nodes_of_a_cluster_have_the_user_and_the_options_of_the_url():
    found = guides("rediss+cluster://edge:p%40ss@one:7001,two,[::1]:7003?ssl_ca_certs=/ca.pem", SITE)
    assert found.seeds == tuple(
        f"rediss://edge:p%40ss@{host}?ssl_ca_certs=/ca.pem" for host in ("one:7001", "two", "[::1]:7003")
    )
    assert found.question == ("CLUSTER", "SLOTS")
    assert found.at("::2", 7004) == "rediss://edge:p%40ss@[::2]:7004?ssl_ca_certs=/ca.pem"


def test_sentinels_are_asked_without_the_user_of_the_primary():
    found = guides("redis+sentinel://edge:secret@one,two:5000/shop/3", SITE)
    assert found.seeds == ("redis://one:26379", "redis://two:5000")
    assert found.question == ("SENTINEL", "get-master-addr-by-name", "shop")
    assert found.read([b"10.0.0.1", b"6379"], "").primary == "redis://edge:secret@10.0.0.1:6379/3"


@pytest.mark.parametrize(
    "url",
    ["redis+cluster://", "redis+cluster://one/1", "redis+sentinel://one", "redis+other://one", "unix+cluster:///s"],
)
def test_what_names_nobody_cannot_be_read(url: str):
    with pytest.raises(ValueError):
        guides(url, SITE)


def test_the_primary_is_the_node_of_the_slot_of_the_site_and_all_nodes_may_be_asked():
    search = Search("redis+cluster://one:7001", SITE)
    asked = search.next()
    search.told(
        [[0, 10000, [b"a", 1, b"id"]], [10001, 16383, [b"", 7002, b"id"], [b"c", 3, b"id", []]]],
        asked,
    )
    assert (search.primary, search.certain) == ("redis://one:7002", True)
    assert {search.next() for _ in range(4)} == {asked, "redis://a:1", "redis://one:7002", "redis://c:3"}


def test_a_primary_that_has_failed_is_asked_last():
    search = Search("redis+cluster://one:7001,two:7002", SITE)
    search.told([[0, 16383, [b"one", 7001]]], search.next())
    search.failed("redis://one:7001")
    assert not search.certain
    assert [search.next() for _ in range(2)] == ["redis://two:7002", "redis://one:7001"]


def test_who_fails_after_another_was_found_says_nothing_of_that_one():
    search = Search("redis+cluster://one:7001,two:7002", SITE)
    search.told([[0, 16383, [b"two", 7002]]], search.next())
    search.failed("redis://one:7001")
    assert search.certain


def test_a_node_that_the_slot_has_left_says_where_it_is():
    search = Search("redis+cluster://one:7001", SITE)
    search.told([[0, 16383, [b"one", 7001]]], search.next())
    assert search.leads_on(redis.exceptions.MovedError("14521 two:7002"), "redis://one:7001")
    assert (search.primary, search.certain) == ("redis://two:7002", True)


@pytest.mark.parametrize("kind", ["ReadOnlyError", "ClusterDownError", "MasterDownError"])
def test_one_who_is_not_the_primary_now_has_the_others_asked(kind: str):
    search = Search("redis+sentinel://one/shop", SITE)
    search.told([b"a", b"1"], search.next())
    assert not search.leads_on(redis.exceptions.ResponseError("OOM"), "redis://a:1/")
    assert search.leads_on(getattr(redis.exceptions, kind)("no"), "redis://a:1/")
    assert not search.certain


def test_the_server_of_a_plain_url_is_never_doubted():
    search = Search("redis://one", SITE)
    search.failed("redis://one")
    assert not search.leads_on(redis.exceptions.ReadOnlyError("no"), "redis://one")
    assert (search.primary, search.certain) == ("redis://one", True)


def test_answers_that_name_nobody():
    cluster, sentinel = guides("redis+cluster://one", SITE), guides("redis+sentinel://one/shop", SITE)
    with pytest.raises(StoreError, match="nobody is the primary now, says one"):
        cluster.read([[0, 100, [b"one", 1]]], "redis://one")
    with pytest.raises(StoreUnusable, match="no primary named 'shop'"):
        sentinel.read(None, "redis://one")
    with pytest.raises(StoreUnusable, match="no node of a cluster"):
        cluster.read(redis.ResponseError("This instance has cluster support disabled"), "redis://one")
