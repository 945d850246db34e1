"""The Django that is set up in this process, as a server on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """The URL of the site, whose views run in threads of their own."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), _Silent)
    server.set_app(WSGIHandler())
    running = asyncio.get_running_loop().run_in_executor(None, server.serve_forever, 0.05)
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        await asyncio.to_thread(server.shutdown)
        await running
        await asyncio.to_thread(server.server_close)
