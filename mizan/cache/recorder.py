"""Who listens to what is purged, for an application's own tests; see `mizan.test`."""

from mizan_core.scopes import Scope


class Recorder:
    """What was purged while it was active, in order; a scope of None is everything."""

    def __init__(self) -> None:
        self.scopes: list[Scope | None] = []


active: list[Recorder] = []
"""While there is one, purges from anywhere are recorded and go nowhere else, so that tests need no cache."""


def record(scopes: tuple[Scope, ...], *, everything: bool = False) -> None:
    """Tells every active recorder."""
    for recorder in active:
        recorder.scopes += [None] if everything else scopes


class RecordingDoor:
    """Purges nothing, and records it."""

    def purge(self, scopes: tuple[Scope, ...], *, everything: bool) -> None:
        record(scopes, everything=everything)
