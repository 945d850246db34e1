"""What the application has declared, compiled once for each state of the registry."""

from threading import Lock

from django.core.exceptions import ImproperlyConfigured

from mizan_core.export import Exported, export
from mizan_core.problems import DeclarationsError
from mizan_core.registry import Registry, default

_lock = Lock()
_compiled: tuple[Registry, int, Exported] | None = None


def declared() -> Exported:
    """The export of the default registry. Raises DeclarationsError with all that is wrong."""
    global _compiled
    with _lock:
        if _compiled is None or _compiled[:2] != (default, default.generation):
            _compiled = (default, default.generation, export(default))
        return _compiled[2]


def refuse_problems() -> None:
    """Raises ImproperlyConfigured where the declarations contradict each other: nobody could tell what is stale."""
    try:
        declared()
    except DeclarationsError as error:
        raise ImproperlyConfigured(f"the declarations of server functions contradict each other:\n{error}") from None
