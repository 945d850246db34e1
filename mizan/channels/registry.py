"""The declared channels by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mizan_core.registry import RegistryError

if TYPE_CHECKING:
    from mizan.channels.channel import ReactChannel


class Channels:
    """Channel classes, each with its `name`, `Params`, `DjangoMessage` and `ReactMessage`; sorted by name."""

    def __init__(self) -> None:
        self._channels: dict[str, type[ReactChannel]] = {}

    def __iter__(self) -> Iterator[type[ReactChannel]]:
        return iter([self._channels[name] for name in sorted(self._channels)])

    def get(self, name: str) -> type[ReactChannel] | None:
        return self._channels.get(name)

    def add(self, channel: type[ReactChannel]) -> None:
        """Raises RegistryError where another class has the name."""
        other = self._channels.get(channel.name)
        # A module that is loaded again defines the same class anew.
        if other is not None and _where(other) != _where(channel):
            raise RegistryError(
                f"two channels are called {channel.name!r}, {_where(other)} and {_where(channel)}: "
                'rename one, or give it `name = "another_name"`'
            )
        self._channels[channel.name] = channel


default = Channels()
"""The channels of the process."""


def _where(channel: type[ReactChannel]) -> str:
    return f"{channel.__module__}.{channel.__qualname__}"
