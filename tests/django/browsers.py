"""Browsers that somebody has signed in with, clients with a token, and whom a token names."""

import time
from typing import Any

from django.test import Client

from mizan_core import mwt
from tests.django.requests import BASE, bundle
from tests.django.site.settings import MWT_SECRET

KEYS = mwt.Keyring.parse(MWT_SECRET)


def signed_in(user: Any) -> Client:
    """A browser with a session of the user's."""
    browser = Client()
    browser.force_login(user)
    return browser


def token_of(user: Any) -> str:
    """A Mizan token, as the session endpoint gives it."""
    return str(signed_in(user).get(f"{BASE}session/").json()["mwt"])


def by_token(token: str) -> Client:
    """A client without cookies."""
    return Client(headers={"Authorization": f"Bearer {token}"})


def identity_of(user: Any) -> mwt.Identity:
    """Whom the token names that the user gets when signing in now."""
    # As the database has them: an object remembers what it was allowed.
    return identity_in(bundle(signed_in(type(user).objects.get(pk=user.pk)), "mine"))


def identity_in(response: Any, name: str = "mizan_mwt") -> mwt.Identity:
    """Whom the token in the response's cookie names."""
    identity = mwt.verify(KEYS, response.cookies[name].value, now_s=time.time())
    assert identity is not None
    return identity
