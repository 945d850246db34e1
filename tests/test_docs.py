"""What the documents say of the tree is so."""

import ast
import inspect
import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from mizan.declare import conf
from mizan_core.manifest import Affected, Context, Function, Manifest, Mutation, parse_manifest
from mizan_core.registry import FunctionSpec, Options
from mizan_edge.admin.listener import Admin
from mizan_edge.admin.purging import PurgeBody
from mizan_edge.cli import cli
from mizan_edge.http.cache_status import Detail
from mizan_edge.purging.invalidation import Source
from mizan_edge.running.config import SECRETS, Settings, variable
from tests import shown_help
from tests.versions import PYTHONS, SINCE

TOP = Path(__file__).parent.parent
ARCHITECTURE = (TOP / "docs" / "architecture.md").read_text()
CONFIGURATION = (TOP / "docs" / "configuration.md").read_text()
DJANGO = (TOP / "docs" / "django.md").read_text()
HTTP = (TOP / "docs" / "http.md").read_text()
MANIFEST = (TOP / "docs" / "manifest.md").read_text()
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
DJANGO_VERSION = "Framework :: Django :: "
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def test_the_rooms_of_the_architecture_are_those_that_imports_are_held_to_and_hold_every_module():
    rows = re.findall(r"^\| `(\w+)` \| (`.+?) \|", ARCHITECTURE.partition("house of rooms")[2], re.MULTILINE)
    assert [room for room, _ in rows] == [room for layer in layers_of("mizan_edge") for room in layer.split(" | ")]
    for room, told in rows:
        package = TOP / "mizan_edge" / room
        modules = {path.stem for path in package.glob("*.py")} - {"__init__"} if package.is_dir() else {room}
        assert sorted(re.findall(r"`(\w+)`", told)) == sorted(modules), room


def test_so_are_those_of_the_adapter_whose_own_texts_list_what_is_in_them():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", ARCHITECTURE.partition("`mizan`, the adapter")[2], re.MULTILINE)
    assert [row.replace("`", "").replace(", ", " | ") for row in rows] == layers_of("mizan")
    package = TOP / "mizan"
    for room in (".", "cache", "checks", "db", "declare", "http", "request"):
        text = ast.get_docstring(ast.parse((package / room / "__init__.py").read_text())) or ""
        inside = {path.stem for path in (package / room).iterdir() if path.suffix in ("", ".py")}
        assert inside - {"__init__", "__pycache__"} <= set(re.findall(r"\w+", text)), room


def layers_of(package: str) -> list[str]:
    """What imports within a package are held to, from above."""
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == [package])
    return list(layers)


def test_every_make_target_that_is_shown_exists():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        shown = set(re.findall(r"(?:^    |`)make ([a-z-]+)", path.read_text(), re.MULTILINE))
        assert shown <= targets, path.name


def test_every_flag_that_is_shown_exists():
    help_text = CliRunner().invoke(cli, ["serve", "--help"]).output
    commands = re.findall(r"^.*mizan-edge serve .+$", DJANGO, re.MULTILINE)
    assert commands
    for flag in {flag for line in commands for flag in re.findall(r"--[a-z-]+", line)}:
        assert flag in help_text


