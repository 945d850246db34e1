"""How long a response is fresh, and how old it is. RFC 9111 section 4.2."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mizan_core.manifest import Context
from mizan_edge.http.cache_control import MAX_DELTA_S, Directives, Governing, delta_seconds
from mizan_edge.http.message import Response, values

# Statuses that the manifest's `ttl` may be applied to.
CACHEABLE_BY_DEFAULT = frozenset({200, 203, 204, 301, 308, 404, 410})
# RFC 9110 section 15.1, but for 206, which is never stored.
HEURISTICALLY_CACHEABLE = CACHEABLE_BY_DEFAULT | {300, 405, 414, 501}
# RFC 9111 section 5.2.2.3: what may be stored of responses that only who knows their status may store.
UNDERSTOOD = HEURISTICALLY_CACHEABLE | {302, 303, 307}
# Directives of a response that is never to be served stale. RFC 9111 section 4.2.4
NEVER_STALE = frozenset({"must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"})
# RFC 9111 section 4.2.2: "a typical setting of this fraction might be 10%".
_HEURISTIC_FRACTION = 0.1

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = "mon|tue|wed|thu|fri|sat|sun"
_LONG_DAY = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# RFC 9110 section 5.6.7: the format of today and the two of old, in lower case; RFC 9111 section 4.2 folds it.
_HTTP_DATES = (
    re.compile(rf"(?:{_DAY}), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} gmt"),
    re.compile(rf"(?:{_LONG_DAY}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} gmt"),
    re.compile(rf"(?:{_DAY}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)
# POSIX reads years of two digits as 1969 to 2068.
_POSIX_YEAR = 2018


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds: fresh for `ttl`, then usable stale while it is revalidated (`swr`) or when the origin fails (`sie`)."""

    ttl_s: int
    swr_s: int = 0
    sie_s: int = 0
    keep_s: int = 0
    """For how long it is worth keeping beyond `ttl` because the origin can be asked whether it still holds."""

    @property
    def retention_s(self) -> int:
        """How long it is worth keeping."""
        return self.ttl_s + max(self.swr_s, self.sie_s, self.keep_s)


def lifetime(response: Response, context: Context, governing: Governing) -> Lifetime | None:
    """The response's lifetime in a context; None where neither it nor the manifest gives it one."""
    directives = governing.directives
    if "must-understand" in directives and response.status not in UNDERSTOOD:
        return None
    if "no-cache" in directives:
        # RFC 9111 section 5.2.2.4: whatever it says of its freshness, nobody gets it unconfirmed.
        return Lifetime(0)
    ttl = explicit_ttl(response, governing)
    if ttl is None:
        ttl = 0 if governing.malformed else _assumed_ttl(response, context, directives)
        if not ttl:
            return None
    stale_allowed = not directives.keys() & NEVER_STALE
    swr = delta_seconds(directives.get("stale-while-revalidate"))
    sie = delta_seconds(directives.get("stale-if-error"))
    return Lifetime(
        min(ttl, MAX_DELTA_S),
        min(context.swr if swr is None else swr, MAX_DELTA_S) if stale_allowed else 0,
        min(context.sie if sie is None else sie, MAX_DELTA_S) if stale_allowed else 0,
    )


def explicit_ttl(response: Response, governing: Governing) -> int | None:
    """The freshness lifetime that the response itself states, in seconds."""
    for directive in ("s-maxage", "max-age"):
        if directive in governing.directives:
            # RFC 9111 section 4.2.1: invalid freshness information is taken for stale.
            return delta_seconds(governing.directives[directive]) or 0
    if governing.targeted or not (expires := values(response.fields, "expires")):
        return None
    begin = timestamp(response.get("date"))
    end = timestamp(expires[0], begin)
    return max(0, int(end - begin)) if end is not None and begin is not None and len(expires) == 1 else 0


def _assumed_ttl(response: Response, context: Context, directives: Directives) -> int:
    """What the manifest gives a response that states no lifetime; 0 for none."""
    if context.ttl != "heuristic":
        return context.ttl if response.status in CACHEABLE_BY_DEFAULT else 0
    # RFC 9111 section 4.2.2
    return heuristic_ttl(response) if response.status in HEURISTICALLY_CACHEABLE or "public" in directives else 0


def heuristic_ttl(response: Response) -> int:
    """A tenth of the time since the response was modified."""
    date = timestamp(response.get("date"))
    modified = timestamp(response.get("last-modified"), date)
    if modified is None or date is None:
        return 0
    return max(0, int((date - modified) * _HEURISTIC_FRACTION))


def initial_age_s(response: Response) -> int:
    """The age with which a response arrived, in seconds: what caches before us say. RFC 9111 section 5.1."""
    ages = [delta_seconds(value.strip()) for line in values(response.fields, "age") for value in line.split(",")]
    return ages[0] or 0 if ages else 0


def timestamp(value: str | None, seen_s: float | None = None) -> float | None:
    """Seconds since the epoch of an HTTP date; None where it is none. RFC 9110 section 5.6.7.

    A year of two digits is at most 50 years after `seen_s`, which is about when the message was made.
    """
    text = (value or "").lower()
    match = next((match for pattern in _HTTP_DATES if (match := pattern.fullmatch(text))), None)
    if match is None or int(match["second"]) > 60:
        return None
    year, month, day = int(match["year"]), _MONTHS.index(match["month"]) + 1, int(match["day"])
    try:
        if len(match["year"]) == 2:
            latest = 50 + (_POSIX_YEAR if seen_s is None else datetime.fromtimestamp(seen_s, UTC).year)
            year = latest - (latest - year) % 100
        minute = datetime(year, month, day, int(match["hour"]), int(match["minute"]), tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    # Added afterwards: a datetime has no leap seconds.
    return minute.timestamp() + int(match["second"])
