"""`mizan-edge top`: what it works out of the metrics, and what it shows of a real edge."""

import json
import re
import sys

import pytest

from mizan_edge.cli.sampling import Scrape, view
from mizan_edge.system.histograms import quantile
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.killable import Redis
from tests.support.served import run, run_here
from tests.support.terminal import in_terminal

BUCKETS = [(0.1, 10.0), (0.2, 30.0), (0.4, 30.0), (float("inf"), 40.0)]


@pytest.mark.parametrize(("q", "value"), [(0.0, 0.0), (0.25, 0.1), (0.5, 0.15), (0.75, 0.2), (0.9, 0.4)])
def test_quantiles_are_those_of_prometheus(q: float, value: float):
    assert quantile(q, BUCKETS) == pytest.approx(value)


def test_nothing_that_has_happened_has_no_quantile():
    assert quantile(0.5, []) is None
    assert quantile(0.5, [(0.1, 0.0), (float("inf"), 0.0)]) is None


def scraped(at_s: float, hits: int, misses: int, *, started_s: float = 100) -> Scrape:
    return Scrape.parse(
        "# TYPE mizan_edge_requests_total counter\n"
        f'mizan_edge_requests_total{{context="user",outcome="hit",detail="",status="200"}} {hits}\n'
        f'mizan_edge_requests_total{{context="user",outcome="miss",detail="",status="200"}} {misses}\n'
        f'mizan_edge_requests_total{{context="-",outcome="pass",detail="undeclared",status="200"}} 5\n'
        "# TYPE process_start_time_seconds gauge\n"
        f"process_start_time_seconds {started_s}\n",
        at_s,
    )


def test_what_is_shown_is_of_the_time_between_two_looks():
    seen = view(scraped(110, 10, 10), scraped(112, 40, 20))
    user = seen.contexts["user"]
    assert (seen.seconds, user.requests, user.per_second, user.hit_ratio) == (2, 40, 20.0, 0.75)
    assert (seen.contexts["-"].requests, seen.contexts["-"].hit_ratio, seen.total.requests) == (0, None, 40)


def test_the_first_look_and_the_first_after_a_restart_are_of_the_time_since_the_start():
    first = view(None, scraped(110, 30, 10))
    assert (first.seconds, first.total.requests, first.total.per_second) == (10, 45, 4.5)
    again = view(scraped(110, 30, 10), scraped(112, 3, 1, started_s=111))
    assert (again.seconds, again.total.requests) == (1, 9)


async def ask_around(edge: RunningEdge) -> None:
    """Four requests and a purge."""
    for target in "/profile/5/", "/profile/5/", "/catalog/a/", "/undeclared":
        await edge.get(target)
    await edge.purge("user;user_id=5")


async def test_scripts_get_one_document(edge: RunningEdge):
    await ask_around(edge)
    status, out, error = await run("top", "--json", "--admin", edge.admin)
    assert (status, error) == (0, "")
    seen = json.loads(out)
    user, catalog, rest = (seen["contexts"][name] for name in ("user", "catalog", "-"))
    assert (user["outcomes"], user["hit_ratio"]) == ({"hit": 1, "miss": 1}, 0.5)
    assert 0 < user["hit"]["p50"] <= user["hit"]["p99"]
    assert (catalog["outcomes"], catalog["hit"]["p50"]) == ({"miss": 1}, None)
    assert (rest["outcomes"], rest["hit_ratio"]) == ({"pass": 1}, None)
    assert (seen["purges"], seen["purged_entries"]) == ({"admin": 1}, 1)
    assert seen["origin"]["p99"] > 0
    assert (seen["lease"], seen["held"], seen["ready"]["redis"]) == (True, [], "up")


async def test_what_is_not_well_is_shown(make_edge: EdgeFactory, server: Redis):
    edge = await make_edge(redis=server.url)
    await ask_around(edge)
    _, out, _ = await run_here("top", "--once", "--admin", edge.admin)
    heading, _, columns, *rows = out.splitlines()
    assert heading == f"{edge.admin}  redis up  origin up  cache in use  lease  journal 0"
    assert columns.split()[0] == "context"
    assert [row.split()[0] for row in rows[:4]] == ["-", "catalog", "user", "all"]
    assert "50.0%" in rows[2]
    server.kill()
    _, out, _ = await run_here("top", "--once", "--admin", edge.admin)
    assert "redis down" in out.splitlines()[0]
    status, out, error = await run_here("top", "--once", "--admin", "127.0.0.1:1")
    assert (status, out, "cannot be reached" in error) == (1, "", True)


async def test_what_no_terminal_shows_is_neither_broken_nor_filled_up(edge: RunningEdge):
    await ask_around(edge)
    _, out, _ = await run_here("top", "--once", "--admin", edge.admin, COLUMNS="20")
    *_, purges, acknowledged = lines = out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert purges.split(maxsplit=1) == ["purges", "1 (1 admin), 1 entry"]
    assert re.fullmatch(r"acknowledged  p50 \S+ [mu]?s, p99 \S+ [mu]?s", acknowledged)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal that a program can be")
async def test_in_a_terminal_it_follows_the_edge_until_it_is_interrupted(edge: RunningEdge):
    async with in_terminal("top", "--interval", "0.1", "--admin", edge.admin) as terminal:
        assert "redis up" in await terminal.read_until("journal 0")
        await edge.get("/profile/5/")
        await terminal.read_until("user ")
        terminal.write("\x03")
        assert await terminal.end() == 0
