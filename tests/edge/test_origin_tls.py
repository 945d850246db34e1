"""An origin over TLS: its certificate is verified, its name sent."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from ssl import SSLContext, SSLObject

import pytest

from mizan_edge.http.errors import OriginError
from mizan_edge.http.message import Request
from mizan_edge.origin.origin import Origin
from tests.support.origin import until
from tests.support.peer import Peer, whole

# For `localhost` and this file alone, until 2126.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUK7ng1n73XcF1pJCD+q3ggwxNklUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTEyMDcwNVoYDzIxMjYxMDI4
MTIwNzA1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATo7Tzvqf1YD+E/gm5KLhs1bxIjDmIMYTaNfSugIY2uilwNIyH2Nngq
jfgdOVErt1KAZWvw1tLCyafC9Xnmw9XCo2kwZzAdBgNVHQ4EFgQUuWWkkmNzgUGM
+s3x8m6CFjweVtIwHwYDVR0jBBgwFoAUuWWkkmNzgUGM+s3x8m6CFjweVtIwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgKG6l5jyk7TmibPFUt2FI5mzhdHZqhb0WXWvO1gh+E4ICIQDaD+EjiFVu
HFByFfJa8kD50W66vptXRnm4ArdPnAFKsQ==
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoFIulwy9A3k2mY6o
uXCraBQ5Eyyvf/dBZHe+OB4T8TqhRANCAATo7Tzvqf1YD+E/gm5KLhs1bxIjDmIM
YTaNfSugIY2uilwNIyH2NngqjfgdOVErt1KAZWvw1tLCyafC9Xnmw9XC
-----END PRIVATE KEY-----
"""

BODY = b"x" * (3 << 20)
NAMELESS = Request("GET", "/x", "", ())


class Secure(Peer):
    """A peer over TLS, and the names that it was asked for."""

    def __init__(self) -> None:
        super().__init__(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        self.names: list[str | None] = []
        self.port = 0

    def named(self, _socket: SSLObject, name: str | None, _context: SSLContext) -> None:
        self.names.append(name)


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Secure]:
    (tmp_path / "certificate.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    peer = Secure()
    context.sni_callback = peer.named
    server = await asyncio.start_server(peer.talk, "127.0.0.1", 0, ssl=context)
    peer.port = server.sockets[0].getsockname()[1]
    async with server:
        yield peer
        await until(lambda: peer.open == 0)


async def test_an_origin_over_tls_is_verified_named_and_asked_again(
    peer: Secure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    async with Origin(f"https://localhost:{peer.port}", connect_timeout_s=5, read_timeout_s=5) as origin:
        assert await origin.accepts()
        assert [await whole(origin, NAMELESS) for _ in range(2)] == [BODY] * 2
    assert peer.names == ["localhost"] * 2
    assert peer.heads == [f"GET /x HTTP/1.1\r\nHost: localhost:{peer.port}\r\n\r\n".encode()] * 2


@pytest.mark.parametrize("why", ["unknown", "another name"])
async def test_an_origin_whose_certificate_does_not_hold_gets_nothing(
    peer: Secure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
):
    if why == "another name":
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    host = "127.0.0.1" if why == "another name" else "localhost"
    async with Origin(f"https://{host}:{peer.port}", connect_timeout_s=5, read_timeout_s=5) as origin:
        with pytest.raises(OriginError) as caught:
            await origin.send(NAMELESS, None)
        assert (caught.value.status, caught.value.sent) == (502, False)
        assert not await origin.accepts()
    assert peer.heads == []


async def test_an_origin_that_speaks_no_tls_cannot_be_reached():
    peer = Peer(b"HTTP/1.1 400 X\r\n\r\n", then="close")
    async with await asyncio.start_server(peer.talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Origin(f"https://localhost:{port}", connect_timeout_s=0.3, read_timeout_s=5) as origin:
            with pytest.raises(OriginError) as caught:
                await origin.send(NAMELESS, None)
            assert not caught.value.sent
        await peer.left(1)
