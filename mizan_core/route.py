"""Routes as `route=` spells them, `/profile/<int:user_id>/`, and the manifest's pattern for the same URLs."""

import re
from dataclasses import dataclass

from mizan_core.canonical import Scalar
from mizan_core.errors import MizanError
from mizan_core.patterns import PatternError, parse_pattern
from mizan_core.scopes import ScopeError, check_name

_PARAMETER = re.compile(r"<(?:(?P<converter>[^>:]*):)?(?P<name>[^>]*)>")
# What each converter matches lies within one path segment. The type is what the segment's text can be read as; plain
# text has none, for the function may read a number in it.
_CONVERTERS: dict[str, Scalar | None] = {"str": None, "slug": None, "int": "integer", "uuid": "uuid"}


class RouteError(MizanError, ValueError):
    """A text that is no route, or one that the manifest cannot express."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route: its text without the leading slash, and its parameters with their converters."""

    text: str
    converters: tuple[tuple[str, str], ...]
    """(parameter, converter), in order."""

    def __str__(self) -> str:
        return f"/{self.text}"

    @property
    def params(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.converters)

    @property
    def types(self) -> dict[str, Scalar]:
        """What the converters alone say of the parameters' types."""
        types = {name: _CONVERTERS.get(converter) for name, converter in self.converters}
        return {name: type_ for name, type_ in types.items() if type_}

    @property
    def pattern(self) -> str:
        """The manifest's pattern. Raises RouteError where it has none, for instance for `<path:...>`."""
        for name, converter in self.converters:
            if converter not in _CONVERTERS:
                raise RouteError(
                    f"the route {self} has <{converter}:{name}>, and a pattern's parameter is one path segment "
                    "of type str, slug, int or uuid"
                )
        text = "/" + _PARAMETER.sub(lambda match: f":{match['name']}", self.text)
        try:
            pattern = parse_pattern(text)
        except PatternError as error:
            raise RouteError(f"the route {self} has no pattern: {error}") from None
        if set(pattern.params) != set(self.params):
            raise RouteError(f"the route {self} has a parameter that is only a part of its path segment")
        return text


def parse_route(text: str) -> Route:
    """Raises RouteError, which says what is wrong."""
    if not isinstance(text, str):
        raise RouteError(f"route= takes a path such as '/profile/<int:user_id>/', not {text!r}")
    converters = []
    for match in _PARAMETER.finditer(text):
        try:
            converters.append((check_name(match["name"]), match["converter"] or "str"))
        except ScopeError as error:
            raise RouteError(f"in the route {text!r}: {error}") from None
    return Route(text.removeprefix("/"), tuple(converters))
