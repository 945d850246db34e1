"""What is ready is no answer to a request that would be decided otherwise: ways to get one all the same."""

from collections.abc import Callable

from tests.support.browser import VIEW, Deciding, browsing, ready
from tests.support.edge import EdgeFactory
from tests.support.origin import Asked, Origin, Says

PROFILE = "/profile/5/"


def saying(shown: Callable[[Asked], tuple[str, str]]) -> Callable[[Asked], Says]:
    """An origin whose answers show something of the request, and say by what they vary."""

    def script(asked: Asked) -> Says:
        text, vary = shown(asked)
        return Says(text, headers=[("Vary", vary)] if vary else [])

    return script


# Variants.


async def test_who_gets_a_variant_gets_it_though_others_do_not_vary(
    make_edge: EdgeFactory, deciding: Deciding, origin: Origin
):
    """An application that says what it varies by only where it did: nothing that it says of others is for phones."""
    origin.script = saying(
        lambda asked: ("small", "User-Agent") if asked.get("User-Agent") == "phone" else ("large", "")
    )
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
