"""System checks: declarations that contradict each other, and a middleware worth having."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from mizan.conf import conf
from mizan.declared import declared
from mizan_core.registry import RegistryError

MIDDLEWARE = "mizan.middleware.MizanMiddleware"


def check_declarations(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.E001: what no manifest could say."""
    try:
        declared()
    except RegistryError as error:
        return [Error(str(error), id="mizan.E001")]
    return []


def check_middleware(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.W001: without the middleware the token cookie outlives a sign-out, and comes late after a sign-in."""
    if conf().mwt_secret is None or MIDDLEWARE in settings.MIDDLEWARE:
        return []
    return [
        Warning(
            "MIZAN_MWT_SECRET is set, and nothing clears the token cookie at sign-out on pages that are not Mizan's",
            hint=f"Put {MIDDLEWARE!r} behind AuthenticationMiddleware in MIDDLEWARE.",
            id="mizan.W001",
        )
    ]
