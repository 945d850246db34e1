"""How long a hit takes where nobody is overloaded: at half of the requests per second that nginx can do."""

import gc
import time
from dataclasses import dataclass

from bench import wrk
from bench.client import Paced, at_rate
from bench.loads import LOADS, Facts
from bench.processes import Processors
from bench.requests import one_of_each
from bench.rounds import Options, warm
from bench.servers import open_rig

_NGINX = "nginx"


@dataclass(frozen=True, slots=True)
class HalfLoad:
    """The latencies of each server, round for round, at the same rate."""

    rate: float
    """Requests per second."""
    rounds: dict[str, list[Paced]]


def measure(processors: Processors, options: Options) -> HalfLoad:
    """Runs the load of 1,000 URLs at half of nginx's rate. Raises BenchError where there is no nginx."""
    (load,) = (one for one in LOADS if one.name == "heads-1k")
    with open_rig(processors) as rig:
        rig.start_origin()
        rig.start_redis()
        names = [_NGINX, *(name for name in options.peers if name != _NGINX)]
        servers = {"edge": rig.start_edge(), **{name: rig.start_peer(name) for name in names}}
        requests = load.make(Facts(rig.secret, int(time.time()), ""))
        path = rig.memory / "requests"
        wrk.write_requests(path, requests)
        rates = {}
        for name, server in servers.items():
            warm(server, list(one_of_each(requests)))
            # Each runs hot first, and nginx's figure is the one that counts.
            full = wrk.run(
                path,
                server.port,
                processors=processors.others,
                connections=options.connections,
                seconds=options.seconds,
            )
            rates[name] = full.rate
        rate = rates[_NGINX] / 2
        rounds: dict[str, list[Paced]] = {name: [] for name in servers}
        gc.collect()
        gc.disable()  # its pauses would be taken for the server's
        try:
            for _ in range(options.rounds):
                for name, server in servers.items():
                    rounds[name].append(at_rate(server.port, requests, rate=rate, seconds=options.seconds))
        finally:
            gc.enable()
    return HalfLoad(rate, rounds)
