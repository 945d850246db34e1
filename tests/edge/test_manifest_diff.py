"""How manifests differ, as values; that a reload does what is said of it is in test_reload."""

from typing import Any

import pytest

from mizan_core.manifest import Manifest
from mizan_edge.rules.manifest_diff import difference
from tests.support.edge import MANIFEST

USER: dict[str, Any] = MANIFEST["contexts"]["user"]
CATALOG: dict[str, Any] = MANIFEST["contexts"]["catalog"]


def differing(new: dict[str, Any], old: dict[str, Any] = MANIFEST) -> dict[str, Any]:
    """What is different, without what is not."""

    def said(value: Any) -> Any:
        return {key: kept for key, item in value.items() if (kept := said(item))} if isinstance(value, dict) else value

    found: dict[str, Any] = said(difference(Manifest.model_validate(old), Manifest.model_validate(new)).to_json())
    return found


def with_user(**keys: Any) -> dict[str, Any]:
    return {**MANIFEST, "contexts": {"user": {**USER, **keys}, "catalog": CATALOG}}


def test_what_says_the_same_in_another_order_or_by_its_defaults_is_no_difference():
    assert differing(MANIFEST) == {}
    spelled = {"version": 1, **MANIFEST, "contexts": {"catalog": {**CATALOG, "rev": 0}, "user": USER}}
    assert differing(spelled) == {}


def test_contexts_bring_and_take_their_routes():
    more = {**MANIFEST, "contexts": {**MANIFEST["contexts"], "new": {"views": ["/new/"]}}}
    assert differing(more) == {"added": ["new"], "routes": {"added": ["/new/"]}}
    routes = {"removed": ["/new/"]}
    assert differing(MANIFEST, more) == {"removed": ["new"], "routes": routes, "purged": ["new"]}


@pytest.mark.parametrize(
    ("key", "new"),
    [("ttl", 5), ("rev", 1), ("scope", "public"), ("hold", 2), ("ignore_query", ["ref"]), ("surprise", 1)],
)
def test_whatever_changes_about_a_context_is_told_and_purges_it(key: str, new: Any):
    old = Manifest.model_validate(MANIFEST).contexts["user"].model_dump().get(key)
    changes = {"new": new} | ({"old": old} if old else {})
    assert differing(with_user(**{key: new})) == {
        "changed": ["user"],
        "changes": {"user": {key: changes}},
        "purged": ["user"],
    }


def test_a_route_that_goes_to_another_context_has_changed():
    contexts = {
        "user": {**USER, "views": []},
        "catalog": {**CATALOG, "params": ["category", "user_id"], "views": [*CATALOG["views"], *USER["views"]]},
    }
    found = differing({**MANIFEST, "contexts": contexts})
    assert found["routes"] == {"changed": ["/profile/:user_id/"]}
    assert found["changed"] == found["purged"] == ["catalog", "user"]


def test_a_route_that_becomes_a_view_has_changed():
    found = differing(with_user(endpoints=[], views=[*USER["views"], *USER["endpoints"]]))
    assert found["routes"] == {"changed": ["/api/mizan/ctx/user/"]}


def test_mutations_and_calls_purge_nothing():
    mutations = {"rename_user": {"affects": [{"context": "user"}]}, "drop_user": {}}
    assert differing({**MANIFEST, "mutations": mutations, "calls": ["/rpc/"]}) == {
        "mutations": {"added": ["drop_user"], "changed": ["rename_user"]},
        "site": {"calls": {"old": ["/api/mizan/call/"], "new": ["/rpc/"]}},
    }


def test_another_release_makes_views_unreachable_where_they_are_not_purged():
    assert differing({**MANIFEST, "release": "2"}) == {
        "site": {"release": {"new": "2"}},
        "unreachable": ["catalog", "user"],
    }
    found = differing({**with_user(ttl=5), "release": "2"})
    assert (found["purged"], found["unreachable"]) == (["user"], ["catalog"])
