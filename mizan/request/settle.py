"""What follows a request that changed something: the header for the edge, and the purge of the origin's own cache.

A change may come before the response's head, while a template renders, or while the body streams. What is known when
the head leaves goes into its `X-Mizan-Invalidate`; the edge obeys that before the client sees a byte. What a stream
changes comes after the head, so everything that such a request names is purged once more when the stream has ended.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, TypeGuard

from asgiref.sync import sync_to_async
from django.db.transaction import TransactionManagementError
from django.http import FileResponse, HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse

from mizan.cache.doors import NoCacheError, PurgeError
from mizan.cache.purging import purge_after_commit, purge_of, purge_own
from mizan.db.commits import commits_by_hand
from mizan.declare.compiled import compiled
from mizan.request.headers import say_invalidated
from mizan.request.state import state
from mizan_core.purge import Purge
from mizan_core.registry import FunctionSpec
from mizan_core.scoping import invalidated

logger = logging.getLogger("mizan.cache")


def remember_changes(request: HttpRequest, spec: FunctionSpec, arguments: Mapping[str, object]) -> None:
    """Remembers what a mutation that is about to run purges."""
    state(request).invalidated |= dict.fromkeys(invalidated(spec, arguments, compiled().coverage))


def settle(request: HttpRequest, response: HttpResponseBase) -> None:
    """Makes the response say what `state(request).invalidated` names, and purges it here: also where the function
    raised, and then at once. More than once is the same as once; for a response that took the place of another it says
    and purges all again.

    A template that is still to be rendered may be what makes the change:
    1. The function returns, and all is purged.   2. A bundle of the old data is kept.   3. The template changes them.
    -- So what was purged before the rendering is purged again after it.
    """
    here = state(request)
    if here.answer is not response:
        here.answer, here.said, here.purged = response, frozenset(), frozenset()
        if response.streaming and not isinstance(response, FileResponse):
            _watch(request, response)
    named = frozenset(here.invalidated)
    if unsaid := tuple(scope for scope in here.invalidated if scope not in here.said):
        say_invalidated(response, unsaid)
        answer_in_full(request)
        here.said = named
    if unpurged := tuple(scope for scope in here.invalidated if scope not in here.purged):
        # Where the site commits by hand, nothing tells when: then now, and again by the edge when it sees the header.
        purge_own(purge_of(unpurged), at_once=here.raised or commits_by_hand())
        here.purged = frozenset() if is_unrendered(response) else named


def is_unrendered(response: HttpResponseBase) -> TypeGuard[SimpleTemplateResponse]:
    """Whether Django is still to render the response's template."""
    return isinstance(response, SimpleTemplateResponse) and not response.is_rendered


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
