"""`manage.py mizan_check`: what purges what, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from mizan_core.compiling import compile_registry
from mizan_core.registry import Registry
from mizan_core.scoping import invalidated


@pytest.fixture
def shop(registry: Registry) -> Registry:
    @registry.client(context="user")
    def profile(request: Any, user_id: int) -> None: ...

    @registry.client(context="user", route="/profile/<int:user_id>/")
    def profile_page(request: Any, user_id: int) -> None: ...

    @registry.client(context="catalog", route="/catalog/")
    def catalog(request: Any) -> None: ...

    @registry.client(context="help")
    def texts(request: Any) -> None: ...

    @registry.client(affects=["catalog", profile])
    def rename(request: Any, user_id: int) -> None: ...

    @registry.client(affects="user", route="/import/")
    def import_users(request: Any) -> None: ...

    return registry


def test_it_prints_scopes_and_urls_and_what_no_mutation_purges(shop: Registry, capsys: pytest.CaptureFixture[str]):
    call_command("mizan_check")
    assert capsys.readouterr().out == (
        "import_users purges\n"
        "    user\n"
        "        /api/mizan/ctx/user/\n"
        "        /profile/:user_id/\n"
        "rename purges\n"
        "    catalog\n"
        "        /catalog/\n"
        "    user;user_id=…\n"
        "        /api/mizan/ctx/user/?user_id=:user_id\n"
        "        /profile/:user_id/\n"
        "no mutation purges these, so that only purge() and their lifetimes end what is cached of them:\n"
        "    help\n"
    )


def test_programs_read_the_same_as_json(shop: Registry, tmp_path: Path):
    call_command("mizan_check", "--json", output=str(tmp_path / "effects.json"), base_url="/rpc/")
    certain: dict[str, list[str]] = {"nullable": [], "undecided": []}
    assert json.loads((tmp_path / "effects.json").read_bytes()) == {
        "mutations": {
            "import_users": [
                {"context": "user", "params": [], "urls": ["/rpc/ctx/user/", "/profile/:user_id/"], **certain},
            ],
            "rename": [
                {"context": "catalog", "params": [], "urls": ["/catalog/"], **certain},
                {
                    "context": "user",
                    "params": ["user_id"],
                    "urls": ["/rpc/ctx/user/?user_id=:user_id", "/profile/:user_id/"],
                    **certain,
                },
            ],
        },
        "unpurged": ["help"],
    }


def test_it_says_where_a_call_may_purge_more_and_where_less(registry: Registry, capsys: pytest.CaptureFixture[str]):
    @registry.client(context="user")
    def profile(request: Any, user_id: int) -> None: ...

    @registry.client(context="catalog")
    def catalog(request: Any) -> None: ...

    @registry.client(affects="user")
    def optional(request: Any, user_id: int | None = None) -> None: ...

    @registry.client(affects="user")
    def nullable(request: Any, user_id: int | None) -> None: ...

    @registry.client(affects=["user", "catalog"])
    def either(request: Any, user_id: int | str) -> None: ...

    calls: dict[str, list[dict[str, Any]]] = {
        "either": [{"user_id": 5}, {"user_id": "all"}],
        "nullable": [{"user_id": 5}, {"user_id": None}],
        "optional": [{"user_id": 5}, {}],
    }
    compiled = compile_registry(registry)
    purged = {
        name: [
            [str(scope) for scope in invalidated(spec, spec.signature.bind(arguments), compiled.coverage)]
            for arguments in each
        ]
        for name, each in calls.items()
        if (spec := registry.get(name))
    }
    assert purged == {
        "either": [["catalog", "user;user_id=5"], ["catalog", "user"]],
        "nullable": [["user;user_id=5"], ["user"]],
        "optional": [["user;user_id=5"], ["user"]],
    }
    call_command("mizan_check")
    said = [line.strip() for line in capsys.readouterr().out.splitlines() if "user" in line and "/" not in line]
    assert said == [
        "user (at most: user_id may narrow it, which shows only in the call)",
        "user;user_id=… (without user_id where that is None)",
        "user;user_id=… (without user_id where that is None)",
    ]


def test_it_says_what_the_manifest_leaves_out(registry: Registry, capsys: pytest.CaptureFixture[str]):
    @registry.client(context="files", route="/files/<path:name>/")
    def file(request: Any, name: str) -> None: ...

    call_command("mizan_check")
    assert "warning: the view of 'file' is left out, and never cached" in capsys.readouterr().err


def test_where_every_context_is_purged_it_says_so(registry: Registry, capsys: pytest.CaptureFixture[str]):
    @registry.client(context="user")
    def profile(request: Any) -> None: ...

    @registry.client(affects="user")
    def rename(request: Any) -> None: ...

    call_command("mizan_check")
    assert capsys.readouterr().out.endswith("every context is purged by a mutation\n")


def test_contradictions_are_listed_instead(shop: Registry):
    @shop.client(affects=["nothing", "nobody"])
    def change(request: Any) -> None: ...

    with pytest.raises(CommandError) as caught:
        call_command("mizan_check")
    assert len(str(caught.value).splitlines()) == 2
