"""What purges take over the edge: mutations, each of which is answered when what it purges is gone."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench import wrk
from bench.client import ask
from bench.processes import BenchError, Processors
from bench.purges import Taken
from bench.report import table
from bench.requests import change, one_of_each, reads, uniform
from bench.rounds import Options, warm
from bench.servers import open_rig

CONNECTIONS = 8
_PAGES = 1000
# wrk is to be at it before the first mutation, and after the last.
_MORE_S = 1


@dataclass(frozen=True, slots=True)
class Mutations:
    """What came of mutations of which each purges one page."""

    one_by_one: Taken
    rate: float
    """How many per second, from `CONNECTIONS` at once."""
    reads: float
    """Reads per second meanwhile."""


def measure(processors: Processors, options: Options) -> list[Mutations]:
    """Mutations alone, and with reads beside them that load the edge fully."""
    with open_rig(processors) as rig, ThreadPoolExecutor(1) as pool:
        rig.start_origin()
        rig.start_redis()
        port = (edge := rig.start_edge()).port
        requests, path = reads("1k", uniform(_PAGES, 20 * _PAGES)), rig.memory / "requests"
        warm(edge, list(one_of_each(requests)))
        wrk.write_requests(path, requests)
        alone = _mutations("a mutation, no reads", port, options.seconds)
        load = pool.submit(
            wrk.run,
            path,
            port,
            processors=processors.others,
            connections=options.connections,
            seconds=2 * options.seconds + _MORE_S,
        )
        beside = _mutations("a mutation while reads go on", port, options.seconds)
        return [Mutations(*alone, reads=0.0), Mutations(*beside, reads=load.result().rate)]


def _mutations(what: str, port: int, seconds: int) -> tuple[Taken, float]:
    one_by_one = list(_between_answers(port, 1, seconds))
    at_once = list(_between_answers(port, CONNECTIONS, seconds))
    return Taken(what, one_by_one), len(at_once) / sum(at_once)


def _between_answers(port: int, connections: int, seconds: int) -> Iterator[float]:
    """The time from each answer to the next one (s), for so many seconds."""
    requests = [change(number, visitor) for visitor, number in enumerate(uniform(_PAGES, 100 * _PAGES))]
    begin_s = at_s = time.perf_counter()
    for _, head in ask(port, requests, connections=connections):
        if head[9:12] != b"200":
            raise BenchError(f"a mutation was not answered with 200: {head!r}")
        before_s, at_s = at_s, time.perf_counter()
        yield at_s - before_s
        if at_s - begin_s > seconds:
            return


def markdown(mutations: Sequence[Mutations]) -> str:
    """The table."""
    rows = [[*one.one_by_one.row, f"{one.rate:,.0f}", f"{one.reads:,.0f}"] for one in mutations]
    return table(["over the edge", "median ms", "p99 ms", f"mutations/s, {CONNECTIONS} at once", "reads/s"], rows)
