"""Access and refresh tokens: HS256 JWTs under MIZAN_JWT_SECRET, which rotates by `kid` as MIZAN_MWT_SECRET does.

Both carry a digest of the user's session auth hash, so a new password ends them. What the user may do is looked at
live, with each request.
"""

import hashlib
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jwt
from django.core.exceptions import ImproperlyConfigured

from mizan.declare.conf import conf
from mizan_core.mwt import Keyring

AUDIENCE = "mizan-jwt"
Kind = Literal["at+jwt", "rt+jwt"]
"""The header's `typ`: of an access token (RFC 9068), and of a refresh token."""

_REQUIRED = ["sub", "auth", "jti", "aud", "iat", "exp"]


@dataclass(frozen=True, slots=True)
class Token:
    """What a valid token says."""

    sub: str
    auth: str
    jti: uuid.UUID
    expires_s: int


def keys() -> Keyring | None:
    """The secrets, or None where there are no such tokens. Raises SecretError for one that is too short."""
    secret = conf().jwt_secret
    return _keyring(secret) if secret else None


@lru_cache(maxsize=4)
def _keyring(secret: str) -> Keyring:
    return Keyring.parse(secret, name="MIZAN_JWT_SECRET")


def mint(kind: Kind, user: Any, *, jti: uuid.UUID, lifetime_s: int) -> str:
    """A token for a user. Raises ImproperlyConfigured where there is no secret."""
    ring = keys()
    if ring is None:
        raise ImproperlyConfigured("set MIZAN_JWT_SECRET, at least 32 bytes")
    kid, secret = ring.secrets[0]
    now_s = int(time.time())
    claims = {
        "sub": str(user.pk),
        "auth": digest(user),
        "jti": jti.hex,
        "aud": AUDIENCE,
        "iat": now_s,
        "exp": now_s + lifetime_s,
    }
    return jwt.encode(claims, secret, algorithm="HS256", headers={"typ": kind} | ({"kid": kid} if kid else {}))


def verify(kind: Kind, token: str) -> Token | None:
    """What a token says if it is valid now, else None. Never raises for a bad one."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, UnicodeEncodeError, RecursionError):
        return None
    ring = keys()
    if ring is None or header.get("typ") != kind:
        return None
    for kid, secret in ring.secrets:
        if header.get("kid") in (None, kid) and (found := _verified(secret, token)):
            return found
    return None


def _verified(secret: bytes, token: str) -> Token | None:
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], audience=AUDIENCE, options={"require": _REQUIRED})
        return Token(str(claims["sub"]), str(claims["auth"]), uuid.UUID(claims["jti"]), int(claims["exp"]))
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
        return None


def digest(user: Any) -> str:
    """32 hex digits that change with the user's password; of a user without one, of nothing."""
    session_hash = getattr(user, "get_session_auth_hash", None)
    return hashlib.sha256((session_hash() if session_hash is not None else "").encode()).hexdigest()[:32]
