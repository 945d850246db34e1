"""What tells responses to one URL apart beyond the URL: Vary, partial pages, hosts, and fields that only some see."""

import pytest
import redis

from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says
from tests.support.wire import Headers

VIEW = "/profile/5/"
ENDPOINT = "/api/mizan/ctx/user/?user_id=5"
MISS, VARY_MISS = "fwd=uri-miss; stored", "fwd=vary-miss; stored"


def by(*names: str, vary: str | None = None):
    """An origin whose responses show some fields of the request and vary by them."""

    def script(asked: Asked) -> Says:
        body = "|".join(f"{asked.get(name)}" for name in names)
        return Says(body, headers=[("Vary", vary or ", ".join(names))])

    return script


def language(text: str) -> list[tuple[str, str]]:
    return [("Accept-Language", text)]


async def bodies(edge: RunningEdge, *requests: Headers, target: str = VIEW) -> list[str]:
    return [(await edge.get(target, headers)).body.decode() for headers in requests]


@pytest.mark.parametrize("target", [VIEW, ENDPOINT, "/catalog/shoes/"])
async def test_variants_lie_side_by_side(edge: RunningEdge, origin: Origin, target: str):
    origin.script = by("Accept-Language")
    asks: list[Headers] = [language("de"), language("en"), []]
    first = [await edge.get(target, headers) for headers in asks]
    again = [await edge.get(target, headers) for headers in asks]
    assert [reply.cache for reply in first] == [MISS, VARY_MISS, VARY_MISS]
    assert origin.hits == 3
    assert [reply.body for reply in again] == [b"de", b"en", b"None"]
    assert all(reply.hit for reply in again)


async def test_calls_vary_as_well(edge: RunningEdge, origin: Origin):
    origin.script = by("Accept-Language")
    for text in ("de", "en", "de", "en"):
        assert (await edge.call("user_profile", language(text), user_id=5)).body == text.encode()
    assert origin.hits == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (language("de,en"), language("de ,  en"), True),
        (language("de, en"), [*language("de"), *language("en")], True),
        (language("de"), [("ACCEPT-LANGUAGE", "de")], True),
        (language("de"), language("DE"), True),
        (language("en;q=0.5, de"), language("de,en;q=0.5"), True),
        (language("de, en"), language("en, de"), False),
        (language('de;x="a,b"'), language('de;x="a, b"'), False),
        ([("X-Shown", "a,b")], [("X-Shown", "a, b")], False),
        ([("X-Shown", "a,,b")], [("X-Shown", "a,b")], False),
        ([("X-Shown", "")], [], False),
    ],
)
async def test_only_spellings_that_mean_the_same_share_a_variant(
    edge: RunningEdge, origin: Origin, one: Headers, other: Headers, same: bool
):
    origin.script = by("Accept-Language", "X-Shown")
    await edge.get(VIEW, one)
    assert (await edge.get(VIEW, other)).hit == same


async def test_one_that_lives_shortly_keeps_nobody_from_finding_the_others(
    edge: RunningEdge, origin: Origin, redis_url: str, namespace: str
):
    lives = {"de": 3600, "en": 60}

    def script(asked: Asked) -> Says:
        seconds = lives[asked.get("Accept-Language") or ""]
        return Says("page", headers=[("Vary", "Accept-Language"), ("Cache-Control", f"max-age={seconds}")])

    origin.script = script
    await bodies(edge, language("de"), language("en"))
    with redis.Redis.from_url(redis_url) as client:
        left = sorted(client.ttl(key) for key in client.scan_iter(f"{{{namespace}}}:e:*"))
    # The record of what they vary by, which leads to both, lasts as long as the longer.
    assert [seconds > 60 for seconds in left] == [False, True, True]


async def test_all_variants_are_purged_together(edge: RunningEdge, origin: Origin):
    origin.script = by("Accept-Language")
    await bodies(edge, language("de"), language("en"))
    assert (await edge.purge("user;user_id=5")).status == 200
    assert [(await edge.get(VIEW, language(text))).hit for text in ("de", "en")] == [False, False]


async def test_an_origin_that_changes_its_mind_about_vary_is_followed(edge: RunningEdge, origin: Origin):
    await edge.get(VIEW)
    await edge.purge("user")
    origin.script = by("X-A")
    assert await bodies(edge, [("X-A", "1")], [("X-A", "2")], [("X-A", "1")]) == ["1", "2", "1"]
    origin.script = by("X-A", "X-B")
    await edge.get(VIEW, [("X-A", "3"), ("X-B", "1")])
    assert await bodies(edge, [("X-A", "3"), ("X-B", "2")], [("X-A", "3"), ("X-B", "1")]) == ["3|2", "3|1"]
    # Entries of the old selection may be there still, and must not answer for a value that they have not seen.
    assert await bodies(edge, [("X-A", "1"), ("X-B", "9")]) == ["1|9"]


