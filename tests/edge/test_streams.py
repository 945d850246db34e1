"""What passes through an edge and is not kept: streams, large bodies; and connections that stand."""

import asyncio
import shutil
import statistics
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from mizan_edge.serving import reader
from tests.support import crowd
from tests.support.bodies import WAYS, bodies, held_back, passed
from tests.support.edge import EdgeFactory
from tests.support.edges import Edge, Start
from tests.support.listening import chunk, connection
from tests.support.memory import MIB, Growth
from tests.support.origin import until
from tests.support.proxy import read_head, talking

VIEW = "/profile/5/"
SIZE = 64 * MIB
GROWTH = 40 * MIB


# Streams.


class Events:
    """An origin that says each of three events when its client has got the one before.

    # mutable state: how often it was `asked`, and how many clients are `gone`; by client, `got` for each event.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.gone = 0
        self.got: dict[bytes, asyncio.Semaphore] = {}

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        self.asked += 1
        got = self.got.setdefault(head.partition(b"X-Client: ")[2].split(b"\r\n")[0], asyncio.Semaphore(0))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            writer.write(chunk(b"data: %d\n\n" % number))
            await got.acquire()
        try:
            # A client that has gone without a word is one that has said all, until it is written to.
            while True:
                writer.write(chunk(b":\n\n"))
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            self.gone += 1


async def test_a_declared_body_that_stands_still_is_passed_on_as_far_as_it_has_come(
    make_edge: EdgeFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reader, "COLLECT_S", 0.1)
    let_go = asyncio.Event()

    async def talk(asked: StreamReader, answer: StreamWriter) -> None:
        await read_head(asked)
        answer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
        await let_go.wait()
        answer.write(chunk(b"last") + chunk(b""))

    async with talking(talk) as address, asyncio.timeout(10):
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as one, connection(edge.address) as another:
            for _, asking in one, another:
                asking.write(f"GET {VIEW} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
            for answered, _ in one, another:
                assert b"stored" not in await answered.readuntil(chunk(b"first"))
            let_go.set()
            for answered, _ in one, another:
                assert await answered.readuntil(chunk(b"")) == chunk(b"last") + chunk(b"")


async def test_each_event_of_a_stream_arrives_before_the_next_is_sent(start_edge: Start):
    """Declared or not, and each client has a stream of its own."""
    origin = Events()

    async def listen(edge: Edge, target: str, name: str, together: asyncio.Barrier) -> None:
        async with connection(edge.address) as (reader, writer):
            writer.write(f"GET {target} HTTP/1.1\r\nHost: site.test\r\nX-Client: {target}{name}\r\n\r\n".encode())
            head = await read_head(reader)
            assert b"stored" not in head and b"collapsed" not in head and b"hit" not in head
            for number in range(3):
                await reader.readuntil(b"data: %d\n\n" % number)
                await together.wait()
                origin.got[f"{target}{name}".encode()].release()

    async with talking(origin.talk) as address:
        edge = await start_edge("--origin", f"http://{address}")
        for target in "/undeclared", VIEW, "/catalog/books/":
            together = asyncio.Barrier(3)
            async with asyncio.timeout(10):
                await asyncio.gather(*(listen(edge, target, name, together) for name in "abc"))
            # Who has left a stream lets the origin go with its next event.
            await until(lambda: origin.gone == origin.asked)
        assert origin.asked == 9


# Large bodies.


async def test_bodies_of_64_mib_pass_each_way_and_leave_the_memory_flat(start_edge: Start):
    async with bodies() as origin:
        edge = await start_edge("--origin", f"http://{origin.address}", workers=1)
        (worker,) = edge.workers
        for way in WAYS:
            growth = Growth.of(worker)
            await passed(edge.address, way, SIZE, origin)
            assert growth.peak < GROWTH, way


async def test_of_what_nobody_reads_the_edge_keeps_little_and_passes_all_in_the_end(start_edge: Start):
    async with bodies() as origin:
        edge = await start_edge("--origin", f"http://{origin.address}", workers=1)
        (worker,) = edge.workers
        assert await held_back(edge.address, worker, SIZE, origin) < GROWTH


# Connections that stand.


async def test_idle_and_slow_connections_do_not_keep_others_from_being_served(start_edge: Start):
    async with crowd.patient() as origin:
        with crowd.files(256):  # fewer than the edge needs
            edge = await start_edge("--origin", f"http://{origin.address}", workers=1)
        async with crowd.idle(edge.address, 500) as idle, crowd.slow(edge.address, 60) as slow:
            await crowd.accepted(edge, 560)
            times = await crowd.served_meanwhile(edge, origin, slow, every_s=0.05, ticks=10)
            assert statistics.median(times.hits_s) < 0.1 and statistics.median(times.misses_s) < 0.1
            assert crowd.silent(idle) == 500
            assert slow.standing == 60
            await until(lambda: origin.uploaded == 20 * slow.ticks)
            assert slow.read > 20


# A client that people use.


async def curl(*arguments: str) -> str:
    """What curl prints; it succeeds."""
    process = await asyncio.create_subprocess_exec("curl", "--silent", "--show-error", *arguments, stdout=PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    return out.decode()


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
# For so long curl would wait with its body: longer than the test does.
EXPECT = ("--expect100-timeout", "60", "--header", "Expect: 100-continue", "--dump-header", "-")


@needs_curl
@pytest.mark.parametrize("target", ["/undeclared", VIEW])
async def test_curl_gets_early_hints_and_trailers(make_edge: EdgeFactory, target: str):
    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(chunk(b"page") + b"0\r\nDigest: abc\r\n\r\n")

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        said = await curl("--dump-header", "-", f"http://{edge.address}{target}")
    hints, head, rest = said.replace("\r\n", "\n").split("\n\n", 2)
    assert hints.startswith("HTTP/1.1 103 Early Hints\n") and "\nLink: </style.css>; rel=preload" in hints
    assert head.startswith("HTTP/1.1 200 OK\n") and "Digest" not in head
    assert "page" in rest and "Digest: abc\n" in rest


@needs_curl
@pytest.mark.parametrize("says_100", [True, False])
async def test_curl_is_asked_for_its_body_when_that_is_wanted(make_edge: EdgeFactory, tmp_path: Path, says_100: bool):
    body = tmp_path / "body"
    body.write_bytes(b"x" * MIB)

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        if says_100:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(MIB)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        said = await curl(*EXPECT, "--data-binary", f"@{body}", f"http://{edge.address}/upload")
    assert said.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert said.endswith("\r\n\r\nok") and said.count("100 Continue") == 1


@needs_curl
async def test_curl_keeps_its_body_where_the_origin_does_not_want_it(make_edge: EdgeFactory, tmp_path: Path):
    body = tmp_path / "body"
    body.write_bytes(b"x" * MIB)
    came = b""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal came
        await read_head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        came = await reader.read()

    async with talking(talk) as address:
        edge = await make_edge(origin=f"http://{address}")
        upload = ("--write-out", " %{size_upload} sent", "--data-binary", f"@{body}")
        said = await curl(*EXPECT, *upload, f"http://{edge.address}/upload")
    assert said.startswith("HTTP/1.1 403 Forbidden\r\n") and said.endswith("\r\n\r\nno 0 sent")
    assert came == b""
