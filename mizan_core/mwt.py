"""The Mizan Web Token: an HS256 JWT that names a signed-in user and a digest of what that user may do.

`pkey` moves the user to a new partition as soon as any right changes, so nothing made under the old rights can be
served under the new ones.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import rfc8785

from mizan_core.canonical import is_canonical
from mizan_core.keys import secret_bytes

TYPE = "MWT"
AUDIENCE = "mizan"
LIFETIME_S = 300
COOKIES = ("__Host-mizan_mwt", "mizan_mwt")
"""The cookie's names: over TLS, and without it."""

_KID = r"[A-Za-z0-9._-]{1,64}"
_NAMED = re.compile(rf"({_KID}):(.+)")
# No colon: the partition `user:<sub>:<pkey>` must read in one way only.
_PKEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_END_OF_TIME_S = 2**53
_REQUIRED = ("sub", "pkey", "aud", "iat", "exp")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a valid token speaks of, and until when (seconds since the epoch)."""

    sub: str
    pkey: str
    expires_s: int

    @property
    def partition(self) -> str:
        return user_partition(self.sub, self.pkey)


def user_partition(sub: str, pkey: str) -> str:
    """The partition of one signed-in user."""
    return f"user:{sub}:{pkey}"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The secrets that tokens are verified with, by `kid`; the first one signs. One without a kid has the kid None."""

    secrets: tuple[tuple[str | None, bytes], ...]

    @classmethod
    def parse(cls, text: str, *, name: str = "MIZAN_MWT_SECRET") -> "Keyring":
        """`secret`, or `kid:secret,kid2:secret2` while secrets rotate. Raises SecretError for one under 32 bytes."""
        named = [_NAMED.fullmatch(part.strip()) for part in text.split(",")]
        pairs = [(match[1], match[2]) for match in named if match]
        if len(pairs) == len(named):
            return cls(tuple((kid, secret_bytes(secret, name=f"{name} ({kid})")) for kid, secret in pairs))
        return cls(((None, secret_bytes(text, name=name)),))

    def sign(self, type_: str, claims: Mapping[str, Any]) -> str:
        """A JWT of these claims; `type_` is its header's `typ`."""
        kid, secret = self.secrets[0]
        headers = {"typ": type_} | ({"kid": kid} if kid else {})
        return jwt.encode(dict(claims), secret, algorithm="HS256", headers=headers)

    def claims(
        self, type_: str, token: str, *, audience: str, required: Iterable[str], now_s: float
    ) -> dict[str, Any] | None:
        """What a JWT of this type says, if one of the secrets signed it and it holds at `now_s`. Never raises: a bad
        token says nothing. `required` has `iat` and `exp`."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, UnicodeEncodeError, RecursionError):
            return None  # stray bytes of a header come as lone surrogates; JSON may be nested by the thousand
        if header.get("typ") != type_:
            return None
        for kid, secret in self.secrets:
            if header.get("kid") in (None, kid) and (claims := _signed(secret, token, audience, list(required))):
                return claims if _holds(claims, now_s) else None
        return None


def _signed(secret: bytes, token: str, audience: str, required: list[str]) -> dict[str, Any] | None:
    # Times are judged below, against the caller's clock.
    options: Any = {"require": required, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        return jwt.decode(token, secret, algorithms=["HS256"], audience=audience, options=options)
    except jwt.InvalidTokenError:
        return None


def _holds(claims: Mapping[str, Any], now_s: float) -> bool:
    times = claims["iat"], claims["exp"], claims.get("nbf", 0)
    if any(type(time) not in (int, float) or not 0 <= time < _END_OF_TIME_S for time in times):
        return False  # not numbers, NaN or infinite
    return bool(times[2] <= now_s < times[1])


def mint(keyring: Keyring, *, sub: str, pkey: str, now_s: int, lifetime_s: int = LIFETIME_S) -> str:
    """A token for the user `sub`, valid from `now_s` for `lifetime_s` seconds."""
    return keyring.sign(TYPE, {"sub": sub, "pkey": pkey, "aud": AUDIENCE, "iat": now_s, "exp": now_s + lifetime_s})


def verify(keyring: Keyring, token: str, *, now_s: float) -> Identity | None:
    """The identity that a token proves at `now_s`, or None. Never raises: a bad token is nobody's."""
    claims = keyring.claims(TYPE, token, audience=AUDIENCE, required=_REQUIRED, now_s=now_s)
    if claims is None:
        return None
    sub, pkey = claims["sub"], claims["pkey"]
    if not isinstance(sub, str) or not sub or not is_canonical(sub, "string"):
        return None
    if not isinstance(pkey, str) or not _PKEY.fullmatch(pkey):
        return None
    return Identity(sub, pkey, int(claims["exp"]))


def permission_key(
    *,
    active: bool,
    staff: bool,
    superuser: bool,
    groups: Iterable[str],
    permissions: Iterable[str],
    session_hash: str,
) -> str:
    """The digest `pkey`: 32 hex digits over everything that decides what a user may do."""
    facts = [active, staff, superuser, sorted(groups), sorted(permissions), session_hash]
    return hashlib.sha256(rfc8785.dumps(facts)).hexdigest()[:32]  # type: ignore[arg-type]
