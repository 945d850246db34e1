"""The admin listener, put together from its parts. Never on the public listener."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Protocol

from aiohttp import web

from mizan_edge.admin.access import Access
from mizan_edge.admin.auditing import Auditing
from mizan_edge.admin.connections import attended
from mizan_edge.admin.contexts import Contexts
from mizan_edge.admin.explaining import Explaining
from mizan_edge.admin.live import Live
from mizan_edge.admin.metrics import Metrics
from mizan_edge.admin.page import Page
from mizan_edge.admin.probes import Probes
from mizan_edge.admin.problems import problems
from mizan_edge.admin.purging import Purging
from mizan_edge.admin.recycling import Recycling
from mizan_edge.admin.reloading import Reloading
from mizan_edge.admin.shadowing import Shadowing

_MAX_BODY_BYTES = 1 << 20


class Part(Protocol):
    """Some of the requests that the listener takes."""

    def routes(self) -> Iterable[web.RouteDef]: ...


@dataclass(frozen=True, slots=True)
class Admin:
    """Who may ask, and the parts that answer."""

    access: Access
    purging: Purging
    reloading: Reloading
    recycling: Recycling
    explaining: Explaining
    auditing: Auditing
    contexts: Contexts
    shadowing: Shadowing
    probes: Probes
    metrics: Metrics
    live: Live
    page: Page

    def application(self) -> web.Application:
        """The aiohttp application of the admin listener."""
        app = web.Application(middlewares=[problems, self.access.guard, attended], client_max_size=_MAX_BODY_BYTES)
        for name in [field.name for field in fields(self) if field.name != "access"]:
            part: Part = getattr(self, name)
            app.add_routes(part.routes())
        return app
