"""URLs of views that are not declared with `@client(route=...)`, by the context whose data they show.

Such a view says nothing of what its response depends on: an entry of it is found by the parameters in its URL alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mizan_core.canonical import Scalar
from mizan_core.errors import MizanError
from mizan_core.patterns import PatternError, parse_pattern
from mizan_core.route import RouteError, parse_route


class ViewUrlError(MizanError, ValueError):
    """A URL that cannot be declared; the text says why."""


@dataclass(frozen=True, slots=True)
class ViewUrl:
    """One URL: the manifest's pattern, and its parameters with what their converters say of them."""

    pattern: str
    types: Mapping[str, Scalar | None]


@dataclass(frozen=True, slots=True)
class ViewUrls:
    """The URLs of each context, sorted."""

    by_context: Mapping[str, tuple[ViewUrl, ...]]
    source: str
    """What people call the place where they are declared, such as the name of a setting."""

    def of(self, context: str) -> tuple[ViewUrl, ...]:
        """Those of one context."""
        return self.by_context.get(context, ())


NONE = ViewUrls({}, "")


def parse_view_urls(declared: Mapping[str, Iterable[str]], *, source: str) -> ViewUrls:
    """Context -> URLs, as `/profile/<int:user_id>/` or `/profile/:user_id/`. Raises ViewUrlError, which names the
    source."""
    for context, texts in declared.items():
        if isinstance(texts, str):
            raise ViewUrlError(f"in {source} the URLs of {context!r} are one text, {texts!r}, where a list is meant")
    try:
        by_context = {context: tuple(map(_parse, sorted(declared[context]))) for context in sorted(declared)}
    except (RouteError, PatternError) as error:
        raise ViewUrlError(f"in {source} {error}") from None
    return ViewUrls(by_context, source)


def _parse(text: str) -> ViewUrl:
    if "<" in text:
        route = parse_route(text)
        return ViewUrl(route.pattern, {name: route.types.get(name) for name in route.params})
    return ViewUrl(text, dict.fromkeys(parse_pattern(text).params))
