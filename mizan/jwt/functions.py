"""The server functions; see the package."""

import datetime as dt
import hmac
import uuid
from typing import Any

from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from pydantic import BaseModel

from mizan.client import client
from mizan.db.transactions import non_atomic
from mizan.declare.conf import conf
from mizan.errors import ApiError
from mizan.jwt.models import RefreshToken
from mizan.request.access_tokens import digest, mint, verify
from mizan.request.identity import live_user


class Tokens(BaseModel):
    """What a sign-in and a refresh give; lifetimes in seconds."""

    access: str
    refresh: str
    expires_in: int
    refresh_expires_in: int


# What they do rests on what the arguments prove and on no cookie, so no other site can make a browser do it. And what
# they write has to stay when they refuse: a second use that ATOMIC_REQUESTS rolled back would be none.


@client
@csrf_exempt
@non_atomic
@sensitive_variables("password")
def jwt_obtain(request: HttpRequest, username: str, password: str) -> Tokens:
    """Tokens for who knows the password, by the site's authentication backends. 401 "invalid_credentials"."""
    user = authenticate(request, username=username, password=password)
    if user is None:
        raise ApiError(401, "invalid_credentials", "no such user, or another password")
    RefreshToken.objects.filter(user_id=user.pk, expires__lt=timezone.now()).delete()
    return _issue(user, uuid.uuid4())


@client
@csrf_exempt
@non_atomic
@sensitive_variables("refresh")
def jwt_refresh(request: HttpRequest, refresh: str) -> Tokens:
    """New tokens for a refresh token, which works once. 401 "invalid_token"."""
    token = verify("rt+jwt", refresh)
    known = RefreshToken.objects.filter(pk=token.jti).first() if token is not None else None
    if token is None or known is None:
        raise _invalid()
    user = live_user(token.sub)
    # Of several that come at once, one finds it unused.
    first = RefreshToken.objects.filter(pk=known.pk, used=False).update(used=True)
    if first and user is not None and hmac.compare_digest(digest(user), token.auth):
        tokens = _issue(user, known.family)
        # 1. used for the first time; 2. used again, which ends the family; 3. issued. -- Then 3 has come too late.
        if RefreshToken.objects.filter(pk=known.pk).exists():
            return tokens
    RefreshToken.objects.filter(family=known.family).delete()
    raise _invalid()


@client
@csrf_exempt
@non_atomic
@sensitive_variables("refresh")
def jwt_revoke(request: HttpRequest, refresh: str) -> None:
    """Ends all refresh tokens of the sign-in that this one is from. An access token holds until it expires."""
    token = verify("rt+jwt", refresh)
    if token is not None:
        RefreshToken.objects.filter(
            family__in=RefreshToken.objects.filter(pk=token.jti).values_list("family", flat=True)
        ).delete()


def _invalid() -> ApiError:
    return ApiError(401, "invalid_token", "this refresh token is not valid, or not any more: sign in again")


def _issue(user: Any, family: uuid.UUID) -> Tokens:
    here = conf()
    lifetime_s, refresh_lifetime_s = here.jwt_access_lifetime_s, here.jwt_refresh_lifetime_s
    expires = timezone.now() + dt.timedelta(seconds=refresh_lifetime_s)
    stored = RefreshToken.objects.create(family=family, user_id=user.pk, expires=expires)
    return Tokens(
        access=mint("at+jwt", user, jti=uuid.uuid4(), lifetime_s=lifetime_s),
        refresh=mint("rt+jwt", user, jti=stored.pk, lifetime_s=refresh_lifetime_s),
        expires_in=lifetime_s,
        refresh_expires_in=refresh_lifetime_s,
    )
