"""What the application has declared, compiled once for each state of the registry."""

from threading import Lock

from mizan_core.export import Exported, export
from mizan_core.registry import Registry, default

_lock = Lock()
_compiled: tuple[Registry, int, Exported] | None = None


def declared() -> Exported:
    """The export of the default registry. Raises RegistryError for declarations that contradict each other."""
    global _compiled
    with _lock:
        if _compiled is None or _compiled[:2] != (default, default.generation):
            _compiled = (default, default.generation, export(default))
        return _compiled[2]
