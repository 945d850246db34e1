"""The declared channels by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from mizan_core.problems import DeclarationsError, Problem, same_name
from mizan_core.registry import place_text

if TYPE_CHECKING:
    from mizan.channels.channel import ReactChannel


class Channels:
    """Channel classes, each with its `name`, `Params`, `DjangoMessage` and `ReactMessage`; sorted by name."""

    def __init__(self) -> None:
        # By name and by where the class stands: a module that is loaded again defines the same class anew. Of several
        # of one name, which is a problem, the first answers.
        self._channels: dict[str, dict[str, type[ReactChannel]]] = {}

    def __iter__(self) -> Iterator[type[ReactChannel]]:
        return iter([next(iter(self._channels[name].values())) for name in sorted(self._channels)])

    def __len__(self) -> int:
        return len(self._channels)

    def get(self, name: str) -> type[ReactChannel] | None:
        return next(iter(self._channels.get(name, {}).values()), None)

    def add(self, channel: type[ReactChannel]) -> None:
        self._channels.setdefault(channel.name, {})[place_text(channel)] = channel

    def problems(self) -> list[Problem]:
        """The names that several channels bear, sorted."""
        return [
            same_name("channels", name, list(places), 'rename one, or give it `name = "another_name"`')
            for name, places in sorted(self._channels.items())
            if len(places) > 1
        ]


default = Channels()
"""The channels of the process."""


def describe_channels(channels: Channels) -> list[dict[str, Any]]:
    """For the schema: each channel by its name, with the schemas of its parameters and of what is sent either way; None
    where it has none. Raises DeclarationsError where several bear one name."""
    if problems := channels.problems():
        raise DeclarationsError(problems)
    return [
        {
            "name": channel.name,
            "params": _schema(channel, "Params", "validation"),
            "django_message": _schema(channel, "DjangoMessage", "serialization"),
            "react_message": _schema(channel, "ReactMessage", "validation"),
        }
        for channel in channels
    ]


def _schema(channel: type[ReactChannel], name: str, mode: JsonSchemaMode) -> dict[str, Any] | None:
    model: type[BaseModel] | None = getattr(channel, name)
    if model is None:
        return None
    # A document of its own inside of the other, so that what its references mean does not depend on where it stands.
    return {"$id": f"mizan:{channel.name}/{name}", **model.model_json_schema(mode=mode)}
