"""The site under uvicorn, and a browser's WebSocket to it."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import uvicorn
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.test import Client, override_settings

from mizan import wrap_asgi
from mizan.channels.limits import Limits

HOST = "testserver"
ORIGIN = f"http://{HOST}"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


@contextmanager
def layered(redis_url: str, namespace: str, backend: str = PUBSUB) -> Iterator[None]:
    """The site has a channel layer in Redis."""
    config = {"hosts": [redis_url], "prefix": namespace}
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": backend, "CONFIG": config}}):
        yield


@asynccontextmanager
async def serving(application: Any = None, **bounds: Any) -> AsyncIterator[str]:
    """The address of the site, on the loopback."""
    application = application or wrap_asgi(get_asgi_application(), limits=Limits(**bounds))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown([listener])


class Speaker:
    """A WebSocket of a client: it asks, and hears what is said besides the answers."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self._ids = count(1)
        self._heard: deque[Any] = deque()

    async def ask(self, **what: Any) -> Any:
        """The answer, without the id."""
        id_ = next(self._ids)
        await self.ws.send_str(json.dumps({"id": id_, **what}))
        while (said := await self._next()).get("id") != id_:
            self._heard.append(said)
        del said["id"]
        return said

    async def code(self, **what: Any) -> str:
        """The code of the error that answers."""
        error = (await self.ask(**what))["error"]
        assert {"code", "message"} <= error.keys() <= {"code", "message", "details"}
        return str(error["code"])

    async def hear(self) -> Any:
        """The next message that answers nothing."""
        return self._heard.popleft() if self._heard else await self._next()

    async def raw(self, text: str) -> Any:
        """What comes back for a text."""
        await self.ws.send_str(text)
        return await self._next()

    async def closed(self) -> int | None:
        """The code with which the server closes the connection, next of all."""
        received = await asyncio.wait_for(self.ws.receive(), 10)
        assert received.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR), received
        return self.ws.close_code

    @property
    def _transport(self) -> asyncio.Transport:
        ws: Any = self.ws
        transport: asyncio.Transport = ws._conn.transport
        return transport

    def stop_reading(self) -> None:
        """From now on the server's bytes stay where they are."""
        self._transport.pause_reading()

    def cut(self) -> None:
        """Leaves without a word."""
        self._transport.abort()

    async def _next(self) -> Any:
        return json.loads(await self.ws.receive_str(timeout=10))


@asynccontextmanager
async def speaking(
    address: str, browser: Client | None = None, *, path: str = "/api/mizan/ws/", headers: dict[str, str] | None = None
) -> AsyncIterator[Speaker]:
    """A WebSocket with a browser's cookies. Raises aiohttp's WSServerHandshakeError where it is refused."""
    sent = {"Host": HOST, "Origin": ORIGIN, **(headers or {})}
    if browser is not None and (cookie := browser.cookies.get(settings.SESSION_COOKIE_NAME)):
        sent["Cookie"] = f"{cookie.key}={cookie.value}"
    sent = {name: value for name, value in sent.items() if value}
    async with ClientSession() as session, session.ws_connect(f"ws://{address}{path}", headers=sent) as ws:
        yield Speaker(ws)
