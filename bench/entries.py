"""What an entry costs in memory beyond its body: in Redis, and in a worker."""

from dataclasses import dataclass

import redis

from bench.client import ask
from bench.processes import BenchError, Processors, family, memory_bytes
from bench.requests import browser
from bench.rounds import warm
from bench.servers import BODIES, Server, open_rig

ENTRIES = 50_000
# First, so that what a process needs anyway is there.
_BEFORE = 5_000
_BODY = "1k"


@dataclass(frozen=True, slots=True)
class Costs:
    """Bytes for an entry beyond its body."""

    entries: int
    redis: float
    """With three index members: its context, its id, its URL."""
    worker: float
    """All that the process has grown by, answers that are ready included."""


def measure(processors: Processors, *, entries: int = ENTRIES) -> Costs:
    """Fills an edge that has room for all, and asks for everything until it is answered from what is ready."""
    with open_rig(processors) as rig:
        rig.start_origin()
        url = rig.start_redis()
        edge = rig.start_edge()
        with redis.Redis.from_url(url) as client:
            _fill(edge, range(_BEFORE))
            # Known now, since it has answered.
            _, worker = family(edge.pid)
            in_redis, in_worker = _used(client), memory_bytes(worker)
            _fill(edge, range(_BEFORE, _BEFORE + entries))
            in_redis, in_worker = _used(client) - in_redis, memory_bytes(worker) - in_worker
    body = BODIES[_BODY]
    return Costs(entries, in_redis / entries - body, in_worker / entries - body)


def markdown(costs: Costs) -> str:
    """The figures in a sentence."""
    return (
        f"An entry costs {costs.redis:,.0f} bytes in Redis beyond its body, with three index members (wanted: at most "
        f"1,024), and {costs.worker:,.0f} in a worker (600); over {costs.entries:,} entries."
    )


def _fill(edge: Server, numbers: range) -> None:
    requests = [browser(f"/{_BODY}/{number}/", number) for number in numbers]
    warm(edge, requests)
    # The first hit was answered the long way, which made the next answer ready.
    for _, head in ask(edge.port, requests):
        if not edge.hit.search(head):
            raise BenchError(f"what was there is not any more: {head!r}")


def _used(client: "redis.Redis") -> int:
    return int(client.info("memory")["used_memory"])
