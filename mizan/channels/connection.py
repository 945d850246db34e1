"""One WebSocket, from its handshake to its end.

What the client asks is done and answered one after the other: so a connection never costs more than one call at a time,
and the server, which reads no further meanwhile, makes a flood wait at its source. Messages of channels go out beside
that, from a task of their own.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from django.conf import settings
from django.http import HttpRequest

from mizan.channels import calls, commands
from mizan.channels.limits import Limits
from mizan.channels.rooms import Closed, Rooms
from mizan.channels.threads import in_thread
from mizan.channels.visitor import Visitor, check_origin, identity
from mizan.request.failures import response_for

Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

logger = logging.getLogger("mizan.channels")

TEXTS_ONLY, TOO_LARGE = 1003, 1009


class _Gone(Exception):
    """The client has left, or takes nothing any more."""


async def serve(scope: dict[str, Any], receive: Receive, send: Send, *, prefix: str, limits: Limits) -> None:
    """Serves one WebSocket to its end."""
    visitor = Visitor(scope, prefix)
    await receive()
    try:
        owner = await in_thread(_opened, visitor)
    except Exception as error:
        await _refuse(send, visitor.bare(), error)
        return
    await send({"type": "websocket.accept"})
    connection = _Connection(visitor, owner, limits, receive, send)
    try:
        await connection.run()
    except* _Gone:
        pass
    except* Closed as closed:
        await connection.end(closed)


async def _refuse(send: Send, request: HttpRequest, error: Exception) -> None:
    """Ends a handshake; servers answer it with 403. Why is for the log, browsers do not tell their pages."""
    problem = json.loads(response_for(request, error).content)["error"]
    logger.warning("a WebSocket to %s was refused: %s", request.path, problem["message"])
    await send({"type": "websocket.close"})


def _opened(visitor: Visitor) -> str | None:
    """Who opens the connection. Raises ApiError, or what Django raises of a Host that is not allowed."""
    request = visitor.request()
    check_origin(request)
    return identity(request)


class _Connection:
    """An accepted WebSocket."""

    def __init__(self, visitor: Visitor, owner: str | None, limits: Limits, receive: Receive, send: Send) -> None:
        self._visitor = visitor
        self._limits = limits
        self._receive = receive
        self._send = send
        self._rooms = Rooms(visitor, owner, limits, self._say)

    async def run(self) -> None:
        """Until the client leaves. Raises ExceptionGroups of _Gone and Closed."""
        async with asyncio.TaskGroup() as tasks:
            try:
                while (text := await self._hear()) is not None:
                    await self._say(await self._answer(text, tasks))
            finally:
                await self._rooms.close()

    async def end(self, group: BaseExceptionGroup[Closed]) -> None:
        """Says goodbye."""
        closed = next(error for error in group.exceptions if isinstance(error, Closed))
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._send({"type": "websocket.close", "code": closed.code, "reason": closed.reason})
        except (OSError, TimeoutError):
            pass  # it is gone already

    async def _hear(self) -> str | None:
        """The next text; None when the client has left. Raises Closed for what is no text, or too large."""
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            return None
        text: str | None = event.get("text")
        if text is None:
            raise Closed(TEXTS_ONLY, "messages are texts")
        largest = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if largest is not None and len(text.encode()) > largest:
            raise Closed(TOO_LARGE, "larger than this site accepts")
        return text

    async def _say(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._send({"type": "websocket.send", "text": text})
        except TimeoutError:
            logger.warning("a WebSocket was left: its client takes no messages")
            raise _Gone from None
        except OSError:
            raise _Gone from None

    async def _answer(self, text: str, tasks: asyncio.TaskGroup) -> str:
        id_: commands.Id = None
        try:
            said = commands.parse(text)
            id_ = commands.id_of(said)
            body = await self._done(commands.command_of(said), tasks)
        except Closed:
            raise
        except Exception as error:
            body = response_for(self._visitor.bare(), error).content
        return f'{{"id":{json.dumps(id_)},{body.decode()[1:]}'

    async def _done(self, command: commands.Command, tasks: asyncio.TaskGroup) -> bytes:
        """Does it; the JSON object that answers."""
        match command.verb:
            case "call":
                return await in_thread(calls.call, self._visitor, command.name, command.arguments)
            case "subscribe":
                return await self._rooms.subscribe(command, tasks)
            case "unsubscribe":
                return await self._rooms.unsubscribe(command)
            case "send":
                return await self._rooms.send(command)
