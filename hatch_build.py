"""Compiles the hot modules with mypyc when a wheel is built with `MIZAN_EDGE_COMPILE=1`.

The modules are listed in pyproject.toml. Their sources are in the wheel as well.
"""

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "MIZAN_EDGE_COMPILE"
# The shared library that all of the modules are in.
_GROUP = "mizan_edge_compiled"


class CompileHook(BuildHookInterface):
    """A hook of hatchling, for wheels."""

    def dependencies(self) -> list[str]:
        """What compiling needs: mypy sees the same types as in development, so it needs what they come from."""
        return [*self.metadata.core.dependencies, *self.config["requires"]] if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the compiled modules to a wheel. Raises RuntimeError where they cannot be compiled."""
        if version != "standard":  # an editable install shows what is edited
            return
        if not _wanted():
            return
        self._made = Path(tempfile.mkdtemp())
        try:
            _compile(self.config["modules"], self._made)
        except (Exception, SystemExit) as error:  # setuptools and mypyc exit
            raise RuntimeError(f"mizan-edge: the modules could not be compiled: {error}") from error
        libraries = self._made / "lib"
        for library in libraries.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
            build_data["force_include"][str(library)] = str(library.relative_to(libraries))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written."""
        if hasattr(self, "_made"):
            shutil.rmtree(self._made)


def _wanted() -> bool:
    mode = os.environ.get(VARIABLE, "0")
    if mode not in ("0", "1"):
        raise RuntimeError(f"{VARIABLE} is 0 or 1, not {mode!r}")
    return mode == "1"


def _compile(modules: list[str], into: Path) -> None:
    """Puts the libraries of the modules (paths from here) into `into / "lib"`."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    options = ["--config-file", "pyproject.toml", "--cache-dir", str(into / "types")]
    # Debug symbols would make it ten times as large, -O3 takes minutes longer and gives nothing.
    extensions = mypycify([*options, *modules], opt_level="2", debug_level="0", target_dir=str(into), group_name=_GROUP)
    distribution = Distribution({"name": _GROUP, "ext_modules": extensions})
    build = distribution.get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(into / "lib"), str(into / "objects")
    distribution.run_command("build_ext")
