"""The declared channels by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from mizan.declare.schema import section
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


def described() -> list[dict[str, Any]]:
    """For the schema: each channel by its name, with the schemas of its parameters and of what is sent either way; None
    where it has none."""
    return [
        {
            "name": channel.name,
            "params": _schema(channel, "Params", "validation"),
            "django_message": _schema(channel, "DjangoMessage", "serialization"),
            "react_message": _schema(channel, "ReactMessage", "validation"),
        }
        for channel in default
    ]


def _schema(channel: type[ReactChannel], name: str, mode: JsonSchemaMode) -> dict[str, Any] | None:
    model: type[BaseModel] | None = getattr(channel, name)
    if model is None:
        return None
    # A document of its own inside of the other, so that what its references mean does not depend on where it stands.
    return {"$id": f"mizan:{channel.name}/{name}", **model.model_json_schema(mode=mode)}


def _where(channel: type[ReactChannel]) -> str:
    return f"{channel.__module__}.{channel.__qualname__}"


section("channels", described)
