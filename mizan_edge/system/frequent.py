"""What comes most often, of more than can be counted one by one.

The frequent items sketch of Misra and Gries (1982), cleared in batches as in Anderson et al. (IMC 2017): a bounded
number of counters; when they are full, their median is taken off each, and those at nothing go. So a count is too low
by at most what was taken off in all, which is at most the weight of everything divided by half the number of counters;
and what comes more often than that is never missed.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Frequent(Generic[T]):
    """Weights by item.

    # mutable state: the weights.
    """

    def __init__(self, most: int) -> None:
        """`most`: how many items have a counter at any time."""
        self._most = most
        self._weights: dict[T, int] = {}

    def add(self, item: T, weight: int) -> None:
        """An item has come so many times."""
        weights = self._weights
        weights[item] = weights.get(item, 0) + weight
        if len(weights) > self._most:
            median = sorted(weights.values())[len(weights) // 2]
            self._weights = {item: weight - median for item, weight in weights.items() if weight > median}

    def weights(self) -> Mapping[T, int]:
        """What is known of each that has a counter."""
        return self._weights
