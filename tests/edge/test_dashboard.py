"""The dashboard, in a real browser: what it shows, what it does, and what it may not."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from mizan_edge.admin import history
from tests.support.chromium import Page, Pipes, chromium, program, tab
from tests.support.edge import MANIFEST, TOKEN, EdgeFactory, RunningEdge
from tests.support.origin import Origin

READ_TOKEN = "read-token"
UNKNOWN = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
MARKUP = "<img src=x onerror=alert(1)><b>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Pipes]:
    path = program()
    if path is None:
        # It is no part of what this project needs to run; but where changes are accepted, nothing goes unchecked.
        if os.environ.get("CI"):
            pytest.fail("no Chromium here, and it could not be installed: the dashboard was not looked at")
        pytest.skip("no Chromium here (apt-get install chromium): the dashboard was not looked at")
    # What it does at last, it may do while the directory is being removed.
    with (
        tempfile.TemporaryDirectory(prefix="mizan-chromium-", ignore_cleanup_errors=True) as home,
        chromium(path, Path(home)) as pipes,
    ):
        yield pipes


@pytest.fixture
async def page(browser: Pipes) -> AsyncIterator[Page]:
    async with tab(browser) as page:
        yield page


async def sign_in(page: Page, edge: RunningEdge, token: str = TOKEN) -> None:
    await page.go(f"http://{edge.admin}/")
    await page.type("#token", token)
    await page.press("Enter")
    await page.until("document.querySelector('#state').textContent === 'The cache is in use'")


async def explain(page: Page, url: str) -> str:
    """What the box says of the first URL."""
    await page.type("#explain-url", url)
    await page.press("Enter")
    return await page.text("#explain .body .stack")


async def test_a_url_is_explained_and_purged_after_a_dry_run_which_the_feed_shows(page: Page, edge: RunningEdge):
    await edge.get("/profile/5/", host=edge.address)
    await sign_in(page, edge)
    explained = await explain(page, "/profile/5/")
    assert "hit What is stored is fresh." in explained
    assert "mizan-edge; hit; ttl=86" in explained
    # What would purge it is one click from being purged.
    await page.until(
        """(() => {
          const all = [...document.querySelectorAll('#explain .chip button')]
          all.find((one) => one.textContent === 'user;user_id=5').id = 'chosen'
          return true
        })()"""
    )
    await page.click("#chosen")
    assert await page.run("document.querySelector('#purge-text').value") == "user;user_id=5"
    await page.click("#purge button.main")
    assert "This would remove 1 entry." in await page.text("#purge .body .stack")
    assert (await edge.get("/profile/5/", host=edge.address)).hit
    await page.click("#purge button.danger")
    await page.until("document.querySelector('#purge .done')?.textContent.startsWith('Purged 1 entry, as number ')")
    fed = await page.until("document.querySelector('#feed tbody tr')?.innerText")
    assert "user;user_id=5" in fed
    assert "POST /purge with the purge token" in fed
    assert not (await edge.get("/profile/5/", host=edge.address)).hit
    assert page.said == []
    assert {url.partition("/dashboard/")[0].partition("?")[0] for url in page.asked} >= {f"http://{edge.admin}/live"}
    assert all(url.startswith(f"http://{edge.admin}/") for url in page.asked)


async def test_what_was_counted_cannot_be_purged_once_the_form_says_something_else(page: Page, edge: RunningEdge):
    await edge.get("/profile/5/")
    await sign_in(page, edge)
    await page.type("#purge-text", "user;user_id=5")
    await page.click("#purge button.main")
    await page.text("#purge button.danger")
    await page.click("#purge input[value=all]")
    await page.until("!document.querySelector('#purge button.danger')")
    assert (await edge.get("/profile/5/")).hit


async def test_a_wrong_token_shows_nothing(page: Page, edge: RunningEdge):
    await page.go(f"http://{edge.admin}/")
    await page.type("#token", "wrong-token")
    await page.press("Enter")
    assert await page.text("#sign-in .problem") == "No such token is known here."
    assert await page.run("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]
    assert not await page.run("document.querySelector('#panels').checkVisibility()")
    assert set(page.said) == {UNKNOWN}


SHOWN = "[...document.querySelectorAll('#panels .body, #overview')].map((place) => place.textContent).join('')"


async def test_the_read_token_sees_and_cannot_purge_and_is_forgotten_with_the_tab(page: Page, edge: RunningEdge):
    await page.go(f"http://{edge.admin}/")
    fresh = await page.run(SHOWN)
    await sign_in(page, edge, READ_TOKEN)
    await page.until("document.querySelector('#purge .hint').textContent.startsWith('This token reads only.')")
    assert await page.run("document.querySelector('#purge button').disabled")
    assert "rename_user" in await page.text("#graph svg")
    assert await page.run("[localStorage.length, document.cookie]") == [0, ""]
    await page.go(f"http://{edge.admin}/")
    await page.until("document.querySelector('#panels').checkVisibility()")
    await page.click("#sign-out")
    await page.until("document.querySelector('#sign-in').checkVisibility()")
    assert await page.run("sessionStorage.length") == 0
    assert await page.run(SHOWN) == fresh


async def test_charts_and_top_urls_show_what_was_asked_for(
    page: Page, make_edge: EdgeFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(history, "EVERY_S", 0.05)
    edge = await make_edge()
    for _ in range(5):
        await edge.get("/profile/5/")
    await edge.get("/elsewhere/?secret=1")
    await sign_in(page, edge)
    await page.until("document.querySelectorAll('#ratio .curve').length === 2")
    await page.until("document.querySelector('#latency .curve').getAttribute('d').startsWith('M')")
    assert (await page.text("#ratio .legend")).split() == ["all", "user"]
    top = await page.text("#top tbody")
    assert top.startswith("/profile/5/")
    assert "/elsewhere/" in top
    assert "secret" not in top
    await page.run("document.querySelector('#ratio svg').focus()")
    await page.press("ArrowLeft")
    assert ":" in await page.text("#ratio .told")
    figures = await page.run("[...document.querySelectorAll('#ratio tbody tr')].map((row) => row.textContent)")
    assert [row.rstrip("0123456789.%") for row in figures] == ["all", "user"]
    assert page.said == []


async def test_a_context_is_switched_off_and_on(page: Page, edge: RunningEdge):
    await edge.get("/profile/5/")
    await sign_in(page, edge)
    switch = '#contexts [aria-label="Cache of user"]'
    await page.click(switch)
    await page.until(f"document.querySelector('{switch}').textContent === 'off'")
    assert "disabled" in (await edge.get("/profile/5/")).cache
    await page.click(switch)
    await page.until(f"document.querySelector('{switch}').textContent === 'on'")
    assert "disabled" not in (await edge.get("/profile/5/")).cache
    assert page.said == []


async def test_markup_in_a_url_or_a_scope_is_text(page: Page, edge: RunningEdge):
    url = f"/catalog/{quote(MARKUP, safe='')}/"
    await edge.get(url, host=edge.address)
    assert (await edge.purge(f'catalog;category="{MARKUP}"')).status == 200
    await edge.get(url, host=edge.address)
    await sign_in(page, edge)
    assert "img" in await explain(page, url)
    await page.until(f"document.querySelector('#feed').innerText.includes({MARKUP!r})")
    await page.type("#explain-url", f"/{MARKUP}")
    await page.press("Enter")
    assert "The request line is malformed." in await page.text("#explain .problem")
    await page.type("#purge-text", f'catalog;category="{MARKUP}"')
    await page.click("#purge button.main")
    assert MARKUP in await page.text("#purge .body .stack")
    assert await page.run("document.querySelectorAll('main img, main b').length") == 0
    assert all("422" in said for said in page.said)


async def test_the_page_may_not_make_markup_of_text_run_what_is_inline_or_ask_others(
    page: Page, edge: RunningEdge, origin: Origin
):
    """Else nothing that the other tests find would mean much."""
    await page.go(f"http://{edge.admin}/")
    assert "TrustedHTML" in await page.run("try { document.body.innerHTML = '<b>' } catch (error) { error.message }")
    await page.run("document.head.append(Object.assign(document.createElement('style'), {textContent: '*{}'}))")
    assert await page.run(f"fetch('{origin.url}/').catch(() => 'refused')") == "refused"
    assert origin.hits == 0
    refused = "TrustedHTML", "inline style", f"load {origin.url}"
    assert [any(what in said for said in page.said) for what in refused] == [True, True, True], page.said


async def test_it_is_light_or_dark_and_fits_a_phone(page: Page, edge: RunningEdge):
    await page.looks(width=360, height=740, dark=True, phone=True)
    await page.go(f"http://{edge.admin}/")
    assert await page.run("document.documentElement.scrollWidth") == 360
    await sign_in(page, edge)
    await explain(page, "/profile/5/?with=a-rather-long-query-that-has-no-place-to-break-anywhere-in-it-at-all")
    await page.text("#graph svg")
    assert await page.run("document.documentElement.scrollWidth") == 360
    assert await is_dark(page)
    await page.looks(width=360, height=740, dark=False, phone=True)
    assert not await is_dark(page)
    for switched_to_dark in (False, True):
        await page.click("#theme")
        assert await is_dark(page) == switched_to_dark


async def is_dark(page: Page) -> bool:
    """Whether its background is."""
    told = await page.run("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, told.removeprefix("rgb(").removesuffix(")").split(","))) < 3 * 128


async def test_what_an_edge_does_not_have_is_said(page: Page, make_edge: EdgeFactory):
    edge = await make_edge({"contexts": {}})
    await sign_in(page, edge)
    assert await page.text("#graph .hint") == "The manifest declares no context: nothing is cached."


async def test_the_page_is_open_and_what_it_shows_is_not(edge: RunningEdge):
    page = await edge.admin_request("GET", "/", token=None)
    assert page.status == 200
    assert b"<title>mizan-edge</title>" in page.body
    headers = {name.lower(): value for name, value in page.fields}
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    for path in "/live", "/manifest", "/audit", "/explain?url=/":
        assert (await edge.admin_request("GET", path, token=None)).status == 401
    assert (await edge.admin_request("GET", "/dashboard/nothing.js", token=None)).status == 404
    assert (await edge.admin_request("GET", "/dashboard/..%2Faccess.py", token=None)).status == 404
    assert (await edge.admin_request("POST", "/", token=None)).status == 401
    assert (await edge.admin_request("GET", "/", token=None, host="evil.test")).status == 421
    assert MANIFEST["mutations"].keys() == (await edge.admin_request("GET", "/manifest")).json["mutations"].keys()
