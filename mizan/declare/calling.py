"""Calling what a site has declared, be it sync or async, in the thread that answers a request."""

from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

from asgiref.sync import async_to_sync


def awaited(value: Any) -> Any:
    """What an awaitable comes to, by itself always true; anything else as it is."""
    return async_to_sync(_await)(value) if isawaitable(value) else value


async def _await(value: Awaitable[Any]) -> Any:
    return await value
