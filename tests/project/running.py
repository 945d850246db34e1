"""The site as it runs in production: uvicorn, an edge before it, a worker beside it, and one Redis for all of them."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.browser import Browser
from demo.processes import HOST, Server, answers, choose_port
from tests.support.processes import wait_for
from tests.support.redis_server import established

HERE = Path(__file__).parent
TOP = HERE.parents[1]
SITE, EARLIER = HERE / "site", HERE / "earlier"
NAMESPACE = "mizan"
"""What Django and the edge take where nobody names another."""


def environment(**variables: str) -> dict[str, str]:
    """This process's, without the machine's own settings, and with others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MIZAN", "DJANGO"))}
    return inherited | {"PYTHONPATH": str(TOP)} | variables


def manage(project: Path, *arguments: str, env: Mapping[str, str]) -> str:
    """What `manage.py ARGUMENTS` prints. It must succeed, and with it Django's system checks."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=project,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}"
    return done.stdout


class Worker:
    """A running `worker.py`, which has nothing of the process that serves."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, task: str) -> None:
        """Runs a line of Python, such as `tasks.rename(5, "Ann")`, to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(task, file=self._process.stdin, flush=True)
        said = self._process.stdout.readline()
        assert said == "done\n", said + self._process.stdout.read()


@dataclass(frozen=True, slots=True)
class Running:
    """The running site; `port` is the edge's."""

    port: int
    home: Path
    redis_url: str
    worker: Worker

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def browser(self) -> Browser:
        """Somebody new before the edge, with a CSRF token."""
        browser = Browser(HOST, self.port)
        assert browser.get("/api/mizan/session/").status == 200
        return browser


@contextmanager
def running(redis_url: str, home: Path) -> Iterator[Running]:
    """Runs the site for the length of the block, with an empty database in `home`, on a Redis of its own."""
    established(redis_url, NAMESPACE)
    port, origin, admin = (choose_port(0) for _ in range(3))
    env = environment(
        DJANGO_SETTINGS_MODULE="myproject.settings",
        SITE_HOME=str(home),
        SITE_REDIS_URL=redis_url,
        SITE_SECRET_KEY="django-secret-of-the-site-0123456789abcdef",
        MIZAN_CACHE_SECRET="cache-secret-of-the-site-0123456",  # of 32 bytes
        MIZAN_MWT_SECRET="mwt-secret-of-the-site-0123456789abcdef",
        MIZAN_EDGE_REDIS=redis_url,
        MIZAN_EDGE_REDIS_TIMEOUT="5",  # machines that run tests stall
    )
    manifest = str(home / "edge.json")
    manage(SITE, "export_edge_manifest", "--output", manifest, env=env)
    django = ["uvicorn", "myproject.asgi:application", "--app-dir", str(SITE), "--port", str(origin)]
    edge = ["mizan_edge", "serve", "--origin", f"http://{HOST}:{origin}", "--manifest", manifest, "--workers", "0"]
    edge += ["--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{admin}", "--state-dir", str(home)]
    with working(env) as worker:
        worker.run("call_command('migrate', verbosity=0)")
        with (
            serving(django, home / "django.log", env, ready=(origin, "/api/mizan/session/")),
            serving(edge, home / "edge.log", env, ready=(admin, "/readyz")),
        ):
            yield Running(port, home, redis_url, worker)


@contextmanager
def serving(command: list[str], log: Path, env: Mapping[str, str], *, ready: tuple[int, str]) -> Iterator[None]:
    """Runs `python -m COMMAND`, from when it answers 200 at `ready`, a port and a path."""
    server = Server(command[0], [sys.executable, "-m", *command], log, env)
    try:
        wait_for(lambda: answers(*ready) or server.process.poll() is not None, seconds=60)
        if not answers(*ready):
            raise server.failure("is not ready")
        yield
    finally:
        server.stop()


@contextmanager
def working(env: Mapping[str, str]) -> Iterator[Worker]:
    """Runs `worker.py`, which ends with its input."""
    with subprocess.Popen(
        [sys.executable, "worker.py"],
        cwd=SITE,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield Worker(process)
