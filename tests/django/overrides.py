"""The site set up in another way, for a test or for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction
from django.test import override_settings

from tests.django.site.settings import MIDDLEWARE

WITH_MIDDLEWARE = override_settings(MIDDLEWARE=["mizan.middleware.MizanMiddleware", *MIDDLEWARE])


@contextmanager
def atomic_requests() -> Iterator[None]:
    """ATOMIC_REQUESTS on the default database."""
    database = connections.settings["default"]
    database["ATOMIC_REQUESTS"] = True
    try:
        yield
    finally:
        database["ATOMIC_REQUESTS"] = False


@contextmanager
def by_hand() -> Iterator[None]:
    """Autocommit is off."""
    transaction.set_autocommit(False)
    try:
        yield
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
