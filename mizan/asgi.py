"""`wrap_asgi`: HTTP to Django, WebSockets to Mizan."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from mizan_core.compiling import BASE, base_path

if TYPE_CHECKING:
    from mizan.channels.limits import Limits

Application: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


def wrap_asgi(
    application: Application, *, prefixes: str | Sequence[str] = BASE, limits: "Limits | None" = None
) -> Application:
    """The ASGI application of the site: WebSockets at `<prefix>ws/` are Mizan's, all else is `application`'s.

        application = wrap_asgi(get_asgi_application())

    `prefixes`: where the site includes `mizan.urls`, one or several; `limits`: what one connection may cost. Raises
    ImproperlyConfigured where two channels have one name, and where channels or functions with `websocket=True` are
    declared and the extra `channels` is not installed; a site without them needs no extra.
    """
    # The models of the apps that this imports are there only after Django's start, which get_asgi_application() is.
    from django.core.exceptions import ImproperlyConfigured
    from django.core.handlers.asgi import ASGIHandler, get_script_prefix

    from mizan.channels import registry
    from mizan.channels.checks import uses_websockets
    from mizan.channels.groups import EXTRA
    from mizan.channels.limits import Limits

    if problems := registry.default.problems():
        raise ImproperlyConfigured("\n".join(map(str, problems)))
    given = [prefixes] if isinstance(prefixes, str) else prefixes
    sockets = {f"{prefix}ws/": prefix for prefix in map(base_path, given)}
    installed = find_spec("channels") is not None
    if not installed and uses_websockets():
        raise ImproperlyConfigured(EXTRA)
    bounds = limits or Limits()

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await application(scope, receive, send)
            return
        prefix = sockets.get(scope["path"].removeprefix(get_script_prefix(scope)))
        if prefix is not None and installed:
            from mizan.channels.connection import serve

            await serve(scope, receive, send, prefix=prefix, limits=bounds)
        elif isinstance(application, ASGIHandler):
            # Django knows no WebSockets, and would raise.
            await receive()
            await send({"type": "websocket.close"})
        else:
            await application(scope, receive, send)

    return wrapped
