"""System checks of what WebSockets need."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from mizan.cache.configured import edge_door
from mizan.cache.doors import NoCacheError
from mizan.channels import registry as channels
from mizan.channels.groups import EXTRA, NO_LAYER
from mizan_core import registry


def uses_websockets() -> bool:
    """Whether a channel is declared, or a function with `websocket=True`."""
    return bool(channels.default) or any(spec.websocket for spec in registry.default)


def check_channels(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.E020: the extra is missing. mizan.E021: there is no channel layer. mizan.W020: nothing could be purged."""
    if not uses_websockets():
        return []
    problems: list[CheckMessage] = []
    if find_spec("channels") is None:
        problems.append(Error(EXTRA, id="mizan.E020"))
    if channels.default and not getattr(settings, "CHANNEL_LAYERS", None):
        problems.append(Error(NO_LAYER, id="mizan.E021"))
    mutations = sorted(spec.name for spec in registry.default if spec.websocket and spec.is_mutation)
    if mutations and not _can_purge():
        problems.append(
            Warning(
                f"{mutations[0]}() changes what an edge may hold, and answers over a WebSocket pass no edge",
                hint="Where there is an edge, set MIZAN_CACHE_REDIS_URL, or MIZAN_EDGE_ADMIN_URL with "
                "MIZAN_EDGE_ADMIN_TOKEN.",
                id="mizan.W020",
            )
        )
    return problems


def _can_purge() -> bool:
    try:
        edge_door()
    except NoCacheError:
        return False
    return True
