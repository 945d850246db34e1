"""Nobody gets what was made for somebody else: partitions, credentials, and what a response says of them."""

import base64
import json
import logging
import time
from typing import Any

import jwt
import pytest

from mizan_core.mwt import Keyring, mint
from tests.support.edge import MANIFEST, MWT_SECRET, EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says
from tests.support.wire import Headers

VIEW = "/profile/5/"
ENDPOINT = "/api/mizan/ctx/user/?user_id=5"
PUBLIC = "/catalog/shoes/"
NOW = int(time.time())
CREDENTIALS = "fwd=bypass; detail=credentials"


def token(sub: str = "5", pkey: str = "p1", *, secret: str = MWT_SECRET, now_s: int = NOW) -> str:
    # For longer than the suite takes.
    return mint(Keyring.parse(secret), sub=sub, pkey=pkey, now_s=now_s, lifetime_s=3600)


def forged(*, headers: dict[str, Any] | None = None, algorithm: str = "HS256", **claims: Any) -> str:
    """A token like a good one but for what is said; a claim that is None is left out."""
    good = {"sub": "5", "pkey": "p1", "aud": "mizan", "iat": NOW, "exp": NOW + 3600}
    kept = {name: value for name, value in (good | claims).items() if value is not None}
    secret = MWT_SECRET * 2 if algorithm != "none" else ""
    key = MWT_SECRET if algorithm == "HS256" else secret
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": "MWT"} | (headers or {}))


def cookie(*pairs: str) -> list[tuple[str, str]]:
    return [("Cookie", "; ".join(pairs))]


