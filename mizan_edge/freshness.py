"""How long a response is fresh, and how old it is. RFC 9111 section 4.2."""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from mizan_core.manifest import Context
from mizan_edge.cache_control import Governing, delta_seconds
from mizan_edge.http import Response, values

# Statuses that the manifest's `ttl` may be applied to.
CACHEABLE_BY_DEFAULT = frozenset({200, 203, 204, 301, 308, 404, 410})
# RFC 9111 section 4.2.2: "a typical setting of this fraction might be 10%".
_HEURISTIC_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds: fresh for `ttl`, then usable stale while it is revalidated (`swr`) or when the origin fails (`sie`)."""

    ttl_s: int
    swr_s: int = 0
    sie_s: int = 0

    @property
    def retention_s(self) -> int:
        """How long it is worth keeping."""
        return self.ttl_s + max(self.swr_s, self.sie_s)


def lifetime(response: Response, context: Context, governing: Governing) -> Lifetime | None:
    """The response's lifetime in a context; None where neither it nor the manifest gives it one."""
    ttl = explicit_ttl(response, governing)
    if ttl is None:
        if governing.malformed or response.status not in CACHEABLE_BY_DEFAULT:
            return None
        ttl = heuristic_ttl(response) if context.ttl == "heuristic" else context.ttl
        if not ttl:
            return None
    directives = governing.directives
    stale_allowed = not directives.keys() & {"must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"}
    swr = delta_seconds(directives.get("stale-while-revalidate"))
    sie = delta_seconds(directives.get("stale-if-error"))
    return Lifetime(
        ttl,
        (context.swr if swr is None else swr) if stale_allowed else 0,
        (context.sie if sie is None else sie) if stale_allowed else 0,
    )


def explicit_ttl(response: Response, governing: Governing) -> int | None:
    """The freshness lifetime that the response itself states, in seconds."""
    for directive in ("s-maxage", "max-age"):
        if directive in governing.directives:
            # RFC 9111 section 4.2.1: invalid freshness information is taken for stale.
            return delta_seconds(governing.directives[directive]) or 0
    if governing.targeted or not (expires := values(response.fields, "expires")):
        return None
    end, begin = timestamp(expires[0]), timestamp(response.get("date"))
    return max(0, int(end - begin)) if end is not None and begin is not None and len(expires) == 1 else 0


def heuristic_ttl(response: Response) -> int:
    """A tenth of the time since the response was modified."""
    modified, date = timestamp(response.get("last-modified")), timestamp(response.get("date"))
    if modified is None or date is None:
        return 0
    return max(0, int((date - modified) * _HEURISTIC_FRACTION))


def initial_age_s(response: Response) -> int:
    """The age with which a response arrived, in seconds: what caches before us say. RFC 9111 section 5.1."""
    ages = [delta_seconds(value.strip()) for line in values(response.fields, "age") for value in line.split(",")]
    return ages[0] or 0 if ages else 0


def timestamp(value: str | None) -> float | None:
    """Seconds since the epoch of an HTTP date; None where it is none. RFC 9110 section 5.6.7."""
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # RFC 9110 section 5.6.7: a date in one of the old formats is in UTC, although it does not say so.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
