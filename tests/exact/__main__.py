"""`python -m tests.exact --seconds 60 --seed N`: one run; ends with status 1 when anything was stale or failed.
With `--cluster`, Redis is a cluster of three primaries, whose slots move and whose nodes die; with `--apart MS`, each
edge is in a network namespace of its own, and hears Redis so much later.

`python -m tests.exact --without MECHANISM`: the run that needs this mechanism, without it; ends with status 1 when
nothing was stale.
"""

import argparse
import asyncio
import sys
from random import randrange

from tests.exact.checker import check
from tests.exact.directed import BY_MECHANISM, prove


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.exact", description="Checks exactness against faults.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time")
    parser.add_argument("--without", choices=BY_MECHANISM, help="switch a mechanism off, which must be found out")
    parser.add_argument("--cluster", action="store_true", help="over a Redis Cluster, with the faults of one")
    parser.add_argument(
        "--apart",
        type=float,
        metavar="MS",
        help="each edge on a host of its own, so far from Redis (needs root and ip)",
    )
    options = parser.parse_args()
    seed = randrange(1_000_000) if options.seed is None else options.seed
    if options.without:
        tally = asyncio.run(prove(options.without, seed, without=True))
        print(f"without {options.without}: {tally}")
        return 0 if tally["stale"] else 1
    apart_s = None if options.apart is None else options.apart / 1000
    tally = asyncio.run(check(seed, options.seconds, clustered=options.cluster, apart_s=apart_s))
    for finding in tally.found[:200]:
        print(finding, file=sys.stderr)
    print(tally)
    return 1 if tally["stale"] or tally["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
