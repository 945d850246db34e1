"""Requests as the tests write them."""

from typing import Any

from django.test import Client

BASE = "/api/mizan/"


def bundle(client: Client, context: str, params: Any = None, /, **extra: Any) -> Any:
    """GET ctx/<context>/"""
    return client.get(f"{BASE}ctx/{context}/", params, **extra)


def call(client: Client, fn: str, /, *, headers: dict[str, str] | None = None, **args: Any) -> Any:
    """POST call/"""
    return client.post(f"{BASE}call/", {"fn": fn, "args": args}, content_type="application/json", headers=headers)


def error_code(response: Any) -> str:
    """The code of a JSON error, after a look at its shape."""
    body = response.json()
    assert body.keys() == {"error"}
    assert {"code", "message"} <= body["error"].keys() <= {"code", "message", "details"}
    return str(body["error"]["code"])


def result(response: Any) -> Any:
    """What the function returned that was called."""
    assert response.status_code == 200, response.content
    return response.json()["result"]


def invalidated(response: Any) -> str:
    """The scopes that a response purges, as they stand in its field."""
    return str(response.headers["X-Mizan-Invalidate"])
