"""A Redis that tests kill, freeze and bring back."""

import signal
import subprocess
from pathlib import Path

import redis

from mizan_edge.system.embedded import find_server, launch_environment
from tests.support.processes import wait_for


class Redis:
    """A redis-server that a test starts, kills and freezes; `keep` writes every command to disk."""

    def __init__(self, home: Path, *, keep: bool) -> None:
        self.socket = home / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._home = home
        self._keep = keep
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        server = find_server()
        assert server is not None
        persistence = {"appendonly": "yes", "appendfsync": "always"} if self._keep else {"appendonly": "no"}
        usual = {"port": "0", "unixsocket": str(self.socket), "dir": str(self._home), "save": "", **persistence}
        options = [part for name, value in (usual | settings).items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [server, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=launch_environment()
        )
        assert wait_for(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
