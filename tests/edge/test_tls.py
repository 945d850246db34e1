"""TLS on both sides: what clients are shown, how that is renewed, and whom the edge takes for the origin."""

import asyncio
import os
import re
import signal
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mizan_core.errors import MizanError
from mizan_edge.edge import running
from mizan_edge.running.config import load_settings
from mizan_edge.running.files import Renewal
from mizan_edge.system.tls import Certificate, Pair
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.edge import SECRET, EdgeFactory
from tests.support.origin import Origin, Says
from tests.support.processes import children
from tests.support.served import spawn
from tests.support.wire import Reply

NAME = "site.test"
MARKED = re.compile(r"^[A-Za-z0-9+/=]{40,}$", re.MULTILINE)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@dataclass
class Files:
    """The files that an edge was started with."""

    certificate: Path
    key: Path
    issue: Callable[[], None]

    @property
    def settings(self) -> dict[str, Path]:
        return {"tls_cert": self.certificate, "tls_key": self.key}


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> Files:
    certificate, key = tmp_path / "site.pem", tmp_path / "site.key"
    files = Files(certificate, key, lambda: authority.issue(certificate, key, NAME))
    files.issue()
    return files


class Client:
    """A connection over TLS that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        session = writer.get_extra_info("ssl_object")
        self.serial = session.getpeercert()["serialNumber"]
        self.version = session.version()
        self.cipher = session.cipher()[0]
        self.protocol = session.selected_alpn_protocol()

    async def get(self, target: str) -> Reply:
        self._writer.write(f"GET {target} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
            assert length is not None
            return wire.parse(head + await self._reader.readexactly(int(length[1])))


@asynccontextmanager
async def connected(address: str, context: ssl.SSLContext) -> AsyncIterator[Client]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=NAME)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def serials(address: str, authority: Authority, count: int = 1) -> set[str]:
    """The serial numbers of the certificates that new connections are shown."""
    found = set()
    for _ in range(count):
        async with connected(address, authority.client()) as client:
            found.add(client.serial)
    return found


async def test_a_site_is_served_over_tls_and_told_so(
    make_edge: EdgeFactory, origin: Origin, files: Files, authority: Authority
):
    edge = await make_edge(**files.settings)
    async with connected(edge.address, authority.client()) as client:
        assert not (await client.get("/profile/5/")).hit
        assert (await client.get("/profile/5/")).hit
    assert origin.asked[0].get("X-Forwarded-Proto") == "https"
    assert origin.asked[0].get("X-Forwarded-Host") == NAME
    # The admin listener is none of this.
    assert (await edge.admin_request("GET", "/healthz")).status == 200


async def test_an_address_of_the_clients_scheme_has_no_port_in_its_key(
    make_edge: EdgeFactory, origin: Origin, files: Files, authority: Authority
):
    edge = await make_edge(**files.settings, allowed_hosts=NAME)
    context = authority.client()
    host, _, port = edge.address.rpartition(":")
    for name, hit in (NAME, False), (f"{NAME}:443", True), (f"{NAME}:80", False):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=NAME)
        writer.write(f"GET /profile/5/ HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        assert wire.parse(await asyncio.wait_for(reader.read(), 10)).hit is hit, name
        writer.close()


async def test_a_client_that_takes_nothing_of_a_stored_answer_is_cut_over_tls_too(
    make_edge: EdgeFactory, origin: Origin, files: Files, authority: Authority
):
    edge = await make_edge(**files.settings, write_timeout=0.3, max_entry_bytes=16 << 20)
    origin.script = lambda _: Says(bytes(8 << 20))
    async with connected(edge.address, authority.client()) as client:
        assert (await client.get("/profile/5/")).cache == "fwd=uri-miss; stored"
    host, _, port = edge.address.rpartition(":")
    with socket.socket() as sock:
        # Else the system would take all of it for the client.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((host, int(port)))
        sock.setblocking(False)
        context = authority.client()
        _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=NAME, limit=1024)
        writer.write(f"GET /profile/5/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())

        async def write_on() -> None:
            while True:
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(b"\r\n")  # only who writes learns of it without reading

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(write_on(), 5)
        writer.transport.abort()


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"], ["h2"], []])
async def test_http_1_1_is_all_that_is_spoken(
    make_edge: EdgeFactory, files: Files, authority: Authority, offered: list[str]
):
    edge = await make_edge(**files.settings)
    context = authority.client()
    if offered:
        context.set_alpn_protocols(offered)
    async with connected(edge.address, context) as client:
        assert client.protocol == ("http/1.1" if "http/1.1" in offered else None)
        assert client.version == "TLSv1.3"


async def shakes_hands(address: str, context: ssl.SSLContext) -> bool:
    try:
        async with connected(address, context):
            return True
    except (ssl.SSLError, ConnectionError):
        return False


async def test_old_ciphers_are_refused(make_edge: EdgeFactory, files: Files, authority: Authority):
    edge = await make_edge(**files.settings)
    found = {}
    for ciphers in (
        "ECDHE+AESGCM",
        "ECDHE+CHACHA20",
        "ECDHE+AES:!AESGCM:!AESCCM",
        "kRSA+AESGCM",
        "DHE+AESGCM:!ECDHE",
    ):
        context = authority.client()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        found[ciphers] = await shakes_hands(edge.address, context)
    assert list(found.values()) == [True, True, False, False, False], found


async def test_an_old_protocol_is_refused(make_edge: EdgeFactory, files: Files, authority: Authority):
    def old(context: ssl.SSLContext) -> ssl.SSLContext:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    lenient = old(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    lenient.load_cert_chain(files.certificate, files.key)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=lenient) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await shakes_hands(address, old(authority.client())), "this client could"
    edge = await make_edge(**files.settings)
    assert not await shakes_hands(edge.address, old(authority.client()))


async def test_plain_http_at_a_tls_listener_gets_nothing(make_edge: EdgeFactory, origin: Origin, files: Files):
    edge = await make_edge(**files.settings)
    host, _, port = edge.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /profile/5/ HTTP/1.1\r\nHost: site.test\r\n\r\n")
    assert b"HTTP/" not in await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert origin.hits == 0


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half"])
async def test_a_handshake_that_stands_still_is_ended(make_edge: EdgeFactory, files: Files, says: bytes):
    edge = await make_edge(**files.settings, head_timeout=0.2)
    host, _, port = edge.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(says)
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


@pytest.mark.parametrize("workers", [0, 2])
async def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    make_edge: EdgeFactory, files: Files, authority: Authority, workers: int
):
    edge = await make_edge(**files.settings, workers=workers)
    async with connected(edge.address, authority.client()) as old:
        assert (await old.get("/profile/5/")).status == 200
        assert await serials(edge.address, authority) == {old.serial}
        files.issue()
        assert await serials(edge.address, authority) == {old.serial}
        assert (await edge.admin_request("POST", "/reload")).json["certificate"] == "renewed"
        # With several workers, each new connection may be another's.
        (new,) = await serials(edge.address, authority, 12 if workers else 1)
        assert new != old.serial
        assert (await old.get("/profile/5/")).hit
    assert (await edge.admin_request("POST", "/reload")).json["certificate"] == "unchanged"


def mismatched(files: Files) -> None:
    before = files.certificate.read_bytes()
    files.issue()
    files.certificate.write_bytes(before)


def encrypted(files: Files) -> None:
    files.key.write_text(files.key.read_text().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))


BAD: dict[str, tuple[Callable[[Files], object], str]] = {
    "another key": (mismatched, "tls_key: {key} is not the key of the certificate in {certificate}"),
    "no certificate": (lambda files: files.certificate.write_text(""), "tls_cert: {certificate} holds no certificate"),
    "no key": (lambda files: files.key.write_bytes(files.certificate.read_bytes()), "tls_key: {key} holds no private"),
    "no file": (lambda files: files.key.unlink(), "tls_key: {key} cannot be read (No such file or directory)"),
    "encrypted": (encrypted, "tls_key: {key} is encrypted: decrypt it"),
    "cut off": (
        lambda files: files.key.write_text(files.key.read_text()[:100]),
        "tls_cert: {certificate} and {key} cannot be used (",
    ),
}


@pytest.mark.parametrize(("spoil", "says"), BAD.values(), ids=BAD)
async def test_a_pair_that_cannot_be_used_is_one_line_at_the_start(
    files: Files, tmp_path: Path, spoil: Callable[[Files], object], says: str
):
    spoil(files)
    (tmp_path / "edge.json").write_text('{"contexts": {}}')
    settings = {"origin": "http://127.0.0.1:1", "manifest": tmp_path / "edge.json", "state_dir": tmp_path / "state"}
    with pytest.raises(MizanError) as caught:
        async with running(load_settings(settings | files.settings, None)):
            pass
    assert_line(str(caught.value), says, files)


@pytest.mark.parametrize(("spoil", "says"), BAD.values(), ids=BAD)
async def test_a_pair_that_cannot_be_used_leaves_the_old_one_in_use(
    make_edge: EdgeFactory, files: Files, authority: Authority, spoil: Callable[[Files], object], says: str
):
    edge = await make_edge(**files.settings)
    before = await serials(edge.address, authority)
    spoil(files)
    # What is wrong with one file is no reason not to read the other.
    edge.manifest_path.write_text('{"contexts": {"new": {}}}')
    reply = await edge.admin_request("POST", "/reload")
    assert reply.status == 422
    stays, _, line = reply.json["detail"].partition(": ")
    assert stays == "the certificate in use stays"
    assert_line(line, says, files)
    assert await serials(edge.address, authority) == before
    assert (await edge.admin_request("GET", "/readyz")).json["contexts"] == 1


def assert_line(line: str, says: str, files: Files) -> None:
    assert line.startswith(says.format(certificate=files.certificate, key=files.key))
    assert "\n" not in line
    assert not MARKED.search(line)


async def test_a_manifest_that_cannot_be_used_keeps_no_certificate_from_being_renewed(
    make_edge: EdgeFactory, files: Files, authority: Authority
):
    edge = await make_edge(**files.settings)
    before = await serials(edge.address, authority)
    edge.manifest_path.write_text("{")
    files.issue()
    reply = await edge.admin_request("POST", "/reload")
    assert reply.status == 422
    assert reply.json["detail"].startswith("the manifest in use stays: ")
    assert await serials(edge.address, authority) != before


async def test_a_worker_that_starts_while_the_others_hear_of_a_pair_is_given_that(files: Files):
    certificate, given = Certificate(Pair.read(files.certificate, files.key)), []

    async def spread(pair: Pair) -> None:
        # One that starts now asks for the pair in use.
        given.append((pair, certificate.pair))

    files.issue()
    assert await Renewal(certificate, files.certificate, files.key, spread).renew()
    ((heard, asked),) = given
    assert heard == asked == Pair.read(files.certificate, files.key)


async def test_sighup_renews_in_all_workers_and_a_successor_shows_the_pair_in_use(
    origin: Origin, manifest: Path, files: Files, authority: Authority, redis_url: str, namespace: str, tmp_path: Path
):
    process = await spawn(
        *("serve", "--origin", origin.url, "--manifest", manifest, "--state-dir", tmp_path / "state"),
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--redis", redis_url, "--namespace", namespace),
        *("--workers", "2", "--tls-cert", files.certificate, "--tls-key", files.key),
        MIZAN_CACHE_SECRET=SECRET,
    )
    said: list[str] = []

    async def heard(pattern: str) -> re.Match[str]:
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while line := (await process.stderr.readline()).decode():
                said.append(line)
                if match := re.search(pattern, line):
                    return match
        raise AssertionError("".join(said))

    try:
        address = (await heard(r" on https://(\S+), admin on http://"))[1]
        (first,) = await serials(address, authority, 4)
        files.issue()
        process.send_signal(signal.SIGHUP)
        await heard("certificate renewed")
        (second,) = await serials(address, authority, 12)
        assert second != first
        files.key.write_text("")
        process.send_signal(signal.SIGHUP)
        await heard(f"ERROR .* the certificate in use stays: tls_key: {files.key} holds no private key")
        # A worker that is started now has no use for what the files hold.
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        await heard("worker . .*was killed by SIGKILL")
        assert await serials(address, authority, 12) == {second}
        process.terminate()
        await asyncio.wait_for(process.wait(), 15)
    finally:
        if process.returncode is None:
            process.kill()
        _, rest = await process.communicate()
    log = "".join(said) + rest.decode()
    assert "Traceback" not in log
    assert not MARKED.search(log)


async def test_a_key_is_in_no_text_of_ours(files: Files):
    pair = Pair.read(files.certificate, files.key)
    assert MARKED.search(pair.key)
    body = MARKED.search(pair.key)[0]  # type: ignore[index]
    assert body not in repr(pair) + repr(Certificate(pair)) + str(pair)


# The origin.


@asynccontextmanager
async def secure(origin: Origin, authority: Authority, folder: Path, *names: str, **how: Any) -> AsyncIterator[int]:
    """The origin on a port of its own, over TLS, with a certificate for these names."""
    authority.issue(folder / "origin.pem", folder / "origin.key", *names, **how)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "origin.pem", folder / "origin.key")
    runner = web.ServerRunner(web.Server(origin.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_an_origin_is_verified_by_the_authority_that_is_named(
    make_edge: EdgeFactory, origin: Origin, authority: Authority, tmp_path: Path
):
    ca = authority.write(tmp_path / "ca.pem")
    async with secure(origin, authority, tmp_path, "localhost", "127.0.0.1") as port:
        for number, name in enumerate(("localhost", "127.0.0.1")):
            edge = await make_edge(origin=f"https://{name}:{port}", origin_ca=ca)
            assert (await edge.get(f"/{name}/")).status == 200
            # The site is the client's, however the edge reaches it.
            assert origin.asked[number].get("Host") == "site.test"
            assert (await edge.admin_request("GET", "/readyz")).json["origin"] == "up"


ISSUER = "nobody who is trusted here vouches for its certificate: name its authority's file in origin_ca"
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "how", "trusted", "says"),
    [
        ("localhost", {}, "own", None),
        ("localhost", {}, "system", ISSUER),
        ("localhost", {}, "other", ISSUER),
        ("other.test", {}, "own", "its certificate is for another name: write the name that it is for into"),
        ("localhost", {"until": PAST}, "own", "its certificate has expired: renew it there"),
    ],
)
async def test_an_origin_that_is_not_verified_gets_nothing_and_the_client_is_told_why(
    make_edge: EdgeFactory,
    origin: Origin,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    how: dict[str, Any],
    trusted: str,
    says: str | None,
):
    async with secure(origin, authority, tmp_path, name, **how) as port:
        named = {"own": authority, "other": Authority()}.get(trusted)
        more = {"origin_ca": named.write(tmp_path / "ca.pem")} if named else {}
        edge = await make_edge(origin=f"https://localhost:{port}", **more)
        reply = await edge.get("/profile/5/")
        if says is None:
            assert (reply.status, origin.hits) == (200, 1)
            return
        assert (reply.status, reply["Content-Type"]) == (502, "application/problem+json")
        assert reply.json["detail"].startswith(f"The origin cannot be reached securely: {says}")
        assert origin.hits == 0
        assert (await edge.admin_request("GET", "/readyz")).json["origin"] == "down"
    assert says in caplog.text
    assert "Traceback" not in caplog.text


async def test_an_origin_that_speaks_no_tls_is_told_from_one_that_is_away(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(origin=origin.url.replace("http:", "https:"))
    reply = await edge.get("/profile/5/")
    assert reply.status == 502
    assert "write http:// into its URL" in reply.json["detail"]


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read (No such file"), ("", "holds no certificate"), ("x", "holds no")]
)
async def test_a_file_of_authorities_that_cannot_be_used_is_one_line(
    make_edge: EdgeFactory, tmp_path: Path, content: str | None, says: str
):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MizanError, match=f"^origin_ca: {path} {re.escape(says)}") as caught:
        await make_edge(origin="https://localhost", origin_ca=path)
    assert "\n" not in str(caught.value)
