"""With --watch-manifest, another manifest is used as soon as its file is there, however it gets there."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mizan_edge.running import watching
from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import until

NEW: dict[str, Any] = {"contexts": {**MANIFEST["contexts"], "new": {"views": ["/new/"]}}}
DECLARED = "fwd=uri-miss; stored"
UNDECLARED = "fwd=bypass; detail=undeclared"


class Looks:
    """Counts the looks at the file, which are as frequent as can be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        self._real = watching.look
        monkeypatch.setattr(watching, "EVERY_S", 0.005)
        monkeypatch.setattr(watching, "look", self._look)

    def _look(self, path: Path) -> watching.Look | None:
        self._count += 1
        return self._real(path)

    async def some(self) -> None:
        """Returns when whatever is there has been looked at often enough."""
        enough = self._count + 5
        await until(lambda: self._count >= enough)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


@pytest.fixture
async def watched(make_edge: EdgeFactory, looks: Looks) -> RunningEdge:
    return await make_edge(watch_manifest=True)


async def new(edge: RunningEdge) -> str:
    """How a URL is answered that NEW alone declares."""
    return (await edge.get("/new/")).cache


def put(path: Path, text: str) -> None:
    """Puts a file in the place of another as careful programs do."""
    beside = path.with_name("beside")
    beside.write_text(text)
    beside.replace(path)


async def reaches(edge: RunningEdge, cache: str) -> None:
    while await new(edge) != cache:
        pass


async def test_a_file_in_the_place_of_the_old_one_is_used_and_purges_what_it_changes(watched: RunningEdge):
    assert await new(watched) == UNDECLARED
    for target in "/profile/5/", "/catalog/a/":
        await watched.get(target)
    user = MANIFEST["contexts"]["user"]
    put(watched.manifest_path, json.dumps({"contexts": {**NEW["contexts"], "user": {**user, "ttl": 5}}}))
    await reaches(watched, DECLARED)
    assert [(await watched.get(target)).hit for target in ("/profile/5/", "/catalog/a/")] == [False, True]


async def test_a_file_that_is_written_again_is_used(watched: RunningEdge):
    watched.manifest_path.write_text(json.dumps(NEW))
    await reaches(watched, DECLARED)


async def test_a_config_map_that_is_swapped_is_used(make_edge: EdgeFactory, looks: Looks, tmp_path: Path):
    """As Kubernetes does it: the file -> ..data/edge.json, ..data -> ..1, and then a rename makes it ..data -> ..2."""
    for name, manifest in ("..1", MANIFEST), ("..2", NEW):
        (tmp_path / name).mkdir()
        (tmp_path / name / "edge.json").write_text(json.dumps(manifest))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "manifest-1.json").symlink_to("..data/edge.json")
    edge = await make_edge(watch_manifest=True)
    assert edge.manifest_path.is_symlink()
    assert await new(edge) == UNDECLARED
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    await reaches(edge, DECLARED)


async def test_a_file_that_cannot_be_used_is_one_line_in_the_log_and_the_old_one_stays(
    watched: RunningEdge, looks: Looks, caplog: pytest.LogCaptureFixture
):
    put(watched.manifest_path, json.dumps(NEW))
    await reaches(watched, DECLARED)
    put(watched.manifest_path, '{"contexts": {"a": {"ttl": -5, "params": "x"}}}')
    await looks.some()
    watched.manifest_path.unlink()
    await looks.some()
    assert (await watched.get("/new/")).hit
    put(watched.manifest_path, json.dumps(MANIFEST))
    await reaches(watched, UNDECLARED)
    wrong, missing = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert wrong.startswith("the manifest in use stays: ")
    assert "contexts.a.ttl" in wrong and "contexts.a.params" in wrong and "\n" not in wrong
    assert "cannot be read" in missing


async def test_the_same_text_again_is_no_reload(watched: RunningEdge, looks: Looks, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    await watched.get("/profile/5/")
    put(watched.manifest_path, json.dumps(MANIFEST))
    await looks.some()
    os.utime(watched.manifest_path, (1, 1))
    await looks.some()
    assert (await watched.get("/profile/5/")).hit
    assert "manifest reloaded" not in caplog.text
    put(watched.manifest_path, json.dumps(NEW))
    await reaches(watched, DECLARED)
    assert caplog.text.count("manifest reloaded") == 1
