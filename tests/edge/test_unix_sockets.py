"""Unix sockets on both sides: who may connect, whom the file belongs to, and what becomes of it."""

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mizan_core.errors import MizanError
from mizan_edge.edge import running
from mizan_edge.running.config import load_settings
from mizan_edge.system.addresses import AddressUnusable, unix_socket
from tests.support import wire
from tests.support.edge import TOKEN, EdgeFactory
from tests.support.origin import Origin
from tests.support.wire import Reply


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="mizan-test-") as path:
        yield Path(path)


async def ask(path: Path, method: str, target: str, *lines: str, host: str = "site.test") -> Reply:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        head = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        return wire.parse(await asyncio.wait_for(reader.read(), 10), method)
    finally:
        writer.close()


# The edge listens on one.


@pytest.mark.parametrize("workers", [0, 2])
async def test_a_site_is_served_on_a_unix_socket(make_edge: EdgeFactory, origin: Origin, folder: Path, workers: int):
    path = folder / "edge.sock"
    edge = await make_edge(listen=f"unix:{path}", workers=workers)
    assert edge.address == f"unix:{path}"
    assert not (await ask(path, "GET", "/profile/5/")).hit
    for _ in range(4):
        assert (await ask(path, "GET", "/profile/5/")).hit
    assert origin.hits == 1
    # Nobody knows an address of the client's, and nothing is made up.
    assert origin.asked[0].get("X-Forwarded-For") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.parametrize(("trusted", "told"), [("", "http"), ("10.0.0.0/8", "http"), ("unix", "https")])
async def test_who_ends_tls_before_a_socket_is_believed_if_it_is_named(
    make_edge: EdgeFactory, origin: Origin, folder: Path, trusted: str, told: str
):
    path = folder / "edge.sock"
    await make_edge(listen=f"unix:{path}", trusted_proxies=trusted)
    await ask(path, "GET", "/x", "X-Forwarded-Proto: https")
    assert origin.asked[0].get("X-Forwarded-Proto") == told


async def test_the_admin_listener_is_served_on_one_and_asks_for_the_same(make_edge: EdgeFactory, folder: Path):
    path = folder / "admin.sock"
    await make_edge(admin=f"unix:{path}")
    token = f"Authorization: Bearer {TOKEN}"
    assert (await ask(path, "GET", "/stats", token, host="localhost")).status == 200
    assert (await ask(path, "GET", "/stats", host="localhost")).status == 401
    assert (await ask(path, "GET", "/stats", token, host="evil.test")).status == 421
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def settings(tmp_path: Path, redis_url: str, **more: object) -> dict[str, object]:
    manifest = tmp_path / "edge.json"
    manifest.write_text('{"contexts": {}}')
    usual = {"origin": "http://127.0.0.1:1", "manifest": manifest, "redis": redis_url, "listen": "127.0.0.1:0"}
    return {**usual, "admin": "127.0.0.1:0", "state_dir": tmp_path / "state", "workers": 0, **more}


@pytest.mark.parametrize("name", ["listen", "admin"])
async def test_the_file_is_removed_at_the_end_and_one_of_a_dead_edge_is_replaced(
    tmp_path: Path, redis_url: str, folder: Path, name: str
):
    path = folder / "edge.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    async with running(load_settings(settings(tmp_path, redis_url, **{name: f"unix:{path}"}), None)):
        assert (await ask(path, "GET", "/healthz")).status in (200, 502)
    assert not path.exists()


@pytest.mark.parametrize("name", ["listen", "admin"])
@pytest.mark.parametrize("kind", ["listener", "file", "directory", "link"])
async def test_what_else_is_there_is_left_alone_and_told(
    tmp_path: Path, redis_url: str, folder: Path, name: str, kind: str
):
    path = folder / "edge.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        match kind:
            case "listener":
                taken.bind(str(path))
                taken.listen()
            case "file":
                path.write_text("mine")
            case "directory":
                path.mkdir()
            case "link":
                path.symlink_to(folder / "nowhere")
        before = path.lstat()
        with pytest.raises(MizanError) as caught:
            async with running(load_settings(settings(tmp_path, redis_url, **{name: f"unix:{path}"}), None)):
                pass
        assert str(caught.value) == f"{name}: {path} is taken: choose another path with --{name}"
        assert os.path.samestat(path.lstat(), before)


def test_a_listener_whose_queue_is_full_is_not_taken_for_dead(folder: Path):
    path = folder / "edge.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waits:
        busy.bind(str(path))
        busy.listen(0)
        waits.connect(str(path))
        with pytest.raises(AddressUnusable, match="is taken"), unix_socket("listen", path):
            pass


def test_a_socket_of_a_successor_is_not_removed(folder: Path):
    path = folder / "edge.sock"
    with unix_socket("listen", path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.is_socket()


def test_the_mask_of_the_process_is_as_it_was(folder: Path):
    mask = os.umask(0o027)
    try:
        with unix_socket("listen", folder / "edge.sock"):
            assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


@pytest.mark.parametrize(
    ("path", "why"), [("nowhere/edge.sock", "No such file or directory"), ("x" * 120, "AF_UNIX path too long")]
)
def test_a_path_that_cannot_be_used_says_why(folder: Path, path: str, why: str):
    with pytest.raises(AddressUnusable) as caught, unix_socket("listen", folder / path):
        pass
    assert str(caught.value) == (f"listen: {folder / path} cannot be used ({why}): choose another path with --listen")


# The origin listens on one.


@asynccontextmanager
async def origin_at(origin: Origin, path: Path) -> AsyncIterator[None]:
    runner = web.ServerRunner(web.Server(origin.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("form", ["unix:{path}", "unix://{path}", "http+unix://{quoted}"])
async def test_an_origin_on_a_unix_socket_is_asked_for_the_clients_host(
    make_edge: EdgeFactory, origin: Origin, folder: Path, form: str
):
    path = folder / "site.sock"
    async with origin_at(origin, path):
        edge = await make_edge(origin=form.format(path=path, quoted=str(path).replace("/", "%2F")))
        assert [(await edge.get("/profile/5/")).hit for _ in range(2)] == [False, True]
        assert (await edge.get("/elsewhere/")).body == b"GET /elsewhere/ #2"
        assert origin.asked[0].get("Host") == "site.test"
        assert (await edge.admin_request("GET", "/readyz")).json["origin"] == "up"


async def test_an_origin_whose_socket_is_missing_is_a_502(make_edge: EdgeFactory, folder: Path):
    edge = await make_edge(origin=f"unix:{folder}/none.sock")
    reply = await edge.get("/profile/5/")
    assert reply.status == 502
    assert reply.json["detail"] == "The origin cannot be reached."
