"""What is counted. Plain numbers in one process; reading them never waits."""

from collections import Counter


class Counters:
    """Counts by name and label: `count("requests", "user", "hit")`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()

    def count(self, *name: str, by: int = 1) -> None:
        self._counts[name] += by

    def snapshot(self) -> dict[str, int]:
        """Every count, its name and labels joined with dots."""
        return {".".join(name): count for name, count in sorted(self._counts.items())}
