"""Keys of entries: the pinned vectors, from Python and from Node, and what a key tells apart."""

import datetime as dt
import enum
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.canonical import CanonicalError
from mizan_core.keys import SecretError, derive_cache_key, secret_bytes, variant_text
from mizan_core.mwt import user_partition

VECTORS = Path(__file__).parent.parent / "vectors"
CASES: list[dict[str, Any]] = json.loads((VECTORS / "keys.json").read_text())["cases"]
SECRET = "correct horse battery staple, and more"


def of_enum(value: Any) -> enum.Enum:
    return enum.Enum("Chosen", {"ONE": value}).ONE  # type: ignore[attr-defined, no-any-return]


TYPED: dict[str, Callable[[Any], object]] = {
    "integer": int,
    "float": float,
    "uuid": uuid.UUID,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
    "enum": of_enum,
}


def value_of(encoded: Any) -> Any:
    match encoded:
        case {"type": type_, "value": value}:
            return TYPED[type_](value_of(value))
        case list():
            return [value_of(item) for item in encoded]
    return encoded


def outcome(case: dict[str, Any]) -> str:
    given_ = dict(case["input"])
    params = {name: value_of(value) for name, value in given_.pop("params").items()}
    if vary := given_.pop("vary", None):
        given_["variant"] = variant_text(vary)
    try:
        return derive_cache_key(given_.pop("secret"), given_.pop("context"), params, **given_)
    except (CanonicalError, SecretError):
        return "refused"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_key_is_the_pinned_one(case: dict[str, Any]):
    assert outcome(case) == case["key"]


def test_the_vectors_are_many_and_keys_are_equal_only_where_a_name_says_so():
    assert len(CASES) >= 48
    keys = {case["name"]: case["key"] for case in CASES if case["key"] != "refused"}
    twins = {name: name.removeprefix("same as ").rpartition(": ")[0] for name in keys if name.startswith("same as ")}
    assert [name for name, twin in twins.items() if keys[name] != keys[twin]] == []
    others = [key for name, key in keys.items() if name not in twins]
    assert len(set(others)) == len(others)


def test_a_second_implementation_in_node_derives_the_same_keys():
    node = shutil.which("node")
    if node is None:
        # Node is no part of what this project needs to run; but where changes are accepted, nothing goes unchecked.
        if os.environ.get("CI"):
            pytest.fail("no node on PATH: tests/vectors/check.mjs was not run")
        pytest.skip("no node on PATH: tests/vectors/check.mjs was not run")
    done = subprocess.run([node, str(VECTORS / "check.mjs")], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == (f"{len(CASES)} passed, 0 failed\n", "", 0)


texts = st.text(max_size=6)
inputs = st.fixed_dictionaries(
    {
        "context": texts,
        "params": st.dictionaries(texts, texts | st.lists(texts, max_size=3), max_size=3),
        "partition": texts,
        "rev": st.integers(0, 3),
        "function": st.none() | texts,
        "variant": st.none() | texts,
    }
)


def key(context: str, params: dict[str, object], **rest: Any) -> str:
    return derive_cache_key(SECRET, context, params, **rest)


@given(inputs, inputs)
def test_two_requests_share_a_key_only_when_nothing_tells_them_apart(one, other):
    assert (key(**one) == key(**other)) == (one == other)


@given(inputs)
def test_the_order_of_parameters_is_nothing(one):
    reverse = dict(reversed(one["params"].items()))
    assert key(**one | {"params": reverse}) == key(**one)


def test_a_list_of_one_and_its_text_are_told_apart():
    as_list, as_text, as_item = (key("c", {"p": p}, partition="anon") for p in (["a"], '["a"]', "a"))
    assert len({as_list, as_text, as_item}) == 3


def test_a_user_whose_id_has_colons_shares_no_partition_with_another():
    assert user_partition("a:b", "c") != user_partition("a", "b-c")


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15, b"x" * 31])
def test_a_short_secret_is_refused_and_not_shown(secret: str | bytes):
    with pytest.raises(SecretError, match=r"^MIZAN_X has \d+ bytes and needs at least 32: ") as caught:
        secret_bytes(secret, name="MIZAN_X")
    assert not secret or str(secret) not in str(caught.value)


def test_a_secret_of_32_bytes_in_utf_8_is_enough():
    assert secret_bytes("é" * 16) == ("é" * 16).encode()


def test_a_secret_that_is_not_utf_8_is_refused():
    # Python gives such bytes of an environment variable as lone surrogates.
    with pytest.raises(SecretError, match="not valid UTF-8"):
        secret_bytes("\udcff" * 40)


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": "\ud800"},
        {"params": {"\ud800": "x"}},
        {"params": {"x": "\ud800"}},
        {"partition": "user:\ud800:x"},
        {"rev": 2**53},
        {"params": {"x": {1, 2}}},
        {"params": {"x": [["nested"]]}},
        {"params": {"x": b"bytes"}},
    ],
    ids=str,
)
def test_what_no_key_can_hold_is_a_canonical_error(wrong: dict[str, Any]):
    with pytest.raises(CanonicalError):
        key(**{"context": "c", "params": {}, "partition": "anon"} | wrong)


def test_the_text_of_a_variant_is_sorted_and_names_absent_fields():
    assert variant_text({"accept-language": "de", "accept": None}) == '[["accept",null],["accept-language","de"]]'
