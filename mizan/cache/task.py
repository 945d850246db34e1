"""`@purges("user")`: for what changes data outside a request, such as Celery tasks and management commands."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
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

        async def ended(work: Awaitable[Any], purge: Callable[[], None]) -> Any:
            try:
                result = await work
            except BaseException:
                await _to_its_end(anyhow, purge)
                raise
            await _to_its_end(after_commit, purge)
            return result

        @wraps(fn)
        def run(*args: Any, **kwargs: Any) -> Any:
            purge = prepare(args, kwargs)
            try:
                result = fn(*args, **kwargs)
            except BaseException:
                anyhow(purge)
                raise
            if inspect.isawaitable(result):
                # An async function behind a decorator that hides it: it has not ended, or not even begun.
                return ended(result, purge)
            after_commit(purge)
            return result

        @wraps(fn)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            # In the thread whose connections the function's own queries use.
            purge = await sync_to_async(prepare)(args, kwargs)
            return await ended(fn(*args, **kwargs), purge)

        return run_async if iscoroutinefunction(fn) else run  # type: ignore[return-value]

    return decorate


async def _to_its_end(conclude: Callable[[Callable[[], None]], None], purge: Callable[[], None]) -> None:
    """Purges in the thread of the queries. A cancellation waits for it: asgiref would drop what is only queued yet."""
    purging = asyncio.get_running_loop().create_task(sync_to_async(conclude)(purge))
    cancelled: asyncio.CancelledError | None = None
    while not purging.done():
        try:
            await asyncio.wait([purging])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        purging.exception()  # it is logged
        raise cancelled
    purging.result()


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