def test_every_extra_that_is_shown_exists():
    sources = [path for package in ("mizan", "mizan_edge") for path in (TOP / package).rglob("*.py")]
    lines = re.findall(r"mizan-edge\[([a-z,]+)\]", "\n".join(path.read_text() for path in (*DOCUMENTS, *sources)))
    assert "django,channels,allauth" in lines
    assert {extra for line in lines for extra in line.split(",")} <= PROJECT["project"]["optional-dependencies"].keys()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_inside_the_tree_leads_somewhere(path: Path):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def headings(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_section_leads_to_its_heading(path: Path):
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", path.read_text()):
        assert anchor in headings(path.parent / target if target else path), f"{target}#{anchor}"


def test_the_table_of_checks_has_every_id_once_and_no_other():
    sources = "".join(path.read_text() for path in sorted((TOP / "mizan").rglob("*.py")))
    given = set(re.findall(r'"(mizan\.[EW]\d{3})"', sources))
    told = re.findall(r"^\| `(mizan\.[EW]\d{3})` \| .+ \| .+ \|$", DJANGO, re.MULTILINE)
    assert told == sorted(given)
    assert set(re.findall(r"\bmizan\.[EW]\d{3}\b", sources)) == given  # what docstrings name exists


def test_every_setting_that_is_named_exists():
    known = (
        configured("Django").keys() | configured("The edge").keys() | {variable(name) for name in Settings.model_fields}
    )
    for name in set(re.findall(r"\bMIZAN_[A-Z_]+[A-Z]\b", DJANGO)):
        assert name in known, name


def test_serve_tells_of_every_setting_and_of_where_secrets_come_from():
    help_text = CliRunner().invoke(cli, ["serve", "--help"], terminal_width=200).output
    for name in Settings.model_fields:
        assert (variable(name) if name in SECRETS else f"--{name.replace('_', '-')}") in help_text


def test_the_page_of_the_command_line_shows_the_help_of_every_command_as_it_is():
    page = shown_help.PAGE.read_text()
    assert shown_help.with_help(page) == page, "python -m tests.shown_help"
    assert shown_help.shown(page) == shown_help.commands() - {"serve"}


def test_the_version_is_the_same_everywhere():
    import mizan_core

    assert PROJECT["project"]["version"] == mizan_core.__version__


def test_the_versions_that_are_claimed_are_those_of_make_test_versions():
    claimed = PROJECT["project"]["classifiers"]
    assert [name.removeprefix(DJANGO_VERSION) for name in claimed if name.startswith(DJANGO_VERSION)] == list(SINCE)
    pythons = [f"Programming Language :: Python :: {major}.{minor}" for major, minor in PYTHONS]
    assert [name for name in claimed if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)] == pythons


def test_the_index_of_the_documents_names_each_once():
    pages = [path.name for path in DOCUMENTS if path.parent.name == "docs" and path.name != "README.md"]
    assert sorted(re.findall(r"^- \[.+?\]\((.+?)\): ", (TOP / "docs" / "README.md").read_text(), re.MULTILINE)) == pages


def example_of_a_manifest() -> Manifest:
    (text,) = re.findall(r"```json\n(.*?)```", MANIFEST, re.DOTALL)
    manifest, warnings = parse_manifest(text.encode(), source="docs/manifest.md")
    assert warnings == []
    return manifest


def test_the_example_of_a_manifest_has_every_key():
    manifest = example_of_a_manifest()
    contexts, mutations = manifest.contexts.values(), manifest.mutations.values()
    examples: dict[type[BaseModel], list[Any]] = {
        Manifest: [manifest],
        Context: [*contexts],
        Function: [function for context in contexts for function in context.functions],
        Mutation: [*mutations],
        Affected: [affected for mutation in mutations for affected in mutation.affects],
    }
    for model, shown in examples.items():
        assert set().union(*(each.model_fields_set for each in shown)) == model.model_fields.keys(), model


def test_the_page_of_the_manifest_tells_of_every_key_and_its_default():
    sections = re.findall(r"^\| key \|.*\n\| -.*\n((?:\| .*\n)+)", MANIFEST, re.MULTILINE)
    told = [dict(re.findall(r"^\| `(\w+)` \| .+? \| (.+?) \| .+ \|$", rows, re.MULTILINE)) for rows in sections]
    assert told == [
        {
            name: "required"
            if field.is_required()
            else "none"
            if (default := field.get_default(call_default_factory=True)) is None
            else f"`{json.dumps(default)}`"
            for name, field in model.model_fields.items()
        }
        for model in (Manifest, Context, Function, Mutation)
    ]


def test_the_guarantees_name_tests_that_exist():
    named = set(re.findall(r"`((?:core|edge|django)/[\w/]+\.py)`", (TOP / "docs" / "guarantees.md").read_text()))
    assert named
    for name in named:
        assert (TOP / "tests" / name).is_file(), name


def defined_in(path: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE))


def shown_by_http() -> dict[str, set[str]]:
    """The tests that docs/http.md names, by their files."""
    shown: dict[str, set[str]] = {}
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", HTTP):
        shown.setdefault(path, set()).add(name)
    return shown


def test_http_names_tests_that_exist():
    for path, names in shown_by_http().items():
        assert names <= defined_in(TOP / path), path


def test_http_names_every_test_that_was_written_for_it():
    path = "tests/edge/test_rfc9111.py"
    assert shown_by_http()[path] == defined_in(TOP / path)


