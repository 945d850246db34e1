"""`mizan-edge check` and `manifest-diff`, as processes."""

import json
from pathlib import Path

from tests.support.edge import MANIFEST
from tests.support.served import run, run_here


async def test_check_says_whether_a_manifest_can_be_used_and_where_not(tmp_path: Path, manifest: Path):
    odd, bad = tmp_path / "odd.json", tmp_path / "bad.json"
    odd.write_text('{"contexts": {"a": {"tll": 5}}}')
    bad.write_text('{"contexts": {"a": {"ttl": -5, "params": "x"}}}')
    none = tmp_path / "none.json"
    good = await run("check", manifest)
    folder = await run_here("check", tmp_path)
    assert folder == (1, "", f"mizan-edge: {tmp_path}: cannot be read (Is a directory): name a file that can be\n")
    unknown, wrong, missing = [await run_here("check", path) for path in (odd, bad, none)]
    assert good[0] == 0
    assert "2 contexts" in good[1]
    assert not good[2]
    assert unknown[0] == 0
    assert unknown[1] == f"{odd}: 1 context, 0 functions, 0 mutations: usable\n"
    assert "contexts.a.tll" in unknown[2]
    assert missing[0] == 1
    assert f"{none}: cannot be read" in missing[2]
    assert "Traceback" not in missing[2]
    assert wrong[0] == 1
    assert not wrong[1]
    assert "contexts.a.ttl" in wrong[2]
    assert "contexts.a.params" in wrong[2]


async def test_check_tells_scripts_the_same(tmp_path: Path):
    odd, bad = tmp_path / "odd.json", tmp_path / "bad.json"
    odd.write_text('{"contexts": {"a": {"tll": 5, "functions": [{"name": "f"}]}}, "mutations": {"m": {}}}')
    bad.write_text('{"contexts": {"a": {"ttl": -5}}}')
    unknown, wrong = [await run_here("check", "--json", path) for path in (odd, bad)]
    assert json.loads(unknown[1]) == {
        "manifest": str(odd),
        "usable": True,
        "errors": [],
        "warnings": [f"{odd}: contexts.a.tll: an unknown key, ignored"],
        "contexts": 1,
        "functions": 1,
        "mutations": 1,
    }
    said = json.loads(wrong[1])
    assert (said["usable"], len(said["errors"]), "contexts.a.ttl" in said["errors"][0]) == (False, 1, True)
    assert [status for status, _, _ in (unknown, wrong)] == [0, 1]
    assert [error for _, _, error in (unknown, wrong)] == ["", ""]


async def test_manifest_diff_shows_what_is_different_and_ends_as_diff_does(tmp_path: Path, manifest: Path):
    contexts = MANIFEST["contexts"]
    user = {**contexts["user"], "ttl": 60, "params": ["user_id"], "param_types": {"user_id": "integer"}}
    new, broken = tmp_path / "new.json", tmp_path / "broken.json"
    new.write_text(json.dumps({"release": "2", "contexts": {"user": user, "new": {"views": ["/new/"]}}}))
    broken.write_text('{"contexts": 5}')
    other = await run("manifest-diff", manifest, new)
    same = await run_here("manifest-diff", manifest, manifest)
    for_scripts = await run_here("manifest-diff", "--json", manifest, new)
    unusable = await run_here("manifest-diff", manifest, broken)
    too_few = await run_here("manifest-diff", manifest)
    assert other == (
        1,
        "contexts:\n"
        "  + new\n"
        "  - catalog\n"
        "  ~ user\n"
        "      params: - locale\n"
        "      param_types: - locale=string\n"
        "      ttl: 86400 -> 60\n"
        "routes:\n"
        "  + /new/\n"
        "  - /api/mizan/ctx/catalog/\n"
        "  - /catalog/:category/\n"
        "mutations:\n"
        "  - rename_user\n"
        "release: none -> 2\n"
        "a reload purges: catalog, user\n",
        "",
    )
    assert same == (0, "no difference\n", "")
    assert for_scripts[0] == 1
    assert json.loads(for_scripts[1])["purged"] == ["catalog", "user"]
    assert unusable[:2] == (2, "")
    assert f"{broken}: contexts" in unusable[2]
    assert too_few[0] == 2
