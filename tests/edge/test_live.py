"""What the dashboard asks for: the history, who takes part, what is asked for most."""

from pathlib import Path

import pytest

from mizan_edge.admin.history import ALL, History, between
from mizan_edge.system.histograms import BOUNDS_S
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.edges import Start


def test_between_two_readings_stands_what_was_counted_since():
    before = {"requests.user.hit..200": 5, "hit_seconds.user.0": 5, "hit_seconds.user.us": 40}
    after = {
        "requests.user.hit..200": 8,
        "requests.user.hit..304": 1,
        "requests.user.miss.unstored.200": 2,
        "requests.catalog.hit..200": 4,
        "requests.-.pass.undeclared.200": 7,
        "hit_seconds.user.0": 5,
        "hit_seconds.user.2": 4,
        "hit_seconds.user.us": 200,
        "origin_seconds.3": 9,
        "purges.admin": 3,
    }
    told = between(before, after)
    assert {name: figures["outcomes"] for name, figures in told["contexts"].items()} == {
        "user": {"hit": 4, "miss": 2},
        "catalog": {"hit": 4},
        ALL: {"hit": 8, "miss": 2},
        "-": {"pass": 7},
    }
    # All of them were between 25 and 50 us.
    assert told["contexts"]["user"]["hits"] == {"p50": pytest.approx(37.5e-6), "p95": pytest.approx(48.75e-6)}
    assert told["origin"]["p50"] == pytest.approx(7.5e-3)
    assert between(after, after) == {"contexts": {}, "origin": None}


def test_what_took_longer_than_the_last_bound_is_told_as_that():
    longest = BOUNDS_S["miss_seconds"][-1]
    told = between({}, {f"miss_seconds.user.{len(BOUNDS_S['miss_seconds'])}": 3})
    assert told["contexts"]["user"]["misses"] == {"p50": longest, "p95": longest}


def test_the_history_tells_what_came_after_a_sample_and_forgets_the_oldest():
    history = History()
    for tick in range(300):
        history.take({"requests.user.hit..200": tick * 10, "purges.admin": tick}, at_ms=tick * 5000, at_s=tick * 5.0)
    samples = history.after(0)
    assert [sample["number"] for sample in samples] == list(range(120, 300))
    assert [sample["number"] for sample in history.after(297)] == [298, 299]
    last = samples[-1]
    # Each tells of the half minute before it.
    assert (last["seconds"], last["contexts"]["user"]["outcomes"]) == (30.0, {"hit": 60})
    assert last["purges"] - samples[0]["purges"] == 179


async def test_top_urls_are_those_of_all_workers(start_edge: Start):
    edge = await start_edge()
    clients = await edge.clients()
    for client in clients:
        for _ in range(200):
            assert (await client.get("/profile/5/")).status == 200
        await client.get("/elsewhere/?token=1")
    top = {asked["url"]: asked for asked in (await edge.admin_request("GET", "/live")).json["top"]}
    assert top.keys() == {"/profile/5/", "/elsewhere/"}
    often, seldom = top["/profile/5/"], top["/elsewhere/"]
    # Of every 64 hits that are repeated, one stands for all.
    assert 300 <= often["per_minute"] / seldom["per_minute"] * 2 <= 400
    assert often["hits_per_minute"] > 0.9 * often["per_minute"]
    assert seldom["hits_per_minute"] == 0


async def test_the_members_are_told_with_their_leases(make_edge: EdgeFactory):
    one, other = await make_edge(), await make_edge()
    live = (await one.admin_request("GET", "/live")).json
    assert {edge["id"] for edge in live["members"]["edges"]} == {
        live["edge"],
        (await other.admin_request("GET", "/live")).json["edge"],
    }
    assert len(live["members"]["sessions"]) == 2
    assert all(0 < lease["left_ms"] <= 2000 for lease in live["members"]["edges"] + live["members"]["sessions"])
    assert live["role"] == "purge"
    assert (await one.admin_request("GET", "/live", token="read-token")).json["role"] == "read"


async def test_without_redis_nobody_knows_the_members_and_the_rest_is_told(make_edge: EdgeFactory, tmp_path: Path):
    edge = await make_edge(redis=f"unix://{tmp_path}/nothing.sock")
    live = (await edge.admin_request("GET", "/live")).json
    assert live["members"] is None
    assert live["hold"] != []


async def test_a_sample_is_asked_for_by_its_number(edge: RunningEdge):
    for after in "x", "-1", "1" * 20, "²":
        assert (await edge.admin_request("GET", f"/live?after={after}")).status in (400, 422)
    assert (await edge.admin_request("GET", "/live?after=7")).json["samples"] == []
