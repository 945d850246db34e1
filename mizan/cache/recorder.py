"""Who listens to what is purged, for an application's own tests; see `mizan.test`."""

from mizan.cache.bundle_cache import NoBundleCache
from mizan_core.purge import Purge


class Recorder:
    """What was purged while it was active, in order."""

    def __init__(self) -> None:
        self.purges: list[Purge] = []


active: list[Recorder] = []
"""While there is one, purges from anywhere are recorded and go nowhere else, so that tests need no cache."""


class RecordingCache(NoBundleCache):
    """Stands where the caches would, keeps nothing, and tells every active recorder what is purged."""

    def purge(self, purge: Purge) -> None:
        for recorder in active:
            recorder.purges.append(purge)
