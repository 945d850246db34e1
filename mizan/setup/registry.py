"""`from mizan.setup.registry import register`."""

from collections.abc import Callable
from typing import Any, TypeVar

from mizan_core import registry

__all__ = ["register"]

F = TypeVar("F", bound=Callable[..., Any])


def register(fn: F, name: str | None = None) -> F:
    """Registers a declared function, under `name` instead of its own where one is given; once or more often is the
    same. Raises RegistryError for a function without `@client`."""
    return registry.default.register(fn, name)
