"""Who is asking: the partition that a request's credentials name, or none."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from mizan_core.mwt import COOKIES, Identity
from mizan_edge.http.message import Fields, lines_of, normal_name, values
from mizan_edge.http.names import Names, of_names

ANON = "anon"
PUBLIC = "public"
# Each is compared with every pattern. No browser keeps so many for one site.
_MAX_COOKIES = 1000
_SHORT = 64


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Which cookies and fields tell an application who is asking. Patterns as `_ga*`; field names in any case."""

    identity_cookies: tuple[str, ...]
    ignored_cookies: tuple[str, ...]
    identity_headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Partition:
    """For whom a response is made; `user` is the id of a signed-in user."""

    name: str
    user: str | None = None
    until_s: float = field(default=math.inf, compare=False)
    """Until when the tokens that say so are valid, in seconds since the epoch."""


def partition(fields: Fields, rules: IdentityRules, verify: Callable[[str], Identity | None]) -> Partition | str:
    """The partition of a request in a `user` context; or why the edge cannot know who the origin will see.

    `verify` says whom a token proves, None for a bad one or where no secret is known.
    """
    if is_named(fields, rules):
        return "A field of it may tell the origin who is asking (identity_headers)."
    cookies = _cookies(fields)
    authorization = values(fields, "authorization")
    if cookies is None:
        return "Its cookies cannot be read in one way only, or are too many."
    if len(authorization) > 1:
        return "It has Authorization more than once."
    tokens = {value for name, value in cookies if name in COOKIES}
    if authorization:
        scheme, _, token = authorization[0].partition(" ")
        if scheme.lower() != "bearer":
            return "Its Authorization is not a bearer token."
        tokens.add(token.strip())
    others = [name for name, _ in cookies if name not in COOKIES and not _matches(name, rules.ignored_cookies)]
    if not tokens:
        # Whichever they are: the names may be a client's own.
        return "It has cookies that may say who is asking, and no token that does." if others else Partition(ANON)
    if not all(_matches(name, rules.identity_cookies) for name in others):
        return "Beside its token it has cookies of which nothing is known (identity_cookies, ignored_cookies)."
    identities = [verify(token) for token in tokens]
    proven = [identity for identity in identities if identity]
    if len(proven) < len(identities):
        return "Its token is not valid: expired, signed with another secret, or no MWT at all."
    if len({identity.partition for identity in proven}) > 1:
        return "It has two tokens that disagree."
    until_s = min(identity.expires_s for identity in proven)
    return Partition(proven[0].partition, proven[0].sub, until_s)


def is_named(fields: Fields, rules: IdentityRules) -> bool:
    """Whether a field beside cookies and Authorization may tell an application who is asking."""
    return _any_matches(lines_of(fields).names, rules.identity_headers)


@of_names
def _any_matches(names: Names, patterns: tuple[str, ...]) -> bool:
    return any(_matches(normal_name(name), patterns) for name in names.lower)


def _cookies(fields: Fields) -> list[tuple[str, str]] | None:
    """The cookies of a request, None where a part is no `name=value`, or there are too many."""
    pairs: list[tuple[str, str]] = []
    parts = [part for line in values(fields, "cookie") for part in line.split(";")]
    if len(parts) > _MAX_COOKIES:
        return None
    for part in parts:
        name, equals, value = part.strip().partition("=")
        if not name and not equals:
            continue
        if not equals or not name:
            return None
        pairs.append((name.strip(), value.strip().strip('"')))
    return pairs


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    # The same names come with every request.
    return (_remembered if len(name) <= _SHORT else _matches_now)(name, patterns)


def _matches_now(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_remembered = lru_cache(maxsize=4096)(_matches_now)
