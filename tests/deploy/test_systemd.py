"""The systemd units of deploy/, as systemd reads them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mizan_edge.running.config import load_settings
from mizan_edge.running.worker import SHUTDOWN_S

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICE = (UNITS / "mizan-edge.service").read_text()
DEPLOYING = (UNITS.parents[1] / "docs" / "deploy.md").read_text()
PROGRAM = "/opt/mizan/bin/mizan-edge"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (apt-get install systemd)"
)


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units, with a program that is here."""
    assert PROGRAM in SERVICE
    for path in UNITS.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, sys.executable))
    return sorted(map(str, tmp_path.iterdir()))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)  # noqa: S607


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(units: list[str]):
    done = analyze("verify", "--man=no", *units)
    ours = [line for line in done.stderr.splitlines() if "mizan-edge" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_the_service_can_do_little_but_serve(units: list[str]):
    done = analyze("security", "--offline=yes", "--threshold=15", *(u for u in units if u.endswith(".service")))
    assert done.returncode == 0, done.stdout[-500:]


def test_the_service_may_finish_before_it_is_killed():
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", SERVICE, re.MULTILINE)
    assert int(seconds) > SHUTDOWN_S
    assert "KillMode=mixed" in SERVICE, "the keeper stops its workers itself"


def test_the_settings_that_are_shown_can_be_used_and_fit_the_service(tmp_path: Path):
    (shown,) = re.findall(r"^```toml\n(.+?)^```$", DEPLOYING, re.MULTILINE | re.DOTALL)
    config = tmp_path / "edge.toml"
    config.write_text(shown)
    settings = load_settings({}, config)
    (directory,) = re.findall(r"^StateDirectory=(.+)$", SERVICE, re.MULTILINE)
    # As systemd has it (%S), so that a command beside the service finds what the service has made.
    assert settings.state_dir == Path("/var/lib") / directory
    for path in re.findall(r"/etc/mizan-edge/[a-z.]+", SERVICE):
        assert path in DEPLOYING
    assert str(settings.manifest) in DEPLOYING.replace(shown, "")


def test_the_state_is_in_the_directory_that_survives():
    (directory,) = re.findall(r"^StateDirectory=(.+)$", SERVICE, re.MULTILINE)
    assert f"Environment=MIZAN_EDGE_STATE_DIR=%S/{directory}" in SERVICE
