"""`python -m tests.versions`: the tests of the adapter and of the core, under each Python that is here and each Django.

An environment for each pair stands in build/versions/, and is brought up to date at each run.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parent.parent
HOME = TOP / "build" / "versions"
PYTHONS = ((3, 11), (3, 12), (3, 13))
SINCE = {"5.2": (3, 11), "6.0": (3, 12)}
"""Each Django, and the first Python that it and this project run on."""
SUITE = ("tests/django", "tests/core")


def find(version: tuple[int, int]) -> str | None:
    """An interpreter of this version: on the path, or one of pyenv's. Its shims may be there and run nothing."""
    name = "python{}.{}".format(*version)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(pyenv.glob("{}.{}.*/bin/python".format(*version)))
    for candidate in (shutil.which(name), *map(str, reversed(installed))):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def installed(interpreter: str, home: Path, django: str) -> Path:
    """The interpreter of an environment with this project, everything that its tests need, and one Django."""
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", home], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install"]
    without_compiling = {**os.environ, "MIZAN_EDGE_COMPILE": "0"}
    subprocess.run([*pip, "--editable", f"{TOP}[dev]", f"Django=={django}.*"], check=True, env=without_compiling)
    return python


def passes(interpreter: str, name: str, django: str, options: list[str]) -> bool:
    """Whether the tests succeed in the environment of one pair."""
    print(f"\nPython {name}, Django {django}", flush=True)
    python = installed(interpreter, HOME / f"{name}-django-{django}", django)
    return not subprocess.run([python, "-m", "pytest", "-q", *SUITE, *options], cwd=TOP, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__, allow_abbrev=False)
    parser.add_argument("--python", choices=["{}.{}".format(*version) for version in PYTHONS])
    parser.add_argument("--django", choices=list(SINCE))
    chosen, options = parser.parse_known_args()
    said: dict[str, bool | None] = {}
    for version in PYTHONS:
        name = "{}.{}".format(*version)
        if chosen.python not in (None, name):
            continue
        interpreter = find(version)
        for django, since in SINCE.items():
            if version >= since and chosen.django in (None, django):
                pair = f"Python {name}, Django {django}"
                said[pair] = passes(interpreter, name, django, options) if interpreter else None
    words = {True: "passed", False: "failed", None: "no such Python here"}
    print("", *(f"{pair}: {words[verdict]}" for pair, verdict in said.items()), sep="\n")
    return int(True not in said.values() or False in said.values())


if __name__ == "__main__":
    sys.exit(main())
