"""`make bench` runs: a second of each server, on the real programs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.servers import has

TOP = Path(__file__).parent.parent.parent


@pytest.mark.skipif(shutil.which("wrk") is None or not has("nginx"), reason="wrk or nginx is not installed")
def test_a_short_run_compares_the_edge_with_nginx_and_writes_every_round(tmp_path: Path):
    result = tmp_path / "result.json"
    options = ["--only", "hot", "--rounds", "1", "--seconds", "1", "--warm-up", "0", "--peers", "nginx"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *options, "--json", str(result)], cwd=TOP, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "\n| hot: one URL, one head | nginx | " in done.stdout
    rounds = json.loads(result.read_text())["loads"]["hot"]
    assert rounds.keys() == {"edge", "nginx"}
    for (only,) in rounds.values():
        assert only["rate"] > 100
        assert 0 < only["cpu_us"] < 10_000
        assert 0 < only["p50_ms"] <= only["p99_ms"] <= only["p999_ms"]


def test_what_there_is_not_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "hot,everything"], cwd=TOP, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "there is no everything" in done.stderr
