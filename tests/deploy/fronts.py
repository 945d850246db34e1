"""nginx and Caddy as deploy/ configures them, on ports and with a certificate of a test's own."""

import asyncio
import os
import shutil
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import wire
from tests.support.certificates import Authority
from tests.support.origin import until
from tests.support.wire import Reply

DEPLOY = Path(__file__).parents[2] / "deploy"
SITE = "www.example.com"
_UNUSED = ("proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, slots=True)
class Front:
    """A running front: its ports, and the authority that vouches for it."""

    https: int
    http: int
    authority: Authority
    _trusted: Path

    async def get(self, target: str, *headers: str) -> Reply:
        """The answer over HTTP/2."""
        arguments = ["-sS", "-i", "--http2", "--cacert", str(self._trusted), "--max-time", "10"]
        arguments += ["--resolve", f"{SITE}:{self.https}:127.0.0.1", f"https://{SITE}:{self.https}{target}"]
        # As where the port is the usual one.
        arguments += ["-H", f"Host: {SITE}"]
        arguments += [part for header in headers for part in ("-H", header)]
        process = await asyncio.create_subprocess_exec("curl", *arguments, stdout=PIPE, stderr=PIPE)
        out, error = await process.communicate()
        assert process.returncode == 0, error.decode()
        assert out.startswith(b"HTTP/2 "), out
        return wire.parse(out.replace(b"HTTP/2 ", b"HTTP/1.1 ", 1).replace(b" \r\n", b" OK\r\n", 1))


Configure = Callable[[Path, str, int, int], list[str]]
"""Writes what is shipped into a directory, for an edge at an address and the ports for https and http; the command that
runs it in the foreground."""


def nginx(home: Path, edge: str, https: int, http: int) -> list[str]:
    shipped = (DEPLOY / "nginx" / "mizan-edge.conf").read_text()
    ours = _replaced(
        shipped,
        ("server 127.0.0.1:8080;", f"server {edge};"),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen [::]:80;", ""),
        ("listen 443 ", f"listen 127.0.0.1:{https} "),
        ("listen [::]:443 ssl http2;", ""),
        (f"/etc/ssl/private/{SITE}.pem", f"{home}/site.pem"),
        (f"/etc/ssl/private/{SITE}.key", f"{home}/site.key"),
    )
    (home / "mizan-edge.conf").write_text(ours)
    path = home / "nginx.conf"
    # Its own directory: whoever runs it need not be root.
    places = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", *_UNUSED))
    user = "user root;" if os.geteuid() == 0 else ""
    path.write_text(
        f"{user} pid {home}/nginx.pid; error_log stderr; events {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {places} include {home}/mizan-edge.conf; }}\n"
    )
    return [path_of("nginx") or "nginx", "-c", str(path), "-g", "daemon off;"]


def caddy(home: Path, edge: str, https: int, http: int) -> list[str]:
    shipped = (DEPLOY / "caddy" / "Caddyfile").read_text()
    ours = _replaced(
        shipped,
        ("reverse_proxy 127.0.0.1:8080 {", f"reverse_proxy {edge} {{"),
        (f"\n{SITE} {{\n", f"\n{SITE} {{\n\tbind 127.0.0.1\n\ttls {home}/site.pem {home}/site.key\n"),
    )
    path = home / "Caddyfile"
    path.write_text(f"{{\n\tadmin off\n\thttps_port {https}\n\thttp_port {http}\n}}\n{ours}")
    return [path_of("caddy") or "caddy", "run", "--adapter", "caddyfile", "--config", str(path)]


FRONTS: dict[str, Configure] = {"nginx": nginx, "caddy": caddy}


def path_of(program: str) -> str | None:
    """The path of a program, None where it is not installed."""
    # Servers are installed where an ordinary user's PATH does not lead, and packages of Python beside it.
    places = (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", str(Path(sys.executable).parent))
    return shutil.which(program, path=os.pathsep.join(places))


@asynccontextmanager
async def fronting(configure: Configure, edge: str, home: Path) -> AsyncIterator[Front]:
    """A front before the edge at an address, for the length of the block."""
    authority = Authority()
    authority.issue(home / "site.pem", home / "site.key", SITE)
    https, http = _free_ports()
    command = configure(home, edge, https, http)
    with open(home / "front.log", "wb") as log:
        # Caddy keeps things at home.
        process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, env=os.environ | {"HOME": str(home), "XDG_DATA_HOME": str(home)}
        )
    try:
        await until(lambda: process.returncode is not None or _listens(https))
        assert process.returncode is None, (home / "front.log").read_text()
        yield Front(https, http, authority, authority.write(home / "authority.pem"))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as https, socket.create_server(("127.0.0.1", 0)) as http:
        return https.getsockname()[1], http.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, f"no {old!r} in what is shipped"
        text = text.replace(old, new)
    return text
