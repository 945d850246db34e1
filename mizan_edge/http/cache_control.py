"""Cache directives: `Cache-Control` read leniently (RFC 9111 section 5.2), targeted fields strictly (RFC 9213)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import http_sf

from mizan_core.fields import CACHE_CONTROL
from mizan_edge.http.message import Fields, combined

# The nearest to us first; the first one that is there is the only one that counts.
TARGETED = (CACHE_CONTROL.lower(), "cdn-cache-control")

Directives = Mapping[str, str | None]
"""Directive in lower case -> its argument, None without one."""

# Anybody may send a field of 64 KiB: no match begins within a word or a space, and no run is tried at a second length.
_DIRECTIVE = re.compile(r'(?<![^\s=,;"])([^\s=,;"]++)\s*+(?:=\s*+("(?:[^"\\]|\\.)*"|[^,;]*+))?\s*+(?:[,;]|$)')
_QUOTED_ARGUMENT = re.compile(r'=\s*"(?:[^"\\]|\\.)*"')
_BETWEEN_WORDS = re.compile(r'[\s,;="]+')
# What keeps a response out of a shared cache.
FORBIDDING = ("no-store", "no-cache", "private")
MAX_DELTA_S = 2**31 - 1
"""Longer times are taken for this one. RFC 9111 section 1.2.2."""


@dataclass(frozen=True, slots=True)
class Governing:
    """The directives that govern a response, where they came from, and whether a targeted field was malformed."""

    directives: Directives
    targeted: bool = False
    malformed: bool = False


def governing(fields: Fields) -> Governing:
    """Which directives count. RFC 9213 section 2.2: a malformed targeted field is ignored.

    Where there is `must-understand`, `no-store` is left out, since it is for caches that do not know the status of the
    response (RFC 9111 section 5.2.2.3): `freshness.lifetime` gives these none.
    """
    malformed = False
    for name in TARGETED:
        value = combined(fields, name)
        if value is None:
            continue
        directives = _targeted(value)
        if directives is not None:
            return Governing(_understood(directives), targeted=True, malformed=malformed)
        malformed = True
    return Governing(_understood(parse(combined(fields, "cache-control") or "")), malformed=malformed)


def parse(value: str) -> Directives:
    """The directives of a `Cache-Control` field. Of repeated ones the first counts (RFC 9111 section 4.2.1)."""
    directives: dict[str, str | None] = {}
    for match in _DIRECTIVE.finditer(value):
        argument = match[2]
        if argument is not None:
            argument = argument.strip()
            if argument.startswith('"') and argument.endswith('"') and len(argument) > 1:
                argument = re.sub(r"\\(.)", r"\1", argument[1:-1])
        directives.setdefault(match[1].lower(), argument)
    # A missing comma or an unbalanced quote must not hide what forbids storing.
    words = {word.lower() for word in _BETWEEN_WORDS.split(_QUOTED_ARGUMENT.sub("", value))}
    for name in FORBIDDING:
        if name in words:
            directives.setdefault(name, None)
    return directives


def _understood(directives: Directives) -> Directives:
    if "must-understand" not in directives:
        return directives
    return {name: argument for name, argument in directives.items() if name != "no-store"}


def _targeted(value: str) -> Directives | None:
    try:
        parsed = http_sf.parse(value.encode("latin-1", "replace"), tltype="dictionary")
    except (http_sf.StructuredFieldError, ValueError):
        return None
    directives: dict[str, str | None] = {}
    for name, item in parsed.items():  # type: ignore[union-attr]
        content = item[0] if isinstance(item, tuple) else item
        if content is True:
            directives[name] = None
        elif content is not False:
            # RFC 9213 section 2.1: a string is no number of seconds, even one of digits. The quotes tell.
            directives[name] = f'"{content}"' if isinstance(content, str) else str(content)
    return directives if directives else None


def delta_seconds(argument: str | None) -> int | None:
    """A directive's number of seconds; None where it is not one. RFC 9111 section 1.2.2."""
    if argument is None or not re.fullmatch(r"[0-9]+", argument):
        return None
    # Python refuses to read thousands of digits; zeros before them say nothing.
    return min(int(argument.lstrip("0")[:12] or "0"), MAX_DELTA_S)
