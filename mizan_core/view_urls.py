"""URLs of views that are not declared with `@client(route=...)`, by the context whose data they show.

Such a view says nothing of what its response depends on: an entry of it is found by the parameters in its URL alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mizan_core.canonical import Scalar
from mizan_core.errors import MizanError
from mizan_core.patterns import PatternError, parse_pattern
from mizan_core.route import RouteError, parse_route

ViewUrls: TypeAlias = Mapping[str, tuple["ViewUrl", ...]]
"""The URLs of each context, sorted."""
NONE: ViewUrls = {}


class ViewUrlError(MizanError, ValueError):
    """A URL that cannot be declared; the text says why."""


@dataclass(frozen=True, slots=True)
class ViewUrl:
    """One URL: the manifest's pattern, and its parameters with what their converters say of them."""

    pattern: str
    types: Mapping[str, Scalar | None]


def parse_view_urls(declared: Mapping[str, Iterable[str]]) -> ViewUrls:
    """Context -> URLs, as `/profile/<int:user_id>/` or `/profile/:user_id/`. Raises ViewUrlError."""
    for context, texts in declared.items():
        if isinstance(texts, str):
            raise ViewUrlError(f"the URLs of {context!r} are one text, {texts!r}, where a list is meant")
    return {context: tuple(map(_parse, sorted(declared[context]))) for context in sorted(declared)}


def _parse(text: str) -> ViewUrl:
    try:
        if "<" in text:
            route = parse_route(text)
            return ViewUrl(route.pattern, {name: route.types.get(name) for name in route.params})
        return ViewUrl(text, dict.fromkeys(parse_pattern(text).params))
    except (RouteError, PatternError) as error:
        raise ViewUrlError(str(error)) from None
