"""An origin that a test scripts: a real server on a real socket, which remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Asked:
    """A request that reached the origin."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None


@dataclass
class Says:
    """A response that the origin gives."""

    body: bytes | str = b""
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)


Script = Callable[[Asked], Says | Awaitable[Says]]


class Origin:
    """Answers with `script`; by default with the number of the request, so that a stored answer can be told."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: Script = self.default
        self.headers: list[tuple[str, str]] = []
        self.address = ""

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def hits(self) -> int:
        """How many requests have come."""
        return len(self.asked)

    def default(self, asked: Asked) -> Says:
        return Says(f"{asked.method} {asked.target} #{self.hits}", headers=list(self.headers))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        asked = Asked(request.method, request.raw_path, headers, await request.read())
        self.asked.append(asked)
        says = self.script(asked)
        if not isinstance(says, Says):
            says = await says
        body = says.body.encode() if isinstance(says.body, str) else says.body
        response = web.Response(status=says.status, body=body)
        for name, value in says.headers:
            response.headers.add(name, value)
        return response


class Names:
    """An origin's data: what a GET shows, and what a POST changes."""

    def __init__(self, invalidate: str = "user;user_id=5") -> None:
        self.name = "old"
        self.invalidate = invalidate

    def __call__(self, asked: Asked) -> Says:
        if asked.method == "POST":
            self.name = "new"
            return Says("done", headers=[("X-Mizan-Invalidate", self.invalidate)])
        return Says(self.name)


@asynccontextmanager
async def running_origin(port: int = 0) -> AsyncIterator[Origin]:
    """Runs an origin on the loopback for the length of the block."""
    origin = Origin()
    runner = web.ServerRunner(
        web.Server(origin.handle, access_log=None, max_field_size=1 << 20, max_line_size=1 << 20), shutdown_timeout=1
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    origin.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield origin
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Waits until `condition()` is true; fails the test when it does not become so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside this loop
            await asyncio.sleep(0.005)
