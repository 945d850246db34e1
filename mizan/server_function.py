"""Server functions as classes: `from mizan.server_function import ServerFunction`.

    @client(context="user")
    class Greeting(ServerFunction):
        def call(self, name: str) -> GreetingOutput:
            return GreetingOutput(text=f"{name}, from {self.user}")

A class is declared by its own `@client` alone: its subclasses and its bases are functions only where they say so.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from mizan_core.registry import RegistryError


class ServerFunction:
    """One call of a function that is written as a class: an instance for each request, like Django's views.

    `call` has the arguments as parameters, and may be async. What calls share goes into methods and base classes.
    """

    call: ClassVar[Callable[..., Any]]

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @property
    def user(self) -> Any:
        """The request's user, as everywhere in Django. An async `call` without `auth=` awaits `request.auser()`."""
        return self.request.user


def as_function(cls: type[ServerFunction]) -> Callable[..., Any]:
    """The class as a function of the request and of the parameters of its `call`. Raises RegistryError without one."""
    call = getattr(cls, "call", None)
    if not callable(call):
        raise RegistryError(f"@client on {cls.__name__!r}: the class has no method `call(self, ...)`")
    function: Callable[..., Any]
    if iscoroutinefunction(call):

        @wraps(call)
        async def async_function(request: HttpRequest, /, **arguments: Any) -> Any:
            return await cls(request).call(**arguments)

        function = async_function
    else:

        @wraps(call)
        def sync_function(request: HttpRequest, /, **arguments: Any) -> Any:
            return cls(request).call(**arguments)

        function = sync_function
    # wraps() says where the method is; the declaration is that of the class, which may have inherited the method.
    function.__module__, function.__qualname__, function.__doc__ = cls.__module__, cls.__qualname__, cls.__doc__
    function.__name__ = cls.__name__
    return function
