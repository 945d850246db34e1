"""What takes minutes, or needs more than the tests: `make deploy-check`."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.fronts import path_of
from tests.deploy.test_containers import DOCKERFILE, TOP, image
from tests.deploy.test_kubernetes import KUBERNETES, RESOURCES
from tests.support import wire
from tests.support.processes import wait_for
from tests.support.served import SERVING


def test_what_a_site_makes_of_the_base_is_what_kubernetes_takes():
    """The schemas are strict: a key that is misspelled is found."""
    kubectl = path_of("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(KUBERNETES / "example")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert {one["kind"] for one in built} == {one["kind"] for one in RESOURCES} | {"ConfigMap"}
    assert {one["metadata"]["namespace"] for one in built} == {"shop"}
    for resource in built:
        kubernetes_validate.validate(resource, "1.31", strict=True)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_each_resource_is_what_kubernetes_takes(resource: dict[str, Any]):
    kubernetes_validate.validate(resource, "1.31", strict=True)


def steps(target: str) -> Iterator[tuple[str, str]]:
    """The instructions of one stage of the Dockerfile, in their order."""
    (stage,) = re.findall(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    for line in stage.replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            yield instruction, rest.strip()


class Image:
    """What a build makes, with a directory for the root of the file system and this Python for the image's."""

    def __init__(self, root: Path) -> None:
        self._root = root
        subprocess.run([sys.executable, "-m", "venv", root / "python"], check=True)
        self.environment = {
            "PATH": os.pathsep.join([f"{root}/opt/mizan/bin", f"{root}/python/bin", os.environ["PATH"]]),
            "HOME": str(root),
            "PYTHONUNBUFFERED": "1",
        }

    def inside(self, text: str) -> str:
        """A text with its paths inside of the root."""
        return re.sub(r"(?<![\w./$:])/(src|wheels|opt|srv)\b", rf"{self._root}/\1", text)

    def build(self, target: str, workdir: str) -> None:
        """Copies and runs what a stage says, less what the Debian of the image is asked for."""
        work = self._root / workdir
        work.mkdir(exist_ok=True)
        for instruction, rest in steps(target):
            if instruction == "COPY" and "--from" not in rest:
                *sources, place = rest.split()
                for source in sources:
                    _copy(source, work / place / ("" if (TOP / source).is_dir() else source))
            elif instruction == "RUN" and not rest.startswith("apt-get"):
                done = subprocess.run(
                    ["/bin/bash", "-euc", self.inside(rest)],
                    cwd=work,
                    env=self.environment,
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]

    @contextmanager
    def running(self, command: list[str], **environment: str) -> Iterator[Path]:
        """A command of the image for the length of the block; gives its log."""
        log = self._root / "log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command, cwd=self._root / "srv", env=self.environment | environment, stdout=output, stderr=output
            )
        try:
            yield log
        finally:
            process.terminate()
            # uvicorn shuts down, and then dies of the signal after all.
            assert process.wait(timeout=20) in (0, -signal.SIGTERM), log.read_text()


def _copy(source: str, target: Path) -> None:
    """Copies what .dockerignore lets in."""
    allowed = [line.removeprefix("!") for line in (TOP / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    assert any(fnmatch(source, pattern) for pattern in allowed), f".dockerignore keeps {source} out"
    path = TOP / source
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))
    else:
        shutil.copy(path, target)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The package, installed where the image has it."""
    made = Image(tmp_path_factory.mktemp("image"))
    made.build("wheel", "src")
    made.build("package", "srv")
    return made


def test_the_edge_of_the_image_is_compiled_and_serves(built: Image, redis_url: str, namespace: str, tmp_path: Path):
    version = subprocess.run(["mizan-edge", "--version"], env=built.environment, capture_output=True, text=True)  # noqa: S607
    assert version.stdout.endswith("(compiled)\n"), version.stdout + version.stderr
    manifest = tmp_path / "edge.json"
    shutil.copy(TOP / "manifests" / "minimal.json", manifest)
    (command,) = (rest for instruction, rest in steps("edge") if instruction == "CMD")
    given = image("edge") | {
        "MIZAN_EDGE_MANIFEST": str(manifest),
        "MIZAN_EDGE_STATE_DIR": str(tmp_path / "state"),
        "MIZAN_EDGE_LISTEN": "127.0.0.1:0",
        "MIZAN_EDGE_ADMIN": "127.0.0.1:0",
        "MIZAN_EDGE_ORIGIN": "http://127.0.0.1:9",
        "MIZAN_EDGE_REDIS": redis_url,
        "MIZAN_EDGE_NAMESPACE": namespace,
    }
    with built.running(yaml.safe_load(command), **given) as log:
        assert wait_for(lambda: SERVING.search(log.read_text()) is not None, seconds=20), log.read_text()
        found = SERVING.search(log.read_text())
        assert found is not None
        assert asyncio.run(wire.request(found[1], "GET", "/profile/5/")).status == 502
        (health,) = (rest for instruction, rest in steps("edge") if instruction == "HEALTHCHECK")
        probe = yaml.safe_load(health.partition("CMD ")[2].replace("8081", found[2].rpartition(":")[2]))
        subprocess.run(probe, env=built.environment, check=True)


def test_the_demo_of_the_image_serves(built: Image, tmp_path: Path):
    built.build("package-demo", "srv")
    built.build("demo", "srv")
    (command,) = (rest for instruction, rest in steps("demo") if instruction == "CMD")
    (health,) = (rest for instruction, rest in steps("demo") if instruction == "HEALTHCHECK")
    port, manifest = "18000", tmp_path / "edge.json"
    arguments = shlex.split(" ".join(yaml.safe_load(command)))
    arguments = [{"8000": port, "/srv/mizan/manifest/edge.json": str(manifest)}.get(word, word) for word in arguments]
    arguments = ["127.0.0.1" if word == "0.0.0.0" else word for word in arguments]
    given = {
        "MIZAN_CACHE_SECRET": "s" * 32,
        "MIZAN_MWT_SECRET": "m" * 32,
        "DEMO_DATABASE": str(tmp_path / "shop.sqlite3"),
    }
    probe = yaml.safe_load(health.partition("CMD ")[2].replace("8000", port))

    def healthy() -> bool:
        return subprocess.run(probe, env=built.environment, stderr=subprocess.DEVNULL).returncode == 0

    with built.running(arguments, **given) as log:
        assert wait_for(healthy, seconds=60), log.read_text()
        assert manifest.exists()
