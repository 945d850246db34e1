"""`python -m bench`: runs the benchmarks, prints the tables, and writes everything to a file."""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bench import entries, fleets, half_load, hit_rate, mutations, purges, report, rounds
from bench.loads import LOADS
from bench.machine import machine
from bench.processes import BenchError, Processors
from bench.rounds import Options
from bench.servers import PEERS, has, missing

RESULTS = Path(__file__).parent / "results"
OTHERS = {
    "half-load": "how long a hit takes at half of nginx's requests per second",
    "purge": "what purges take",
    "fleet": "what a purge takes among more and more edges",
    "memory": "what an entry costs in memory",
    "hit-rate": "what a memory that is too small keeps",
}


def main() -> None:
    """The command."""
    options = _options()
    try:
        if wanted := missing(["wrk"]):
            raise BenchError("\n".join(wanted))
        _run(options)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit("bench: stopped")


def _options() -> argparse.Namespace:
    names = {load.name: load.about for load in LOADS} | OTHERS
    listed = "\n".join(f"  {name:14}{about}" for name, about in names.items())
    parser = argparse.ArgumentParser(
        prog="make bench ARGS='...'",
        description="Benchmarks beside nginx and Varnish, on one processor. What there is to measure:\n" + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default=",".join(names), help="what to measure: names from above, with commas")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in alternation (5)")
    parser.add_argument("--seconds", type=int, default=5, help="of a round (5)")
    parser.add_argument("--warm-up", type=int, default=2, help="seconds of load before the first round (2)")
    parser.add_argument("--connections", type=int, default=32, help="connections that are kept open (32)")
    parser.add_argument("--peers", default=",".join(PEERS), help="whom to compare with (nginx,varnish)")
    parser.add_argument("--json", type=Path, help="where every round is written (bench/results/TIME.json)")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; see --help")
    options.peers = [peer for peer in options.peers.split(",") if peer]
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"--peers: there is no {', '.join(sorted(unknown))}")
    return options


def _run(options: argparse.Namespace) -> None:
    processors = Processors()
    # The client, and what is measured in this process, are not where the server is.
    os.sched_setaffinity(0, processors.others)
    for line in missing([PEERS[peer] for peer in options.peers]):
        _say(f"{line} (left out)")
    how = Options(
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up=options.warm_up,
        connections=options.connections,
        peers=tuple(peer for peer in options.peers if has(peer)),
    )
    facts = machine()
    written: dict[str, object] = {"machine": facts, "options": asdict(how)}
    printed = ["; ".join(f"{name} {value}" for name, value in facts.items())]

    if loads := [load for load in LOADS if load.name in options.only]:
        measured = []
        for load in loads:
            _say(f"{load.name}: {load.about}")
            measured.append(rounds.measure(load, processors, how))
        printed += [report.ratios(measured), report.figures(measured)]
        written["loads"] = report.rounds_json(measured)
    if "half-load" in options.only and "nginx" in how.peers:
        _say("half-load")
        half = half_load.measure(processors, how)
        printed.append(report.half_load(half))
        written["half-load"] = report.half_load_json(half)
    if "purge" in options.only:
        _say("purge: a million entries are stored first, which takes minutes")
        in_store, over_edge = purges.measure(processors), mutations.measure(processors, how)
        printed += [purges.markdown(in_store), mutations.markdown(over_edge)]
        written["purge"] = {"store": asdict(in_store), "edge": [asdict(one) for one in over_edge]}
    if "fleet" in options.only:
        _say("fleet")
        taken = fleets.measure(processors)
        printed.append(fleets.markdown(taken))
        written["fleet"] = [asdict(one) for one in taken]
    if "memory" in options.only:
        _say("memory")
        costs = entries.measure(processors)
        printed.append(entries.markdown(costs))
        written["memory"] = asdict(costs)
    if "hit-rate" in options.only:
        _say("hit-rate")
        rates = hit_rate.measure()
        printed.append(hit_rate.markdown(rates))
        written["hit-rate"] = rates

    print("\n\n".join(printed))
    path = options.json or RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(written, indent=1) + "\n")
    _say(f"every round: {path}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
