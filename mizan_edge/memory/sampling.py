"""Which hits are compared with the origin's own answer: a share of them, by chance.

A hit is drawn once. Where its answer is ready, that is left, and whoever decides about it has it compared.

    # mutable state: `_owed`, by context, how many were drawn and are yet to be decided.
"""

import random
from collections import Counter


class Sampling:
    """The sampling of one process. A share is from 0 to 1."""

    def __init__(self) -> None:
        self._owed: Counter[str] = Counter()

    def draws(self, context: str, share: float) -> bool:
        """Whether a hit for which an answer is ready is to be decided, and compared."""
        drawn = _chance() < share
        self._owed[context] += drawn
        return drawn

    def takes(self, context: str, share: float) -> bool:
        """Whether a hit that was decided is to be compared."""
        if self._owed[context]:
            self._owed[context] -= 1
            return True
        return _chance() < share


def _chance() -> float:
    return random.random()  # noqa: S311 - nothing depends on its being unknown
