"""`@purges("user")`: for what changes data outside a request, such as Celery tasks and management commands."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async

from mizan.cache.doors import PurgeError
from mizan.cache.purging import prepared, purge_of
from mizan.db.commits import after_commit, require_autocommit
from mizan.declare.compiled import compiled
from mizan_core.errors import MizanError
from mizan_core.resolve import check_names
from mizan_core.scoping import concerned

F = TypeVar("F", bound=Callable[..., Any])

Source = str | Callable[..., object]
"""The name of an argument, or what computes a value from all arguments of the call."""


class PurgesError(MizanError, TypeError):
    """A function that `@purges` cannot stand above; the text says why."""


def purges(context: str, /, **params: Source) -> Callable[[F], F]:
    """Purges a context whenever the function has ended, narrowed as said: `@purges("user", user_id="user_id")`.

    Each parameter takes its value from an argument of that name, or from `callable(*args, **kwargs)`, which is asked
    before the function runs. A value that the parameter cannot have widens the purge. Like `affects=`, the scopes reach
    every function of the context, also those without one of the parameters.

    The function may have committed before it raised, so it purges then as well. When and with which errors: as
    `purge`, but what is wrong with the declaration or the settings is raised before the function runs, and an exception
    of the function is not replaced by that of the purge. Sync and async functions; raises PurgesError for generators,
    and for arguments that the function does not have.
    """

    def decorate(fn: F) -> F:
        _check(fn, params)
        signature = inspect.signature(fn)

        def prepare(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[], None]:
            require_autocommit()
            check_names(context, params, compiled().manifest.contexts)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = {
                name: source(*args, **kwargs) if callable(source) else bound.arguments[source]
                for name, source in params.items()
            }
            return prepared(purge_of(concerned(context, values, compiled().coverage)))

        def anyhow(purge: Callable[[], None]) -> None:
            with suppress(PurgeError):  # it is logged, and what the function raised says more
                after_commit(purge)

        @wraps(fn)
        def run(*args: Any, **kwargs: Any) -> Any:
            purge = prepare(args, kwargs)
            try:
                result = fn(*args, **kwargs)
            except BaseException:
                anyhow(purge)
                raise
            after_commit(purge)
            return result

        @wraps(fn)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            # In the thread whose connections the function's own queries use.
            purge = await sync_to_async(prepare)(args, kwargs)
            try:
                result = await fn(*args, **kwargs)
            except BaseException:
                await sync_to_async(anyhow)(purge)
                raise
            await sync_to_async(after_commit)(purge)
            return result

        return run_async if iscoroutinefunction(fn) else run  # type: ignore[return-value]

    return decorate


def _check(fn: Callable[..., Any], params: Mapping[str, Source]) -> None:
    name = getattr(fn, "__qualname__", repr(fn))
    if not inspect.isroutine(fn):
        raise PurgesError(f"@purges stands above functions, and {fn!r} is none")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise PurgesError(f"@purges on {name}(): a generator has not ended when it returns; call purge() at its end")
    arguments = inspect.signature(fn).parameters
    for param, source in params.items():
        if not callable(source) and source not in arguments:
            raise PurgesError(
                f"@purges on {name}(): {param}={source!r} names no argument of it: "
                f"take one of {', '.join(arguments) or 'none'}, or a function of the arguments"
            )
