"""Where a request's transactions begin and end.

Our views opt out of ATOMIC_REQUESTS and open the same transactions around the functions themselves. So an exception
rolls back before it becomes a response, a commit that fails is an error like any other, and when a mutation's function
has returned, its data is committed and what it changed can be purged.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from django.db import connections, transaction

V = TypeVar("V", bound=Callable[..., Any])


def non_atomic(view: V) -> V:
    """A view outside ATOMIC_REQUESTS, on every database."""
    # functools.wraps shares the set of the wrapped function, which must keep its own.
    view.__dict__.pop("_non_atomic_requests", None)
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@contextmanager
def atomic_requests(*, skip: Collection[str] = ()) -> Iterator[None]:
    """What ATOMIC_REQUESTS asks for, less the databases in `skip`."""
    with ExitStack() as stack:
        for alias, database in connections.settings.items():
            if database["ATOMIC_REQUESTS"] and alias not in skip:
                stack.enter_context(transaction.atomic(using=alias))
        yield


def in_transaction() -> bool:
    """Whether any connection of this thread is in a transaction."""
    return any(connection.in_atomic_block for connection in connections.all(initialized_only=True))


def after_commit(action: Callable[[], None], *, at_once: bool = False) -> None:
    """Runs `action` when what was written is committed: now, or after each transaction that is open.

    With several databases it runs now as well where one is outside a transaction, and with `at_once` in any case.
    A transaction that is rolled back drops its run.
    """
    used = connections.all(initialized_only=True)
    open_ = [connection for connection in used if connection.in_atomic_block]
    if at_once or len(open_) < len(used) or not open_:
        action()
    for connection in open_:
        connection.on_commit(action)
