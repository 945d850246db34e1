"""What the system checks say of the declarations and the settings, and that a server does not start on errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.test import AsyncClient, Client, override_settings

from mizan.checks.declarations import MIDDLEWARE
from mizan_core.registry import Registry, place_text


def said() -> dict[str, list[Any]]:
    """What the checks say of mizan, by id."""
    found: dict[str, list[Any]] = {}
    for message in checks.run_checks():
        if message.id and message.id.startswith("mizan."):
            found.setdefault(message.id, []).append(message)
    return found


def errors() -> list[str]:
    return [id_ for id_ in said() if id_.startswith("mizan.E")]


def same(request: Any) -> None: ...


def other(request: Any) -> None: ...


other.__name__ = "same"


class TestErrors:
    def test_one_that_is_sound_has_none(self):
        assert errors() == []

    def test_two_functions_of_one_name(self, registry: Registry):
        registry.client(same)
        registry.client(other)
        (error,) = said()["mizan.E001"]
        assert place_text(same) in error.msg and place_text(other) in error.msg
        assert error.hint == 'Rename one, or register(function, "another_name").'
        registry.register(other, "another_name")
        assert "mizan.E001" not in said()
        assert [(spec.name, spec.fn) for spec in registry] == [("another_name", other), ("same", same)]

    def test_functions_of_a_context_that_disagree_on_types(self, registry: Registry):
        @registry.client(context="c")
        def a(request: Any, x: int, y: str) -> None: ...

        @registry.client(context="c")
        def b(request: Any, x: str, y: str) -> None: ...

        @registry.client(context="c", route="/<int:z>/")
        def d(request: Any, x: list[int], z: str) -> None: ...

        (error,) = said()["mizan.E002"]
        assert error.msg == (
            "in the context 'c' the parameter 'x' is of type integer in 'a' and of type string in 'b' "
            "and a list of integer in 'd'"
        )

    def test_a_route_parameter_that_the_function_lacks(self, registry: Registry):
        @registry.client(context="c", route="/<int:x>/<slug:y>/")
        def a(request: Any, x: int) -> None: ...

        (error,) = said()["mizan.E003"]
        assert error.msg == "the route /<int:x>/<slug:y>/ of 'a' has 'y', and the function has no such parameter"
        assert errors() == ["mizan.E003"]

    def test_targets_that_nobody_declares(self, registry: Registry):
        @registry.client(context="user")
        def read(request: Any) -> None: ...

        @registry.client(affects=["user", "usr", read], merge=["usr", "orders"])
        def change(request: Any) -> None: ...

        assert [(error.msg, error.hint) for error in said()["mizan.E004"]] == [
            (
                f"'change' {verb} {name!r}, and no function is in a context of that name",
                f"Correct the name in {option}=, or declare the context: @client(context={name!r}).",
            )
            for verb, option, name in [
                ("affects", "affects", "usr"),
                ("merges into", "merge", "usr"),
                ("merges into", "merge", "orders"),
            ]
        ]

    def test_a_local_context_is_not_named_local(self, registry: Registry):
        @registry.client(context="local")
        def read(request: Any) -> None: ...

        @registry.client(affects="local")
        def change(request: Any) -> None: ...

        (error,) = said()["mizan.E004"]
        assert error.hint.endswith("take the function, as in affects=the_function.")

    def test_a_merge_that_may_take_several_places(self, registry: Registry):
        @registry.client(context="c")
        def first(request: Any) -> list[int]: ...  # type: ignore[empty-body]

        @registry.client(context="c")
        def second(request: Any) -> list[int]: ...  # type: ignore[empty-body]

        @registry.client(merge="c")
        def change(request: Any) -> list[int]: ...  # type: ignore[empty-body]

        (error,) = said()["mizan.E005"]
        assert "'first', 'second'" in error.msg
        assert error.hint == "Name the function instead of the context, as in merge=first."

    def test_a_pattern_that_ignores_a_parameter_of_another_function(self, registry: Registry):
        @registry.client(context="c", ignore_query="utm_*")
        def a(request: Any) -> None: ...

        @registry.client(context="c")
        def b(request: Any, utm_source: str) -> None: ...

        assert errors() == ["mizan.E006"]

    def test_a_context_of_one_function_has_no_second(self, registry: Registry):
        @registry.client(context="local")
        def greeting(request: Any) -> None: ...

        @registry.client(context="greeting")
        def a(request: Any) -> None: ...

        (error,) = said()["mizan.E007"]
        assert "'greeting'" in error.msg and "'a'" in error.msg

    def test_what_no_manifest_could_say(self, registry: Registry):
        @registry.client(context="c", route="/a/<int:x>/")
        def a(request: Any, x: int) -> None: ...

        @registry.client(context="d", route="/a/<int:y>/")
        def b(request: Any, y: int) -> None: ...

        (error,) = said()["mizan.E008"]
        assert "matches the same paths" in error.msg

    def test_a_url_in_the_settings_that_cannot_be_read_beside_what_else_is_wrong(self, registry: Registry):
        registry.client(same)
        registry.client(other)
        with override_settings(MIZAN_VIEW_URLS={"user": ["/<path:all>"]}):
            assert errors() == ["mizan.E001", "mizan.E009"]


@pytest.fixture
def broken(registry: Registry) -> Registry:
    """A registry with four faults of four kinds."""

    @registry.client(context="c")
    def a(request: Any, x: int) -> None: ...

    @registry.client(context="c", route="/<int:z>/")
    def b(request: Any, x: str) -> None: ...

    @registry.client(affects="nothing")
    def change(request: Any) -> None: ...

    registry.client(same)
    registry.client(other)
    return registry


class TestRefusal:
    def test_check_lists_every_problem_at_once(self, broken: Registry):
        with pytest.raises(SystemCheckError) as caught:
            call_command("check")
        for id_ in ("E001", "E002", "E003", "E004"):
            assert str(caught.value).count(f"mizan.{id_}") == 1

    def test_so_does_the_export(self, broken: Registry):
        with pytest.raises(CommandError) as caught:
            call_command("export_edge_manifest")
        assert len(str(caught.value).splitlines()) == 4

    def test_no_request_is_answered(self, broken: Registry, visitor: Client):
        for url in ("/", "/api/mizan/session/"):
            with pytest.raises(ImproperlyConfigured, match="'change' affects 'nothing'"):
                visitor.get(url)

    async def test_nor_under_asgi(self, broken: Registry, browser: AsyncClient):
        with pytest.raises(ImproperlyConfigured, match="'change' affects 'nothing'"):
            await browser.get("/")

    def test_with_the_middleware_a_server_does_not_even_start(self, broken: Registry):
        middleware = [*settings.MIDDLEWARE, MIDDLEWARE]
        refused = pytest.raises(ImproperlyConfigured, match="'change' affects 'nothing'")
        with override_settings(MIDDLEWARE=middleware), refused:
            WSGIHandler()


class TestUncacheable:
    @pytest.fixture
    def templates(self, tmp_path: Path) -> Iterator[Path]:
        with override_settings(TEMPLATES=[{**settings.TEMPLATES[0], "DIRS": [tmp_path], "APP_DIRS": False}]):
            yield tmp_path

    @pytest.fixture(autouse=True)
    def page(self, registry: Registry) -> None:
        @registry.client(context="c", route="/page/")
        def page(request: Any) -> None: ...

    def test_a_session_that_is_saved_with_every_request(self):
        assert "mizan.W003" not in said()
        with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
            (warning,) = said()["mizan.W003"]
        assert "SESSION_SAVE_EVERY_REQUEST" in warning.msg and "False" in warning.hint

    def test_as_many_languages_as_django_knows(self):
        middleware = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
        with override_settings(MIDDLEWARE=middleware):
            assert "mizan.W004" in said()
        with override_settings(MIDDLEWARE=middleware, LANGUAGES=[("en", "English")]):
            assert "mizan.W004" not in said()

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("<script nonce='{{ csp_nonce }}'></script>", "mizan.W005"),
            ("<script nonce='{{ request.csp_nonce }}'></script>", "mizan.W005"),
            ("{% if messages %}{% for message in messages %}{{ message }}{% endfor %}{% endif %}", "mizan.W006"),
            ("messages and csp_nonce {# messages #} {% block my_messages %}{% endblock %}", None),
        ],
    )
    def test_templates_that_show_what_is_meant_for_one_reader(self, templates: Path, source: str, expected: str | None):
        (templates / "shop").mkdir()
        (templates / "shop" / "page.html").write_text(source)
        found = {id_: messages for id_, messages in said().items() if id_ in ("mizan.W005", "mizan.W006")}
        assert list(found) == [expected] * bool(expected)
        if expected:
            assert "shop/page.html" in found[expected][0].msg

    def test_templates_of_installed_packages_and_those_of_sites_without_cached_pages_are_not_looked_at(
        self, templates: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ):
        (templates / "page.html").write_text("{{ messages }}")
        assert "mizan.W006" in said()
        monkeypatch.setattr("mizan.checks.cacheability._INSTALLED", {templates.resolve()})
        assert "mizan.W006" not in said()
        monkeypatch.setattr("mizan.checks.cacheability._INSTALLED", set())
        monkeypatch.setattr("mizan_core.registry.default", Registry())
        assert "mizan.W006" not in said()
