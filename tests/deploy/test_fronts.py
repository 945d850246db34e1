"""What ends TLS before an edge: visitors get hits over HTTP/2, and the origin is told who is asking, by nobody else."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.deploy.fronts import FRONTS, SITE, Front, fronting, path_of
from tests.support import wire
from tests.support.edge import EdgeFactory, edges
from tests.support.origin import Origin, running_origin
from tests.support.proxy import read_head, talking

pytestmark = pytest.mark.skipif(path_of("curl") is None, reason="curl is not installed")

SPOOFED = (
    *("Cf-Connecting-Ip", "Client-Ip", "Fastly-Client-Ip", "Forwarded", "Front-End-Https", "True-Client-Ip"),
    *("X-Client-Ip", "X-Cluster-Client-Ip", "X-Forwarded-By", "X-Forwarded-For", "X-Forwarded-Host"),
    *("X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme"),
    *("X-Forwarded-Server", "X-Forwarded-Ssl", "X-Host", "X-Http-Host-Override", "X-Original-Host", "X-Real-Ip"),
    *("X-Scheme", "X-Url-Scheme"),
)
"""What proxies tell of clients, and clients may not."""
TRUSTING = {"trusted_proxies": "127.0.0.1", "allowed_hosts": SITE}

Fronting = Callable[[str], AbstractAsyncContextManager[Front]]


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest, tmp_path: Path) -> Fronting:
    """Each front that is installed, as it is shipped, before the edge at an address."""
    if path_of(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return lambda edge: fronting(FRONTS[request.param], edge, tmp_path)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with running_origin() as origin:
        yield origin


@pytest.fixture
async def start(origin: Origin, redis_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[EdgeFactory]:
    async with edges(origin.url, redis_url, namespace, tmp_path) as start:
        yield start


async def test_visitors_get_hits_over_http_2_and_the_origin_is_told_who_they_are(
    start: EdgeFactory, origin: Origin, front: Fronting
):
    edge = await start(**TRUSTING)
    async with front(edge.address) as site:
        first = await site.get("/profile/5/", *(f"{name}: spoofed.test" for name in SPOOFED))
        again = await site.get("/profile/5/")
        assert not first.hit and again.hit and again.body == first.body
        (asked,) = origin.asked
        assert asked.get("Host") == asked.get("X-Forwarded-Host") == SITE
        assert asked.get("X-Forwarded-Proto") == "https"
        assert asked.get("X-Forwarded-For") == "127.0.0.1, 127.0.0.1", "the client, and the front"
        assert [field for field in asked.headers if "spoofed" in field[1]] == []
        # What is not stored here cannot be stale here.
        await edge.purge("user;user_id=5")
        assert not (await site.get("/profile/5/")).hit
        plain = await wire.request(f"127.0.0.1:{site.http}", "GET", "/profile/5/?a=b", host=SITE)
        location = plain["Location"] or ""
        assert plain.status == 308 and location.startswith(f"https://{SITE}") and location.endswith("/profile/5/?a=b")


async def test_another_protocol_passes(start: EdgeFactory, front: Fronting):
    async def echo(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)

    async with talking(echo) as origin:
        edge = await start(origin=f"http://{origin}", **TRUSTING)
        async with front(edge.address) as site, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", site.https, ssl=site.authority.client(), server_hostname=SITE
            )
            head = ["GET /chat/ HTTP/1.1", f"Host: {SITE}", "Connection: Upgrade", "Upgrade: websocket", "", ""]
            writer.write("\r\n".join(head).encode())
            assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
            for said in (b"one", b"another"):
                writer.write(said)
                assert await reader.readexactly(len(said)) == said
            writer.close()
