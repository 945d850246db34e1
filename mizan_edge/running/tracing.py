"""Whether requests are traced: where the standard variables of OpenTelemetry say where spans go, and its SDK is there.

`OTEL_EXPORTER_OTLP_ENDPOINT` switches it on. This and all other `OTEL_*` variables are read by the SDK, and mean what
its documents say.
"""

import logging
from collections.abc import Mapping
from typing import Protocol

from mizan_edge.client.access import Tracer

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing(Tracer, Protocol):
    """The spans of one process."""

    async def close(self) -> None:
        """Sends what waits to be sent; not for long, if nobody takes it."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the variables say that spans go somewhere."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environment.get(name) for name in _ENDPOINTS)


def tracing_of(environment: Mapping[str, str]) -> Tracing | None:
    """The spans that the variables ask for; None where they ask for none, or the SDK is missing."""
    if not is_wanted(environment):
        return None
    try:
        from mizan_edge.running.otel import OpenTelemetry
    except ImportError as error:
        log.warning("no traces, although %s is set: pip install 'mizan-edge[otel]' (%s)", _ENDPOINTS[0], error)
        return None
    return OpenTelemetry()
