"""What follows a request that changed something: the header for the edge, and the purge of the origin's own cache.

A change may come before the response's head, while a template renders, or while the body streams. What is known when
the head leaves goes into its `X-Mizan-Invalidate`; the edge obeys that before the client sees a byte. What a stream
changes comes after the head, so everything that such a request names is purged once more when the stream has ended.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.db.transaction import TransactionManagementError
from django.http import FileResponse, HttpRequest, HttpResponseBase

from mizan.cache.doors import NoCacheError, PurgeError
from mizan.cache.purging import purge_after_commit, purge_of, purge_own
from mizan.db.commits import commits_by_hand
from mizan.declare.compiled import compiled
from mizan.request.headers import say_invalidated
from mizan.request.state import state
from mizan_core.registry import FunctionSpec
from mizan_core.resolve import Purge
from mizan_core.scoping import invalidated

logger = logging.getLogger("mizan.cache")


def changes(request: HttpRequest, spec: FunctionSpec, arguments: Mapping[str, object]) -> None:
    """Remembers what a mutation that is about to run purges."""
    state(request).invalidated |= dict.fromkeys(invalidated(spec, arguments, compiled().coverage))


def settle(request: HttpRequest, response: HttpResponseBase, *, raised: bool = False, rendered: bool = False) -> None:
    """Makes the response say what `state(request).invalidated` names, and purges it here. More than once is the same
    as once; for a response that took the place of another it says and purges all again.

    `raised`: the function did. It purges then as well, and at once, since what is outside the database, or was
    committed on the way, may have changed.

    `rendered`: a template has run since the last time. It may have made the change itself, and a bundle may have been
    kept between that purge and the change, so all is purged again.
    """
    here = state(request)
    if here.answer is not response:
        here.answer, here.said = response, frozenset()
        if response.streaming and not isinstance(response, FileResponse):
            _watch(request, response)
    new = tuple(scope for scope in here.invalidated if scope not in here.said)
    here.said = frozenset(here.invalidated)
    if new:
        say_invalidated(response, new)
        answer_in_full(request)
    if purged := tuple(here.invalidated) if rendered else new:
        # Where the site commits by hand, nothing tells when: then now, and again by the edge when it sees the header.
        purge_own(purge_of(purged), at_once=raised or commits_by_hand())


def abandon(request: HttpRequest) -> None:
    """Purges what a request names that gets no response: an async function is cancelled when its client leaves, and a
    server may end a thread that takes too long. What was committed until then is, and no header will say so."""
    here = state(request)
    said, here.invalidated = here.invalidated, {}
    _purge_unsaid(purge_of(said))


def answer_in_full(request: HttpRequest) -> None:
    """Keeps ConditionalGetMiddleware, which stands in front, from answering 304: without what is said to caches."""
    for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"):
        request.META.pop(name, None)


def _watch(request: HttpRequest, response: Any) -> None:
    """Purges when the stream has ended, or was broken off, and before its last byte can be known to be the last."""
    parts = response.streaming_content

    def stream() -> Iterator[bytes]:
        try:
            yield from parts
        finally:
            _purge_unsaid(purge_of(state(request).invalidated))

    response.streaming_content = _Watched(parts, request) if response.is_async else stream()


class _Watched:
    """The same for async parts. Nothing ends an async generator whose client leaves while a part is being sent: Django
    closes what has `close()`."""

    def __init__(self, parts: AsyncIterator[bytes], request: HttpRequest) -> None:
        self._parts = parts
        self._request = request
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except BaseException:
            await sync_to_async(self.close)()
            raise

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            _purge_unsaid(purge_of(state(self._request).invalidated))


def _purge_unsaid(purge: Purge) -> None:
    try:
        purge_after_commit(purge)
    except PurgeError:
        pass  # logged, and there is nobody left to tell
    except (NoCacheError, TransactionManagementError) as error:
        logger.error("%s may have changed, and no header of a response can say so: %s", purge, error)
