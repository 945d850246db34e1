"""An origin that echoes over WebSockets; `python -m tests.support.websockets` runs one, and prints its address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

BYE = "bye"
"""Said to it, it closes; with this code:"""
BYE_CODE = 4002


class Echo:
    """Gives back what a WebSocket says; a request that asks for none gets a page with its number.

    # mutable state: the `pages` given, the sockets `opened`, and the codes with which they were `closed`.
    """

    def __init__(self) -> None:
        self.address = ""
        self.pages = 0
        self.opened = 0
        self.closed: list[int | None] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        if "Upgrade" not in request.headers:
            self.pages += 1
            return web.Response(text=f"page {self.pages}")
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.opened += 1
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data == BYE:
                await socket.close(code=BYE_CODE)
            else:
                await socket.send_str(message.data)
        self.closed.append(socket.close_code)
        return socket


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    """Runs one on the loopback."""
    echo = Echo()
    runner = web.ServerRunner(web.Server(echo.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    echo.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield echo
    finally:
        await runner.cleanup()


async def _main() -> None:
    async with echoing() as echo:
        print(echo.address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
