"""Traffic at full size: `python -m pytest -n0 -s tests/proofs/traffic.py` prints the figures."""

import asyncio
import statistics
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence

from tests.support import crowd
from tests.support.bodies import WAYS, bodies, held_back, passed
from tests.support.edges import Start
from tests.support.listening import chunk, connection
from tests.support.memory import KIB, MIB, Growth, resident
from tests.support.origin import until
from tests.support.proxy import read_head, talking

GIB = 1 << 30
GROWTH = 40 * MIB
IDLE, SLOW = 10_000, 1_000
MEDIAN_S = 0.1
# As slow as the crowd is, nobody of it is to be cut while it is looked at.
PATIENCE = {f"MIZAN_EDGE_{name}_TIMEOUT": "600" for name in ("HEAD", "IDLE", "BODY", "WRITE")}
VIEW = "/profile/5/"


async def test_a_gibibyte_passes_each_way_and_leaves_the_memory_flat(start_edge: Start):
    print()
    async with bodies() as origin:
        edge = await start_edge("--origin", f"http://{origin.address}", workers=1)
        (worker,) = edge.workers
        for way in WAYS:
            growth, since_s = Growth.of(worker), time.monotonic()
            await passed(edge.address, way, GIB, origin)
            took_s = time.monotonic() - since_s
            peak = f"{growth.peak / MIB:.1f} MiB more than the {growth.before / MIB:.0f} before"
            print(f"1 GiB, {way.format(size=GIB)}: {took_s:.1f} s, peak {peak}")
            assert growth.peak < GROWTH


async def test_of_a_gibibyte_that_nobody_reads_the_edge_keeps_little_and_passes_all_in_the_end(start_edge: Start):
    async with bodies() as origin:
        edge = await start_edge("--origin", f"http://{origin.address}", workers=1)
        (worker,) = edge.workers
        peak = await held_back(edge.address, worker, GIB, origin)
        print(f"\n1 GiB each way, nobody reads: peak {peak / MIB:.1f} MiB more than before")
        assert peak < GROWTH


async def test_ten_thousand_idle_and_a_thousand_slow_connections_do_not_keep_others_from_being_served(
    start_edge: Start,
):
    with crowd.files(IDLE + 3 * SLOW):
        async with crowd.patient() as origin:
            with crowd.files(256):  # fewer than the edge needs
                edge = await start_edge("--origin", f"http://{origin.address}", **PATIENCE)
            before = resident(edge.workers)
            async with crowd.idle(edge.address, IDLE) as idle:
                await crowd.accepted(edge, IDLE)
                with_idle = resident(edge.workers)
                async with crowd.slow(edge.address, SLOW) as slow:
                    times = await crowd.served_meanwhile(edge, origin, slow, every_s=1, ticks=10)
                    with_slow = resident(edge.workers)
                    assert crowd.silent(idle) == IDLE
                    assert slow.standing == SLOW
                    await until(lambda: origin.uploaded == len(slow.bodies) * slow.ticks)
                    assert slow.read > len(slow.readers)
            print(f"\n{IDLE} idle connections: {(with_idle - before) / IDLE / KIB:.1f} KiB each")
            print(f"{SLOW} slow ones: {(with_slow - with_idle) / SLOW / KIB:.0f} KiB each")
            assert told("hits meanwhile", times.hits_s) < MEDIAN_S
            assert told("misses meanwhile", times.misses_s) < MEDIAN_S


async def test_a_body_that_trickles_is_passed_on_after_a_while_and_not_stored(start_edge: Start):
    """Declared, and nothing forbids to store it: the edge waits for its end, but not for long."""
    pieces, every_s = 28, 0.25
    sent: list[int] = []

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            await read_head(reader)
            sent.clear()
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in range(pieces):
                writer.write(chunk(b"%d;" % number))
                sent.append(number)
                await asyncio.sleep(every_s)
            writer.write(chunk(b""))

    async with talking(talk) as address:
        edge = await start_edge("--origin", f"http://{address}")
        async with connection(edge.address) as (reader, writer):
            began_s = time.monotonic()
            writer.write(f"GET {VIEW} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode())
            assert b"stored" not in await asyncio.wait_for(read_head(reader), 20)
            first_s = time.monotonic() - began_s
            assert len(sent) < pieces
            at_first = len(sent)
            await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 20)
        print(f"\na body that trickles: the first byte after {first_s:.1f} s, with {at_first} of {pieces} pieces")
        assert first_s < 6


def told(what: str, times_s: Sequence[float]) -> float:
    """Prints the median and the 99th percentile; the median."""
    median = statistics.median(times_s)
    print(f"{what}: median {1000 * median:.2f} ms, p99 {1000 * statistics.quantiles(times_s, n=100)[-1]:.2f} ms")
    return median
