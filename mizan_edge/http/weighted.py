"""Lists with weights: what Accept, Accept-Charset, Accept-Encoding and Accept-Language say. RFC 9110 section 12.5.

What cannot be read is told apart, not left out: it may be a refusal. What to do about it differs by who asks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mizan_edge.http.message import TOKEN

FIELDS = frozenset({"accept", "accept-charset", "accept-encoding", "accept-language"})
"""The fields that are such lists. TE is one too, but of the connection: no origin gets it."""

MAX_LIST = 512
"""How many characters of a list are read: nobody's is longer, and what is remembered of them stays small."""

_WORD = TOKEN.decode()
_NAME = re.compile(f"{_WORD}(?:/{_WORD})?")
_PARAMETER = re.compile(f"({_WORD})=({_WORD})")
# RFC 9110 section 12.4.2
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_SPACE = " \t"
_SAME = {"x-gzip": "gzip"}  # RFC 9110 section 8.4.1.3


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a list: its name in lower case, its other parameters, and its weight, from 0 to 1; None where what
    was said cannot be read."""

    name: str
    parameters: tuple[str, ...]
    weight: float | None

    def __str__(self) -> str:
        weight = () if self.weight == 1 else (f"q={self.weight:g}",)
        return ";".join((self.name, *self.parameters, *weight))


def members(value: str) -> Sequence[Member]:
    """The members of a list, the heaviest first and otherwise in their order. One that is too long is a single member
    that cannot be read."""
    return _members(value) if len(value) <= MAX_LIST else (Member(value, (), None),)


def codings(value: str) -> Mapping[str, float]:
    """What an Accept-Encoding field says of each coding, and of `*`. What cannot be read counts as a refusal, and so
    does a coding with parameters, since none is defined."""
    weights: dict[str, float] = {}
    for member in members(value):
        name = _SAME.get(member.name, member.name)
        weight = 0.0 if member.weight is None or member.parameters else member.weight
        # Of a coding that is named twice the lesser weight counts, since that may be a refusal.
        weights[name] = min(weight, weights.get(name, weight))
    return weights


@lru_cache(maxsize=1024)
def _members(value: str) -> Sequence[Member]:
    found = [_member(text) for text in value.split(",") if text.strip(_SPACE)]
    return tuple(sorted(found, key=lambda member: -(member.weight or 0)))


def _member(text: str) -> Member:
    name, *others = (part.strip(_SPACE) for part in text.split(";"))
    pairs = [(match[1].lower(), match[2]) for part in others if (match := _PARAMETER.fullmatch(part))]
    weights = [text for key, text in pairs if key == "q"] or ["1"]
    if not _NAME.fullmatch(name) or len(pairs) < len(others) or len(weights) > 1 or not _WEIGHT.fullmatch(weights[0]):
        return Member(name.lower(), (), None)
    rest = tuple(f"{key}={text}" for key, text in pairs if key != "q")
    return Member(name.lower(), rest, float(weights[0]))
