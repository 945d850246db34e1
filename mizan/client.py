"""`from mizan.client import client, ServerFunction`."""

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from mizan.http.route_view import as_view
from mizan.server_function import ServerFunction, as_function
from mizan_core import registry
from mizan_core.registry import ATTRIBUTE, Options, spec_of

__all__ = ["ServerFunction", "client"]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def client(fn: F, /) -> F: ...
@overload
def client(fn: None = None, /, **options: Unpack[Options]) -> Callable[[F], F]: ...
def client(fn: F | None = None, /, **options: Unpack[Options]) -> F | Callable[[F], F]:
    """Declares a server function, as `@client` or `@client(...)`. Its first parameter is the request.

    With `route=` the name stands for a Django view afterwards; otherwise for the function itself. A ServerFunction
    stays the class that it was. Raises RegistryError, SignatureError or ScopeError where the declaration cannot be
    meant.
    """

    def declare(function: F) -> F:
        if isinstance(function, type):
            return _declare_class(function, options)  # type: ignore[no-any-return]
        declared = registry.default.client(**options)(function)
        return as_view(declared) if options.get("route") is not None else declared  # type: ignore[return-value]

    return declare if fn is None else declare(fn)


def _declare_class(cls: Any, options: Options) -> Any:
    if not issubclass(cls, ServerFunction):
        raise registry.RegistryError(
            f"@client on {cls.__name__!r}: a class that is a server function is a subclass of ServerFunction"
        )
    function = registry.default.client(**options)(as_function(cls))
    setattr(cls, ATTRIBUTE, spec_of(function))
    return cls
