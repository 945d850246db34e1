"""The origin, Redis, the edge, and its peers: how each is started, and how its answers say that they are hits."""

import os
import random
import re
import resource
import secrets
import shutil
import string
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import HOST, BenchError, Children, Processors, free_port, listens
from mizan_edge.system.embedded import find_server, launch_command, launch_environment

PEERS = {"nginx": "nginx", "varnish": "varnishd"}
"""The program of each."""
NEAR_BYTES = 2 << 30
_HERE = Path(__file__).parent
BODIES = {"1k": 1 << 10, "10k": 10 << 10, "100k": 100 << 10}
_REDIS_BYTES = 8 << 30
_VARNISH_STORAGE = "malloc,4g"
# Among its open files nginx needs some for connections.
_CONNECTION_FILES = 8192
_MAX_OPEN_FILES = 1_000_000
_PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "varnishd": "varnish"}
_WRITTEN_S = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be loaded."""

    name: str
    port: int
    pid: int
    hit: re.Pattern[bytes]
    """What the head of an answer has if it is a hit."""


def missing(programs: Sequence[str]) -> list[str]:
    """A line for each of these programs that is not installed: how to install it."""
    return [
        f"{program} is not installed: apt-get install {_PACKAGES[program]}"
        for program in programs
        if path_of(program) is None
    ]


def has(peer: str) -> bool:
    """Whether a peer is installed."""
    return path_of(PEERS[peer]) is not None


@dataclass(slots=True)
class Rig:
    """What a measurement runs on: processors, a directory on disk and one in memory, and what all servers need."""

    processors: Processors
    home: Path
    memory: Path
    """On a tmpfs."""
    children: Children
    origin_port: int = 0
    redis_url: str = ""
    redis_pid: int = 0
    secret: str = field(default_factory=lambda: secrets.token_hex(32))
    """That tokens are signed with."""

    def start_origin(self) -> None:
        """Starts the origin."""
        bodies = self.home / "origin" / "bodies"
        bodies.mkdir(parents=True)
        for name, size in BODIES.items():
            (bodies / f"{name}.txt").write_text(text(size))
            # nginx makes entity tags of the time.
            os.utime(bodies / f"{name}.txt", (_WRITTEN_S, _WRITTEN_S))
        self.origin_port = free_port()
        values = {"LISTEN": self.origin_port, "BODY": text(BODIES["1k"])}
        self._nginx("origin", self.home / "origin", self.processors.others, self.origin_port, values)

    def start_redis(self, name: str = "redis") -> str:
        """Starts a Redis, empty and without persistence, on a Unix socket, which edges use from now on; its URL."""
        server = find_server()
        if server is None:
            raise BenchError("no Redis server here: install redis-server")
        socket = self.home / name / "redis.sock"
        socket.parent.mkdir()
        self.redis_url = f"unix://{socket}"
        self.redis_pid = self.children.start(
            name,
            launch_command(server, socket, maxmemory=_REDIS_BYTES),
            processors=self.processors.others,
            ready=socket.exists,
            env=launch_environment(),
        )
        return self.redis_url

    def start_edge(self, *, near: int | None = None, compress: str = "nothing") -> Server:
        """Starts an edge of one worker.

        Everything is as it is by default but for what the loads need: memory for all that they ask for, as the peers
        have it, and no compression, unless the load is about that, since the peers do not compress either.
        """
        port, admin = free_port(), free_port()
        flags = {
            "--manifest": str(_HERE / "manifest.json"),
            "--origin": f"http://{HOST}:{self.origin_port}",
            "--listen": f"{HOST}:{port}",
            "--admin": f"{HOST}:{admin}",
            "--redis": self.redis_url,
            "--state-dir": str(self.home / "edge"),
            "--workers": "1",
            "--near": str(NEAR_BYTES if near is None else near),
            "--compress": compress,
        }
        pid = self.children.start(
            "edge",
            [sys.executable, "-m", "mizan_edge", "serve", *(part for pair in flags.items() for part in pair)],
            processors=self.processors.server,
            ready=lambda: listens(port),
            env=_without_settings() | {"MIZAN_MWT_SECRET": self.secret},
        )
        return Server("edge", port, pid, re.compile(rb"\r\nCache-Status: [^\r]*; ?hit\b"))

    def start_peer(self, name: str) -> Server:
        """Starts nginx or Varnish. Raises BenchError where it is not installed."""
        for line in missing([PEERS[name]]):
            raise BenchError(line)
        return self._start_nginx() if name == "nginx" else self._start_varnish()

    def _start_nginx(self) -> Server:
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = _MAX_OPEN_FILES if files == resource.RLIM_INFINITY else min(files, _MAX_OPEN_FILES)
        port = free_port()
        values = {
            "LISTEN": port,
            "ORIGIN": self.origin_port,
            "CACHE": self.memory / "nginx",
            "FILES": files,
            "OPEN_FILES": files - min(_CONNECTION_FILES, files // 2),
        }
        pid = self._nginx("nginx", self.home / "nginx", self.processors.server, port, values)
        return Server("nginx", port, pid, re.compile(rb"\r\nX-Cache-Status: HIT\b"))

    def _nginx(self, name: str, home: Path, processors: set[int], port: int, values: Mapping[str, object]) -> int:
        for line in missing(["nginx"]):
            raise BenchError(line)
        home.mkdir(exist_ok=True)
        configuration = fill_in(_HERE / "peers" / f"{name}.conf", home / "nginx.conf", values)
        command = [path_of("nginx") or "", "-p", f"{home}/", "-c", str(configuration)]
        return self.children.start(name, command, processors=processors, ready=lambda: listens(port), cwd=home)

    def _start_varnish(self) -> Server:
        port, home = free_port(), self.home / "varnish"
        home.mkdir()
        vcl = fill_in(_HERE / "peers" / "varnish.vcl", home / "varnish.vcl", {"ORIGIN": self.origin_port})
        flags = ["-F", "-a", f"{HOST}:{port}", "-f", str(vcl), "-s", _VARNISH_STORAGE, "-n", str(home / "work")]
        command = [path_of("varnishd") or "", *flags]
        pid = self.children.start(
            "varnish", command, processors=self.processors.server, ready=lambda: listens(port), cwd=home
        )
        # The id of the request, and for a hit that of the one that had stored it.
        return Server("varnish", port, pid, re.compile(rb"\r\nX-Varnish: \d+ \d+"))


@contextmanager
def open_rig(processors: Processors) -> Iterator[Rig]:
    """A rig on which nothing runs yet; what runs on it is stopped at the end, and its directories are removed."""
    in_memory = "/dev/shm"  # noqa: S108 (where Linux has its tmpfs)
    with (
        tempfile.TemporaryDirectory(prefix="mizan-bench-") as home,
        tempfile.TemporaryDirectory(prefix="mizan-bench-", dir=in_memory) as memory,
    ):
        for folder in (home, memory):
            # nginx's workers are somebody else where it is started by root.
            os.chmod(folder, 0o755)  # noqa: S103
        with Children(Path(home)) as children:
            yield Rig(processors, Path(home), Path(memory), children)


def fill_in(template: Path, target: Path, values: Mapping[str, object]) -> Path:
    """Writes a configuration with its `@NAME@` filled in; its path. Raises BenchError where one is left."""
    content = template.read_text()
    # What stands in comments is about these, not one of them.
    lines = [line for line in content.splitlines(keepends=True) if not line.lstrip().startswith("#")]
    filled = "".join(lines)
    for name, value in values.items():
        filled = filled.replace(f"@{name}@", str(value))
    if left := re.findall(r"@[A-Z_]+@", filled):
        raise BenchError(f"{template}: nothing to fill in for {', '.join(left)}")
    target.write_text(filled)
    return target


def text(size: int) -> str:
    """So many characters of text that hardly compresses; the same at each call."""
    return "".join(random.Random(size).choices(string.ascii_letters + string.digits + "-_", k=size))


def path_of(program: str) -> str | None:
    """The path of a program, None where it is not installed."""
    # Servers are installed where an ordinary user's PATH does not lead.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


def _without_settings() -> dict[str, str]:
    """The environment without this project's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MIZAN_")}
