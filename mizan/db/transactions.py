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


def opted_out(view: Callable[..., Any]) -> frozenset[str]:
    """The databases of which a view or function has said `@transaction.non_atomic_requests`."""
    return frozenset(getattr(view, "_non_atomic_requests", ()))


@contextmanager
def atomic_requests(*, skip: Collection[str] = ()) -> Iterator[None]:
    """What ATOMIC_REQUESTS asks for, less the databases in `skip`."""
    with ExitStack() as stack:
        for alias, database in connections.settings.items():
            if database["ATOMIC_REQUESTS"] and alias not in skip:
                stack.enter_context(transaction.atomic(using=alias))
        yield
