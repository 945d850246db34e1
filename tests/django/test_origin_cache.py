"""The origin's own cache of bundles, on a real Redis."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client, override_settings

from mizan.cache import PurgeError, purge
from mizan.cache.bundle_cache import BundleKey, Miss
from mizan.cache.configured import bundle_cache
from mizan.cache.purging import purge_of
from mizan.cache.redis_bundles import RedisBundles
from mizan.declare.compiled import compiled
from mizan_core.keys import secret_bytes
from mizan_core.scopes import URL, Scope
from mizan_core.seal import sealing_key
from mizan_core.store import Namespace, Store
from tests.django.browsers import by_token, token_of
from tests.django.overrides import WITH_MIDDLEWARE, atomic_requests, by_hand
from tests.django.requests import bundle, call
from tests.django.site import clients
from tests.django.site.clients import ran
from tests.django.site.settings import CACHE_SECRET
from tests.support.gate import Gate

pytestmark = pytest.mark.usefixtures("stored")


def user(client: Client, user_id: int, **extra: Any) -> Any:
    return bundle(client, "slow", {"user_id": user_id}, **extra)


def rename(user_id: int, name: str, fn: str = "rename_slow") -> Callable[[], None]:
    """A mutation by somebody else, in a thread and with a connection of its own."""

    def run() -> None:
        call(Client(), fn, user_id=user_id, name=name)
        connection.close()

    def in_thread() -> None:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    return in_thread


class TestHits:
    def test_the_second_request_runs_no_function_and_gets_the_same_answer(self, visitor: Client, ann: Any):
        first, second = user(visitor, ann.pk), user(visitor, ann.pk)
        assert ran["slow_user"] == 1
        assert first.content == second.content
        for name in ("ETag", "X-Mizan-Scope", "X-Mizan-Partition", "Cache-Control"):
            assert first.headers[name] == second.headers[name]

    def test_each_partition_has_its_own(self, visitor: Client, ann: Any, bob: Any):
        for client in (visitor, by_token(token_of(ann)), by_token(token_of(bob))):
            user(client, ann.pk)
            user(client, ann.pk)
        assert ran["slow_user"] == 3

    def test_a_change_of_rights_reads_anew(self, visitor: Client, ann: Any):
        visitor.force_login(ann)
        user(visitor, ann.pk)
        ann.is_staff = True
        ann.save()
        user(visitor, ann.pk)
        assert ran["slow_user"] == 2

    def test_other_query_parameters_are_told_apart_and_ignored_ones_are_not(self, visitor: Client):
        for query in ({}, {"x": "1"}, {"x": ["1", "2"]}, {"utm_source": "a"}, {"utm_source": "b"}):
            bundle(visitor, "catalog", {"category": "tea", **query})
        assert ran["products"] == 3

    def test_hosts_and_languages_are_told_apart(self, visitor: Client, ann: Any):
        from django.utils import translation

        with override_settings(ALLOWED_HOSTS=["*"]):
            user(visitor, ann.pk)
            user(visitor, ann.pk, headers={"Host": "other.example"})
            with translation.override("de"):
                user(visitor, ann.pk)
        assert ran["slow_user"] == 3

    def test_no_cache_from_a_client_runs_the_function_and_keeps_its_answer(self, visitor: Client, ann: Any):
        user(visitor, ann.pk)
        User.objects.filter(pk=ann.pk).update(first_name="Anna")
        assert user(visitor, ann.pk, headers={"Cache-Control": "no-cache"}).json() == {"slow_user": "Anna"}
        assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}
        assert ran["slow_user"] == 2

    def test_auth_is_asked_before_a_hit(self, visitor: Client, ann: Any):
        ann.is_staff = True
        ann.save()
        visitor.force_login(ann)
        bundle(visitor, "guarded")
        assert bundle(Client(), "guarded").status_code == 401

    def test_the_lifetime_of_a_hit_is_what_is_left_of_it(self, visitor: Client, redis_url: str, namespace: str):
        bundle(visitor, "catalog", {"category": "tea"})
        age_by(redis_url, namespace, 20)
        response = bundle(visitor, "catalog", {"category": "tea"})
        assert ran["products"] == 1
        assert response.headers["Mizan-Cache-Control"].startswith("max-age=40,")

    def test_nothing_is_kept_longer_than_its_ttl_or_a_day(
        self, visitor: Client, ann: Any, redis_url: str, namespace: str
    ):
        bundle(visitor, "catalog", {"category": "tea"})
        user(visitor, ann.pk)
        with redis.Redis.from_url(redis_url) as client:
            lives = sorted(client.pttl(key) for key in client.keys(f"{{{namespace}}}:e:*"))
        assert 0 < lives[0] <= 60_000
        assert 60_000 < lives[1] <= 24 * 3600 * 1000


class TestWhatIsNotKept:
    def test_what_is_personal_beyond_the_partition(self, visitor: Client, redis_url: str, namespace: str):
        for look in ("session", "csrf", "messages", "message"):
            bundle(visitor, "mine", {"look": look})
        assert entries(redis_url, namespace) == []

    def test_errors(self, visitor: Client, redis_url: str, namespace: str):
        assert user(visitor, 99).status_code == 500
        assert entries(redis_url, namespace) == []

    def test_contexts_that_forbid_it(self, visitor: Client, redis_url: str, namespace: str):
        bundle(visitor, "never")
        bundle(visitor, "judged")
        assert entries(redis_url, namespace) == []

    @pytest.mark.parametrize(
        "headers", [{"Cookie": "flavour=1"}, {"Authorization": "Basic eDp5"}, {"X-Api-Key": "k"}, {"Remote-User": "u"}]
    )
    def test_what_comes_with_other_credentials(self, visitor: Client, ann: Any, headers: dict[str, str]):
        user(visitor, ann.pk, headers=headers)
        user(visitor, ann.pk, headers=headers)
        assert ran["slow_user"] == 2

    def test_analytics_cookies_are_nobodys_credentials(self, visitor: Client, ann: Any):
        user(visitor, ann.pk, headers={"Cookie": f"_ga=1; csrftoken={'x' * 32}"})
        user(visitor, ann.pk)
        assert ran["slow_user"] == 1

    def test_a_public_bundle_of_somebody_with_a_session(
        self, visitor: Client, ann: Any, redis_url: str, namespace: str
    ):
        visitor.force_login(ann)
        bundle(visitor, "catalog", {"category": "tea"})
        assert entries(redis_url, namespace) == []


class TestPurges:
    def test_a_mutation_purges_before_its_answer(self, visitor: Client, ann: Any, bob: Any):
        user(visitor, ann.pk), user(visitor, bob.pk)
        call(visitor, "rename_slow", user_id=ann.pk, name="Anna")
        assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}
        user(visitor, bob.pk)
        assert ran["slow_user"] == 3

    def test_every_partition_is_purged(self, visitor: Client, ann: Any):
        signed_in = by_token(token_of(ann))
        user(visitor, ann.pk), user(signed_in, ann.pk)
        call(visitor, "rename_slow", user_id=ann.pk, name="Anna")
        assert user(visitor, ann.pk).json() == user(signed_in, ann.pk).json() == {"slow_user": "Anna"}

    def test_a_mutation_that_raised_purges(self, visitor: Client, ann: Any):
        bundle(visitor, "user", {"user_id": ann.pk})
        call(visitor, "note_and_fail", user_id=ann.pk, how="unexpected")
        assert bundle(visitor, "user", {"user_id": ann.pk}).json()["user_notes"] == ["left behind"]

    def test_one_that_raised_purges_even_if_its_transaction_comes_to_nothing(self, visitor: Client, ann: Any):
        bundle(visitor, "user", {"user_id": ann.pk})
        with transaction.atomic():
            call(visitor, "note_and_fail", user_id=ann.pk, how="unexpected")
            transaction.set_rollback(True)
        bundle(visitor, "user", {"user_id": ann.pk})
        assert ran["user_profile"] == 2

    def test_a_page_purges(self, visitor: Client, ann: Any):
        bundle(visitor, "user", {"user_id": ann.pk})
        visitor.post(f"/rename/{ann.pk}/", {"name": "Anna"})
        assert bundle(visitor, "user", {"user_id": ann.pk}).json()["user_profile"]["name"] == "Anna"

    @pytest.mark.parametrize(("name", "status"), [("Anna", 200), ("boom", 500)])
    @WITH_MIDDLEWARE
    def test_a_page_that_changes_something_while_it_renders_purges_after_that(self, ann: Any, name: str, status: int):
        # 1. the function returns, and a purge runs; 2. a bundle of old data is kept; 3. the template changes the data.
        browser = Client(raise_request_exception=False)
        clients.meanwhile.append(lambda: bundle(Client(), "user", {"user_id": ann.pk}))
        assert browser.post(f"/rename-rendered/{ann.pk}/", {"name": name}).status_code == status
        assert ran["user_profile"] == 1
        assert bundle(browser, "user", {"user_id": ann.pk}).json()["user_profile"]["name"] == name

    def test_under_atomic_requests_it_purges_after_the_commit(self, visitor: Client, ann: Any):
        with atomic_requests():
            user(visitor, ann.pk)
            call(visitor, "rename_slow", user_id=ann.pk, name="Anna")
            assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}
            user(visitor, ann.pk)
        assert ran["slow_user"] == 2

    def test_a_purge_from_anywhere_removes_what_the_edge_has_stored_as_well(
        self, visitor: Client, ann: Any, redis_url: str, namespace: str
    ):
        user(visitor, ann.pk)
        edge = Store(redis_url, Namespace(namespace, sealing_key(secret_bytes(CACHE_SECRET))), timeout_s=5)
        fence = edge.run(edge.namespace.read([])).fence
        manifest = compiled().manifest
        edge.run(
            edge.namespace.store(
                "edge",
                b"payload",
                fence=fence,
                scopes=[Scope.of("slow", {"user_id": ann.pk})],
                shapes=manifest.shapes(),
                retention_ms=60_000,
                began_ms=0,
            )
        )
        assert len(entries(redis_url, namespace)) == 2
        purge("slow", user_id=ann.pk)
        edge.close()
        assert entries(redis_url, namespace) == []


class TestRaces:
    def test_a_bundle_that_a_purge_has_overtaken_is_not_kept(self, visitor: Client, ann: Any):
        # 1. the bundle reads "Ann"; 2. somebody renames her and the purge runs; 3. the bundle is offered to the cache.
        clients.meanwhile.append(rename(ann.pk, "Anna"))
        assert user(visitor, ann.pk).json() == {"slow_user": "Ann"}
        clients.meanwhile.clear()
        assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}

    def test_nor_one_from_what_was_known_of_the_user_before_the_fence(self, visitor: Client, ann: Any):
        # 1. the user is read, for the partition; 2. somebody renames her and the purge runs; 3. the fence is read.
        visitor.force_login(ann)
        clients.meanwhile.append(rename(ann.pk, "Anna", "rename_myself"))
        bundle(visitor, "myself")
        clients.meanwhile.clear()
        assert bundle(visitor, "myself").json() == {"myself": "Anna"}

    def test_neither_under_atomic_requests(self, visitor: Client, ann: Any):
        clients.meanwhile.append(rename(ann.pk, "Anna"))
        with atomic_requests():
            user(visitor, ann.pk)
            clients.meanwhile.clear()
            assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}

    def test_a_purge_of_somebody_else_does_not_hinder_it(self, visitor: Client, ann: Any, bob: Any):
        clients.meanwhile.append(rename(bob.pk, "Robert"))
        user(visitor, ann.pk)
        user(visitor, ann.pk)
        assert ran["slow_user"] == 1

    def test_inside_a_transaction_the_cache_is_neither_read_nor_written(self, visitor: Client, ann: Any):
        user(visitor, ann.pk)
        with transaction.atomic():
            User.objects.filter(pk=ann.pk).update(first_name="uncommitted")
            assert user(visitor, ann.pk).json() == {"slow_user": "uncommitted"}
            transaction.set_rollback(True)
        assert user(visitor, ann.pk).json() == {"slow_user": "Ann"}

    def test_with_autocommit_off_the_cache_is_neither_read_nor_written(self, visitor: Client, ann: Any):
        user(visitor, ann.pk)
        with by_hand():
            User.objects.filter(pk=ann.pk).update(first_name="uncommitted")
            assert user(visitor, ann.pk).json() == {"slow_user": "uncommitted"}
            transaction.rollback()
        assert user(visitor, ann.pk).json() == {"slow_user": "Ann"}

    def test_with_autocommit_off_a_mutation_says_what_it_changes_and_purges(self, visitor: Client, ann: Any):
        user(visitor, ann.pk)
        with by_hand():
            response = call(visitor, "rename_slow", user_id=ann.pk, name="Anna")
            transaction.commit()
        assert (response.status_code, "X-Mizan-Invalidate" in response.headers) == (200, True)
        assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}

    def test_a_mutation_inside_a_transaction_purges_after_the_commit_only(self, visitor: Client, ann: Any):
        user(visitor, ann.pk)
        other = threading.Barrier(2)
        seen: list[Any] = []

        def reader() -> None:
            other.wait()
            seen.append(user(Client(), ann.pk).json())
            connection.close()
            other.wait()

        thread = threading.Thread(target=reader)
        thread.start()
        with transaction.atomic():
            call(visitor, "rename_slow", user_id=ann.pk, name="Anna")
            other.wait()
            other.wait()
        thread.join()
        assert seen == [{"slow_user": "Ann"}]
        assert ran["slow_user"] == 1
        assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}


class TestFailures:
    def test_without_redis_the_functions_answer_and_the_log_says_why(
        self, visitor: Client, ann: Any, caplog: pytest.LogCaptureFixture
    ):
        with override_settings(MIZAN_CACHE_REDIS_URL="unix:///nowhere/redis.sock"):
            assert user(visitor, ann.pk).json() == {"slow_user": "Ann"}
            assert user(visitor, ann.pk).json() == {"slow_user": "Ann"}
        assert ran["slow_user"] == 2
        assert "the cache of bundles cannot be used" in caplog.text

    def test_a_redis_that_does_not_answer_holds_nobody_up_for_long(self, visitor: Client, ann: Any, tmp_path: Path):
        with silent_server() as url, override_settings(MIZAN_CACHE_REDIS_URL=url):
            assert user(visitor, ann.pk).json() == {"slow_user": "Ann"}

    def test_a_url_that_is_none_falls_through(self, visitor: Client, ann: Any, caplog: pytest.LogCaptureFixture):
        with override_settings(MIZAN_CACHE_REDIS_URL="http://example.org"):
            assert call(visitor, "rename_slow", user_id=ann.pk, name="Anna").status_code == 200
            assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}
        assert "the cache of bundles cannot be used" in caplog.text

    def test_an_altered_entry_is_a_miss(
        self, visitor: Client, ann: Any, redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
    ):
        user(visitor, ann.pk)
        with redis.Redis.from_url(redis_url) as client:
            (key,) = client.keys(f"{{{namespace}}}:e:*")
            client.setrange(key, client.strlen(key) - 2, b"X")
        assert user(visitor, ann.pk).json() == {"slow_user": "Ann"}
        assert ran["slow_user"] == 2
        assert "did not write" in caplog.text

    def test_after_a_failed_purge_it_is_not_read_until_the_purge_was_repeated(
        self, visitor: Client, ann: Any, bob: Any, redis_url: str, namespace: str
    ):
        gate = Gate(redis_url)
        with gate, override_settings(MIZAN_CACHE_REDIS_URL=gate.url):
            user(visitor, ann.pk), user(visitor, bob.pk)
            gate.shut()
            assert call(visitor, "rename_slow", user_id=ann.pk, name="Anna").status_code == 200
            assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}
            assert user(visitor, bob.pk).json() == {"slow_user": "Bob"}
            assert ran["slow_user"] == 4
            gate.open()
            assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}
            user(visitor, bob.pk)
            assert ran["slow_user"] == 5

    def test_a_failed_purge_from_elsewhere_in_the_process_counts_too(self, visitor: Client, ann: Any, redis_url: str):
        gate = Gate(redis_url)
        with gate, override_settings(MIZAN_CACHE_REDIS_URL=gate.url):
            user(visitor, ann.pk)
            User.objects.filter(pk=ann.pk).update(first_name="Anna")
            gate.shut()
            with pytest.raises(PurgeError):
                purge("slow", user_id=ann.pk)
            gate.open()
            assert user(visitor, ann.pk).json() == {"slow_user": "Anna"}


def test_a_context_that_another_deploy_declares_otherwise_is_not_kept(
    visitor: Client, ann: Any, redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
):
    user(visitor, ann.pk)
    store = Store(redis_url, Namespace(namespace, b""), timeout_s=5)
    store.run(store.namespace.adopt({"slow": "another shape"}))
    store.close()
    user(visitor, ann.pk), user(visitor, ann.pk)
    assert ran["slow_user"] == 3
    assert "another deploy declares other parameters" in caplog.text


def test_a_redis_that_was_emptied_is_told_the_shapes_again(visitor: Client, ann: Any, redis_url: str, namespace: str):
    user(visitor, ann.pk)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(*client.keys(f"{{{namespace}}}:*"))
    # Refused, and then, after the shapes were told, kept.
    user(visitor, ann.pk), user(visitor, ann.pk)
    assert ran["slow_user"] == 3
    user(visitor, ann.pk)
    assert ran["slow_user"] == 3


@pytest.mark.parametrize("by_mutation", [True, False])
def test_where_the_store_knows_another_shape_of_a_context_all_of_it_is_purged(
    ann: Any, redis_url: str, namespace: str, by_mutation: bool
):
    purge("slow", user_id=ann.pk)
    # Another deploy indexes the context otherwise.
    edge = Store(redis_url, Namespace(namespace, sealing_key(secret_bytes(CACHE_SECRET))), timeout_s=5)
    edge.run(edge.namespace.adopt({"slow": "another shape"}))
    edge.run(
        edge.namespace.store(
            "edge",
            b"payload",
            fence=edge.run(edge.namespace.read([])).fence,
            scopes=[Scope.of("slow", {"name": "Ann"})],
            shapes={"slow": "another shape"},
            retention_ms=60_000,
            began_ms=0,
        )
    )
    if by_mutation:
        call(Client(), "rename_slow", user_id=ann.pk, name="Anna")
    else:
        purge("slow", user_id=ann.pk)
    (found,) = edge.run(edge.namespace.read(["edge"])).entries
    edge.close()
    assert found is None


class _Interrupted(Store):
    """A store during whose purges something else happens."""

    meanwhile: Callable[[], None]

    def run(self, operation: Any) -> Any:
        result = super().run(operation)
        self.meanwhile()
        return result


def test_a_purge_that_fails_while_the_same_one_is_repeated_is_owed_again(redis_url: str, namespace: str):
    # 1. the purge of S failed; 2. it is repeated; 3. before that is noted, a later purge of S fails as well.
    purge = purge_of([Scope("slow", (("user_id", "5"),))])
    site = Namespace(namespace, sealing_key(secret_bytes(CACHE_SECRET)))
    reads, purges = Store(redis_url, site, timeout_s=5), _Interrupted(redis_url, site, timeout_s=5)
    cache = RedisBundles(reads, purges, secret_bytes(CACHE_SECRET))
    cache.owe(purge)
    purges.meanwhile = lambda: cache.owe(purge)
    anything = BundleKey("slow", {}, "anon", 0, None)
    assert cache.look(anything, fresh=False) is None
    purges.meanwhile = lambda: None
    assert isinstance(cache.look(anything, fresh=False), Miss)
    reads.close()
    purges.close()


class TestConfiguration:
    @pytest.mark.parametrize("missing", ["MIZAN_CACHE_SECRET", "MIZAN_CACHE_REDIS_URL"])
    def test_it_is_off_when_one_of_its_settings_is_missing(self, visitor: Client, ann: Any, missing: str):
        with override_settings(**{missing: None}):
            user(visitor, ann.pk)
            user(visitor, ann.pk)
        assert ran["slow_user"] == 2

    def test_half_a_configuration_is_warned_of_once(
        self, visitor: Client, ann: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("mizan.cache.configured._warned", set())
        with override_settings(MIZAN_CACHE_REDIS_URL=None):
            user(visitor, ann.pk)
            user(visitor, ann.pk)
        assert caplog.text.count("the cache of bundles stays off") == 1

    def test_where_purges_go_is_no_half_a_configuration(
        self, visitor: Client, ann: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("mizan.cache.configured._warned", set())
        with override_settings(MIZAN_CACHE_SECRET=None):
            user(visitor, ann.pk)
        assert "the cache of bundles" not in caplog.text

    def test_however_many_threads_begin_it_there_is_one(self):
        with ThreadPoolExecutor(16) as threads:
            assert len({id(cache) for cache in threads.map(lambda _: bundle_cache(), range(200))}) == 1


def entries(redis_url: str, namespace: str) -> list[bytes]:
    with redis.Redis.from_url(redis_url) as client:
        return [bytes(key) for key in client.keys(f"{{{namespace}}}:e:*")]


def age_by(redis_url: str, namespace: str, seconds: int) -> None:
    """Makes the one entry older, as its writer would have sealed it then."""
    from mizan_core.store.layout import Entry, decode_entry, encode_entry

    sealing = sealing_key(secret_bytes(CACHE_SECRET))
    with redis.Redis.from_url(redis_url) as client:
        (name,) = client.keys(f"{{{namespace}}}:e:*")
        key = name.decode().rpartition(":")[2]
        entry = decode_entry(sealing, key, client.get(name))
        assert entry is not None
        made_ms = int.from_bytes(entry.payload[:8]) - seconds * 1000
        older = Entry.of(entry.fence, entry.names, made_ms.to_bytes(8) + entry.payload[8:])
        client.set(name, encode_entry(sealing, key, older), keepttl=True)


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}"


def test_a_purge_by_url_finds_it(visitor: Client, redis_url: str, namespace: str):
    bundle(visitor, "catalog", {"category": "green tea", "page": "2", "utm_source": "x"})
    store = Store(redis_url, Namespace(namespace, b""), timeout_s=5)
    url = "/api/mizan/ctx/catalog/?category=green%20tea&page=2"
    purged = store.run(store.namespace.purge([Scope("catalog", ((URL, url),))]))
    store.close()
    assert purged.entries == 1
