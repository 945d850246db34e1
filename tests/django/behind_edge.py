"""The test site behind a real edge: Django's own server in threads, and the edge in the loop of another thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import make_server

from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.db import connections
from django.test import override_settings

from demo.browser import Browser
from mizan.declare.compiled import compiled
from tests.django.site.settings import CACHE_SECRET, MIDDLEWARE, MWT_SECRET
from tests.support.edge import RunningEdge, edges


class _Server(ThreadedWSGIServer):
    daemon_threads = True

    def close_request(self, request: object) -> None:
        connections.close_all()  # those of the thread that has answered
        super().close_request(request)  # type: ignore[arg-type]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Site:
    """A running edge and its origin, at "host:port" each."""

    edge: RunningEdge
    origin: str

    def browser(self, *, direct: bool = False) -> Browser:
        """Somebody new, before the edge or directly before the origin."""
        host, _, port = (self.origin if direct else self.edge.address).rpartition(":")
        return Browser(host, int(port))


@contextmanager
def behind_edge(redis_url: str, namespace: str, home: Path, **settings: object) -> Iterator[Site]:
    """Runs both for the length of the block, with MizanMiddleware; `settings` are the edge's."""
    installed = ["mizan.middleware.MizanMiddleware", *MIDDLEWARE]
    with override_settings(MIDDLEWARE=installed, ALLOWED_HOSTS=["*"]), _origin() as origin:
        started: asyncio.Queue[RunningEdge] = asyncio.Queue()
        loop, ended = asyncio.new_event_loop(), asyncio.Event()

        async def run() -> None:
            async with edges(f"http://{origin}", redis_url, namespace, home) as start:
                secrets = {"cache_secret": CACHE_SECRET, "mwt_secret": MWT_SECRET}
                edge = await start(compiled().document, **secrets | settings)
                started.put_nowait(edge)
                await ended.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        edge = asyncio.run_coroutine_threadsafe(started.get(), loop).result(20)
        try:
            yield Site(edge, origin)
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            loop.close()


@contextmanager
def _origin() -> Iterator[str]:
    server = make_server("127.0.0.1", 0, WSGIHandler(), _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
