"""How operators have switched contexts. Pure.

Each edge has a table, which it merges with those of the others, in whichever order, and however often:

1. A and B do not hear of each other. 2. A switches a context off. 3. B switches it off, and on again. 4. They do hear.
5. It is on, and what A's off was to hide is served. -- No on is of an off that it has not seen. Each off has a number,
greater than those before it on its edge, and an on names the last that it has seen of each edge. A context is on where
all offs have been seen by some on: so of two of which neither has seen the other, the off wins.

That is an observed-remove set, of which a pair of numbers for each edge is all that has to be kept: an on that has seen
an off has seen those before it on the same edge. A table grows with the edges that switch, not with their switches.
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

Numbers = Mapping[str, int]
"""By edge: its durable id."""


@dataclass(frozen=True, slots=True)
class Switch:
    """How a context is switched."""

    offs: Numbers = field(default_factory=dict)
    """The last off of each edge."""
    seen: Numbers = field(default_factory=dict)
    """The last off of each edge that an on has seen."""
    shadow: float | None = None
    """The share of its hits that is compared with the origin, from 0 to 1; None: that of the settings."""
    version: int = 0
    """Of `shadow`: the greater one is the later one; 0: nobody has set it."""

    @property
    def enabled(self) -> bool:
        """Whether the cache is used for it."""
        return all(number <= self.seen.get(edge, 0) for edge, number in self.offs.items())

    def told(self) -> str:
        """For people."""
        share = "" if self.shadow is None else f", {self.shadow:g} of its hits are compared"
        return ("on" if self.enabled else "off") + share

    def off(self, edge: str, now_ms: int) -> "Switch":
        """As `edge` switches it off. Its number is a time, so that an edge that has lost its file repeats none."""
        number = 1 + max(self.offs.get(edge, 0), self.seen.get(edge, 0))
        return replace(self, offs={**self.offs, edge: max(number, now_ms)})

    def on(self) -> "Switch":
        """As it is switched on by whoever knows this much."""
        return replace(self, seen=_greatest(self.seen, self.offs))

    def compared(self, share: float | None) -> "Switch":
        """As another share of its hits is compared."""
        return replace(self, shadow=share, version=self.version + 1)

    def merged(self, other: "Switch") -> "Switch":
        """What two edges know together."""
        version, share = max((self.version, _rank(self.shadow)), (other.version, _rank(other.shadow)))
        return Switch(
            _greatest(self.offs, other.offs), _greatest(self.seen, other.seen), None if share < 0 else share, version
        )


Switches = Mapping[str, Switch]
"""By context, declared or not: one that a reload takes away may come back with the next."""


def merged(one: Switches, other: Switches) -> dict[str, Switch]:
    """What two edges know together."""
    return {**one, **{name: one.get(name, Switch()).merged(switch) for name, switch in other.items()}}


def off(switches: Switches) -> frozenset[str]:
    """The contexts for which the cache is not used."""
    return frozenset(name for name, switch in switches.items() if not switch.enabled)


def _greatest(one: Numbers, other: Numbers) -> Numbers:
    return {**one, **{edge: max(number, one.get(edge, 0)) for edge, number in other.items()}}


def _rank(share: float | None) -> float:
    return -1.0 if share is None else share


# As text: in the state directory, for workers, and in Redis, where `lua/switch.lua` merges it. A field has what one
# edge, or all, have said of a context; of two values of a field the one with the greater numbers counts.
#
#   user off EDGE     NUMBER
#   user seen EDGE    NUMBER
#   user shadow       VERSION, and the share where one is set
_NUMBERS = re.compile(r"([0-9]{1,15})(?: ([0-9][0-9.e-]{0,30}))?")


def to_fields(switches: Switches) -> dict[str, str]:
    """A table as fields and their values."""
    fields: dict[str, str] = {}
    for name, switch in switches.items():
        fields |= {f"{name} off {edge}": str(number) for edge, number in switch.offs.items()}
        fields |= {f"{name} seen {edge}": str(number) for edge, number in switch.seen.items()}
        if switch.version:
            share = "" if switch.shadow is None else f" {switch.shadow}"
            fields[f"{name} shadow"] = f"{switch.version}{share}"
    return fields


def of_fields(fields: Iterable[tuple[str, str]], earlier: Mapping[str, str]) -> dict[str, Switch]:
    """The store's table: its fields, and what edges of an earlier version have said. What cannot be read is off."""
    known: dict[str, Switch] = {}
    for name, value in fields:
        try:
            known = merged(known, _of_field(name, value))
        except ValueError:
            known = merged(known, {name.partition(" ")[0]: _unreadable(name + value)})
    for context, text in earlier.items():
        try:
            switch = _EARLIER.validate_json(text, strict=True).said_by("earlier")
        except ValidationError:
            switch = _unreadable(text)
        known = merged(known, {context: switch})
    return known


def _unreadable(text: str) -> Switch:
    """Off until an on has seen this very text."""
    return Switch({f"unreadable-{zlib.crc32(text.encode()):x}": 1})


def to_json(switches: Switches) -> str:
    """A table as text."""
    return json.dumps(to_fields(switches), sort_keys=True)


def of_json(text: str | bytes, edge: str = "earlier") -> dict[str, Switch]:
    """The table that a text is; what an earlier version has written was said by `edge`. Raises ValueError."""
    known: dict[str, Switch] = {}
    for name, value in _TABLE.validate_json(text, strict=True).items():
        said = _of_field(name, value) if isinstance(value, str) else {name: value.said_by(edge)}
        known = merged(known, said)
    return known


def _of_field(name: str, value: str) -> dict[str, Switch]:
    """What one field says. Raises ValueError."""
    numbers = _NUMBERS.fullmatch(value)
    if numbers is None:
        raise ValueError(f"{name!r} is {value!r}")
    number, share = int(numbers[1]), numbers[2]
    match name.split(" "):
        case [context, "off", edge] if share is None:
            return {context: Switch(offs={edge: number})}
        case [context, "seen", edge] if share is None:
            return {context: Switch(seen={edge: number})}
        case [context, "shadow"] if share is None or float(share) <= 1:
            return {context: Switch(shadow=None if share is None else float(share), version=number)}
    raise ValueError(f"{name!r} is no field of switches")


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A switch as versions wrote it that had one counter for all that was said: of the greater `version`, all counted.

    So an on may be one that has not seen every off of a lower version, and none is taken for it.
    """

    enabled: bool
    shadow: float | None
    version: int

    def said_by(self, edge: str) -> Switch:
        offs = {} if self.enabled else {edge: self.version + 1}
        return Switch(offs, shadow=self.shadow, version=self.version)


_EARLIER = TypeAdapter(_Earlier)
_TABLE = TypeAdapter(dict[str, str | _Earlier])
