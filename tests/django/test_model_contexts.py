"""MIZAN_MODEL_CONTEXTS: what a change of a model's rows purges. Albums purge their owner's pages and the catalog."""

from typing import Any

import django
import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F
from django.test import Client, override_settings

from mizan.cache import NoCacheError
from mizan.cache.model_contexts import connect
from mizan.test import recorded_purges
from tests.django.requests import bundle
from tests.django.site.clients import ran
from tests.django.site.models import Album, Label, LiveAlbum


@pytest.fixture
def album(ann: Any) -> Album:
    with recorded_purges():
        return Album.objects.create(owner=ann, title="first")


def of(*users: Any) -> list[str]:
    return ["catalog", *sorted(f"user;user_id={user.pk}" for user in users)]


def of_live(*users: Any) -> list[str]:
    return sorted([*of(*users), "labels"])


def test_a_new_row_purges_its_own_scope(ann: Any):
    with recorded_purges() as purged:
        Album.objects.create(owner=ann, title="first")
    assert purged == of(ann)


def test_a_row_that_moves_purges_the_old_and_the_new_value(album: Album, ann: Any, bob: Any):
    # The instance itself has never known the old value.
    with recorded_purges() as purged:
        Album(pk=album.pk, owner=bob, title="moved").save()
    assert purged == of(ann, bob)


def test_a_row_that_is_deleted_purges_what_is_in_the_database(album: Album, ann: Any, bob: Any):
    album.owner = bob
    with recorded_purges() as purged:
        album.delete()
    assert purged == of(ann, bob)


@pytest.mark.parametrize("delete", [lambda owner: Album.objects.all().delete(), lambda owner: owner.delete()])
def test_rows_that_are_deleted_with_others_purge_too(album: Album, ann: Any, delete: Any):
    scopes = of(ann)
    with recorded_purges() as purged:
        delete(ann)
    assert purged == scopes


def test_a_row_of_which_little_was_loaded_is_deleted_as_well(album: Album, ann: Any):
    with recorded_purges() as purged:
        Album.objects.only("pk").get().delete()
    assert purged == of(ann)


def test_a_row_that_loses_what_it_refers_to_purges(ann: Any, bob: Any):
    with recorded_purges():
        label = Label.objects.create(text="blue")
        Album.objects.create(owner=ann, title="first", cover=label)
        Album.objects.create(owner=bob, title="second")
    with recorded_purges() as purged:
        label.delete()
    assert purged == ["catalog", "labels", f"user;user_id={ann.pk}"]


def test_a_value_that_only_the_database_knows_is_read_back_or_widens(album: Album, ann: Any, bob: Any):
    setattr(album, "owner_id", F("owner_id") + (bob.pk - ann.pk))  # noqa: B010 the stubs do not know it
    with recorded_purges() as purged:
        album.save()
    # Django reads such values back from 6.0 on.
    assert purged == (of(ann, bob) if django.VERSION >= (6, 0) else ["catalog", "user"])


def test_a_model_that_inherits_purges_as_well(ann: Any, bob: Any):
    with recorded_purges() as purged:
        live = LiveAlbum.objects.create(owner=ann, title="live")
        live.owner = bob
        live.save()
    assert purged == of_live(ann, bob)


@pytest.mark.parametrize("delete", [False, True])
def test_a_model_with_rules_of_its_own_and_of_its_base_purges_the_old_value_by_both(ann: Any, bob: Any, delete: bool):
    with recorded_purges():
        live = LiveAlbum.objects.create(owner=ann, title="live")
    live.owner = bob
    with recorded_purges() as purged:
        live.delete() if delete else live.save()
    assert purged == of_live(ann, bob)


def test_a_row_that_is_saved_as_one_of_its_base_alone_purges_what_is_named_for_it(ann: Any, bob: Any):
    with recorded_purges():
        live = LiveAlbum.objects.create(owner=ann, title="live")
        base = Album.objects.get(pk=live.pk)
        plain = Album.objects.create(owner=ann, title="plain")
    base.owner = bob
    with recorded_purges() as purged:
        base.save()
    assert purged == of_live(ann, bob)
    with recorded_purges() as purged:
        plain.save()
    assert purged == of(ann)


