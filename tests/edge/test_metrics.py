"""`GET /metrics`: every request that is answered is counted once, by its outcome and status, whichever way it went."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import struct
import sys
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from mizan_edge.admin.series import COUNTERS, HISTOGRAMS
from mizan_edge.system.histograms import BOUNDS_S
from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.edges import Start, Valve
from tests.support.killable import Redis
from tests.support.listening import SWITCHED, UPGRADE, connection
from tests.support.metrics import Key, families, requests, scrape, summed
from tests.support.origin import Asked, Origin, Says, until
from tests.support.proxy import read_head, talking
from tests.support.redis_server import established
from tests.support.wire import Connections, Reply

TOP = Path(__file__).parents[2]
JSON = {"Content-Type": "application/json"}
ETAG = '"1"'


def script(asked: Asked) -> Says:
    """A site: a POST changes a catalog."""
    headers = [("ETag", ETAG), ("Date", "Sun, 22 Nov 2026 00:00:00 GMT")]
    if asked.method == "POST":
        return Says('{"result": null}', headers=[("X-Mizan-Invalidate", "catalog;category=a")])
    if "mine" in asked.target:
        return Says("mine", headers=[*headers, ("Cache-Control", "private")])
    if "nowhere" in asked.target:
        return Says("", 404)
    return Says(f"{asked.target} as it is", headers=headers)


class Client:
    """Sends requests of every kind, and tells of each answer as what it has to be counted."""

    def __init__(self, edge: RunningEdge, seed: int) -> None:
        self.edge = edge
        self.random = random.Random(seed)
        self.connections = Connections(edge.address)
        self.got: Counter[tuple[str, ...]] = Counter()

    async def one(self) -> None:
        """One request of some kind, or several on one connection."""
        name = self.random.choice("aaabcd")
        match self.random.randrange(16):
            case 0 | 1 | 2 | 3:
                self.read(await self.get(f"/catalog/{name}/"))
            case 4:
                self.read(await self.get(f"/catalog/{name}/", {"If-None-Match": ETAG}))
            case 5:
                self.read(await self.get(f"/catalog/{name}/", {"Range": "bytes=0-1"}), "pass")
            case 6:
                self.read(await self.get(f"/catalog/{name}/", {"Range": "bytes=900-"}), "pass")
            case 7:
                self.read(await self.connections.request("HEAD", f"/catalog/{name}/"), "pass")
            case 8:
                await self.pipelined(f"/catalog/{name}/")
            case 9:
                self.read(await self.get("/catalog/mine/"), "unstorable", "directives")
            case 10:
                cookie = {"Cookie": "sessionid=x"}
                self.told(await self.get("/profile/5/", cookie), "user", "pass", "credentials")
            case 11:
                self.told(await self.get("/profile/05/"), "-", "pass", "non-canonical")
            case 12:
                self.told(await self.get("/nowhere/"), "-", "pass", "undeclared")
            case 13:
                body = json.dumps({"fn": "rename_user", "args": {"user_id": 5}}).encode()
                self.told(await self.edge.request("POST", "/api/mizan/call/", JSON, body), "-", "pass", "method")
            case 14:
                self.told(*await self.refused())
            case 15:
                only = await self.get(f"/catalog/{self.random.random()}/", {"Cache-Control": "only-if-cached"})
                self.told(only, "catalog", "refused", "only-if-cached")

    async def refused(self) -> tuple[Reply, str, str, str]:
        """What the edge answers by itself."""
        address, last = self.edge.address, {"Max-Forwards": "0"}
        match self.random.randrange(6):
            case 0:
                reply = await wire.send(address, b"nonsense\r\n\r\n")
            case 1:
                reply = await wire.request(address, "GET", "/catalog/a/", host="other.test")
            case 2:
                reply = await wire.request(address, "GET", "/catalog/a/", [("X-Many", "x")] * 300)
            case 3:
                reply = await wire.request(address, "TRACE", "/catalog/a/", last)
            case 4:
                reply = await wire.request(address, "POST", "/x", {"Content-Length": "-1"})
            case _:
                return await wire.request(address, "OPTIONS", "/catalog/a/", last), "-", "local", ""
        return reply, "-", "refused", ""

    async def pipelined(self, target: str) -> None:
        """Five requests in one write."""
        async with connection(self.edge.address) as (reader, writer):
            head = f"GET {target} HTTP/1.1\r\nHost: site.test\r\n"
            writer.write(f"{head}\r\n".encode() * 4 + f"{head}Connection: close\r\n\r\n".encode())
            said = await reader.read()
        answers = [b"HTTP/1.1 " + answer for answer in said.split(b"HTTP/1.1 ")[1:]]
        assert len(answers) == 5
        for answer in answers:
            self.read(wire.parse(answer))

    async def get(self, target: str, headers: wire.Headers = ()) -> Reply:
        return await self.connections.request("GET", target, headers)

    def read(self, reply: Reply, otherwise: str = "miss", why: str = "") -> None:
        """An answer to a read of a catalog, of which `Cache-Status` says the outcome."""
        said = reply.cache
        if said.startswith("hit"):
            self.told(reply, "catalog", "hit", "")
        elif "collapsed" in said:
            self.told(reply, "catalog", "collapsed", "")
        elif otherwise == "pass":
            self.told(reply, "catalog", "pass", re.split("[=;]", said)[1])
        elif otherwise == "unstorable":
            self.told(reply, "catalog", otherwise, why)
        else:
            self.told(reply, "catalog", otherwise, "" if "stored" in said else "unstored")

    def told(self, reply: Reply, context: str, outcome: str, detail: str) -> None:
        self.got[context, outcome, detail, str(reply.status)] += 1


async def under_load(edge: RunningEdge, number: int, seed: int) -> Counter[tuple[str, ...]]:
    """Eight clients, each of which sends so many requests; what they got."""
    clients = [Client(edge, seed + i) for i in range(8)]

    async def work(client: Client) -> None:
        try:
            while client.got.total() < number:
                await client.one()
        finally:
            client.connections.close()

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(work(client))
    return sum((client.got for client in clients), Counter())


async def scraped_all_the_while(edge: RunningEdge, end: asyncio.Event) -> int:
    """Scrapes until the end: whatever happens, nothing that was counted goes down. How often."""
    before: dict[Key, float] = {}
    times = 0
    while not end.is_set():
        samples = await scrape(edge)
        await asyncio.sleep(0.05)
        assert before.keys() <= samples.keys()
        assert {key: (value, samples[key]) for key, value in before.items() if samples[key] < value} == {}
        before, times = samples, times + 1
    return times


async def test_every_request_over_four_workers_is_accounted_for_exactly(start_edge: Start, origin: Origin):
    origin.script = script
    edge = await start_edge("--allowed-hosts", "site.test", workers=4)
    assert len(edge.workers) == 4
    end = asyncio.Event()
    watching = asyncio.get_running_loop().create_task(scraped_all_the_while(edge, end))
    got = await under_load(edge, 100, seed=1)
    samples = await scrape(edge)
    assert requests(samples) == got
    # Each kind did occur, and is what it is taken for.
    statuses = {outcome: {status for _, other, _, status in got if other == outcome} for _, outcome, _, _ in got}
    assert statuses["hit"] == {"200", "206", "304", "416"}
    assert statuses["refused"] == {"400", "421", "431", "501", "504"}
    assert statuses["local"] == {"204"}
    assert statuses.keys() - {"collapsed"} == {"hit", "miss", "unstorable", "pass", "refused", "local"}
    # What was timed: each that was fetched, each answer of the origin, and of the hits so many as one in 16 stands for.
    fetched = {"miss", "collapsed", "unstorable"}
    waited = sum(number for (_, outcome, _, _), number in got.items() if outcome in fetched)
    assert summed(samples, "mizan_edge_miss_duration_seconds_count").total() == waited
    assert summed(samples, "mizan_edge_origin_duration_seconds_count").total() == origin.hits
    hits = Counter({key: number for key, number in got.items() if key[1] == "hit"})
    timed = summed(samples, "mizan_edge_hit_duration_seconds_count").total()
    assert abs(timed - hits.total()) <= 16 * len(hits) * 4
    # The same without bookkeeping of its own.
    stats = await edge.counters()
    assert stats["requests.catalog.hit"] == hits.total()
    assert sum(number for name, number in stats.items() if name.startswith("requests.")) == got.total()

    # A worker that is killed takes nothing with it that was told. (Its successor counts on.)
    os.kill(edge.workers[0], signal.SIGKILL)
    await until(lambda: len(edge.workers) == 4)
    assert requests(await scrape(edge)) == got
    end.set()
    assert await watching > 2
    got += await under_load(edge, 20, seed=100)
    assert requests(await scrape(edge)) == got


async def test_a_worker_that_ends_has_counted_all_and_one_that_is_stuck_what_it_has_told(start_edge: Start):
    edge = await start_edge()
    one, two = await edge.clients()
    for client in (one, two) * 3:
        await client.get("/x")
    os.kill(two.pid, signal.SIGSTOP)
    try:
        samples = await scrape(edge)  # which does not wait for it for long
    finally:
        os.kill(two.pid, signal.SIGCONT)
    assert 3 <= requests(samples).total() <= 6
    assert requests(await scrape(edge)).total() == 6
    await one.get("/x")
    os.kill(one.pid, signal.SIGTERM)
    await until(lambda: one.pid not in edge.workers)
    assert requests(await scrape(edge)).total() == 7


async def counted(edge: RunningEdge) -> Counter[tuple[str, ...]]:
    """How many requests were answered, by context, outcome, detail and status."""
    return requests(await scrape(edge))


async def until_counted(edge: RunningEdge, *outcome: str) -> None:
    """Waits until one request is counted so, and none in any other way."""
    async with asyncio.timeout(10):
        while not (told := await counted(edge)):
            pass
    assert told == {outcome: 1}


async def test_an_answer_whose_client_has_left_is_counted_as_499(edge: RunningEdge, origin: Origin):
    go_on = asyncio.Event()

    async def slow(asked: Asked) -> Says:
        await go_on.wait()
        return Says("too late")

    origin.script = slow
    async with leaving(edge) as writer:
        writer.write(b"GET /profile/5/ HTTP/1.1\r\nHost: site.test\r\n\r\n")
        await until(lambda: origin.hits == 1)
    go_on.set()
    await until_counted(edge, "user", "miss", "", "499")
    assert (await edge.get("/profile/5/")).hit


async def test_a_request_whose_client_leaves_while_redis_is_asked_is_counted(
    make_edge: EdgeFactory, server: Redis, namespace: str
):
    valve = Valve(str(server.socket))
    established(server.url, namespace)
    async with talking(valve.talk) as address:
        edge = await make_edge(redis=f"redis://{address}", near=0)
        with closing(Connections(edge.address)) as staying:
            assert [(await staying.request("GET", "/profile/5/")).hit for _ in range(3)] == [False, True, True]
        before = await counted(edge)
        valve.next = "read"
        async with leaving(edge) as writer:
            writer.write(b"GET /profile/5/ HTTP/1.1\r\nHost: site.test\r\n\r\n")
            await valve.held.wait()
        valve.go.set()
        async with asyncio.timeout(10):
            while (more := await counted(edge) - before) == {}:
                pass
        assert more == {("-", "left", "", "499"): 1}


@asynccontextmanager
async def leaving(edge: RunningEdge) -> AsyncIterator[StreamWriter]:
    """A connection at whose end the client has left for good: one that only ends its side may still read an answer."""
    async with connection(edge.address) as (_, writer):
        yield writer
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    await until_connections(edge, 0)


async def until_connections(edge: RunningEdge, number: int) -> None:
    async with asyncio.timeout(10):
        while (await families(edge))["mizan_edge_connections"].samples[0].value != number:
            pass


async def test_an_origin_that_does_not_answer_is_an_error_of_its_own_and_a_failed_request(make_edge: EdgeFactory):
    async def gone(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)

    async with talking(gone) as address:
        edge = await make_edge(origin=f"http://{address}")
        assert (await edge.get("/profile/5/")).status == 502
    samples = await scrape(edge)
    assert requests(samples) == {("user", "failed", "origin", "502"): 1}
    assert summed(samples, "mizan_edge_origin_errors_total", "status") == {("502",): 1}
    assert summed(samples, "mizan_edge_origin_duration_seconds_count").total() == 0


async def test_a_stale_response_that_stands_in_for_the_origin_is_stale(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge()
    origin.headers = [("Cache-Control", "public, max-age=0, stale-if-error=60")]
    assert (await edge.get("/catalog/a/")).status == 200
    origin.script = lambda _: Says("", 503)
    assert (await edge.get("/catalog/a/")).cache.startswith("hit; ttl=")
    assert await counted(edge) == {("catalog", "miss", "", "200"): 1, ("catalog", "stale", "", "200"): 1}


async def test_a_client_that_is_turned_away_is_refused_with_503(make_edge: EdgeFactory):
    edge = await make_edge(max_connections=1)
    async with connection(edge.address):
        await until_connections(edge, 1)
        assert (await edge.get("/profile/5/")).status == 503
    assert await counted(edge) == {("-", "refused", "", "503"): 1}


async def test_a_request_that_does_not_come_to_its_end_is_counted_once_and_none_that_did_not_begin(
    edge: RunningEdge, origin: Origin
):
    async with connection(edge.address) as (reader, writer):
        writer.write(b"POST /x HTTP/1.1\r\nHost: site.test\r\nContent-Length: 9\r\n\r\npart")
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    async with connection(edge.address) as (reader, writer):
        writer.write(b"\r\n")
    assert await counted(edge) == {("-", "refused", "", "400"): 1}


async def test_of_a_tunnel_its_beginning_is_counted(make_edge: EdgeFactory):
    async def switches(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        await reader.read()

    async with talking(switches) as address:
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as (reader, writer):
            writer.write(UPGRADE)
            assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
            await until_counted(edge, "-", "pass", "bypass", "101")
    await until_counted(edge, "-", "pass", "bypass", "101")


async def test_purges_are_told_by_source_with_the_time_until_all_have_acknowledged(edge: RunningEdge, origin: Origin):
    await edge.get("/profile/5/")
    await edge.purge("user;user_id=5")
    origin.headers = [("X-Mizan-Invalidate", "user;user_id=5")]
    await edge.call("rename_user", user_id=5)
    samples = await scrape(edge)
    assert summed(samples, "mizan_edge_purges_total", "source") == {("admin",): 1, ("response",): 1}
    assert summed(samples, "mizan_edge_purged_entries_total").total() == 1
    assert summed(samples, "mizan_edge_purge_acknowledgement_seconds_count").total() == 2


async def test_the_state_of_memory_lease_and_holds_is_told(edge: RunningEdge):
    await edge.get("/catalog/a/")
    told = {
        family: [(sample.labels, sample.value) for sample in metric.samples]
        for family, metric in (await families(edge)).items()
    }
    assert told["mizan_edge_near_entries"] == [({}, 1)]
    assert told["mizan_edge_near_bytes"][0][1] > 100
    assert told["mizan_edge_lease"] == [({}, 1)]
    assert told["mizan_edge_journal_purges"] == [({"kind": "unconfirmed"}, 0), ({"kind": "under way"}, 0)]
    assert {labels["reason"]: value for labels, value in told["mizan_edge_cache_held"]} == {
        "unconfirmed purges": 0,
        "manifest not adopted": 0,
        "no lease from Redis": 0,
    }


async def test_without_redis_the_lease_is_lost_the_cache_held_and_the_journal_not_empty(
    make_edge: EdgeFactory, server: Redis
):
    edge = await make_edge(redis=server.url, redis_timeout=0.2, purge_timeout=0.2)
    await edge.get("/catalog/a/")
    server.kill()
    assert (await edge.purge("catalog")).status == 503
    told = await families(edge)
    assert told["mizan_edge_lease"].samples[0].value == 0
    assert [sample.value for sample in told["mizan_edge_journal_purges"].samples] == [1, 0]
    assert {s.labels["reason"] for s in told["mizan_edge_cache_held"].samples if s.value} == {
        "unconfirmed purges",
        "no lease from Redis",
    }
    server.start()
    async with asyncio.timeout(10):
        while not summed(await scrape(edge), "mizan_edge_purges_total", "source"):
            pass
    samples = await scrape(edge)
    # Counted once, though its answer could not wait for it.
    assert summed(samples, "mizan_edge_purges_total", "source") == {("admin",): 1}
    assert summed(samples, "mizan_edge_purges_unconfirmed_total").total() == 1


async def test_it_is_openmetrics_for_whoever_accepts_that_and_open_under_names_of_the_listener_alone(edge: RunningEdge):
    await edge.get("/catalog/a/")
    asked = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    reply = await edge.admin_request("GET", "/metrics", token=None, Accept=asked)
    assert (reply["Content-Type"] or "").startswith("application/openmetrics-text; version=1.0.0")
    told = {family.name: family.type for family in openmetrics(reply.body.decode())}
    assert told["mizan_edge_requests"] == "counter"
    for nonsense in {}, {"Accept": "text/plain; version=x"}, {"Accept": "application/openmetrics-text; version=junk"}:
        plain = await edge.admin_request("GET", "/metrics", token=None, **nonsense)
        assert plain["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (await edge.admin_request("GET", "/metrics", token=None, host="evil.test")).status == 421
    assert (await edge.admin_request("POST", "/metrics", token=None)).status == 401


async def test_the_document_tells_of_every_series_and_of_none_that_is_not(edge: RunningEdge):
    await edge.get("/catalog/a/")
    table = re.findall(
        r"^\| `(mizan_edge_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", (TOP / "docs/metrics.md").read_text(), re.MULTILINE
    )
    told = {}
    for name, family in (await families(edge)).items():
        if name.startswith("mizan_edge_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            told[name + "_total" * (family.type == "counter")] = (family.type, family.documentation, labels)
    assert {name for name, _, _, _ in table} == told.keys()
    for name, kind, labels, says in table:
        assert (kind.replace("info", "gauge"), says) == told[name][:2], name
        assert told[name][2] <= set(re.findall(r"`(\w+)`", labels)), name


def test_whatever_is_counted_is_told():
    counted = set(
        re.findall(r'\bcount\(\s*"(\w+)"', "".join(path.read_text() for path in (TOP / "mizan_edge").rglob("*.py")))
    )
    assert counted <= {series.counted for series in COUNTERS}
    assert {series.counted for series in HISTOGRAMS} == BOUNDS_S.keys()


async def test_a_worker_that_cannot_be_started_is_not_counted(
    make_edge: EdgeFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    edge = await make_edge(workers=1)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    reply = await edge.admin_request("POST", "/recycle")
    assert reply.status == 503, reply.body
    (workers,) = (await families(edge))["mizan_edge_workers"].samples
    assert workers.value == 1
