"""Server-side rendering: real Node (and Bun, where it is installed), and React as npm installs it."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.shortcuts import render
from django.template import TemplateDoesNotExist, engines
from django.test import Client, RequestFactory, override_settings
from pydantic import BaseModel

from mizan.ssr import ReactTemplates, RenderError
from mizan.ssr.renderer import Renderer
from tests.django.overrides import WITH_MIDDLEWARE

HERE = Path(__file__).parent / "ssr"
COMPONENTS = HERE / "components"
RUNTIMES = [name for name in ("node", "bun") if shutil.which(name)]
if not RUNTIMES and "CI" in os.environ:
    raise RuntimeError("Node is not installed, and its tests must not be skipped here")

pytestmark = pytest.mark.skipif(not RUNTIMES, reason="there is neither Node nor Bun here")


@pytest.fixture(scope="module", autouse=True)
def react() -> None:
    """React beside the components; other test processes may want it at the same time."""
    with (HERE / ".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (HERE / "node_modules" / "react-dom").is_dir():
            installer = ["npm", "ci", "--no-audit", "--no-fund"] if shutil.which("npm") else ["bun", "install"]
            subprocess.run(installer, cwd=HERE, check=True, capture_output=True)


Make = Callable[..., ReactTemplates]


@pytest.fixture(params=RUNTIMES)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a backend with these OPTIONS, which run in Node and Bun in turn."""
    made = []

    def make_backend(**options: Any) -> ReactTemplates:
        params = {"NAME": "react", "DIRS": [COMPONENTS], "APP_DIRS": False}
        made.append(ReactTemplates({**params, "OPTIONS": {"command": [request.param], **options}}))
        return made[-1]

    yield make_backend
    for backend in made:
        backend.renderer.close()


def data_of(page: str) -> Any:
    found = re.search(r'<script id="__MIZAN_SSR_DATA__" type="application/json">(.*?)</script>', page)
    assert found, page
    return json.loads(found[1])


def test_a_component_is_rendered_with_the_context_as_its_props(make: Make, capfd: pytest.CaptureFixture[str]):
    page = make().get_template("page.mjs").render({"name": "Ann", "notes": ["a", "b"]})
    assert page.startswith('<div id="root"><main><h1>Hello Ann</h1><p>2</p><li>a</li><li>b</li></main></div><script')
    assert data_of(page) == {"name": "Ann", "notes": ["a", "b"]}
    assert "rendering Ann" in capfd.readouterr().err


def test_what_ends_a_script_element_does_not(make: Make):
    name = "</script><script>alert(1)</script><!--\u2028&"
    page = make().get_template("page.mjs").render({"name": name})
    assert page.count("<script") == page.count("</script>") == 1
    assert "<!--" not in page.partition("<script")[2]
    assert data_of(page) == {"name": name}


def test_props_are_what_json_can_say(make: Make):
    class Props(BaseModel):
        name: str
        day: date

    component = make().get_template("page.mjs")
    assert data_of(component.render(Props(name="Ann", day=date(2026, 1, 2)))) == {"name": "Ann", "day": "2026-01-02"}
    mixed = {"name": "Ann", "view": object(), "of": Props(name="Bob", day=date(2026, 1, 2))}
    assert data_of(component.render(mixed)) == {"name": "Ann", "of": {"name": "Bob", "day": "2026-01-02"}}
    for given in ({"name": object()}, {"name": float("nan")}):
        with pytest.raises(TypeError, match=r"the context of page\.mjs cannot become props"):
            component.render(given)


def test_a_component_may_be_the_whole_document(make: Make):
    page = make().get_template("document.mjs").render({"title": "Hi"})
    assert page.startswith('<!DOCTYPE html><html lang="en"><head>')
    assert page.endswith(
        '<script id="__MIZAN_SSR_DATA__" type="application/json">{"title": "Hi"}</script></body></html>'
    )


def test_a_layout_puts_them_where_it_wants(make: Make, tmp_path: Path):
    (tmp_path / "base.html").write_text("<body>{{ data }}|{{ html }}</body>")
    backend = make(layout="base.html", root="app")
    templates = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path]}]
    with override_settings(TEMPLATES=templates):
        page = backend.get_template("page.mjs").render({"name": "Ann"})
    assert page.startswith("<body><script id=") and '</script>|<div id="app"><main><h1>Hello Ann' in page


def test_a_bundle_renders_itself(make: Make):
    assert make().get_template("bundle.mjs").render({"name": "Ann"}).startswith('<div id="root"><b>3</b></div>')


def test_an_error_says_where(make: Make):
    with pytest.raises(RenderError, match=r"(?s)broken\.mjs cannot be rendered: Error: no such luck.*broken\.mjs:\d"):
        make(fallback=False).get_template("broken.mjs").render({"kind": "throws"})


def test_what_cannot_be_rendered_is_left_to_the_browser(make: Make, caplog: pytest.LogCaptureFixture):
    page = make(fallback=True).get_template("broken.mjs").render({"kind": "throws"})
    assert page.startswith('<div id="root"></div><script') and data_of(page) == {"kind": "throws"}
    assert "no such luck" in caplog.text


def test_what_a_component_prints_is_no_answer(make: Make):
    with pytest.raises(RenderError, match="no such luck"):
        make(fallback=False).get_template("broken.mjs").render({"kind": "prints"})


def test_what_hangs_is_ended(make: Make):
    backend = make(fallback=False, timeout=1)
    with pytest.raises(RenderError, match=r"broken\.mjs took longer than 1 s"):
        backend.get_template("broken.mjs").render({"kind": "hangs"})
    assert "Hello Ann" in backend.get_template("page.mjs").render({"name": "Ann"})


