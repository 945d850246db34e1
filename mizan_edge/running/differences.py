"""What the shadows of hits have shown: the latest differences, over all workers.

# mutable state: `_latest`, newest first.
"""

from collections import deque
from collections.abc import Mapping

_MOST = 100

Difference = Mapping[str, object]
"""As `Shadow` tells it."""


class Differences:
    """The latest of one edge."""

    def __init__(self) -> None:
        self._latest: deque[Difference] = deque(maxlen=_MOST)

    def add(self, difference: Difference) -> None:
        self._latest.appendleft(difference)

    @property
    def latest(self) -> list[Difference]:
        """Newest first."""
        return list(self._latest)
