"""The adapter's settings, all optional, as they stand in Django's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings

from mizan_core.keys import secret_bytes
from mizan_core.mwt import LIFETIME_S, Keyring

NAMESPACE = "mizan"
JWT_REFRESH_LIFETIME_S = 14 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Conf:
    """MIZAN_* settings; what is unset or empty is None."""

    cache_secret: str | None
    """At least 32 bytes; with `cache_redis_url`, turns on the origin's own cache of bundles."""
    cache_redis_url: str | None
    cache_namespace: str
    mwt_secret: str | None
    """`secret`, or `kid:secret,kid2:secret2` while secrets rotate; without one there are no tokens."""
    mwt_lifetime_s: int
    jwt_secret: str | None
    """As `mwt_secret`, and another one; for `mizan.jwt`."""
    jwt_access_lifetime_s: int
    jwt_refresh_lifetime_s: int
    edge_admin_url: str | None
    edge_admin_token: str | None
    model_contexts: Mapping[str, Any] | None
    """Models whose changes purge; see `model_contexts`."""
    release: str | None
    """The deploy's id, for the manifest."""
    view_urls: Mapping[str, Iterable[str]] | None
    """Context -> URLs of views that are not declared, and show its data."""


def conf() -> Conf:
    """The settings of this moment (tests override them)."""
    return Conf(
        cache_secret=getattr(settings, "MIZAN_CACHE_SECRET", None) or None,
        cache_redis_url=getattr(settings, "MIZAN_CACHE_REDIS_URL", None) or None,
        cache_namespace=getattr(settings, "MIZAN_CACHE_NAMESPACE", None) or NAMESPACE,
        mwt_secret=getattr(settings, "MIZAN_MWT_SECRET", None) or None,
        mwt_lifetime_s=getattr(settings, "MIZAN_MWT_LIFETIME", None) or LIFETIME_S,
        jwt_secret=getattr(settings, "MIZAN_JWT_SECRET", None) or None,
        jwt_access_lifetime_s=getattr(settings, "MIZAN_JWT_ACCESS_LIFETIME", None) or LIFETIME_S,
        jwt_refresh_lifetime_s=getattr(settings, "MIZAN_JWT_REFRESH_LIFETIME", None) or JWT_REFRESH_LIFETIME_S,
        edge_admin_url=getattr(settings, "MIZAN_EDGE_ADMIN_URL", None) or None,
        edge_admin_token=getattr(settings, "MIZAN_EDGE_ADMIN_TOKEN", None) or None,
        model_contexts=getattr(settings, "MIZAN_MODEL_CONTEXTS", None) or None,
        release=getattr(settings, "MIZAN_RELEASE", None) or None,
        view_urls=getattr(settings, "MIZAN_VIEW_URLS", None) or None,
    )


def keyring() -> Keyring | None:
    """The secrets of Mizan tokens, or None where there are none. Raises SecretError for one that is too short."""
    return _keyring(conf().mwt_secret, "MIZAN_MWT_SECRET")


def jwt_keyring() -> Keyring | None:
    """The same of access and refresh tokens."""
    return _keyring(conf().jwt_secret, "MIZAN_JWT_SECRET")


@lru_cache(maxsize=8)
def _keyring(secret: str | None, name: str) -> Keyring | None:
    return Keyring.parse(secret, name=name) if secret else None


def check_secrets() -> None:
    """Raises SecretError for a secret that is too short, before anything is signed with it."""
    keyring()
    jwt_keyring()
    if secret := conf().cache_secret:
        secret_bytes(secret, name="MIZAN_CACHE_SECRET")