def test_what_ends_the_process_is_given_up(make: Make):
    backend = make(fallback=False)
    with pytest.raises(RenderError, match="ended 3 times"):
        backend.get_template("broken.mjs").render({"kind": "exits"})
    assert "Hello Ann" in backend.get_template("page.mjs").render({"name": "Ann"})


def test_a_process_that_takes_no_input_is_asked_once(make: Make, tmp_path: Path):
    # Like one that has just died, and whose death nobody has heard of: its output is still open.
    deaf_once = f'mkdir "{tmp_path}/was-deaf" && exec 0<&- && exec sleep 60; exec {RUNTIMES[0]} "$1"'
    backend = make(command=["sh", "-c", deaf_once, "sh"], fallback=False, timeout=20)
    # Larger than a pipe holds.
    page = backend.get_template("page.mjs").render({"name": "Ann", "notes": ["x" * 70_000]})
    assert "Hello Ann" in page


def test_fifty_threads_share_a_process_that_is_killed_in_between(make: Make):
    backend = make(fallback=False, timeout=20)
    component = backend.get_template("page.mjs")
    go = threading.Barrier(50)
    pids = set()

    def pid() -> int:
        process = backend.renderer._process
        assert process is not None
        return process._popen.pid

    def visit(number: int) -> list[str]:
        go.wait()
        pages: list[str] = []
        for i in range(4):
            # Larger than a pipe holds.
            pages.append(component.render({"name": f"{number}-{i}", "notes": ["x" * 70_000]}))
            if number == 0 and i in (1, 3):
                pids.add(pid())
                os.kill(pid(), signal.SIGKILL)
        return pages

    with ThreadPoolExecutor(50) as threads:
        visits = list(threads.map(visit, range(50)))
    for number, pages in enumerate(visits):
        for i, page in enumerate(pages):
            assert page.startswith(f'<div id="root"><main><h1>Hello {number}-{i}</h1>')
    assert len(pids | {pid()}) == 3


def test_it_ends_with_the_process_that_started_it():
    script = (
        "import os, signal; from pathlib import Path; from mizan.ssr.renderer import Renderer; r = Renderer();"
        f'r.render(Path({str(COMPONENTS / "page.mjs")!r}), \'{{"name": "Ann"}}\');'
        "print(r._process._popen.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    out = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False).stdout
    pid = int(out)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # it has ended already
    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)


def test_a_fork_has_a_process_of_its_own(make: Make):
    backend = make()
    component = backend.get_template("page.mjs")
    component.render({"name": "Ann"})
    process = backend.renderer._process
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, component.render({"name": "Bob"})[:40].encode())
        backend.renderer.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert b"Hello Bob" in os.read(read, 100)
    assert backend.renderer._process is process
    assert "Hello Ann" in component.render({"name": "Ann"})


def test_a_changed_component_is_loaded_again(make: Make, tmp_path: Path):
    file = tmp_path / "live.mjs"
    params = {"NAME": "react", "DIRS": [tmp_path], "APP_DIRS": False, "OPTIONS": {"command": [RUNTIMES[0]]}}
    backend = ReactTemplates(params)
    for turn in range(2):
        file.write_text(f"export const render = () => '{turn}'")
        os.utime(file, (turn, turn))
        assert backend.get_template("live.mjs").render().startswith(f'<div id="root">{turn}</div>')
    backend.renderer.close()


def test_without_a_runtime_it_says_what_to_install():
    with pytest.raises(RenderError, match=r"'no-such-bun' cannot be run .*: install Node or Bun"):
        Renderer(["no-such-bun"]).render(COMPONENTS / "page.mjs", "{}")


def test_other_files_are_other_backends(make: Make):
    backend = make()
    for name in ("page.html", "nowhere.mjs", "../package.json"):
        with pytest.raises(TemplateDoesNotExist):
            backend.get_template(name)
    with pytest.raises(ImproperlyConfigured, match="'dirs' is no option"):
        make(dirs=[])


def test_it_stands_in_settings_and_renders_views():
    backends = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True},
        {"BACKEND": "mizan.ssr.ReactTemplates", "DIRS": [COMPONENTS]},
    ]
    with override_settings(TEMPLATES=backends):
        page = render(RequestFactory().get("/"), "page.mjs", {"name": "Ann"}).content.decode()
        react = next(engine for engine in engines.all() if isinstance(engine, ReactTemplates))
        react.renderer.close()
    assert "<h1>Hello Ann</h1>" in page


@pytest.mark.parametrize("path", ["/react/", "/plain/react/"])
def test_a_page_that_was_left_to_the_browser_is_kept_by_nobody(path: str):
    options: dict[str, Any] = {"fallback": True, "command": ["no-such-bun"]}
    backends = [{"BACKEND": "mizan.ssr.ReactTemplates", "DIRS": [COMPONENTS], "OPTIONS": options}]
    with override_settings(TEMPLATES=backends), WITH_MIDDLEWARE:
        response = Client().get(path)
        assert (response.status_code, response.headers["Mizan-Cache-Control"]) == (200, "no-store")
        options["command"] = RUNTIMES[:1]
    with override_settings(TEMPLATES=backends), WITH_MIDDLEWARE:
        assert "no-store" not in Client().get(path).headers.get("Mizan-Cache-Control", "")
        engines.all()[0].renderer.close()  # type: ignore[attr-defined]