@pytest.mark.parametrize("lenient", [False, True], ids=["a strict origin", "an origin that folds underscores"])
@pytest.mark.parametrize(
    "trick",
    [
        [*language("de"), ("Connection", "accept-language")],
        [("Accept_Language", "de")],
        [("accept_language", "de"), *language("en")],
    ],
)
async def test_a_field_that_only_some_see_poisons_no_variant(
    edge: RunningEdge, origin: Origin, trick: list[tuple[str, str]], lenient: bool
):
    def script(asked: Asked) -> Says:
        names = {"accept-language", "accept_language"} if lenient else {"accept-language"}
        seen = [value for name, value in asked.headers if name.lower() in names]
        return Says(seen[0] if seen else "none", headers=[("Vary", "Accept-Language")])

    origin.script = script
    asks = [trick, language("de"), trick, [], trick, language("en")]
    for _ in range(2):
        assert (await bodies(edge, *asks))[1::2] == ["de", "none", "en"]


@pytest.mark.parametrize(
    "name", ["X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-For", "X-Mizan-Lang", "Forwarded"]
)
async def test_what_a_client_may_not_say_selects_nothing(edge: RunningEdge, origin: Origin, name: str):
    origin.script = by(name)
    said = await bodies(edge, [(name, "evil")], [], [(name, "evil")])
    assert len(set(said)) == 1
    assert "evil" not in said[0]
    assert origin.hits == 1


async def test_any_other_origin_than_all_counts_as_vary_origin(edge: RunningEdge, origin: Origin):
    def script(asked: Asked) -> Says:
        return Says(
            f"for {asked.get('Origin')}", headers=[("Access-Control-Allow-Origin", asked.get("Origin") or "null")]
        )

    origin.script = script
    a, b = [("Origin", "https://a.test")], [("Origin", "https://b.test")]
    assert await bodies(edge, a, b, [], a, b, []) == ["for https://a.test", "for https://b.test", "for None"] * 2
    assert origin.hits == 3
    for headers in (a, b):
        assert (await edge.get(VIEW, headers))["Access-Control-Allow-Origin"] == headers[0][1]


async def test_a_response_for_every_origin_is_one_entry(edge: RunningEdge, origin: Origin):
    origin.headers = [("Access-Control-Allow-Origin", "*")]
    await edge.get(VIEW, [("Origin", "https://a.test")])
    assert (await edge.get(VIEW, [("Origin", "https://b.test")])).hit
    assert (await edge.get(VIEW)).hit


# Libraries that ask a view for a part of its page.

PARTS = [
    ("HX-Request", "true"),
    ("HX-Target", "list"),
    ("hx-boosted", "true"),
    ("X-Requested-With", "XMLHttpRequest"),
    ("Turbo-Frame", "modal"),
    ("X_Requested_With", "XMLHttpRequest"),
]


@pytest.mark.parametrize("field", PARTS, ids=[name for name, _ in PARTS])
async def test_a_part_is_never_served_as_the_page_nor_the_page_as_a_part(
    edge: RunningEdge, origin: Origin, field: tuple[str, str]
):
    def script(asked: Asked) -> Says:
        return Says("part" if any(name.lower() == field[0].lower() for name, _ in asked.headers) else "page")

    origin.script = script
    part = await edge.get(VIEW, [field])
    assert (part.body, part.cache) == (b"part", "fwd=uri-miss")
    page = await edge.get(VIEW)
    assert (page.body, page.cache) == (b"page", MISS)
    part = await edge.get(VIEW, [field])
    assert (part.body, part.cache) == (b"part", "fwd=bypass")
    page = await edge.get(VIEW)
    assert page.body == b"page"
    assert page.hit
    head = await edge.request("HEAD", VIEW, [field])
    assert head.cache == "fwd=bypass"
    assert head["Content-Length"] == "4"


@pytest.mark.parametrize("field", PARTS[:-1], ids=[name for name, _ in PARTS[:-1]])
async def test_a_part_is_cached_where_vary_names_its_field(edge: RunningEdge, origin: Origin, field: tuple[str, str]):
    origin.script = by(field[0])
    assert await bodies(edge, [field], [], [field], []) == [field[1], "None"] * 2
    assert origin.hits == 2


async def test_vary_must_name_every_such_field_of_the_request(edge: RunningEdge, origin: Origin):
    origin.script = by("HX-Request")
    both = [("HX-Request", "true"), ("HX-Target", "list")]
    assert [(await edge.get(VIEW, headers)).cache for headers in (both, both[:1], both, both)] == [
        "fwd=uri-miss",
        MISS,
        "fwd=bypass",
        "fwd=bypass",
    ]


