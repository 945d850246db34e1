"""The five minutes of docs/django.md: its snippets put into a project that was there before, its commands typed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mizan_edge.system.embedded import launch_environment
from tests.support.processes import wait_for
from tests.support.redis_server import established

TOP = Path(__file__).parent.parent
SECTION = (TOP / "docs" / "django.md").read_text().partition("\n## Five minutes ")[2].partition("\n## ")[0]
SNIPPETS = {
    match[1]: match[2] for match in re.finditer(r"```python\n# (\S+?)(?:, added)?\n(.*?)```", SECTION, re.DOTALL)
}
COMMANDS = re.findall(r"^    (.+)$", re.sub(r"```.*?```", "", SECTION, flags=re.DOTALL), re.MULTILINE)
INSTALL, *TYPED = COMMANDS
"""The installation is that of these tests; everything else is typed."""

PEOPLE = """
import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User

User.objects.create_superuser("ada", password="lovelace")
"""


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in launch_environment().items() if not name.startswith(("MIZAN", "DJANGO"))}
    # The tests beside this one may keep Redis from the processor for longer than the edge would wait for it.
    patient = {"MIZAN_EDGE_REDIS_TIMEOUT": "2"}
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    own = {"HOME": str(home), "PATH": scripts, "PYTHONPATH": str(TOP), "XDG_STATE_HOME": ""}
    return clean | patient | own


def run(folder: Path, *command: str, **more: str) -> None:
    variables = environment(folder) | more
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A project as `startproject` makes it, with an app and a superuser, and then with the snippets."""
    run(tmp_path, sys.executable, "-m", "django", "startproject", "mysite", ".")
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "INSTALLED_APPS += ['shop']\n")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    run(tmp_path, sys.executable, "-c", PEOPLE, DJANGO_SETTINGS_MODULE="mysite.settings")
    settings.write_text(settings.read_text() + SNIPPETS["mysite/settings.py"])
    for name, text in SNIPPETS.items():
        if tmp_path / name != settings:
            (tmp_path / name).write_text(text)
    return tmp_path


class Terminal:
    """One shell in the site's folder, for all commands."""

    def __init__(self, folder: Path) -> None:
        self._shown = folder / "terminal.txt"
        self._typed = 0
        with self._shown.open("wb") as screen:
            self._shell = subprocess.Popen(
                ["/bin/bash"],
                cwd=folder,
                env=environment(folder),
                stdin=subprocess.PIPE,
                stdout=screen,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def type(self, line: str) -> str:
        """What is shown from here on until the command has ended, which must succeed."""
        assert self._shell.stdin
        before = self._shown.stat().st_size
        self._typed += 1
        end = re.compile(rf"^typed {self._typed}, status (\d+)$", re.MULTILINE)
        self._shell.stdin.write(f"{line}\nprintf '\\ntyped {self._typed}, status %s\\n' $?\n".encode())
        self._shell.stdin.flush()

        def shown() -> str:
            return self._shown.read_bytes()[before:].decode()

        assert wait_for(lambda: end.search(shown()) is not None, seconds=60), f"{line}: {shown()}"
        ended = end.search(shown())
        assert ended and ended[1] == "0", f"{line}: {shown()}"
        return shown()

    def close(self) -> None:
        """Ends the shell, and whatever it has started."""
        assert self._shell.stdin
        self._shell.stdin.close()
        self._shell.wait()
        try:
            os.killpg(self._shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


@pytest.fixture
def terminal(site: Path) -> Iterator[Terminal]:
    shell = Terminal(site)
    yield shell
    shell.close()


def serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - an address of this test
            return True
    except OSError:
        return False


def free() -> str:
    """An address of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, and the document shows it")
def test_the_commands_lead_from_a_project_to_a_hit_and_past_the_mutation_to_a_miss(
    site: Path, terminal: Terminal, redis_url: str, namespace: str
):
    assert INSTALL.startswith("pip install ")
    established(redis_url, namespace)
    origin, edge, admin = free(), free(), free()
    here = {
        "redis://127.0.0.1:6379/0": redis_url,
        "127.0.0.1:8000": origin,
        "127.0.0.1:8080": edge,
        "127.0.0.1:8081": admin,
        "runserver": f"runserver --noreload {origin}",
        "mizan-edge serve": f"mizan-edge serve --listen {edge} --admin {admin} --namespace {namespace}",
    }
    settings = site / "mysite" / "settings.py"
    own = settings.read_text().replace("redis://127.0.0.1:6379/0", redis_url)
    settings.write_text(f"{own}\nMIZAN_CACHE_NAMESPACE = {namespace!r}\n")
    look = f"curl -i http://{edge}/profile/1/"
    lines = iter(TYPED)

    def next_one(start: str) -> str:
        """Types the next command of the document, which begins so."""
        line = next(lines)
        assert line.startswith(start), line
        for usual, other in here.items():
            line = line.replace(usual, other)
        return terminal.type(line)

    next_one("export MIZAN_MWT_SECRET=")
    next_one("python manage.py export_edge_manifest")
    next_one("python manage.py runserver")
    next_one("mizan-edge serve")
    assert wait_for(lambda: serves(f"http://{origin}/admin/login/"), seconds=30)
    assert wait_for(lambda: serves(f"http://{admin}/readyz"), seconds=30)

    first = next_one("curl -i")
    assert "fwd=uri-miss; stored" in first and "This is ada." in first
    assert "hit; ttl=" in next_one("curl -i")

    next_one("csrf()")
    next_one("curl -s")
    next_one("curl -s")
    assert '"invalidate":["user;user_id=1"]' in next_one("curl -i")
    renamed = next_one("curl -i")
    assert "fwd=uri-miss; stored" in renamed and "This is Countess." in renamed

    assert "hit; ttl=" in terminal.type(look)
    next_one("python manage.py shell")
    assert "fwd=uri-miss; stored" in terminal.type(look)
    next_one("export TOKEN=")
    assert '"changed":[]' in next_one("curl -X POST")
    assert "hit; ttl=" in terminal.type(look)
    assert '"entries":1' in next_one("curl -X PURGE")
    assert "fwd=uri-miss; stored" in terminal.type(look)
    assert list(lines) == []
    terminal.type("kill %1 %2; wait")
