"""One load after the other; within one, all servers in turn, round for round."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import wrk
from bench.client import ask
from bench.loads import READS_ONLY, Facts, Load
from bench.processes import BenchError, Processors, cpu_s
from bench.requests import browser, one_of_each
from bench.servers import Rig, Server, open_rig

_PASSES = 20
# Between the first URLs of two runs in which every URL is new.
_APART = 10_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """How long, how often, and against whom."""

    rounds: int
    seconds: int
    """Of a round."""
    warm_up: int
    """Seconds of load before the first round."""
    connections: int
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """What one server has done in one round."""

    rate: float
    """Requests per second."""
    cpu_us: float
    """Processor time of all of the server's processes for a request."""
    store_us: float
    """That of Redis, which is the edge's alone."""
    p50_ms: float
    p99_ms: float
    p999_ms: float
    busy: float
    """The share of its processor that the server had."""
    client_busy: float
    """That of wrk; where it comes near 1 it is wrk that is measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of a load: those of the edge, and of each that it is compared with."""

    load: Load
    rounds: dict[str, list[Round]]


@dataclass(slots=True)
class _Contestant:
    server: Server
    requests: Sequence[bytes]
    path: Path
    """Where wrk finds them."""
    fresh_from: int | None = None
    """The number of the next run's first URL, where every URL is new."""

    def run(self, rig: Rig, options: Options, seconds: int) -> Round:
        """Loads the server for so long."""
        used_s, store_s = cpu_s(self.server.pid), cpu_s(rig.redis_pid)
        done = wrk.run(
            self.path,
            self.server.port,
            processors=rig.processors.others,
            connections=options.connections,
            seconds=seconds,
            first=self.fresh_from,
        )
        used_s, store_s = cpu_s(self.server.pid) - used_s, cpu_s(rig.redis_pid) - store_s
        if self.fresh_from is not None:
            self.fresh_from += _APART
        return Round(
            rate=done.rate,
            cpu_us=used_s / done.requests * 1e6,
            store_us=store_s / done.requests * 1e6 if self.server.name == "edge" else 0.0,
            p50_ms=done.p50_ms,
            p99_ms=done.p99_ms,
            p999_ms=done.p999_ms,
            busy=used_s / done.seconds,
            client_busy=done.cpu_s / done.seconds,
        )


def measure(load: Load, processors: Processors, options: Options) -> Measured:
    """Runs a load. Each load has new servers, so that none is measured with what another one has left."""
    with open_rig(processors) as rig:
        contestants = _contestants(load, rig, options)
        if load.hits:
            for contestant in contestants.values():
                warm(contestant.server, list(one_of_each(contestant.requests)))
        if options.warm_up:
            for contestant in contestants.values():
                contestant.run(rig, options, options.warm_up)
        rounds: dict[str, list[Round]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, contestant in contestants.items():
                rounds[name].append(contestant.run(rig, options, options.seconds))
    return Measured(load, rounds)


def _contestants(load: Load, rig: Rig, options: Options) -> dict[str, _Contestant]:
    rig.start_origin()
    rig.start_redis()
    edge = rig.start_edge(near=load.near, compress=load.compress)
    facts = Facts(secret=rig.secret, now_s=int(time.time()), etag=_etag(rig.origin_port))
    requests, path = load.make(facts), rig.memory / "requests"
    wrk.write_requests(path, requests)
    fresh_from = _APART if load.fresh else None
    contestants = {"edge": _Contestant(edge, requests, path, fresh_from)}
    if load.against_reads is not None:
        reads, path = load.against_reads(facts), rig.memory / "reads"
        wrk.write_requests(path, reads)
        return contestants | {READS_ONLY: _Contestant(edge, reads, path)}
    for name in options.peers:
        contestants[name] = _Contestant(rig.start_peer(name), requests, path, fresh_from)
    return contestants


def warm(server: Server, requests: Sequence[bytes]) -> None:
    """Asks each request until its answer is a hit. Raises BenchError where that never happens."""
    left, last = list(requests), b""
    for _ in range(_PASSES):
        others = {place: head for place, head in ask(server.port, left) if not server.hit.search(head)}
        if not others:
            return
        left, last = [left[place] for place in others], next(iter(others.values()))
    raise BenchError(f"{server.name}: {len(left)} of {len(requests)} are still no hits: {left[0]!r} got {last!r}")


def _etag(origin_port: int) -> str:
    ((_, head),) = ask(origin_port, [browser("/1k/0/", 0)])
    found = re.search(rb"\r\nETag: ([^\r]+)", head)
    if found is None:
        raise BenchError(f"the origin gave no ETag: {head!r}")
    return found[1].decode()
