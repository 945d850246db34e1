"""The admin listener among browsers: no page of anybody's can use it, by forms, by scripts, or by a name of its own."""

import base64
from urllib.parse import quote

import pytest

from tests.support import wire
from tests.support.edge import TOKEN, RunningEdge
from tests.support.wire import Headers, Reply

PAGE = {"Origin": "https://evil.test", "Referer": "https://evil.test/", "Sec-Fetch-Site": "cross-site"}
ALL = b'{"all": true}'


@pytest.fixture
async def filled(edge: RunningEdge) -> RunningEdge:
    """An edge that has something to lose."""
    assert not (await edge.get("/profile/5/")).hit
    return edge


async def ask(edge: RunningEdge, method: str, target: str, headers: Headers, body: bytes | None = None) -> Reply:
    return await wire.request(edge.admin, method, target, headers, body, host="127.0.0.1:8081")


async def unharmed(edge: RunningEdge) -> bool:
    return (await edge.get("/profile/5/")).hit


def gives_nothing_away(reply: Reply) -> bool:
    """Whether a page of another site may neither read the reply nor send more because of it."""
    names = {name.lower() for name, _ in reply.fields}
    return not any(name.startswith("access-control-") for name in names) and "set-cookie" not in names


FORMS = {
    "application/x-www-form-urlencoded": b"all=true",
    "multipart/form-data; boundary=b": b'--b\r\nContent-Disposition: form-data; name="all"\r\n\r\ntrue\r\n--b--\r\n',
    "text/plain": ALL,
    "text/plain;charset=application/json": ALL,
    "": ALL,
    "application/json": ALL,
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("target", ["/purge", "/reload"])
async def test_what_a_page_can_post_without_being_asked_does_nothing(filled: RunningEdge, target: str, kind: str):
    reply = await ask(filled, "POST", target, {**PAGE, **({"Content-Type": kind} if kind else {})}, FORMS[kind])
    assert reply.status == 401
    assert gives_nothing_away(reply)
    assert await unharmed(filled)


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": f"token={TOKEN}; Authorization=Bearer {TOKEN}; admin_token={TOKEN}"},
        # What a browser remembers for a site, it sends along unasked.
        {"Authorization": "Basic " + base64.b64encode(f"admin:{TOKEN}".encode()).decode()},
        {"Authorization": f"Digest {TOKEN}"},
        {"Proxy-Authorization": f"Bearer {TOKEN}"},
        {"X-Authorization": f"Bearer {TOKEN}", "X-Api-Key": TOKEN},
    ],
    ids=["cookie", "basic", "digest", "proxy", "others"],
)
async def test_a_token_counts_only_where_no_browser_puts_it_unasked(filled: RunningEdge, headers: dict[str, str]):
    for target in "/purge", f"/purge?token={TOKEN}&access_token={TOKEN}":
        reply = await ask(filled, "POST", target, {"Content-Type": "application/json", **headers}, ALL)
        assert reply.status == 401
    assert await unharmed(filled)


@pytest.mark.parametrize("wanted", ["POST", "PURGE", "GET"])
@pytest.mark.parametrize("target", ["/purge", "/reload", "/profile/5/", "/stats", "*"])
async def test_no_preflight_is_granted(edge: RunningEdge, target: str, wanted: str):
    asks = {"Access-Control-Request-Method": wanted, "Access-Control-Request-Headers": "authorization,content-type"}
    private = {"Access-Control-Request-Private-Network": "true"}
    reply = await ask(edge, "OPTIONS", target, {**PAGE, **asks, **private})
    assert reply.status >= 400
    assert gives_nothing_away(reply)


async def test_what_is_readable_by_scripts_is_nothing_even_with_a_token(edge: RunningEdge):
    token = {"Authorization": f"Bearer {TOKEN}"}
    for target in "/stats", "/healthz", "/readyz", "/nothing":
        assert gives_nothing_away(await ask(edge, "GET", target, {**PAGE, **token}))


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/purge"), ("POST", "/reload"), ("PURGE", "/profile/5/"), ("GET", "/stats"), ("OPTIONS", "/purge")],
)
@pytest.mark.parametrize(
    "host", ["evil.test", "127.0.0.1.nip.io:8081", "localhost.evil.test", "0x7f000001", "2130706433"]
)
async def test_a_name_that_was_rebound_to_this_machine_is_refused_with_the_right_token_too(
    filled: RunningEdge, method: str, target: str, host: str
):
    body = ALL if method == "POST" else None
    assert (await filled.admin_request(method, target, body, host=host)).status == 421
    assert await unharmed(filled)


@pytest.mark.parametrize(
    "target", ["/%70urge", "//purge", "/purge/", "/./purge", "/healthz/../purge", "/purge?x", "/PURGE"]
)
@pytest.mark.parametrize("method", ["POST", "PURGE", "DELETE", "PATCH"])
async def test_no_spelling_of_a_path_goes_without_a_token(filled: RunningEdge, method: str, target: str):
    reply = await ask(filled, method, target, {"Content-Type": "application/json"}, ALL)
    assert reply.status == 401
    assert await unharmed(filled)


async def test_a_purge_by_method_takes_the_path_and_no_other_site(filled: RunningEdge):
    token = {"Authorization": f"Bearer {TOKEN}"}
    for target in "http://evil.test/profile/5/", "https://site.test/profile/5/", "*":
        assert (await ask(filled, "PURGE", target, token)).status in (400, 422)
    assert await unharmed(filled)
    assert (await ask(filled, "PURGE", "/profile/5/", token)).json["entries"] == 1


async def test_a_token_is_not_told_back(edge: RunningEdge):
    for target in f"/{TOKEN}", f"/nothing?{TOKEN}", f"/stats?token={quote(TOKEN)}":
        reply = await ask(edge, "GET", target, {"Authorization": f"Bearer {TOKEN}x"})
        assert reply.status == 401
        assert TOKEN.encode() not in reply.body


async def test_probes_tell_a_stranger_states_and_nothing_of_the_site(edge: RunningEdge):
    for target in "/healthz", "/readyz":
        reply = await wire.request(edge.admin, "GET", target, PAGE, host="evil.test")
        assert reply.status == 200
        assert set(reply.json) <= {"status", "contexts", "redis", "origin", "cache"}
        assert b"127.0.0.1" not in reply.body
        assert b"/" not in reply.body
