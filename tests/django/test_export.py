"""`manage.py export_edge_manifest`; what it exports is in tests/core/test_compiling.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from mizan_core.manifest import parse_manifest
from mizan_core.registry import Registry
from tests.django.requests import call


def test_what_it_writes_loads_without_a_warning_and_is_the_same_each_time(tmp_path: Path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    call_command("export_edge_manifest", output=str(first))
    call_command("export_edge_manifest", output=str(second))
    assert first.read_bytes() == second.read_bytes()
    manifest, warnings = parse_manifest(first.read_bytes(), source="first.json")
    assert warnings == []
    assert manifest.contexts["user"].views == ["/profile/:user_id/"]


def test_nothing_declared_is_a_manifest_and_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    call_command("export_edge_manifest")
    assert "nothing is declared" not in capsys.readouterr().err
    monkeypatch.setattr("mizan_core.registry.default", Registry())
    call_command("export_edge_manifest")
    said = capsys.readouterr()
    assert "warning: nothing is declared: does an AppConfig.ready() call mizan_clients(...)?" in said.err
    assert json.loads(said.out)["contexts"] == {}


def test_it_prints_by_default(capsys: pytest.CaptureFixture[str]):
    call_command("export_edge_manifest")
    assert json.loads(capsys.readouterr().out)["version"] == 1


def test_the_base_is_where_the_site_has_mounted_it_or_what_is_said(capsys: pytest.CaptureFixture[str]):
    call_command("export_edge_manifest")
    assert "calls" not in json.loads(capsys.readouterr().out)
    call_command("export_edge_manifest", base_url="/other/")
    assert json.loads(capsys.readouterr().out)["calls"] == ["/other/call/"]
    with override_settings(ROOT_URLCONF="tests.django.site.elsewhere"):
        call_command("export_edge_manifest")
    assert json.loads(capsys.readouterr().out)["calls"] == ["/elsewhere/call/"]


@override_settings(MIZAN_RELEASE="2024-02-29")
def test_it_carries_the_release(capsys: pytest.CaptureFixture[str]):
    call_command("export_edge_manifest")
    assert json.loads(capsys.readouterr().out)["release"] == "2024-02-29"


@override_settings(MIZAN_VIEW_URLS={"user": ["/people/<str:username>/"]})
def test_the_setting_is_in_the_manifest_and_in_what_mutations_purge(
    capsys: pytest.CaptureFixture[str], visitor: Client
):
    call_command("export_edge_manifest")
    assert "/people/:username/" in json.loads(capsys.readouterr().out)["contexts"]["user"]["views"]
    assert call(visitor, "rename_user", user_id=5, name="x").headers["X-Mizan-Invalidate"] == "user"


def test_without_the_setting_they_purge_no_more_than_they_need(visitor: Client):
    assert call(visitor, "rename_user", user_id=5, name="x").headers["X-Mizan-Invalidate"] == "user;user_id=5"


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path):
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_edge_manifest", output=str(tmp_path / "no" / "such.json"))


def test_processes_with_other_hash_seeds_write_the_same_bytes(tmp_path: Path):
    script = (
        "import pathlib, sys, django; from django.conf import settings;"
        "from tests.django.site.settings import site_settings;"
        "settings.configure(**site_settings(pathlib.Path(sys.argv[1]))); django.setup();"
        "from django.core.management import call_command;"
        "[call_command(name) for name in ('export_edge_manifest', 'export_mizan_schema')]"
    )
    outputs = {  # of the manifest and of the schema
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
