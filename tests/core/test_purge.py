"""A purge as it is handed on between processes and versions."""

from mizan_core.purge import By, Purge
from mizan_core.scopes import Scope

PURGE = Purge((Scope.of("user", {"user_id": 5}),), hold_s=3, by=By(source="response", function="rename_user"))


def test_a_purge_is_the_same_behind_its_json_and_says_only_what_is_known():
    assert Purge.from_json(PURGE.to_json()) == PURGE
    assert Purge.from_json(PURGE.to_json()).by == PURGE.by
    assert PURGE.to_json()["by"] == {"source": "response", "function": "rename_user"}


def test_what_a_later_version_says_of_who_asked_is_left_out():
    said = PURGE.to_json()
    said["by"]["mood"] = "good"
    assert Purge.from_json(said).by == PURGE.by