def bearer(value: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {value}")]


def names_the_asker(asked: Asked) -> Says:
    """An origin that shows every credential which it was sent."""
    seen = sorted(
        f"{name}={value}"
        for name, value in asked.headers
        if name.lower() in ("cookie", "authorization") or "user" in name.lower()
    )
    return Says(json.dumps(seen))


async def outcomes(edge: RunningEdge, target: str, *requests: Headers) -> list[str]:
    return [(await edge.get(target, headers)).cache for headers in requests]


USER = {
    "a bearer token": bearer(token()),
    "a bearer token in another case": [("authorization", f"bearer {token()}")],
    "the cookie": cookie(f"mizan_mwt={token()}"),
    "the cookie over TLS": cookie(f"__Host-mizan_mwt={token()}"),
    "the cookie in quotes": cookie(f'mizan_mwt="{token()}"'),
    "the session beside it": cookie("sessionid=abc", f"mizan_mwt={token()}"),
    "a bearer token and the session": [*bearer(token()), *cookie("sessionid=abc")],
    "ignored cookies beside it": cookie("csrftoken=x", "_ga_1=2", "_gid=3", "_gcl_au=4", f"mizan_mwt={token()}"),
    "both cookies and the header, all the same": [
        *bearer(token()),
        *cookie(f"mizan_mwt={token()}", f"__Host-mizan_mwt={token()}"),
    ],
    "two tokens of different age": [*bearer(token()), *cookie(f"mizan_mwt={token(now_s=NOW - 60)}")],
    "two lines of cookies": [("Cookie", "sessionid=abc"), ("Cookie", f"mizan_mwt={token()}")],
}


@pytest.mark.parametrize("headers", USER.values(), ids=list(USER))
async def test_one_valid_token_names_its_user(edge: RunningEdge, origin: Origin, headers: Headers):
    assert await outcomes(edge, VIEW, bearer(token()), headers, []) == [
        "fwd=uri-miss; stored",
        "hit; ttl=86400",
        "fwd=uri-miss; stored",
    ]


ANON: dict[str, Headers] = {
    "nothing": [],
    "ignored cookies": cookie("csrftoken=x", "_ga=1", "_ga_ABC=1", "_gid=2", "_gcl_au=3"),
    "an empty cookie field": [("Cookie", "")],
    "separators alone": [("Cookie", "; ;")],
    "a language": [("Accept-Language", "de")],
}


@pytest.mark.parametrize("headers", ANON.values(), ids=list(ANON))
async def test_no_credential_is_anonymous(edge: RunningEdge, headers: Headers):
    assert [reply[:3] for reply in await outcomes(edge, VIEW, [], headers, bearer(token()))] == ["fwd", "hit", "fwd"]


NOBODY: dict[str, Headers] = {
    "a session without a token": cookie("sessionid=abc"),
    "a session and ignored cookies": cookie("csrftoken=x", "sessionid=abc"),
    "an unknown cookie": cookie("theme=dark"),
    "an unknown cookie beside a token": cookie("theme=dark", f"mizan_mwt={token()}"),
    "an unknown cookie beside a bearer token": [*bearer(token()), *cookie("theme=dark")],
    "a cookie that only resembles an ignored one": cookie("xcsrftoken=1"),
    "an ignored cookie's name in another case": cookie("CSRFTOKEN=1"),
    "a session's name in another case beside a token": cookie("SessionId=1", f"mizan_mwt={token()}"),
    "a cookie without a value": cookie("sessionid"),
    "a cookie without a name": cookie("=abc"),
    "text in the cookie field beside a token": cookie("junk", f"mizan_mwt={token()}"),
    "an empty token cookie": cookie("mizan_mwt="),
    "two users": [*bearer(token("5")), *cookie(f"mizan_mwt={token('6')}")],
    "two users in two cookies": cookie(f"mizan_mwt={token('5')}", f"__Host-mizan_mwt={token('6')}"),
    "two users in one cookie": cookie(f"mizan_mwt={token('5')}", f"mizan_mwt={token('6')}"),
    "one user, two sets of rights": [*bearer(token()), *cookie(f"mizan_mwt={token(pkey='p2')}")],
    "a valid and an expired token": [*bearer(token()), *cookie(f"mizan_mwt={token(now_s=NOW - 9000)}")],
    "a valid token and nonsense": [*bearer(token()), *cookie("mizan_mwt=abc")],
    "an expired token": bearer(token(now_s=NOW - 9000)),
    "an expired cookie": cookie(f"mizan_mwt={token(now_s=NOW - 9000)}", "sessionid=abc"),
    "a token of the future": bearer(forged(nbf=NOW + 900)),
    "another secret": bearer(token(secret="another-secret-another-secret-another")),
    "no type": bearer(forged(headers={"typ": None})),
    "another type": bearer(forged(headers={"typ": "JWT"})),
    "an unknown key id": bearer(forged(headers={"kid": "k9"})),
    "another audience": bearer(forged(aud="other")),
    "no audience": bearer(forged(aud=None)),
    "no subject": bearer(forged(sub=None)),
    "no rights": bearer(forged(pkey=None)),
    "rights with a colon": bearer(forged(pkey="p:1")),
    "no expiry": bearer(forged(exp=None)),
    "no issue": bearer(forged(iat=None)),
    "a subject that is a number": bearer(forged(sub=5)),
    "no signature": bearer(forged(algorithm="none")),
    "another algorithm": bearer(forged(algorithm="HS512")),
    "a signature cut off": bearer(token().rpartition(".")[0] + "."),
    "basic": [("Authorization", "Basic " + base64.b64encode(b"a:b").decode())],
    "a scheme alone": [("Authorization", "Bearer")],
    "an empty field": [("Authorization", "")],
    "another scheme with a good token": [("Authorization", f"Token {token()}")],
    "two fields": [*bearer(token()), *bearer(token())],
    "two tokens in a field": bearer(f"{token()}, Bearer {token()}"),
    **{
        f"{name} {how}": [(name, "ada"), *extra]
        for name in (
            "Remote-User",
            "X-Remote-User",
            "X-Forwarded-User",
            "X-Forwarded-Email",
            "X-Auth-Request-Email",
            "Cf-Access-Jwt-Assertion",
            "X-Amzn-Oidc-Data",
            "X-Goog-Iap-Jwt-Assertion",
            "X-Api-Key",
            "x_api_key",
            "Remote_User",
            "REMOTE-USER",
            "X_Auth-Request_User",
        )
        for how, extra in {"alone": [], "beside a token": bearer(token())}.items()
    },
}


@pytest.mark.parametrize("headers", NOBODY.values(), ids=list(NOBODY))
async def test_whoever_cannot_be_told_is_forwarded_and_gets_nothing_stored(
    edge: RunningEdge, origin: Origin, headers: Headers
):
    await outcomes(edge, VIEW, [], bearer(token()))
    replies = [await edge.get(VIEW, headers) for _ in range(2)]
    assert [reply.cache for reply in replies] == [CREDENTIALS] * 2
    assert origin.hits == 4
    sent = {(name.lower(), value) for name, value in dict(headers).items()}
    assert sent <= {(name.lower(), value) for name, value in origin.asked[-1].headers}
    assert [text[:3] for text in await outcomes(edge, VIEW, [], bearer(token()))] == ["hit", "hit"]


@pytest.mark.parametrize("target", [VIEW, ENDPOINT])
async def test_partitions_never_share(edge: RunningEdge, origin: Origin, target: str):
    origin.script = names_the_asker
    people: dict[str, Headers] = {
        "anon": [],
        "5": bearer(token("5")),
        "6": bearer(token("6")),
        "5 with other rights": bearer(token("5", "p2")),
    }
    first = {name: (await edge.get(target, headers)).body for name, headers in people.items()}
    again = {name: await edge.get(target, headers) for name, headers in people.items()}
    assert len(set(first.values())) == 4
    assert origin.hits == 4
    assert {name: reply.body for name, reply in again.items()} == first
    assert all(reply.hit for reply in again.values())


async def test_calls_have_partitions_too(edge: RunningEdge, origin: Origin):
    for headers in ([], bearer(token("5")), bearer(token("6"))):
        assert not (await edge.call("user_profile", headers, user_id=5)).hit
        assert (await edge.call("user_profile", headers, user_id=5)).hit
    nobody = await edge.call("user_profile", cookie("sessionid=abc"), user_id=5)
    assert nobody.cache == CREDENTIALS
    assert origin.hits == 4


async def test_a_field_that_connection_takes_away_names_nobody(edge: RunningEdge, origin: Origin):
    origin.script = names_the_asker
    mine = await edge.get(VIEW, bearer(token()))
    assert b"Bearer" in mine.body
    # The origin never sees the token, so the answer is an anonymous one and must lie there.
    tricked = await edge.get(VIEW, [*bearer(token()), ("Connection", "authorization")])
    assert tricked.body == b"[]"
    assert (await edge.get(VIEW)).body == b"[]"
    assert (await edge.get(VIEW, bearer(token()))).body == mine.body


async def test_without_a_secret_signed_in_requests_bypass_user_contexts(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(mwt_secret=None)
    assert await outcomes(edge, VIEW, bearer(token()), cookie(f"mizan_mwt={token()}"), [], []) == [
        CREDENTIALS,
        CREDENTIALS,
        "fwd=uri-miss; stored",
        "hit; ttl=86400",
    ]


async def test_secrets_rotate(make_edge: EdgeFactory):
    old, new = "old-secret-old-secret-old-secret-old", "new-secret-new-secret-new-secret-new"
    edge = await make_edge(mwt_secret=f"k2:{new},k1:{old}")
    by_new = bearer(mint(Keyring.parse(f"k2:{new}"), sub="5", pkey="p1", now_s=NOW))
    by_old = bearer(mint(Keyring.parse(f"k1:{old}"), sub="5", pkey="p1", now_s=NOW))
    swapped = bearer(mint(Keyring.parse(f"k1:{new}"), sub="5", pkey="p1", now_s=NOW))
    assert await outcomes(edge, VIEW, by_new, by_old, swapped) == [
        "fwd=uri-miss; stored",
        "hit; ttl=86400",
        CREDENTIALS,
    ]


async def test_the_lists_of_cookies_and_fields_are_settings(make_edge: EdgeFactory):
    edge = await make_edge(
        identity_cookies=("sid", "sso_*"), ignored_cookies=("theme",), identity_headers=("X_Who", "X-My-*")
    )
    assert (await edge.get(VIEW, cookie("theme=dark"))).cache == "fwd=uri-miss; stored"
    assert (await edge.get(VIEW, [("Remote-User", "ada")])).hit
    own = cookie("sid=1", "sso_a=2", "theme=x", f"mizan_mwt={token()}")
    assert (await edge.get(VIEW, own)).cache == "fwd=uri-miss; stored"
    for headers in (cookie("csrftoken=1"), cookie("sid=1"), [("X-Who", "ada")], [("X_My_Name", "ada")]):
        assert (await edge.get(VIEW, headers)).cache == CREDENTIALS


# What a response says of who was asking.


@pytest.mark.parametrize(
    ("headers", "said", "stored"),
    [
        ([], "anon", True),
        ([], "user:5:p1", False),
        ([], "public", False),
        ([], "", False),
        (bearer(token()), "user:5:p1", True),
        (bearer(token()), "user:5:p2", False),
        (bearer(token()), "user:6:p1", False),
        (bearer(token()), "anon", False),
    ],
)
async def test_a_response_for_another_partition_is_forwarded_and_not_stored(
    edge: RunningEdge, origin: Origin, caplog: pytest.LogCaptureFixture, headers: Headers, said: str, stored: bool
):
    origin.headers = [("X-Mizan-Partition", said)]
    with caplog.at_level(logging.WARNING):
        first, second = await edge.get(VIEW, headers), await edge.get(VIEW, headers)
    assert first["X-Mizan-Partition"] is None
    assert second.hit == stored
    assert ("X-Mizan-Partition" in caplog.text) != stored
    if not stored:
        assert first.cache == "fwd=uri-miss"
        assert (await edge.counters())["requests.user.unstorable-partition"] == 2


async def test_two_partitions_in_one_response_are_not_stored(edge: RunningEdge, origin: Origin):
    origin.headers = [("X-Mizan-Partition", "anon"), ("X-Mizan-Partition", "user:5:p1")]
    assert await outcomes(edge, VIEW, [], []) == ["fwd=uri-miss"] * 2


@pytest.mark.parametrize("target", [VIEW, ENDPOINT, PUBLIC])
async def test_a_response_that_sets_a_cookie_is_not_stored(edge: RunningEdge, origin: Origin, target: str):
    origin.headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Cache-Control", "public, max-age=60")]
    for _ in range(2):
        reply = await edge.get(target)
        assert reply.cache == "fwd=uri-miss"
        assert [value for name, value in reply.fields if name == "Set-Cookie"] == ["a=1", "b=2"]


# Public contexts: one for all.


async def test_in_public_nobody_is_told_apart_and_a_fill_shows_no_cookie(edge: RunningEdge, origin: Origin):
    origin.script = names_the_asker
    first = await edge.get(PUBLIC, cookie("sessionid=abc", f"mizan_mwt={token()}"))
    assert (first.body, first.cache) == (b"[]", "fwd=uri-miss; stored")
    asks = [cookie("sessionid=other"), cookie("junk"), bearer(token("6")), [("Authorization", "Basic x")], []]
    assert [text[:3] for text in await outcomes(edge, PUBLIC, *asks)] == ["hit"] * 5
    assert origin.hits == 1


@pytest.mark.parametrize(
    ("method", "target", "extra"),
    [
        ("HEAD", PUBLIC, []),
        ("GET", PUBLIC, [("Range", "bytes=0-1")]),
        ("GET", PUBLIC, [("Cache-Control", "no-store")]),
        ("GET", PUBLIC, [("X-HTTP-Method-Override", "GET")]),
        ("GET", "/catalog/%FF/", []),
        ("POST", PUBLIC, []),
    ],
)
async def test_in_public_what_cannot_fill_keeps_its_cookie(
    edge: RunningEdge, origin: Origin, method: str, target: str, extra: list[tuple[str, str]]
):
    body = b"" if method == "POST" else None
    await edge.request(method, target, [*cookie("sessionid=abc"), *extra], body)
    assert origin.asked[0].get("Cookie") == "sessionid=abc"
    assert (await edge.get(PUBLIC)).cache == "fwd=uri-miss; stored"


@pytest.mark.parametrize(
    ("cache_control", "shared"),
    [
        (None, False),
        ("max-age=60", False),
        ("max-age=60, public", True),
        ("s-maxage=60", True),
        ("max-age=60, must-revalidate", True),
        ("must-revalidate", True),
        ("max-age=60, proxy-revalidate", False),
        ("public, no-store", False),
        ("public, private", False),
    ],
)
@pytest.mark.parametrize("field", ["Cache-Control", "CDN-Cache-Control", "Mizan-Cache-Control"])
async def test_in_public_an_authorized_response_is_shared_only_when_it_says_so(
    edge: RunningEdge, origin: Origin, field: str, cache_control: str | None, shared: bool
):
    # RFC 9111 section 3.5
    origin.headers = [(field, cache_control)] if cache_control else []
    first = await edge.get(PUBLIC, [("Authorization", "Basic abc")])
    assert origin.asked[0].get("Authorization") == "Basic abc"
    assert first.cache == ("fwd=uri-miss; stored" if shared else "fwd=uri-miss")
    assert (await edge.get(PUBLIC)).hit == shared


@pytest.mark.parametrize("vary", ["Cookie", "Authorization", "Accept-Language, cookie", "*"])
async def test_vary_by_the_asker_is_met_by_the_partition_and_refused_in_public(
    edge: RunningEdge, origin: Origin, caplog: pytest.LogCaptureFixture, vary: str
):
    origin.headers = [("Vary", vary)]
    with caplog.at_level(logging.WARNING):
        assert await outcomes(edge, PUBLIC, [], []) == ["fwd=uri-miss"] * 2
        assert "context catalog" in caplog.text
        assert vary in caplog.text
        caplog.clear()
        people = [[], bearer(token("5")), bearer(token("6"))]
        first = await outcomes(edge, VIEW, *people)
        again = await outcomes(edge, VIEW, *people)
    if vary == "*":
        assert first == again == ["fwd=uri-miss"] * 3
    else:
        assert first == ["fwd=uri-miss; stored"] * 3
        assert again == ["hit; ttl=86400"] * 3
        assert not caplog.text


async def test_a_public_context_that_becomes_a_user_context_shares_nothing(make_edge: EdgeFactory, origin: Origin):
    origin.script = names_the_asker
    public = {"contexts": {"user": {**MANIFEST["contexts"]["user"], "scope": "public"}}}
    edge = await make_edge(public)
    await edge.get(VIEW, bearer(token()))
    await edge.get(VIEW)
    assert (await edge.get(VIEW, bearer(token()))).hit
    edge.manifest_path.write_text(json.dumps(MANIFEST))
    assert (await edge.admin_request("POST", "/reload")).status == 200
    mine = await edge.get(VIEW, bearer(token()))
    assert mine.cache == "fwd=uri-miss; stored"
    assert b"Bearer" in mine.body


@pytest.mark.parametrize("name", ["Remote-User", "X-Forwarded-User", "X_Api_Key"])
async def test_a_public_response_made_for_somebody_whom_a_field_names_is_shared_only_if_it_says_so(
    edge: RunningEdge, origin: Origin, name: str
):
    assert (await edge.get("/catalog/shoes/", {name: "ada"})).cache == "fwd=uri-miss"
    assert (await edge.get("/catalog/shoes/")).cache == "fwd=uri-miss; stored"
    assert (await edge.get("/catalog/shoes/", {name: "ada"})).hit
    origin.headers = [("Cache-Control", "s-maxage=60")]
    assert (await edge.get("/catalog/hats/", {name: "ada"})).cache == "fwd=uri-miss; stored"
