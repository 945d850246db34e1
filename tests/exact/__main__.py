"""`python -m tests.exact --seconds 60 --seed N`: one run; ends with status 1 when anything was stale or failed."""

import argparse
import asyncio
import sys
from random import randrange

from tests.exact.checker import check


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.exact", description="Checks exactness against faults.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time")
    options = parser.parse_args()
    tally = asyncio.run(check(randrange(1_000_000) if options.seed is None else options.seed, options.seconds))
    for finding in tally.found[:100]:
        print(finding, file=sys.stderr)
    print(tally)
    return 1 if tally["stale"] or tally["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
