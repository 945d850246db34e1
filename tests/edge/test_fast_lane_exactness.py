"""What is ready is no answer to a request that would be decided otherwise: ways to get one all the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from mizan_core.credentials import IDENTITY_COOKIES, IGNORED_COOKIES
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.request_parser import RequestParser
from mizan_edge.rules.identity import IdentityRules, partition
from mizan_edge.rules.selecting import Selecting
from tests.support.browser import VIEW, Browser, Deciding, browsing, ready, selected
from tests.support.certificates import Authority
from tests.support.edge import EdgeFactory
from tests.support.listening import connection
from tests.support.origin import Asked, Origin, Says
from tests.support.requests import LIMITS

RULES = IdentityRules(IDENTITY_COOKIES, IGNORED_COOKIES, ())

# Variants.


async def test_who_gets_a_variant_gets_it_though_others_do_not_vary(
    make_edge: EdgeFactory, deciding: Deciding, origin: Origin
):
    """An application that says what it varies by only where it did: nothing that it says of others is for phones."""

    def script(asked: Asked) -> Says:
        is_phone = asked.get("User-Agent") == "phone"
        return Says("small", headers=[("Vary", "User-Agent")]) if is_phone else Says("large")

    origin.script = script
    phone, desktop = {"User-Agent": "phone"}, {"User-Agent": "desktop"}
    async with browsing(await make_edge()) as browser:
        for _ in range(3):
            assert (await browser.get(VIEW, phone)).body == b"small"
        for _ in range(3):
            assert (await browser.get(VIEW, desktop)).body == b"large"
        for headers, body in ((phone, b"small"), (desktop, b"large"), ({"User-Agent": "tablet"}, b"large")):
            reply = await browser.get(VIEW, headers)
            assert reply.body == body
    assert origin.hits == 3


async def test_section_4_of_responses_that_suit_the_latest_is_repeated(
    make_edge: EdgeFactory, deciding: Deciding, origin: Origin
):
    """Once others vary by another field as well, what came before is not found any more, and so not repeated."""
    vary = ["Accept-Language"]
    origin.script = lambda asked: Says(f"#{origin.hits}", headers=[("Vary", ", ".join(vary))])
    headers = {"Accept-Language": "de", "Accept": "text/html"}
    async with browsing(await make_edge()) as browser:
        assert (await ready(browser, deciding, VIEW, headers)).body == b"#1"
        vary.append("Accept")
        assert (await browser.get(VIEW, {"Accept-Language": "en"})).body == b"#2"
        # The same for the application, but not like a request before.
        assert (await browser.get(VIEW, headers | {"X-Any": "1"})).body == b"#3"
        assert (await browser.get(VIEW, headers)).body == b"#3"
        assert (await ready(browser, deciding, VIEW, headers)).body == b"#3"


# What the parser refuses.


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("beyond", [-1, 0, 1, 9, 14])
def test_a_head_that_is_too_long_with_its_request_line_is_left_to_the_parser(method: bytes, beyond: int):
    limits = replace(LIMITS, head_bytes=1100, target_bytes=1000)
    start = method + b" /%b HTTP/1.1" % (b"a" * 999)
    block = b"\r\nHost: site.test\r\nUser-Agent: %b\r\n\r\n"
    block %= b"b" * (limits.head_bytes + beyond - len(start + block) + len(b"%b"))
    parser = RequestParser("http", limits)
    parser.feed(start + block)
    selecting = Selecting(IdentityRules((), (), ()), limits)
    if beyond > 0:
        with pytest.raises(RefusedError):
            parser.head()
        assert selected(selecting, block) is None
    else:
        assert parser.head() is not None


def test_no_line_can_be_spelled_like_what_cookies_come_down_to():
    """A bare LF, which the parser refuses, and at which others might see the end of the head."""
    selecting = Selecting(RULES, LIMITS)
    kept = selected(selecting, b"\r\nHost: a\r\nCookie: mizan_mwt=t\r\n\r\n")
    assert kept != selected(selecting, b"\r\nHost: a\r\n\nCookie:mizan_mwt=t\r\n\r\n")


@pytest.mark.parametrize("cookies", [990, 1001, 1100])
def test_more_cookies_than_anybody_looks_at_are_left_to_who_says_so(cookies: int):
    values = [";".join(["_ga="] * count) for count in [100] * (cookies // 100) + [cookies % 100]]
    lines = b"".join(b"Cookie:%b\r\n" % value.encode() for value in values if value)
    fields = tuple(("Cookie", value) for value in values if value)
    limits = replace(LIMITS, head_bytes=16384)
    if isinstance(partition(fields, RULES, lambda token: None), str):
        assert selected(Selecting(RULES, limits), b"\r\nHost: a\r\n" + lines + b"\r\n") is None
    else:
        assert cookies < 1000


# What is counted.


async def test_over_tls_a_large_answer_is_counted_once(
    make_edge: EdgeFactory, deciding: Deciding, origin: Origin, tmp_path: Path
):
    """It goes out in pieces, which is not for what is ready."""
    certificate, key, authority = tmp_path / "site.pem", tmp_path / "site.key", Authority()
    authority.issue(certificate, key, "site.test")
    edge = await make_edge(tls_cert=certificate, tls_key=key)
    origin.script = lambda asked: Says("x" * 100_000 if asked.target == VIEW else "x")
    async with connection(edge.address, ssl=authority.client(), server_hostname="site.test") as (reader, writer):
        browser = Browser(reader, writer)
        for _ in range(4):
            assert len((await browser.get(VIEW)).body) == 100_000
        assert deciding.count == 4
        await ready(browser, deciding, "/catalog/caps/")
    counters = await edge.counters()
    assert counters["requests.catalog.hit"] == 3 + 2
