"""What the adapter's README prints works as printed, in a project of its own, and behind an edge where it matters."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from demo.browser import Browser, Reply
from mizan_edge.system.embedded import find_server
from tests.conftest import NO_SERVER
from tests.django.channels.sockets import Speaker, speaking
from tests.project.running import EARLIER, Running, environment, manage, running
from tests.support import redis_server
from tests.support.edges import Watch
from tests.support.processes import wait_for

BASE = "/api/mizan/"
PASSWORD = "correct horse battery"
CONTACT = {"name": "Ann", "email": "ann@example.org", "message": "Do you have tea?"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server = find_server()
    if server is None:
        pytest.fail(NO_SERVER)
    with redis_server.running(server) as url, running(url, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def visitor(site: Running) -> Browser:
    return site.browser()


def call(browser: Browser, fn: str, /, **args: Any) -> Reply:
    return browser.post_json(f"{BASE}call/", {"fn": fn, "args": args})


def result(browser: Browser, fn: str, /, **args: Any) -> Any:
    reply = call(browser, fn, **args)
    assert reply.status == 200, reply.text
    return reply.json["result"]


def sign_up(browser: Browser, name: str) -> int:
    """Signs up and in, by the functions of mizan.allauth; the user's id."""
    outcome = result(browser, "auth_sign_up", username=name, email=f"{name}@example.org", password=PASSWORD)
    assert outcome["signed_in"]
    return int(browser.get(f"{BASE}ctx/global/").json["current_user"]["user_id"])


def profile(browser: Browser, user_id: int) -> tuple[str, bool]:
    """The name that the context `user` shows, and whether that was a hit."""
    reply = browser.get(f"{BASE}ctx/user/?user_id={user_id}")
    return reply.json["user_profile"]["name"], "hit" in reply.cache_status


def test_echo(visitor: Browser):
    assert result(visitor, "echo", text="hi") == {"message": "hi"}
    assert call(visitor, "echo").status == 422


def test_a_second_read_is_a_hit_and_a_mutation_purges_it(visitor: Browser, site: Running):
    user = sign_up(site.browser(), "bea")
    other = sign_up(site.browser(), "cid")
    for fn, args, name in (("rename_user", {"name": "Bea"}, "Bea"), ("forget_name", {}, "")):
        for seen in (user, other):
            profile(visitor, seen)
            assert profile(visitor, seen)[1]
        assert call(visitor, fn, user_id=user, **args).json["invalidate"] == [f"user;user_id={user}"]
        assert profile(visitor, user) == (name, False)
        assert profile(visitor, user) == (name, True)
        assert profile(visitor, other) == ("", True)


def test_a_route_is_a_page(visitor: Browser, site: Running):
    user = sign_up(site.browser(), "dan")
    call(visitor, "rename_user", user_id=user, name="Dan")
    assert visitor.get(f"/profile/{user}/").text == "<h1>Dan</h1>"


def test_who_may_call(visitor: Browser, site: Running):
    ann = site.browser()
    user = sign_up(ann, "ann")

    def allowed(browser: Browser) -> list[int]:
        guarded = ("members_only", "ann_only", "staff_only", "superusers_only", "greeting")
        return [call(browser, fn).status for fn in guarded]

    assert allowed(visitor) == [401, 401, 401, 401, 200]
    assert allowed(ann) == [200, 200, 403, 403, 200]
    site.worker.run(f"tasks.promote({user})")
    assert allowed(ann) == [200] * 5


def test_a_form(visitor: Browser, site: Running):
    schema = result(visitor, "contact.schema")
    assert (schema["title"], schema["submit_label"]) == ("Contact Us", "Send")
    assert [(field["name"], field["type"]) for field in schema["fields"]] == [
        ("name", "string"),
        ("email", "email"),
        ("message", "string"),
    ]
    wrong = result(visitor, "contact.validate", data={**CONTACT, "email": "no address"})
    assert (wrong["valid"], list(wrong["errors"])) == (False, ["email"])
    sent = result(visitor, "contact.submit", data=CONTACT)
    assert sent == {"valid": True, "errors": {}, "data": {"sent": True}}
    (mail,) = (site.home / "mail").iterdir()
    assert CONTACT["message"] in mail.read_text()


async def test_a_chat_goes_through_the_edge_s_tunnel(visitor: Browser, site: Running):
    ann, tea = site.browser(), {"room": "tea"}
    sign_up(ann, "eve")

    def socket(browser: Browser) -> AbstractAsyncContextManager[Speaker]:
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        headers = {"Host": site.address, "Origin": f"http://{site.address}", "Cookie": cookies}
        return speaking(site.address, headers=headers)

    async with socket(ann) as speaker, socket(visitor) as nobody:
        assert await nobody.code(subscribe="chat_channel", params=tea) == "unauthenticated"
        assert await speaker.ask(subscribe="chat_channel", params=tea) == {"result": {"params": tea}}
        assert await nobody.ask(call="say", args={"room": "coffee", "text": "psst"}) == {"result": None}
        assert await speaker.ask(call="say", args={"room": "tea", "text": "hello"}) == {"result": None}
        message = {"text": "hello", "user": "eve"}
        assert await speaker.hear() == {"channel": "chat_channel", "params": tea, "message": message}


def test_who_has_signed_in_gets_hits_by_the_token_beside_the_session(visitor: Browser, site: Running):
    flo = site.browser()
    user = sign_up(flo, "flo")
    assert {"sessionid", "mizan_mwt"} <= flo.cookies.keys()
    call(flo, "auth_sign_out")
    assert not {"sessionid", "mizan_mwt"} & flo.cookies.keys()
    assert result(flo, "auth_sign_in", login="flo", password=PASSWORD)["signed_in"]

    def current(browser: Browser) -> tuple[Any, bool]:
        reply = browser.get(f"{BASE}ctx/global/")
        return reply.json["current_user"], "hit" in reply.cache_status

    me = {"user_id": user, "name": ""}
    current(flo)
    assert current(flo) == (me, True)
    current(visitor)
    assert current(visitor) == (None, True)
    token = flo.cookies.pop("mizan_mwt")
    assert current(flo) == (me, False), "the session alone tells the edge nothing"
    assert flo.cookies["mizan_mwt"], "and is given a token again"
    bearer = site.browser()
    bearer.cookies = {"mizan_mwt": token}
    assert current(bearer) == (me, True), "it is the token that tells"


def test_a_worker_purges_what_the_edge_has_in_memory(visitor: Browser, site: Running):
    user = sign_up(site.browser(), "gus")
    watch = Watch(site.redis_url)
    try:
        assert profile(visitor, user) == ("", False)
        assert wait_for(lambda: watch.asked("store") > 0)
        profile(visitor, user)
        watch.reset()
        assert profile(visitor, user) == ("", True)
        assert watch.asked("read", "lead") == 0, "it is in memory"
        site.worker.run(f"tasks.rename({user}, 'Gus')")
        assert watch.asked("purge") > 0
        assert profile(visitor, user) == ("Gus", False)
    finally:
        watch.close()


def test_the_earlier_spelling():
    said = manage(EARLIER, "test", env=environment())
    assert "Ran 4 tests" in said and "\nOK\n" in said, said
