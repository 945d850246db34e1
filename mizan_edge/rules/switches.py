"""How operators have switched contexts. Pure.

Each edge has a table, which it merges with those of the others: of each context the later switch counts, and of two of
one version the one that is off. So it does not matter who hears of whom, in which order, or how often.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True)
class Switch:
    """How a context is switched."""

    enabled: bool = True
    """Whether the cache is used for it."""
    shadow: float | None = None
    """The share of its hits that is compared with the origin, from 0 to 1; None: that of the settings."""
    version: int = 0
    """The greater one is the later one; 0: nobody has switched it."""

    @property
    def order(self) -> tuple[int, bool, float]:
        """Of two, that counts whose order is greater. `lua/switch.lua` says the same."""
        return self.version, not self.enabled, -1 if self.shadow is None else self.shadow

    def to_json(self) -> str:
        return _SWITCH.dump_json(self).decode()

    @classmethod
    def of_json(cls, text: str | bytes) -> "Switch":
        """The switch that a text is. What is none was one, so it is off."""
        try:
            return _SWITCH.validate_json(text, strict=True)
        except ValidationError:
            return cls(enabled=False)


Switches = Mapping[str, Switch]
"""By context, declared or not: one that a reload takes away may come back with the next."""

_SWITCH = TypeAdapter(Switch)
_SWITCHES = TypeAdapter(dict[str, Switch])


def merged(one: Switches, other: Switches) -> dict[str, Switch]:
    """What two edges know together."""
    together = dict(one)
    for name, switch in other.items():
        if name not in one or switch.order > one[name].order:
            together[name] = switch
    return together


def to_json(switches: Switches) -> str:
    """A table as text."""
    return _SWITCHES.dump_json(dict(switches)).decode()


def of_json(text: str | bytes) -> dict[str, Switch]:
    """The table that a text is. Raises ValueError."""
    return _SWITCHES.validate_json(text, strict=True)
