"""Who may use the admin listener, and under which names it is reached."""

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from mizan_edge.admin.problems import Handler, Refused

Role = Literal["read", "purge"]

ROLE = web.RequestKey("role", str)
"""Under which a request has the role of the token that it has shown."""

PAGE = "/"
"""The dashboard's page, which is open: it asks for a token."""
PAGE_FILES = "/dashboard/"
"""Under which it has what it is made of."""

_PROBES = ("/healthz", "/readyz")
# Without a token: numbers, and names of contexts; and what asks for one.
_OPEN = ("/metrics", PAGE)


@dataclass(frozen=True, slots=True)
class Access:
    """A token for each role, and the host names under which the listener may be addressed."""

    purge_token: str
    read_token: str | None
    hosts: tuple[str, ...]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets nobody through who may not."""
        if request.path in _PROBES and request.method in ("GET", "HEAD"):
            return await handler(request)
        if not self.serves(request.headers.get("Host", "")):
            raise Refused(421, "This listener is not served under that name: add it to admin_hosts if it should be.")
        if _is_open(request.path) and request.method in ("GET", "HEAD"):
            return await handler(request)
        role = self.role(request.headers.get("Authorization"))
        if role is None:
            raise Refused(401, "A token is needed: Authorization: Bearer <token>")
        if role == "read" and request.method not in ("GET", "HEAD"):
            raise Refused(403, "This token may read only; purging and reloading need the other one.")
        request[ROLE] = role
        return await handler(request)

    def role(self, authorization: str | None) -> Role | None:
        """The role of a bearer token, compared in constant time."""
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip().encode(errors="surrogateescape") if scheme.lower() == "bearer" else b""
        if hmac.compare_digest(given, self.purge_token.encode()):
            return "purge"
        if self.read_token is not None and hmac.compare_digest(given, self.read_token.encode()):
            return "read"
        return None

    def serves(self, host: str) -> bool:
        """Whether a Host field may name this listener: otherwise a page could reach it by rebinding its own name."""
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(PAGE_FILES)
