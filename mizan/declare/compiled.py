"""What the application has declared, compiled once for each state of the registry."""

from threading import Lock

from django.core.exceptions import ImproperlyConfigured

from mizan.declare.conf import conf
from mizan_core import registry
from mizan_core.compiling import Compiled, compile_registry
from mizan_core.problems import DeclarationsError, Problem, problems
from mizan_core.registry import Registry
from mizan_core.view_urls import ViewUrlError, ViewUrls, parse_view_urls

_lock = Lock()
_compiled: tuple[Registry, int, object, Compiled] | None = None


def compiled() -> Compiled:
    """What the functions of the registry were compiled to. Its endpoints are below BASE, wherever the site has mounted
    them: what names URLs compiles by itself, with the site's base. Raises DeclarationsError with all that is wrong."""
    global _compiled
    urls = conf().view_urls
    functions = registry.default
    with _lock:
        if _compiled is None or _compiled[:3] != (functions, functions.generation, urls):
            _compiled = (functions, functions.generation, urls, compile_registry(functions, view_urls=view_urls()))
        return _compiled[3]


def view_urls() -> ViewUrls:
    """MIZAN_VIEW_URLS. Raises DeclarationsError for a URL that cannot be read, and what else is wrong."""
    try:
        return parse_view_urls(conf().view_urls or {}, source="MIZAN_VIEW_URLS")
    except ViewUrlError as error:
        unreadable = Problem("url", str(error), "write it like '/profile/<int:user_id>/'")
        raise DeclarationsError([*problems(registry.default), unreadable]) from None


def refuse_problems() -> None:
    """Raises ImproperlyConfigured where the declarations contradict each other: nobody could tell what is stale."""
    try:
        compiled()
    except DeclarationsError as error:
        raise ImproperlyConfigured(f"the declarations of server functions contradict each other:\n{error}") from None