def test_the_rows_of_http_are_in_order_and_name_a_test_or_say_that_there_is_none():
    tables = [section for section in HTTP.split("\n## ") if "\n| --- " in section]
    assert len(tables) > 1
    for table in tables:
        rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
        assert rows
        for row in rows:
            assert len(row) == 4, row
            assert "`tests/" in row[3] or row[3] == "—", row
        sections = [[int(number) for number in re.findall(r"\d+", row[0])] for row in rows]
        assert sections == sorted(sections), table.splitlines()[0]


def configured(section: str) -> dict[str, str]:
    """The rows of all tables in one section of docs/configuration.md: the code in the first cell -> the second."""
    text = CONFIGURATION.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| .+ \|$", text, re.MULTILINE)
    assert len(dict(rows)) == len(rows) == len(re.findall(r"^\| `", text, re.MULTILINE))
    return dict(rows)


def test_whatever_asks_for_purges_is_named_where_the_audit_and_the_metrics_are_explained():
    of_edges = set(get_args(Source))
    (row,) = re.findall(r"^\| `source` \| (.+) \|$", (TOP / "docs" / "operations.md").read_text(), re.MULTILINE)
    scripts = "".join(path.read_text() for path in (TOP / "mizan_core" / "store" / "lua").glob("*.lua"))
    of_scripts = set(re.findall(r'"source":"(.+?)"', scripts))
    of_django = re.findall(r'By\(source="(\w+)"', (TOP / "mizan" / "cache" / "doors.py").read_text())
    assert of_scripts and of_django
    # What is left in the journal is audited as what it was.
    assert {*of_edges - {"journal"}, *of_scripts, *of_django} <= set(re.findall("`([a-z ]+)`", row))
    told = (TOP / "docs" / "metrics.md").read_text().partition("\n## Purges\n")[2].partition("\n## ")[0]
    assert set(re.findall("^\\| `([a-z ]+)` \\|", told, re.MULTILINE)) == of_edges


def in_python(default: object) -> str:
    return "none" if default in (None, ()) else f"`{default if isinstance(default, bool) else json.dumps(default)}`"


def typed(default: object) -> str:
    """A default as it would be written in a flag."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if default in (None, ()):
        return "none"
    return f"`{','.join(default) if isinstance(default, tuple) else default}`"


def test_the_configuration_tells_of_every_option_of_client_and_its_default():
    said = {field.name: field.default for field in fields(FunctionSpec)}
    # What a function leaves open is the manifest's default.
    decided = {n: field.default for n, field in Context.model_fields.items() if said.get(n, ...) is None}
    assert configured("@client") == {name: in_python((said | decided)[name]) for name in Options.__optional_keys__}


def test_the_configuration_tells_of_every_setting_of_django_and_its_default():
    read = re.findall(r'getattr\(settings, "(\w+)", None\) or (\w+)', inspect.getsource(conf))
    assert len(read) == len(fields(conf.Conf))
    assert configured("Django") == {name: in_python(getattr(conf, default, None)) for name, default in read}


def test_the_configuration_tells_of_every_setting_of_the_edge_and_its_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")  # which is how the table says it
    real = {
        variable(name) if name in SECRETS else f"--{name.replace('_', '-')}": "required"
        if field.is_required()
        else typed(field.get_default(call_default_factory=True))
        for name, field in Settings.model_fields.items()
    }
    told = configured("The edge")
    assert {name: re.sub(r" \(.+\)$", "", default) for name, default in told.items()} == real
    units = {"KiB": 1 << 10, "MiB": 1 << 20}
    for size, number, unit in re.findall(r"`(\d+)` \((\d+) (\wiB)\)", " ".join(told.values())):
        assert int(size) == int(number) * units[unit]


def test_the_configuration_tells_of_every_request_that_the_admin_listener_takes():
    unused: Any = None  # the handlers' parts, and no request is made here
    parts = [part(*[unused] * len(fields(part))) for part in get_type_hints(Admin).values()]
    routes = Admin(*parts).application().router.routes()
    taken = {f"{route.method} {route.resource.canonical}" for route in routes if route.resource}
    assert configured("The admin listener").keys() == {request for request in taken if not request.startswith("HEAD ")}
    section = CONFIGURATION.partition("\n## The admin listener\n")[2]
    for key in PurgeBody.model_fields:
        assert f"`{key}`" in section


def test_operations_says_of_every_detail_why_the_cache_has_no_part():
    table = (TOP / "docs" / "operations.md").read_text().partition("\n| `detail` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(get_args(Detail))
