"""The README's own site, built from what it prints, behind an edge started and asked as it says."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mizan_edge.embedded import launch_environment
from tests.support.processes import wait_for

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text()
SNIPPETS = {
    match[1]: match[2] for match in re.finditer(r"```python\n# (\S+?)(?:, added)?\n(.*?)```", README, re.DOTALL)
}
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    ")]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A project as `startproject` and `startapp` make it, with the README's snippets."""
    run(tmp_path, sys.executable, "-m", "django", "startproject", "mysite", ".")
    run(tmp_path, sys.executable, "manage.py", "startapp", "shop")
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + SNIPPETS["mysite/settings.py"])
    for name, text in SNIPPETS.items():
        if tmp_path / name != settings:
            (tmp_path / name).write_text(text)
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in launch_environment().items() if not name.startswith(("MIZAN", "DJANGO"))}
    # The tests beside this one may keep Redis from the processor for longer than the edge would wait for it.
    secret = {"MIZAN_MWT_SECRET": "a secret of the readme's own site", "MIZAN_EDGE_REDIS_TIMEOUT": "2"}
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    return clean | secret | {"HOME": str(home), "PATH": scripts, "PYTHONPATH": str(TOP), "XDG_STATE_HOME": ""}


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def shown(start: str, ports: dict[str, str]) -> str:
    """The one command of the README that begins so, with the ports of this run."""
    (command,) = (line for line in COMMANDS if line.startswith(start))
    for usual, here in ports.items():
        command = command.replace(f"127.0.0.1:{usual}", here)
    return command


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()
    for process in processes:
        process.communicate()


def serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - an address of this test
            return True
    except OSError:
        return False


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, and the README shows it")
def test_the_site_of_the_readme_is_cached_and_purged_by_the_commands_it_prints(
    site: Path, started: list[subprocess.Popen[str]]
):
    run(site, sys.executable, "manage.py", "migrate", "-v0")
    make = "from django.contrib.auth.models import User; User.objects.create(id=5, username='u', first_name='Ada')"
    run(site, sys.executable, "manage.py", "shell", "-c", make)
    run(site, *shlex.split(shown("python manage.py", {})))
    assert "usable" in run(site, *shlex.split(shown("mizan-edge check", {})))

    ports = {"8000": free(), "8080": free(), "8081": free()}
    origin = [sys.executable, "manage.py", "runserver", "--noreload", ports["8000"]]
    edge = [*shlex.split(shown("mizan-edge serve", ports)), "--listen", ports["8080"], "--admin", ports["8081"]]
    for command in (origin, edge):
        started.append(
            subprocess.Popen(
                command,
                cwd=site,
                env=environment(site),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    assert wait_for(lambda: serves(f"http://{ports['8000']}/profile/5/"), seconds=30)
    assert wait_for(lambda: serves(f"http://{ports['8081']}/readyz"), seconds=30)

    def shell(*lines: str) -> str:
        return run(site, "bash", "-ec", "\n".join([shown("TOKEN=", ports), *lines]))

    look = shown("curl -i", ports).replace("/1/", "/5/")
    assert "fwd=uri-miss; stored" in shell(look)
    assert "hit; ttl=" in shell(look)
    for purge in ("curl -H", "curl -X PURGE"):
        assert '"entries":1' in shell(shown(purge, ports))
        assert "fwd=uri-miss; stored" in shell(look)
    assert '"changed":[]' in shell(shown("curl -X POST", ports))
    token = (site / ".local" / "state" / "mizan-edge" / "admin.token").read_text().strip()
    purge = "from mizan.cache import purge; purge('user', user_id=5)"
    admin = f"MIZAN_EDGE_ADMIN_TOKEN={token} python manage.py shell -c"
    settings = site / "mysite" / "settings.py"
    settings.write_text(settings.read_text().replace("127.0.0.1:8081", ports["8081"]))
    assert "hit; ttl=" in shell(look)
    shell(f"{admin} {shlex.quote(purge)}")
    assert "fwd=uri-miss; stored" in shell(look)


def free() -> str:
    """An address of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"
