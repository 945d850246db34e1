"""`from mizan.client import client`."""

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from mizan.route_view import as_view
from mizan_core import registry
from mizan_core.registry import Options

__all__ = ["client"]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def client(fn: F, /) -> F: ...
@overload
def client(fn: None = None, /, **options: Unpack[Options]) -> Callable[[F], F]: ...
def client(fn: F | None = None, /, **options: Unpack[Options]) -> F | Callable[[F], F]:
    """Declares a server function, as `@client` or `@client(...)`. Its first parameter is the request.

    With `route=` the name stands for a Django view afterwards; otherwise for the function itself. Raises
    RegistryError, SignatureError or ScopeError where the declaration cannot be meant.
    """

    def declare(function: F) -> F:
        declared = registry.default.client(**options)(function)
        return as_view(declared) if options.get("route") is not None else declared  # type: ignore[return-value]

    return declare if fn is None else declare(fn)
