"""Who is asking: tokens in `Authorization`, the partition of a response, and the cookie that names it to the edge.

The cookie names a partition and nothing more; only a token in `Authorization` signs somebody in, and only after what it
proves (a `pkey`, or the digest of an access token) was computed anew from the live user.
"""

import hmac
import logging
import time
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase

from mizan.declare.conf import conf, keyring
from mizan.request import access_tokens
from mizan.request.state import state
from mizan_core import mwt
from mizan_core.fields import PARTITION

logger = logging.getLogger("mizan.identity")

SECURE_COOKIE, PLAIN_COOKIE = mwt.COOKIES


def sign_in(request: HttpRequest) -> None:
    """Lets a token in `Authorization` decide who the request's user is. Other kinds of credentials are not ours."""
    here = state(request)
    if here.token_read:
        return
    here.token_read = True
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return
    keys = keyring()
    if keys is not None and (identity := mwt.verify(keys, token.strip(), now_s=time.time())):
        user = live_user(identity.sub)
        here.bearer = user is not None and hmac.compare_digest(pkey(request, user), identity.pkey)
    elif access := access_tokens.verify("at+jwt", token.strip()):
        user = live_user(access.sub)
        here.bearer = user is not None and hmac.compare_digest(access_tokens.digest(user), access.auth)
        here.jwt_expires_s = access.expires_s
    else:
        return
    _set_user(request, user if here.bearer else AnonymousUser())


def live_user(sub: str) -> Any | None:
    """The active user with a primary key, as text."""
    model = get_user_model()
    try:
        user = model._default_manager.filter(pk=sub).first()
    except (ValueError, TypeError, OverflowError, ValidationError):
        return None
    return user if user is not None and user.is_active else None


def _set_user(request: HttpRequest, user: Any) -> None:
    async def auser() -> Any:
        return user

    request.user = user
    request.auser = auser


def signed_in_user(request: HttpRequest) -> Any | None:
    """The authenticated user of a request, by whatever means, or None."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def reread_user(request: HttpRequest) -> bool:
    """Reads the request's user from the database again, in place, since middleware may have put things on it. False
    where that cannot be: it is deleted, or no model's."""
    user = signed_in_user(request)
    if not isinstance(user, Model):
        return False
    try:
        user.refresh_from_db()
    except ObjectDoesNotExist:
        return False
    return True


def partition(request: HttpRequest) -> str:
    """The partition of what is made for the request's user: "anon" or "user:<pk>:<pkey>"."""
    user = signed_in_user(request)
    return mwt.user_partition(_sub(user), pkey(request, user)) if user is not None else "anon"


def pkey(request: HttpRequest, user: Any) -> str:
    """The digest of what a live user may do. Two or three queries, once a request."""
    memo = state(request).pkeys
    sub = _sub(user)
    if sub not in memo:
        memo[sub] = permission_key(user)
    return memo[sub]


def permission_key(user: Any) -> str:
    """The `pkey` of a user of any model; one without groups or permissions has none of them."""
    groups = getattr(user, "groups", None)
    permissions = getattr(user, "get_all_permissions", None)
    session_hash = getattr(user, "get_session_auth_hash", None)
    return mwt.permission_key(
        active=bool(user.is_active),
        staff=bool(getattr(user, "is_staff", False)),
        superuser=bool(getattr(user, "is_superuser", False)),
        groups=[str(pk) for pk in groups.values_list("pk", flat=True)] if groups is not None else [],
        permissions=permissions() if permissions is not None else [],
        session_hash=session_hash() if session_hash is not None else "",
    )


def _sub(user: Any) -> str:
    return str(user.pk)


def mint(request: HttpRequest, user: Any, *, lifetime_s: int | None = None) -> str | None:
    """A fresh token for a user, or None where there are no tokens."""
    keys = keyring()
    if keys is None:
        return None
    return mwt.mint(
        keys,
        sub=_sub(user),
        pkey=pkey(request, user),
        now_s=int(time.time()),
        lifetime_s=lifetime_s or conf().mwt_lifetime_s,
    )


def session_token(request: HttpRequest) -> tuple[str | None, int | None]:
    """A token for the user of the session, or of an access token, which it does not outlive; and its seconds."""
    here, user, lifetime_s = state(request), session_user(request), conf().mwt_lifetime_s
    if user is None and here.bearer and here.jwt_expires_s is not None:
        user, lifetime_s = signed_in_user(request), min(lifetime_s, here.jwt_expires_s - int(time.time()))
    token = mint(request, user, lifetime_s=lifetime_s) if user is not None and lifetime_s > 0 else None
    return token, lifetime_s if token else None


def session_user(request: HttpRequest) -> Any | None:
    """The user whom the session signed in; None for a user who came by a token or other means."""
    session = getattr(request, "session", None)
    user = signed_in_user(request)
    if session is None or user is None or state(request).bearer:
        return None
    return user if session.get(SESSION_KEY) == user._meta.pk.value_to_string(user) else None


def refresh_cookie(request: HttpRequest, response: HttpResponseBase) -> None:
    """Keeps the token cookie as fresh as the session: sets it where the request lacks a valid one, and deletes it
    where nobody is signed in. Where a middleware has put somebody else in the session's place, the response names that
    partition instead, so that the edge keeps it from the cookie's."""
    try:
        _refresh_cookie(request, response)
    except Exception:
        # The response may be that of a mutation, and what it says to caches must arrive.
        logger.exception("the token cookie could not be refreshed")


def _refresh_cookie(request: HttpRequest, response: HttpResponseBase) -> None:
    keys = keyring()
    carried = [name for name in mwt.COOKIES if name in request.COOKIES]
    # Without a cookie there is nobody to look for, and looking would make the response vary by Cookie.
    if keys is None or not (carried or _has_session(request)):
        return
    user = session_user(request)
    if user is None:
        if signed_in_user(request) is None:
            for name in carried:
                response.delete_cookie(name, path="/", samesite="Lax")
        elif carried and not state(request).bearer:
            # Somebody else in the user's place, by a middleware: the edge goes by the cookie, and must not keep this.
            response.headers.setdefault(PARTITION, partition(request))
        return
    name = SECURE_COOKIE if request.is_secure() else PLAIN_COOKIE
    now_s = time.time()
    wanted = partition(request)
    for other in carried:
        identity = mwt.verify(keys, request.COOKIES[other], now_s=now_s)
        if identity is not None and identity.partition == wanted:
            continue
        if other != name:
            # The edge believes no request with two tokens that disagree.
            response.delete_cookie(other, path="/", samesite="Lax")
        elif name not in response.cookies:
            _set_cookie(request, response, name, user)
    if name not in carried and name not in response.cookies:
        _set_cookie(request, response, name, user)


def _has_session(request: HttpRequest) -> bool:
    session = getattr(request, "session", None)
    return session is not None and (settings.SESSION_COOKIE_NAME in request.COOKIES or session.modified)


def _set_cookie(request: HttpRequest, response: HttpResponseBase, name: str, user: Any) -> None:
    response.set_cookie(
        name,
        mint(request, user) or "",
        max_age=conf().mwt_lifetime_s,
        path="/",
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
