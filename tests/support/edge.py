"""An edge in front of a scripted origin: its manifest and secrets, and how a test speaks to it."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import wire
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
