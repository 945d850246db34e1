"""A call over a WebSocket: POST call/ without the HTTP, through the site's middleware like any other.

So who may, sessions, languages, transactions and errors are what they are for a call over HTTP. What differs is what
leaves: the response does not pass through an edge, which would have purged what `X-Mizan-Invalidate` names before the
client hears of the change. So that is purged here, by the way of `mizan.cache.purge`, after the commit and before the
answer. A thread runs all of it, so a client that leaves in the middle keeps nothing from being purged.
"""

import json
import logging
from functools import cache
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponseBase
from django.urls import set_script_prefix

from mizan.cache import NoCacheError
from mizan.cache.configured import edge_door
from mizan.cache.purging import purge_after_commit
from mizan.channels.visitor import Visitor
from mizan.declare.compiled import compiled
from mizan.errors import ApiError
from mizan.request.state import state
from mizan_core import registry
from mizan_core.fields import CACHE_NAME, INVALIDATE
from mizan_core.resolve import widen
from mizan_core.scopes import format_scopes

logger = logging.getLogger("mizan.channels")


def call(visitor: Visitor, name: str, arguments: dict[str, Any]) -> bytes:
    """The JSON object that answers a call. Raises ApiError for what Django is not asked at all."""
    spec = registry.default.get(name)
    if spec is None or spec.path != "rpc" or not spec.websocket:
        raise ApiError(404, "not_found", f"there is no function {name!r} to call over a WebSocket")
    request = visitor.call(_body(name, arguments))
    if spec.is_mutation:
        _require_a_way_to_the_edge(request, name)
    set_script_prefix(get_script_prefix(visitor.scope))
    signals.request_started.send(sender=BaseHandler, scope=request.scope)
    response = _handler().get_response(request)
    try:
        _purge(request, response)
        _keep_the_session(request, response)
        return _content(response)
    finally:
        response.close()


@cache
def _handler() -> BaseHandler:
    handler = BaseHandler()
    handler.load_middleware()
    return handler


def _body(name: str, arguments: dict[str, Any]) -> bytes:
    try:
        return json.dumps({"fn": name, "args": arguments}).encode()
    except RecursionError:
        raise ApiError(400, "malformed", "the arguments are nested too deeply") from None


def _require_a_way_to_the_edge(request: HttpRequest, name: str) -> None:
    """Raises ApiError where an edge stands before this site, and nothing here could purge it."""
    try:
        edge_door()
    except NoCacheError as error:
        if _came_through_an_edge(request):
            logger.error("%s() is not run over a WebSocket: %s", name, error)
            raise ApiError(503, "no_cache", "this site cannot purge what that would change: call it by HTTP") from None


def _purge(request: HttpRequest, response: HttpResponseBase) -> None:
    """Raises ApiError where it was not confirmed."""
    # A middleware may have replaced the response of a mutation by one that says nothing.
    said = (response.headers.get(INVALIDATE, ""), format_scopes(state(request).invalidated))
    purge = widen(", ".join(filter(None, said)), compiled().manifest.contexts)
    for fault in purge.faults:
        logger.warning("%s of a call over a WebSocket: %s", INVALIDATE, fault)
    if purge.is_empty:
        return
    try:
        purge_after_commit(purge)
        edge_door()
    except NoCacheError as error:
        if not _came_through_an_edge(request):
            return
        # A function that is no mutation, and has said what it changed: that is known too late to refuse the call.
        logger.error("what a call over a WebSocket changed cannot be purged: %s", error)
        raise _not_purged() from None
    except Exception:
        logger.exception("what a call over a WebSocket changed was not purged")
        raise _not_purged() from None


def _not_purged() -> ApiError:
    return ApiError(503, "not_purged", "this was done, and what it changed may be seen late")


def _came_through_an_edge(request: HttpRequest) -> bool:
    return CACHE_NAME in request.headers.get("Via", "")


def _keep_the_session(request: HttpRequest, response: HttpResponseBase) -> None:
    """Raises ApiError where the function began a session: its cookie cannot reach the client."""
    cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
    if cookie is None or not cookie.value or cookie.value == request.COOKIES.get(settings.SESSION_COOKIE_NAME):
        return
    request.session.flush()
    raise ApiError(409, "needs_http", "this begins a session, whose cookie a WebSocket cannot set: call it by HTTP")


def _content(response: HttpResponseBase) -> bytes:
    content: bytes = getattr(response, "content", b"")
    if response.headers.get("Content-Type", "").startswith("application/json") and content.startswith(b"{"):
        return content
    # A middleware answered: a redirect to the sign-in, a page that says that the site is closed.
    raise ApiError(response.status_code, "refused", f"the site answers this call with status {response.status_code}")
