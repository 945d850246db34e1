"""An edge in front of a scripted origin: its manifest and secrets, and how a test speaks to it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mizan_edge.edge import running
from mizan_edge.running.config import load_settings
from tests.support import wire
from tests.support.redis_server import established
from tests.support.wire import Headers, Reply

SECRET = "cache-secret-cache-secret-cache-secret"
MWT_SECRET = "mwt-secret-mwt-secret-mwt-secret-mwt"
TOKEN = "admin-token"

MANIFEST: dict[str, Any] = {
    "contexts": {
        "user": {
            "functions": [{"name": "user_profile", "path": "rpc"}, {"name": "profile_page", "path": "view"}],
            "endpoints": ["/api/mizan/ctx/user/"],
            "params": ["user_id", "locale"],
            "param_types": {"user_id": "integer", "locale": "string"},
            "views": ["/profile/:user_id/"],
        },
        "catalog": {
            "functions": [{"name": "products", "path": "rpc"}],
            "endpoints": ["/api/mizan/ctx/catalog/"],
            "params": ["category"],
            "views": ["/catalog/:category/"],
            "scope": "public",
            "ignore_query": ["utm_*"],
        },
    },
    "mutations": {"rename_user": {"affects": [{"context": "user", "params": ["user_id"]}]}},
}


@dataclass
class RunningEdge:
    """A running edge, and how to talk to it."""

    address: str
    admin: str
    manifest_path: Path

    async def request(self, method: str, target: str, headers: Headers = (), body: bytes | None = None, **how) -> Reply:
        return await wire.request(self.address, method, target, headers, body, **how)

    async def get(self, target: str, headers: Headers = (), **how) -> Reply:
        return await self.request("GET", target, headers, **how)

    async def call(self, fn: str, headers: Headers = (), **args: Any) -> Reply:
        """A call as a client makes it."""
        return await self.call_raw(json.dumps({"fn": fn, "args": args}).encode(), headers)

    async def call_raw(self, body: bytes, headers: Headers = (), content_type: str = "application/json") -> Reply:
        pairs = list(headers.items()) if hasattr(headers, "items") else list(headers)
        return await self.request("POST", "/api/mizan/call/", [*pairs, ("Content-Type", content_type)], body)

    async def admin_request(
        self, method: str, target: str, body: Any = None, token: str | None = TOKEN, host: str = "127.0.0.1", **headers
    ) -> Reply:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if token:
            pairs.append(("Authorization", f"Bearer {token}"))
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if "Content_Type" not in headers:
                pairs.append(("Content-Type", "application/json"))
        return await wire.request(self.admin, method, target, pairs, data, host=host)

    async def purge(self, *scopes: str, **body: Any) -> Reply:
        return await self.admin_request("POST", "/purge", {"scopes": list(scopes), **body})

    async def counters(self) -> dict[str, int]:
        counters: dict[str, int] = (await self.admin_request("GET", "/stats")).json["counters"]
        return counters


EdgeFactory = Callable[..., Awaitable[RunningEdge]]


@asynccontextmanager
async def edges(origin_url: str, redis_url: str, namespace: str, home: Path) -> AsyncIterator[EdgeFactory]:
    """Starts edges of one namespace in front of an origin, which end with the block."""
    async with AsyncExitStack() as stack:
        count = 0
        established(redis_url, namespace)

        async def start(manifest: dict[str, Any] = MANIFEST, **settings: Any) -> RunningEdge:
            nonlocal count
            count += 1
            path = home / f"manifest-{count}.json"
            path.write_text(json.dumps(manifest))
            defaults = {
                "origin": origin_url,
                "manifest": path,
                "listen": "127.0.0.1:0",
                "admin": "127.0.0.1:0",
                "redis": redis_url,
                "namespace": namespace,
                "state_dir": home / f"state-{count}",
                "cache_secret": SECRET,
                "mwt_secret": MWT_SECRET,
                "admin_token": TOKEN,
                "read_token": "read-token",
                # Machines that run tests stall; what the timeouts are for has tests of its own.
                "redis_timeout": 5,
                # In this process; what processes of their own change has tests of its own.
                "workers": 0,
                "purge_timeout": 5,
            }
            edge = await stack.enter_async_context(running(load_settings(defaults | settings, None)))
            return RunningEdge(edge.listen, edge.admin, path)

        yield start
