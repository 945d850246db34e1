"""What the documents say of the tree is so."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from mizan_edge.cli import cli
from mizan_edge.config import SECRETS, Settings, variable

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text()
ARCHITECTURE = (TOP / "docs" / "architecture.md").read_text()
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def test_the_architecture_names_every_module_of_the_proxy_and_no_other():
    floors = re.findall(r"^\| (?:pure|adapters|state|drivers|shell) \| (.+?) \|", ARCHITECTURE, re.MULTILINE)
    named = {name for floor in floors for name in re.findall(r"`(\w+)`", floor)}
    modules = {path.stem for path in (TOP / "mizan_edge").glob("*.py")} - {"__init__", "__main__"}
    assert named == modules


def test_every_make_target_that_is_shown_exists():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        shown = set(re.findall(r"(?:^    |`)make ([a-z-]+)", path.read_text(), re.MULTILINE))
        assert shown <= targets, path.name


def test_every_flag_that_is_shown_exists():
    help_text = CliRunner().invoke(cli, ["serve", "--help"]).output
    commands = [line for line in README.splitlines() if "mizan-edge serve" in line]
    assert commands
    for flag in {flag for line in commands for flag in re.findall(r"--[a-z-]+", line)}:
        assert flag in help_text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_inside_the_tree_leads_somewhere(path: Path):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_serve_tells_of_every_setting_and_of_where_secrets_come_from():
    help_text = CliRunner().invoke(cli, ["serve", "--help"], terminal_width=200).output
    for name in Settings.model_fields:
        assert (variable(name) if name in SECRETS else f"--{name.replace('_', '-')}") in help_text


def test_the_version_is_the_same_everywhere():
    import mizan_core

    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project["version"] == mizan_core.__version__


def test_the_guarantees_name_tests_that_exist():
    named = set(re.findall(r"`((?:core|edge|django)/[\w/]+\.py)`", (TOP / "docs" / "guarantees.md").read_text()))
    assert named
    for name in named:
        assert (TOP / "tests" / name).is_file(), name
