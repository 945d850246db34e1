"""Before the first request: mounts `mizan.routes` at the root of the site, behind the site's own patterns, and refuses
a site whose declarations contradict each other.

Not in `AppConfig.ready()`: the URLconf imports the site's views, which other apps may not be ready for.
"""

from collections.abc import Iterable
from importlib import import_module
from threading import Lock
from typing import Any

from django.conf import settings
from django.urls import URLResolver, clear_url_caches, include, path

from mizan.declare.compiled import refuse_problems

_lock = Lock()
_done: list[object] = []


def begin(**_: Any) -> None:
    """What has to be so before a request is answered. Receives `request_started`. Raises ImproperlyConfigured."""
    mount_routes()
    refuse_problems()


def import_urlconf() -> Any:
    """The module of ROOT_URLCONF. With it come the site's views, some of which may be declared there."""
    urlconf = settings.ROOT_URLCONF
    return import_module(urlconf) if isinstance(urlconf, str) else urlconf


def mount_routes() -> None:
    """Mounts the routes in ROOT_URLCONF, once, unless the site includes them itself."""
    with _lock:
        module = import_urlconf()
        if any(module is mounted for mounted in _done):
            return
        _done.append(module)
        patterns = getattr(module, "urlpatterns", None)
        if patterns is None or _included(patterns):
            return
        # A new list: a site may have given a tuple, or share its list.
        module.urlpatterns = [*patterns, path("", include("mizan.routes"))]
        clear_url_caches()


def _included(patterns: Iterable[Any]) -> bool:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            named = pattern.urlconf_name
            if getattr(named, "__name__", named) == "mizan.routes" or _included(pattern.url_patterns):
                return True
    return False
