"""URL patterns of the manifest, `/profile/:user_id/`, where `:name` stands for one decoded path segment; and the one
spelling of a URL, by which it is purged."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mizan_core.errors import MizanError
from mizan_core.scopes import ScopeError, check_name

# RFC 3986 section 3.3: what a path segment may hold unescaped.
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"
# RFC 3986 section 3.4, less what separates and what form encoding gives a meaning of its own.
_QUERY_SAFE = "!$'()*,;:@/?-._~"
# Literals stand decoded; `%` would leave open whether they do.
_LITERAL = re.compile(r"[A-Za-z0-9!$&'()*+,;=@._~\u00a1-\U0010ffff-]+")


class PatternError(MizanError, ValueError):
    """A text that is no URL pattern."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """An anchored pattern: its segments, literal texts (decoded) or parameter names, and whether a slash ends it."""

    text: str
    segments: tuple[tuple[bool, str], ...]
    """(True, name) for a parameter, (False, text) for a literal."""
    slash: bool

    @property
    def params(self) -> tuple[str, ...]:
        return tuple(name for is_param, name in self.segments if is_param)

    @property
    def shape(self) -> tuple[object, ...]:
        """Equal for two patterns that match the same paths."""
        return (self.slash, *(None if is_param else text for is_param, text in self.segments))

    def path(self, params: dict[str, str]) -> str:
        """The path that the pattern gives for these values; a parameter without one stays as `:name`."""
        parts = [_fill(is_param, text, params) for is_param, text in self.segments]
        return "/" + "/".join(parts) + ("/" if self.slash and parts else "")


def _fill(is_param: bool, text: str, params: dict[str, str]) -> str:
    if not is_param:
        return encode_segment(text)
    return encode_segment(params[text]) if text in params else f":{text}"


def encode_segment(text: str) -> str:
    """A decoded path segment as it stands in a URL."""
    return quote(text, safe=_SEGMENT_SAFE)


def canonical_url(path: str, query: Mapping[str, Sequence[str]]) -> str:
    """The one spelling of a URL: a path, and the occurrences of each parameter, sorted by name."""
    pairs = [
        f"{quote(name, safe=_QUERY_SAFE)}={quote(text, safe=_QUERY_SAFE)}"
        for name in sorted(query)
        for text in query[name]
    ]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def parse_pattern(text: str) -> Pattern:
    """Raises PatternError, which says what is wrong, for a text that could never match a path."""
    if not text.startswith("/"):
        raise PatternError(f"the pattern {text!r} does not start with a slash")
    *parts, last = text[1:].split("/")
    slash = not last
    segments = []
    for part in parts if slash else [*parts, last]:
        if part.startswith(":"):
            try:
                segments.append((True, check_name(part[1:])))
            except ScopeError as error:
                raise PatternError(f"in the pattern {text!r}: {error}") from None
        elif not _LITERAL.fullmatch(part) or not part.isprintable() or part in (".", ".."):
            raise PatternError(f"the pattern {text!r} has a segment {part!r} that no path can have")
        else:
            segments.append((False, part))
    names = [name for is_param, name in segments if is_param]
    if len(set(names)) != len(names):
        raise PatternError(f"the pattern {text!r} names a parameter twice")
    return Pattern(text, tuple(segments), slash)
