"""Variables of the environment: which of them nobody reads, and which are no business of child processes."""

import os
from collections.abc import Iterable

from mizan_edge.running.config import PREFIX, Settings, nearest, variable

# What the command line, the build and Django read.
_OF_OTHERS = {"CONFIG", "COMPILE", "ADMIN_URL"}


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """What is said of each variable that is named as those of settings are, and that nobody reads."""
    names = [name.upper() for name in environment]
    # Kubernetes tells a pod of each Service, and one may be called mizan-edge.
    services = [name.removesuffix("SERVICE_HOST") for name in names if name.endswith("_SERVICE_HOST")]
    told = tuple(service + what for service in services for what in ("SERVICE_", "PORT"))
    known = {*map(variable, Settings.model_fields), *(PREFIX + name for name in _OF_OTHERS)}
    unknown = [name for name in names if name.startswith(PREFIX) and not name.startswith(told) and name not in known]
    return [
        f"{name}: there is no such variable" + (f"; the nearest is {variable(close)}" if close else "")
        for name in sorted(unknown)
        for close in [nearest(name.removeprefix(PREFIX).lower())]
    ]


def keep_from_children() -> None:
    """Takes settings out of the environment that child processes inherit: they are told what they need to know. So is
    what tells of sockets that only this process has."""
    for name in [name for name in os.environ if name.upper().startswith(("MIZAN_", "LISTEN_"))]:
        del os.environ[name]