async def test_a_spelling_that_only_some_servers_read_is_no_variant(edge: RunningEdge, origin: Origin):
    origin.script = by("X-Requested-With")
    spelled = [("X_Requested_With", "XMLHttpRequest")]
    assert not any([(await edge.get(VIEW, spelled)).cache.endswith("stored") for _ in range(2)])
    assert await bodies(edge, [("X-Requested-With", "XMLHttpRequest")], []) == ["XMLHttpRequest", "None"]


async def test_endpoints_and_calls_have_no_parts(edge: RunningEdge, origin: Origin):
    headers = [("X-Requested-With", "XMLHttpRequest")]
    await edge.get(ENDPOINT)
    await edge.call("user_profile", user_id=5)
    assert (await edge.get(ENDPOINT, headers)).hit
    assert (await edge.call("user_profile", headers, user_id=5)).hit


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "x_http_method_override", "X-HTTP-Method", "X-Method-Override"]
)
@pytest.mark.parametrize("target", [VIEW, ENDPOINT, "/catalog/shoes/"])
async def test_a_method_override_bypasses_the_cache_everywhere(
    edge: RunningEdge, origin: Origin, target: str, name: str
):
    await edge.get(target)
    for _ in range(2):
        assert (await edge.get(target, [(name, "DELETE")])).cache.startswith("fwd=bypass")
    assert origin.hits == 3
    assert (await edge.get(target)).hit


async def test_a_method_override_bypasses_for_calls(edge: RunningEdge, origin: Origin):
    for _ in range(2):
        reply = await edge.call("user_profile", [("X-HTTP-Method-Override", "PUT")], user_id=5)
        assert reply.cache.startswith("fwd=bypass")
    assert origin.hits == 2


# Hosts and schemes.


async def get_at(edge: RunningEdge, host: str, headers: Headers = (), target: str = VIEW) -> wire.Reply:
    return await edge.get(target, headers, host=host)


async def test_hosts_are_told_apart_and_purged_together(edge: RunningEdge, origin: Origin):
    origin.script = by("Host", vary="X-Nothing")
    for host in ("a.test", "b.test", "a.test:8000"):
        assert (await get_at(edge, host)).body == host.encode()
    replies = [await get_at(edge, host) for host in ("A.TEST", "b.test", "a.test:8000", "a.test:80")]
    assert [reply.body for reply in replies] == [b"a.test", b"b.test", b"a.test:8000", b"a.test"]
    assert all(reply.hit for reply in replies)
    await edge.purge("user;user_id=5")
    assert not any([(await get_at(edge, host)).hit for host in ("a.test", "b.test", "a.test:8000")])


async def test_a_client_cannot_choose_another_host_for_others(edge: RunningEdge, origin: Origin):
    origin.script = by("X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", vary="X-Nothing")
    evil = [(f"X-Forwarded-{name}", "evil") for name in ("Host", "Proto", "Port")] + [("X_Forwarded_Host", "evil")]
    assert (await edge.get(VIEW, evil)).body == b"site.test|http|None"
    assert not [value for name, value in origin.asked[0].headers if value == "evil"]


async def test_what_a_trusted_proxy_says_of_host_and_scheme_is_told_apart(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(trusted_proxies=("127.0.0.0/8",))
    origin.script = by("X-Forwarded-Host", "X-Forwarded-Proto", vary="X-Nothing")
    asks: list[Headers] = [
        [],
        [("X-Forwarded-Host", "other.test")],
        [("X-Forwarded-Proto", "https")],
        [("X-Forwarded-Host", "other.test"), ("X-Forwarded-Proto", "https")],
    ]
    first = await bodies(edge, *asks)
    assert first == ["site.test|http", "other.test|http", "site.test|https", "other.test|https"]
    assert await bodies(edge, *asks) == first
    assert origin.hits == 4


@pytest.mark.parametrize("allowed", ["", "site.test", "site.test,other.test"])
async def test_a_host_field_that_a_trusted_proxy_leaves_beside_the_host_it_names_poisons_nobody(
    make_edge: EdgeFactory, origin: Origin, allowed: str
):
    edge = await make_edge(trusted_proxies="127.0.0.0/8", allowed_hosts=allowed)
    origin.script = by("Host", vary="X-Nothing")
    named = [("X-Forwarded-Host", "site.test")]
    hosts = ["evil.test", "site.test", "inner:8000"]
    for was_asked in (False, True):
        replies = [await get_at(edge, host, named) for host in hosts]
        assert [reply.body.decode() for reply in replies] == hosts
        assert [reply.hit for reply in replies] == [was_asked] * 3
    for host in ("SITE.test", "site.test:80"):
        assert (await get_at(edge, host, named)).hit
    assert (await get_at(edge, "site.test")).hit
    if allowed:
        assert (await get_at(edge, "site.test", [("X-Forwarded-Host", "evil.test")])).status == 421
