"""Threads for what may hang."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_thread(function: Callable[..., T], *args: object) -> "asyncio.Future[T]":
    """What a function gives, or raises, in a thread of its own.

    One that never returns (a file on a disk that hangs, say) takes no thread from others, as it would in a pool, and
    does not keep the process from ending.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(function(*args))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(done)
