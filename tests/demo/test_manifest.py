"""The manifest in the tree is the one that the demo exports."""

import subprocess
import sys
from pathlib import Path

from mizan_core.manifest import load_manifest

TOP = Path(__file__).parents[2]
MANIFEST = TOP / "manifests" / "demo.json"


def test_the_exported_manifest_is_up_to_date(tmp_path: Path):
    fresh = tmp_path / "demo.json"
    command = [sys.executable, "-m", "demo.manage", "export_edge_manifest", "--output", str(fresh)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert fresh.read_text() == MANIFEST.read_text(), "export it again: make demo ONCE=1"


def test_the_manifest_loads_without_a_warning():
    manifest, warnings = load_manifest(MANIFEST)
    assert warnings == []
    assert manifest.contexts["user"].scope == "user"
    assert manifest.contexts["catalog"].scope == "public"
