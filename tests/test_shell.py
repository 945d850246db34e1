"""The repository's shell: import rules, versions and make targets."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
CONFIGURATION = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = CONFIGURATION["project"]


def test_packages_import_only_what_they_may():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=TOP,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_changelog_names_the_version():
    changelog = (TOP / "CHANGELOG.md").read_text()
    newest, *released = re.findall(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    assert newest == "Unreleased"
    if PROJECT["version"] not in released:
        assert f"To be released as {PROJECT['version']}." in changelog


def make(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],  # noqa: S607
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def phony_targets() -> list[str]:
    match = re.search(r"^\.PHONY: (.+)$", (TOP / "Makefile").read_text(), flags=re.MULTILINE)
    return match[1].split() if match else []


def test_make_explains_every_target():
    explained = dict(re.findall(r"^  (\S+)\s+(.+)$", make(), flags=re.MULTILINE))
    assert list(explained) == phony_targets()


@pytest.mark.parametrize("target", phony_targets()[1:])
def test_every_target_says_what_it_does(target: str):
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (TOP / "Makefile").read_text(), flags=re.MULTILINE)
    assert recipe is not None
    assert recipe[1].startswith("\t$(SAY)\n")


def test_ci_runs_the_checks_and_the_tests():
    lines = (TOP / ".ci/run").read_text().splitlines()
    assert {"set -euo pipefail", "make check", "make test"} <= set(lines)


def test_what_is_compiled_exists_and_has_no_async_generators():
    """mypyc makes none of them, and says so only to who compiles."""
    modules = CONFIGURATION["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    assert modules == sorted(modules)
    for module in modules:
        for node in ast.walk(ast.parse((TOP / module).read_text())):
            if isinstance(node, ast.AsyncFunctionDef):
                assert not any(isinstance(inner, ast.Yield) for inner in ast.walk(node)), f"{module}: {node.name}"
