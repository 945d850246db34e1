"""Access and refresh tokens: HS256 JWTs under MIZAN_JWT_SECRET, which rotates by `kid` as MIZAN_MWT_SECRET does.

Both carry a digest of the user's session auth hash, so a new password ends them. What the user may do is looked at
live, with each request.
"""

import hashlib
import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from django.core.exceptions import ImproperlyConfigured

from mizan.declare.conf import jwt_keyring

AUDIENCE = "mizan-jwt"
Kind = Literal["at+jwt", "rt+jwt"]
"""The header's `typ`: of an access token (RFC 9068), and of a refresh token."""

_REQUIRED = ("sub", "auth", "jti", "aud", "iat", "exp")


@dataclass(frozen=True, slots=True)
class Token:
    """What a valid token says."""

    sub: str
    auth: str
    jti: uuid.UUID
    expires_s: int


def mint(kind: Kind, user: Any, *, jti: uuid.UUID, lifetime_s: int) -> str:
    """A token for a user. Raises ImproperlyConfigured where there is no secret."""
    ring = jwt_keyring()
    if ring is None:
        raise ImproperlyConfigured("set MIZAN_JWT_SECRET, at least 32 bytes")
    now_s = int(time.time())
    claims = {
        "sub": str(user.pk),
        "auth": digest(user),
        "jti": jti.hex,
        "aud": AUDIENCE,
        "iat": now_s,
        "exp": now_s + lifetime_s,
    }
    return ring.sign(kind, claims)


def verify(kind: Kind, token: str) -> Token | None:
    """What a token says if it is valid now, else None. Never raises for a bad one."""
    ring = jwt_keyring()
    if ring is None:
        return None
    claims = ring.claims(kind, token, audience=AUDIENCE, required=_REQUIRED, now_s=time.time())
    if claims is None:
        return None
    try:
        return Token(str(claims["sub"]), str(claims["auth"]), uuid.UUID(claims["jti"]), int(claims["exp"]))
    except (ValueError, TypeError, AttributeError):
        return None


def digest(user: Any) -> str:
    """32 hex digits that change with the user's password; of a user without one, of nothing."""
    session_hash = getattr(user, "get_session_auth_hash", None)
    return hashlib.sha256((session_hash() if session_hash is not None else "").encode()).hexdigest()[:32]