class TestManyToMany:
    """An album purges `user` and `catalog`, a label `labels` by its own key."""

    @pytest.fixture
    def label(self) -> Label:
        with recorded_purges():
            return Label.objects.create(text="blue")

    def test_from_either_side(self, album: Album, label: Label, ann: Any):
        # A key is no list of labels, which is what the parameter is: it widens.
        both = ["catalog", "labels", f"user;user_id={ann.pk}"]
        for change in (
            lambda: album.labels.add(label),
            lambda: album.labels.remove(label),
            lambda: albums(label).add(album),
            lambda: albums(label).remove(album),
        ):
            with recorded_purges() as purged:
                change()
            assert purged == both

    def test_what_is_cleared_is_not_known_by_name(self, album: Album, label: Label, ann: Any):
        with recorded_purges() as purged:
            album.labels.clear()
        assert purged == ["catalog", "labels", f"user;user_id={ann.pk}"]
        with recorded_purges() as purged:
            albums(label).clear()
        assert purged == ["catalog", "labels", "user"]

    @pytest.mark.parametrize("of_album", [True, False])
    def test_when_the_other_side_is_deleted(self, album: Album, label: Label, ann: Any, of_album: bool):
        with recorded_purges():
            album.labels.add(label)
        with recorded_purges() as purged:
            (album if of_album else label).delete()
        assert purged == ["catalog", "labels", f"user;user_id={ann.pk}"]

    def test_nothing_changed_purges_nothing(self, album: Album, label: Label):
        with recorded_purges():
            album.labels.add(label)
        with recorded_purges() as purged:
            album.labels.add(label)
        assert purged == []


def test_bulk_operations_send_no_signals(album: Album, ann: Any):
    with recorded_purges() as purged:
        Album.objects.update(title="second")
        Album.objects.bulk_create([Album(owner=ann, title="third")])
        album.title = "fourth"
        Album.objects.bulk_update([album], ["title"])
    assert purged == []


@pytest.mark.usefixtures("stored")
class TestWhen:
    def test_the_next_request_sees_the_change(self, visitor: Client, ann: Any):
        bundle(visitor, "catalog", {"category": "tea"})
        Album.objects.create(owner=ann, title="first")
        bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 2

    @pytest.mark.parametrize("rolled_back", [False, True])
    def test_in_a_transaction_after_the_commit(self, ann: Any, rolled_back: bool):
        with recorded_purges() as after, transaction.atomic():
            with recorded_purges() as before:
                Album.objects.create(owner=ann, title="first")
            assert before == []
            transaction.set_rollback(rolled_back)
        assert after == ([] if rolled_back else of(ann))


def test_without_a_cache_it_raises_like_purge_and_a_check_tells_before(ann: Any):
    with pytest.raises(NoCacheError):
        Album.objects.create(owner=ann, title="first")
    assert "mizan.W032" in ids()
    with override_settings(MIZAN_CACHE_REDIS_URL="unix:///redis.sock"):
        assert "mizan.W032" not in ids()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"site.Albun": "user"}, "there is no model 'site.Albun'"),
        ({"Album": "user"}, "there is no model 'Album': write 'app_label.Model'"),
        ({"site.Album": ["user", {"user_id": "ower"}]}, "'ower' is no field of its own: take one of pk, id, owner"),
        ({"site.Album": ["user", {"user_id": "labels"}]}, "'labels' is no field of its own"),
        ({"site.Album": [{"user_id": "pk"}]}, "takes a context, or a list such as"),
        ({"site.Album": 5}, "not 5"),
        ({"site.Album": []}, r"not \[\]"),
    ],
)
def test_what_names_no_model_or_field_stops_the_start(setting: dict[str, Any], said: str):
    with override_settings(MIZAN_MODEL_CONTEXTS=setting), pytest.raises(ImproperlyConfigured, match=said):
        connect()


@pytest.mark.parametrize("value", ["usr", ["user", {"userid": "pk"}]])
def test_a_context_or_parameter_that_nobody_declared_is_a_check(value: Any):
    with override_settings(MIZAN_MODEL_CONTEXTS={"site.Album": value}):
        assert "mizan.E031" in ids()
    assert "mizan.E031" not in ids()


def albums(label: Any) -> Any:
    return label.album_set


def ids() -> list[str | None]:
    return [message.id for message in checks.run_checks()]
