"""What an application imports, and what the system checks say."""

import pytest
from django.conf import settings
from django.core import checks
from django.test import override_settings

from mizan.apps import MizanConfig
from mizan.checks.declarations import MIDDLEWARE
from mizan_core.keys import SecretError


def test_the_names_of_the_readme_are_there():
    from mizan.client import client
    from mizan.setup import mizan_clients, register
    from mizan.setup.registry import register as same

    assert register is same
    mizan_clients("tests.django.site")
    assert callable(client)


def ids() -> list[str | None]:
    return [message.id for message in checks.run_checks() if (message.id or "").startswith("mizan.")]


def test_the_middleware_is_recommended_where_it_is_missing_or_behind_sessions():
    assert "mizan.W001" in ids()
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, MIDDLEWARE]):
        assert "mizan.W001" not in ids() and "mizan.W007" in ids()
    with override_settings(MIDDLEWARE=[MIDDLEWARE, *settings.MIDDLEWARE]):
        assert not {"mizan.W001", "mizan.W007"} & set(ids())
    with override_settings(MIZAN_MWT_SECRET=None):
        assert "mizan.W001" not in ids()


def test_a_merge_without_a_place_is_a_warning_that_names_both():
    said = [message.msg for message in checks.run_checks() if message.id == "mizan.W002"]
    # Two functions return a str, and none returns None.
    assert [("'set_motto'" in text, "'touch'" in text, "'prefs'" in text) for text in said] == [
        (True, False, True),
        (False, True, True),
    ]


@pytest.mark.parametrize("name", ["MIZAN_MWT_SECRET", "MIZAN_CACHE_SECRET"])
def test_a_secret_that_is_too_short_stops_the_start(name: str):
    import mizan

    with override_settings(**{name: "short"}), pytest.raises(SecretError, match=name):
        MizanConfig("mizan", mizan).ready()
