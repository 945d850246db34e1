"""Django is set up once, for all tests of this folder; each test begins with an empty database."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import django
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.test import AsyncClient, Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from django.urls import reverse

import mizan
from mizan.http.mount import mount_routes
from mizan_core.registry import Registry
from tests.django.behind_edge import Site, behind_edge
from tests.django.site.settings import CACHE_SECRET, site_settings
from tests.support.redis_server import established

_home = Path(tempfile.mkdtemp(prefix="mizan-django-"))
settings.configure(**site_settings(_home))
django.setup()
# A module that is imported first while a test has put another registry in place would keep that one.
for _module in walk_packages(mizan.__path__, "mizan."):
    import_module(_module.name)
import_module(settings.ROOT_URLCONF)


@pytest.fixture(scope="session", autouse=True)
def site() -> Iterator[None]:
    """The site with its tables, in a database of its own."""
    setup_test_environment()
    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    connection.close()
    teardown_test_environment()
    shutil.rmtree(_home)


@pytest.fixture(autouse=True)
def empty_site() -> Iterator[None]:
    """Nobody, nothing, and no counts."""
    from django.contrib.auth.models import Group, User
    from django.contrib.sessions.models import Session

    from mizan.test import recorded_purges
    from tests.django.site import clients
    from tests.django.site.models import Album, Label, Note

    with recorded_purges():
        for model in (Album, Label, Note, User, Group, Session):
            model.objects.all().delete()
    clients.ran.clear()
    clients.meanwhile.clear()
    yield
    connection.close()


@pytest.fixture
async def browser() -> AsyncIterator[AsyncClient]:
    """A browser before the site under ASGI, whose views run in a thread with a connection of its own."""
    yield AsyncClient()
    await sync_to_async(connections.close_all)()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry in place of the site's."""
    # Django remembers for good what it reverses: let that be the site's.
    mount_routes()
    reverse("mizan:call")
    empty = Registry()
    monkeypatch.setattr("mizan_core.registry.default", empty)
    return empty


@pytest.fixture
def ann() -> Any:
    """A user."""
    from django.contrib.auth.models import User

    return User.objects.create_user("ann", password="ann", first_name="Ann")


@pytest.fixture
def bob() -> Any:
    """Another user."""
    from django.contrib.auth.models import User

    return User.objects.create_user("bob", password="bob", first_name="Bob")


@pytest.fixture
def visitor() -> Client:
    """A browser that nobody has signed in with."""
    return Client()


@pytest.fixture
def running(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Site]:
    """The site behind an edge."""
    with behind_edge(redis_url, namespace, tmp_path) as site:
        yield site


@pytest.fixture
def stored(redis_url: str, namespace: str) -> Iterator[None]:
    """The cache of bundles is on, and purge() goes through Redis."""
    established(redis_url, namespace)
    with override_settings(
        MIZAN_CACHE_SECRET=CACHE_SECRET, MIZAN_CACHE_REDIS_URL=redis_url, MIZAN_CACHE_NAMESPACE=namespace
    ):
        yield
