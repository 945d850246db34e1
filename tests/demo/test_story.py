"""`python -m demo`: the story comes true, and says so when it does not."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.running import SECONDS, run_once, staying_up
from tests.support.processes import alive, wait_for

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


def steps(output: str) -> dict[str, str]:
    """What came back, by the prose of each step."""
    return dict(re.findall(r"^ +\d+\. (.*?) \.{2,} (.*)$", output, flags=re.MULTILINE))


def test_the_story_comes_true(tmp_path: Path):
    done = run_once(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = steps(done.stdout)
    assert told["The customer reads on: the new name, fetched anew"] == "mizan-edge; fwd=uri-miss; stored"
    assert told["So was the HTML page"] == "mizan-edge; fwd=uri-miss; stored"
    assert told["Customer 6 was left alone"].startswith("mizan-edge; hit; ttl=")
    assert told["Customer 6 is fetched anew"] == "mizan-edge; fwd=uri-miss; stored"
    assert done.stdout.splitlines()[-1] == "The story came true."
    assert done.stderr == ""


def test_it_comes_true_again_in_a_shop_that_has_seen_it_before(tmp_path: Path):
    first, second = run_once(tmp_path), run_once(tmp_path)
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout + second.stderr
    assert "from Ada Lovelace to Grace Hopper" in second.stdout


def test_a_purge_that_does_not_happen_ends_the_story_with_one_line_and_a_failure(tmp_path: Path):
    done = run_once(tmp_path, DJANGO_SETTINGS_MODULE="tests.demo.forgetful")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("demo: the story did not come true: step ")
    assert "GET /api/mizan/ctx/user/?user_id=5: the answer still says" in line
    assert "The story came true." not in done.stdout


def test_a_server_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path):
    done = run_once(tmp_path, DJANGO_SETTINGS_MODULE="tests.demo.no_such_settings")
    assert done.returncode == 1
    assert done.stderr.startswith("demo: origin ended with status 1; the end of ")
    assert "no_such_settings" in done.stderr.splitlines()[-1]


def test_a_taken_port_is_replaced_and_named(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_once(tmp_path, "--port", str(port))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Port {port} is not free; using " in done.stdout


def test_a_directory_that_cannot_be_used_is_named_in_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    done = run_once(tmp_path / "file")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"demo: cannot use {tmp_path / 'file'}: ")


def test_a_second_demo_in_the_same_directory_is_turned_away_and_the_first_goes_on(tmp_path: Path):
    with staying_up(tmp_path) as demo:
        second = run_once(tmp_path)
        assert second.returncode == 1
        assert second.stderr.splitlines() == [
            f"demo: another demo uses {tmp_path}: stop that one or choose another --state-dir"
        ]
        assert demo.browser().get("/").status == 200


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_without_a_traceback(tmp_path: Path, number: signal.Signals):
    with staying_up(tmp_path) as demo:
        started = demo.descendants()
        assert len(started) >= 3  # Django, the edge, Redis
        demo.process.send_signal(number)
        rest, _ = demo.process.communicate(timeout=SECONDS)
        assert demo.process.returncode == 0
        assert rest.split() == ["Stopping."]
        assert not any(map(alive, started))


@linux_only
def test_a_killed_demo_leaves_no_server_behind(tmp_path: Path):
    with staying_up(tmp_path) as demo:
        started = demo.descendants()
        demo.process.kill()
        assert wait_for(lambda: not any(map(alive, started)))


@linux_only
def test_a_server_that_is_killed_later_ends_the_demo(tmp_path: Path):
    with staying_up(tmp_path) as demo:
        started = demo.descendants()
        [django] = [pid for pid in started if b"demo.origin" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(django, signal.SIGKILL)
        rest, _ = demo.process.communicate(timeout=SECONDS)
        assert demo.process.returncode == 1
        assert "origin ended with status -9; the end of " in rest
        assert not any(map(alive, started))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_that_it_prints_work(tmp_path: Path):
    with staying_up(tmp_path) as demo:
        # Indented by four spaces: a command or the next line of one.
        script = "\n".join(line for line in demo.said.splitlines() if line.startswith("    "))
        done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True, timeout=SECONDS)  # noqa: S607
    assert done.returncode == 0, done.stderr
    assert re.findall(r"HTTP/1\.1 (\d+)", done.stdout) == ["200"] * 4
    assert '"invalidate":["user;user_id=5"]' in done.stdout.replace(" ", "")
    assert '"entries":0' in done.stdout.replace(" ", "")
