"""What a manifest may say, and that every fault is named with its place."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.canonical import ListOf
from mizan_core.manifest import Manifest, ManifestError, dump_manifest, json_schema, load_manifest, parse_manifest

TOP = Path(__file__).parent.parent.parent
MINIMAL = TOP / "manifests/minimal.json"
SCHEMA = TOP / "manifests/manifest.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def parse(document: object) -> tuple[Manifest, list[str]]:
    return parse_manifest(json.dumps(document).encode(), source="m.json")


def user(**changes: Any) -> dict[str, Any]:
    """A manifest of one context with a parameter `user_id`."""
    return {"contexts": {"user": {"params": ["user_id"]} | changes}}


def test_the_smallest_manifest_loads_as_it_is_with_the_defaults():
    manifest, warnings = load_manifest(MINIMAL)
    assert warnings == []
    context = manifest.contexts["user"]
    assert context.types == {"user_id": None}
    assert [pattern.text for pattern in context.view_patterns] == ["/profile/:user_id/"]
    assert [pattern.text for pattern in manifest.call_patterns] == ["/api/mizan/call/"]
    assert (context.scope, context.rev, context.ttl, context.purge) == ("user", 0, 86400, "hard")
    assert (context.swr, context.sie, context.hold, context.ignore_query) == (0, 0, 0, [])
    assert manifest.functions["profile_page"][0] == "user"


FULL: dict[str, Any] = {
    "version": 1,
    "release": "2026-10-01",
    "calls": ["/api/mizan/call/", "/rpc/"],
    "contexts": {
        "user": {
            "functions": [{"name": "user_profile", "path": "rpc", "cache": False}],
            "endpoints": ["/api/mizan/ctx/user/"],
            "params": ["user_id", "tags"],
            "param_types": {"user_id": "integer", "tags": {"list": "string"}},
            "views": ["/profile/:user_id/"],
            "scope": "public",
            "rev": 2,
            "ttl": "heuristic",
            "swr": 60,
            "sie": 600,
            "hold": 1,
            "purge": "soft",
            "ignore_query": ["utm_*"],
        }
    },
    "mutations": {
        "rename_user": {"path": "rpc", "affects": [{"context": "user", "params": ["user_id"]}]},
        "edit_page": {"path": "view", "views": ["/profile/:user_id/", "/edit/:anything/"]},
    },
}


def test_everything_that_is_optional_can_be_said():
    manifest, warnings = parse(FULL)
    assert warnings == []
    assert manifest.contexts["user"].types == {"user_id": "integer", "tags": ListOf("string")}
    assert manifest.mutations["rename_user"].affects[0].params == ["user_id"]
    VALIDATOR.validate(FULL)


# A fault -> the place that its line begins with.
FAULTS: list[tuple[object, str]] = [
    ([], "the whole file"),
    (None, "the whole file"),
    ({}, "contexts"),
    ({"contexts": []}, "contexts"),
    ({"contexts": {"user": None}}, "contexts.user"),
    ({"contexts": {"ListType": {"ttl": -1}}}, "contexts.ListType.ttl"),
    ({"contexts": {"5": {}}}, "contexts.5"),
    ({"contexts": {"ü": {}}}, "contexts.ü"),
    ({"contexts": {}, "version": 2}, "version"),
    ({"contexts": {}, "version": 0}, "version"),
    ({"contexts": {}, "version": True}, "version"),
    ({"contexts": {}, "version": "1"}, "version"),
    ({"contexts": {}, "release": 5}, "release"),
    ({"contexts": {}, "calls": "/call/"}, "calls"),
    ({"contexts": {}, "calls": ["call"]}, "calls[0]"),
    ({"contexts": {}, "calls": ["/call/:name/"]}, "calls[0]"),
    ({"contexts": {}, "calls": ["/call/", "/call/"]}, "calls[1]"),
    (user(params="user_id"), "contexts.user.params"),
    (user(params=["user_id", 5]), "contexts.user.params[1]"),
    (user(params=["user-id"]), "contexts.user.params"),
    (user(params=["*user"]), "contexts.user.params"),
    (user(params=["a", "a"]), "contexts.user.params"),
    (user(functions=[{"path": "rpc"}]), "contexts.user.functions[0].name"),
    (user(functions=[{"name": "f", "path": "ws"}]), "contexts.user.functions[0].path"),
    (user(functions=[{"name": "f", "cache": 1}]), "contexts.user.functions[0].cache"),
    (user(functions=[{"name": "f"}, {"name": "f"}]), "contexts.user.functions[1].name"),
    (user(endpoints=["/x/", "x"]), "contexts.user.endpoints[1]"),
    (user(views=["/profile/:id/"]), "contexts.user.views[0]"),
    (user(views=["/a//b/"]), "contexts.user.views[0]"),
    (user(views=["//"]), "contexts.user.views[0]"),
    (user(views=["/x/:user_id/"], endpoints=["/x/:user_id/"]), "contexts.user.views[0]"),
    (user(views=["/api/mizan/call/"]), "contexts.user.views[0]"),
    (user(param_types={"user_id": "int"}), "contexts.user.param_types.user_id"),
    (user(param_types={"user_id": {"list": "int"}}), "contexts.user.param_types.user_id"),
    (user(param_types={"user_id": {"list": {"list": "integer"}}}), "contexts.user.param_types.user_id"),
    (user(param_types={"other": "integer"}), "contexts.user.param_types.other"),
    (user(scope="private"), "contexts.user.scope"),
    (user(rev=1.5), "contexts.user.rev"),
    (user(rev=2**53), "contexts.user.rev"),
    (user(ttl=-1), "contexts.user.ttl"),
    (user(ttl="1h"), "contexts.user.ttl"),
    (user(ttl=True), "contexts.user.ttl"),
    (user(swr=2**31), "contexts.user.swr"),
    (user(sie=None), "contexts.user.sie"),
    (user(hold=0.5), "contexts.user.hold"),
    (user(purge="gentle"), "contexts.user.purge"),
    (user(ignore_query="utm_*"), "contexts.user.ignore_query"),
    (user() | {"mutations": []}, "mutations"),
    (user() | {"mutations": {"m": {"affects": ["user"]}}}, "mutations.m.affects[0]"),
    (user() | {"mutations": {"m": {"affects": [{"context": "usr"}]}}}, "mutations.m.affects[0].context"),
    (user() | {"mutations": {"m": {"views": ["m"]}}}, "mutations.m.views[0]"),
]
# What no type shows: only reading the whole manifest does.
BEYOND_THE_SCHEMA = [
    *("version: 2", "version: 0", "calls[0]: the pattern", "calls[1]: the pattern", "contexts.5:", "contexts.ü:"),
    *("user-id", "*user", "stands there twice", "stands at", "the pattern", "has no parameter", "there is no"),
]


@pytest.mark.parametrize(("document", "place"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_is_named_with_its_place_and_the_schema_knows_it_too(document: object, place: str):
    with pytest.raises(ManifestError) as caught:
        parse(document)
    lines = str(caught.value).splitlines()
    assert any(line.startswith(f"m.json: {place}: ") for line in lines), lines
    assert all(line.startswith("m.json: ") for line in lines)
    if not any(phrase in str(caught.value) for phrase in BEYOND_THE_SCHEMA):
        assert not VALIDATOR.is_valid(document)


def test_all_faults_are_named_at_once():
    with pytest.raises(ManifestError) as caught:
        parse(user(views=["x", "/:id/"], param_types={"other": "integer"}))
    assert len(str(caught.value).splitlines()) == 3


NOT_JSON = [b"", b"{", b"\xff", b'{"contexts": {}} x', b"[" * 100_000, b'{"contexts": {}, "release": "\\ud800"}']
NOT_JSON += ['{"contexts": {}}'.encode("utf-16")]
NOT_JSON += [b'{"contexts": {"user": {"rev": ' + b"1" * 5000 + b"}}}", b'{"contexts": {"\\ud800": {}}}']


@pytest.mark.parametrize("data", NOT_JSON, ids=lambda data: repr(data[:40]))
def test_what_is_not_json_is_refused_in_one_line(data: bytes):
    with pytest.raises(ManifestError, match="^m.json: not JSON: [^\n]+$"):
        parse_manifest(data, source="m.json")


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(ManifestError, match="'user' stands twice"):
        parse_manifest(b'{"contexts": {"user": {}, "user": {}}}', source="m.json")


def test_an_unknown_key_is_a_warning_with_its_place_and_nothing_more():
    document = json.loads(json.dumps(FULL))
    document["x"] = 1
    document["contexts"]["user"]["tll"] = 60
    document["contexts"]["user"]["functions"][0]["rout"] = "/"
    document["contexts"]["user"]["param_types"]["tags"]["of"] = 1
    document["mutations"]["rename_user"]["affects"][0]["param"] = []
    manifest, warnings = parse(document)
    VALIDATOR.validate(document)
    assert manifest.contexts["user"].ttl == "heuristic"
    assert sorted(warnings) == [
        f"m.json: {place}: an unknown key, ignored"
        for place in [
            "contexts.user.functions[0].rout",
            "contexts.user.param_types.tags.of",
            "contexts.user.tll",
            "mutations.rename_user.affects[0].param",
            "x",
        ]
    ]


@pytest.mark.parametrize("name", ["types", "shape", "view_patterns", "model_fields", "__class__", "self"])
def test_an_unknown_key_with_the_name_of_an_attribute_changes_nothing(name: str):
    plain, _ = parse(user())
    manifest, warnings = parse(user(**{name: {"user_id": "date"}}))
    assert len(warnings) == 1
    assert manifest.contexts["user"].types == {"user_id": None}
    assert manifest.shapes() == plain.shapes()


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path: Path):
    with pytest.raises(ManifestError, match="missing.json: cannot be read .*export_edge_manifest --output"):
        load_manifest(tmp_path / "missing.json")
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(tmp_path)


def test_the_shape_moves_with_whatever_decides_the_indexes_and_with_nothing_else():
    def shape(**changes: Any) -> str:
        return parse(user(**changes))[0].contexts["user"].shape

    assert len({shape(), shape(params=["a"]), shape(param_types={"user_id": "integer"}), shape(scope="public")}) == 4
    assert shape() == shape(ttl=5, rev=3, views=["/profile/:user_id/"], ignore_query=["x"])
    assert shape(params=["a", "b"]) == shape(params=["b", "a"])


def test_the_exported_schema_is_up_to_date():
    assert SCHEMA.read_bytes() == dump_manifest(json_schema()), (
        "regenerate it: python -m mizan_core.manifest > manifests/manifest.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(json_schema())
    VALIDATOR.validate(json.loads(MINIMAL.read_text()))


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
keys = st.sampled_from(["list", "name", "context", "a"])
values = st.recursive(
    scalars | st.sampled_from(["/x/", "integer", "user", "rpc"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The full manifest with values replaced at random places."""
    document = json.loads(json.dumps(FULL))
    for _ in range(draw(st.integers(1, 2))):
        node: Any = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw(st.sampled_from(keys)) if keys else None
            if key is None:
                break
            if not isinstance(node[key], dict | list) or not node[key] or draw(st.booleans()):
                node[key] = draw(values)
                break
            node = node[key]
    return document


@given(mutated())
def test_the_schema_accepts_whatever_is_accepted_and_every_refusal_has_lines_with_places(document: Any):
    try:
        parse(document)
    except ManifestError as error:
        lines = str(error).splitlines()
    else:
        VALIDATOR.validate(document)
        lines = []
    assert all(line.startswith("m.json: ") for line in lines)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(), max_size=4))
def test_the_same_content_has_the_same_bytes(content: dict[str, Any]):
    data = dump_manifest(content)
    assert data == dump_manifest(dict(reversed(content.items())))
    assert data.endswith(b"\n")
    assert json.loads(data) == content
