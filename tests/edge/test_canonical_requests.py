"""What the application might read as another value is forwarded as it is, and never cached; the rest is shared."""

import json

import pytest

from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Origin
from tests.support.wire import Reply

UUID = "0b7ad1f2-3c4e-4f5a-8b6c-7d8e9fa0b1c2"
ENDPOINT = "/api/mizan/ctx/user/"

TYPED = {
    "contexts": {
        "user": {
            "functions": [
                {"name": "user_profile"},
                {"name": "anything", "cache": False},
                {"name": "profile_page", "path": "view"},
            ],
            "endpoints": [ENDPOINT],
            "params": ["user_id", "locale", "uid", "flag", "price", "day", "at", "tags", "ids", "free"],
            "param_types": {
                "user_id": "integer",
                "locale": "string",
                "uid": "uuid",
                "flag": "boolean",
                "price": "number",
                "day": "date",
                "at": "datetime",
                "tags": {"list": "string"},
                "ids": {"list": "integer"},
            },
            "views": ["/profile/:user_id/", "/free/:free/", "/by/:locale"],
        },
        "catalog": {
            "functions": [{"name": "products"}],
            "params": ["category"],
            "views": ["/catalog/:category/"],
            "scope": "public",
            "ignore_query": ["utm_*"],
        },
    }
}

NON_CANONICAL = [
    *(f"{ENDPOINT}?user_id={text}" for text in ("05", "+5", "%2B5", "5.0", "5_0", "%205", "5%20", "-0", "5e0", "0x5")),
    *(f"{ENDPOINT}?user_id={text}" for text in ("", "%D9%A5", "%EF%BC%95", "five", "5%0A", "%2535", "5;x=1")),
    f"{ENDPOINT}?user_id={'1' * 4301}",
    *(f"{ENDPOINT}?uid={text}" for text in (UUID.upper(), UUID.replace("-", ""), f"%7B{UUID}%7D", f"urn:uuid:{UUID}")),
    *(f"{ENDPOINT}?flag={text}" for text in ("1", "0", "True", "on", "yes", "")),
    *(f"{ENDPOINT}?price={text}" for text in ("1.0", "01", ".5", "1e3", "1E21", "nan", "Infinity", "-0")),
    f"{ENDPOINT}?price=9007199254740993",
    *(f"{ENDPOINT}?day={text}" for text in ("2024-1-2", "20240102", "2024-W01-2", "2024-01-02T00:00:00")),
    *(f"{ENDPOINT}?at={text}" for text in ("2024-01-02", "2024-01-02T03:04:05%2B00:00", "2024-01-02%2003:04:05")),
    *(f"{ENDPOINT}?free={text}" for text in ("05", "%2B5", "5.0", "5_0", "%205", "1.50", "0x1f", "nan", "", "%20")),
    *(f"{ENDPOINT}?free={text}" for text in (UUID.upper(), UUID.replace("-", ""), "%D9%A5", "1e3", "%EF%BB%BF5")),
    f"{ENDPOINT}?ids=5&ids=05",
    f"{ENDPOINT}?user_id=5&user_id=5",
    f"{ENDPOINT}?user_id=5&user%5Fid=6",
    f"{ENDPOINT}?locale=de&locale=en",
    f"{ENDPOINT}?free=a&free=a",
    f"{ENDPOINT}?user_id",
    f"{ENDPOINT}?locale=%zz",
    f"{ENDPOINT}?locale=%4",
    f"{ENDPOINT}?locale=%FF",
    f"{ENDPOINT}?locale=%C0%AF",
    f"{ENDPOINT}?locale=%ED%A0%80",
    f"{ENDPOINT}?locale=a%00",
    f"{ENDPOINT}?other=%00",
    f"{ENDPOINT}?%00=1",
    f"{ENDPOINT}?%FF=1",
    f"{ENDPOINT}?*host=x",
    f"{ENDPOINT}?%2Arelease=x",
    *(f"/profile/{text}/" for text in ("05", "+5", "%2B5", "5.0", "5_0", "%205", "5%20", "-0", "me", "%D9%A5")),
    "/profile/5;v=1/",
    *(f"/free/{text}/" for text in ("05", "5.0", "%2B5", "0x1f", UUID.upper(), "%20", "%zz", "%FF", "%C0%AF")),
    "/free/%ED%A0%80/",
    "/profile/5/?user_id=5",
    "/profile/5/?user_id=6",
    "/profile/5/?a=%zz",
    "/by/ada%0A",
]  # fmt: skip

NEVER_MATCH = [
    "/profile//5/",
    "//profile/5/",
    "/profile/5//",
    "/profile/./5/",
    "/profile/%2e/",
    "/profile/.%2E/",
    "/free/../profile/5/",
    "/free/%2e%2e/",
    "/profile/5%2f/",
    "/free/a%2Fb/",
    "/profile/5%00/",
    "/profile%2F5/",
    "/profile/5",
    "/profile/",
    "/PROFILE/5/",
    "/x/profile/5/",
    "/profile/5/x/",
    "/by/ada/",
]


async def twice_from_the_origin(reply: Reply, again: Reply, origin: Origin, detail: str) -> None:
    assert [reply.cache, again.cache] == [f"fwd=bypass; detail={detail}"] * 2
    assert origin.hits == 2
    assert reply.body != again.body


@pytest.mark.parametrize(
    ("target", "detail"), [*((t, "non-canonical") for t in NON_CANONICAL), *((t, "undeclared") for t in NEVER_MATCH)]
)
async def test_a_spelling_that_may_be_read_otherwise_is_forwarded_as_it_is(
    make_edge: EdgeFactory, origin: Origin, target: str, detail: str
):
    edge = await make_edge(TYPED)
    await twice_from_the_origin(await edge.get(target), await edge.get(target), origin, detail)
    assert [asked.target for asked in origin.asked] == [target] * 2


CALLS = {
    "null": b'{"fn":"user_profile","args":{"user_id":null}}',
    "a key twice": b'{"fn":"user_profile","args":{"user_id":5,"user_id":6}}',
    "a member twice": b'{"fn":"user_profile","args":{"user_id":5},"args":{"user_id":6}}',
    "a name twice, escaped": b'{"fn":"user_profile","args":{"user_id":5,"user\\u005fid":6}}',
    "the function twice": b'{"fn":"user_profile","fn":"user_profile","args":{}}',
    "a member too many": b'{"fn":"user_profile","args":{"user_id":5},"id":1}',
    "arguments in a list": b'{"fn":"user_profile","args":[5]}',
    "arguments that are null": b'{"fn":"user_profile","args":null}',
    "a never cached function": b'{"fn":"anything","args":{}}',
    "a padded integer": b'{"fn":"user_profile","args":{"user_id":"05"}}',
    "an integer as decimal text": b'{"fn":"user_profile","args":{"user_id":"5.0"}}',
    "true for an integer": b'{"fn":"user_profile","args":{"user_id":true}}',
    "one for a boolean": b'{"fn":"user_profile","args":{"flag":1}}',
    "a number for text": b'{"fn":"user_profile","args":{"locale":5}}',
    "a fraction for an integer": b'{"fn":"user_profile","args":{"user_id":5.5}}',
    "a float of many integers": b'{"fn":"user_profile","args":{"user_id":12345678901234567890.0}}',
    "such a float, undeclared": b'{"fn":"user_profile","args":{"free":12345678901234567890.0}}',
    "infinity": b'{"fn":"user_profile","args":{"price":1e400}}',
    "NaN": b'{"fn":"user_profile","args":{"price":NaN}}',
    "an object": b'{"fn":"user_profile","args":{"locale":{"a":"b"}}}',
    "a list for a scalar": b'{"fn":"user_profile","args":{"user_id":[5]}}',
    "a list for an undeclared": b'{"fn":"user_profile","args":{"free":["a"]}}',
    "a scalar for a list": b'{"fn":"user_profile","args":{"tags":"a"}}',
    "null in a list": b'{"fn":"user_profile","args":{"tags":["a",null]}}',
    "a list in a list": b'{"fn":"user_profile","args":{"tags":[["a"]]}}',
    "half a surrogate pair": b'{"fn":"user_profile","args":{"locale":"\\ud800"}}',
    "half a surrogate pair in a name": b'{"fn":"user_profile","args":{"\\ud800":"a"}}',
    "NUL": b'{"fn":"user_profile","args":{"locale":"a\\u0000"}}',
    "an upper-case UUID": b'{"fn":"user_profile","args":{"free":"%s"}}' % UUID.upper().encode(),
    "a reserved name": b'{"fn":"user_profile","args":{"*host":"a"}}',
    "no JSON": b"fn=user_profile",
    "nothing": b"",
    "two documents": b'{"fn":"user_profile","args":{}}{"fn":"user_profile","args":{}}',
    "a byte order mark": b'\xef\xbb\xbf{"fn":"user_profile","args":{}}',
    "UTF-16": '{"fn":"user_profile","args":{}}'.encode("utf-16"),
    "Latin-1": '{"fn":"user_profile","args":{"locale":"é"}}'.encode("latin-1"),
    "no object": b'["user_profile"]',
    "nested by the thousand": b'{"fn":"user_profile","args":{"locale":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "64 KiB and more": b'{"fn":"user_profile","args":{"locale":"%s"}}' % (b"x" * 70_000),
}


@pytest.mark.parametrize("body", CALLS.values(), ids=list(CALLS))
async def test_a_call_that_may_be_read_otherwise_is_forwarded_as_it_is(
    make_edge: EdgeFactory, origin: Origin, body: bytes
):
    edge = await make_edge(TYPED)
    await twice_from_the_origin(await edge.call_raw(body), await edge.call_raw(body), origin, "non-canonical")
    assert [asked.body for asked in origin.asked] == [body] * 2


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json-patch+json",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/json, text/plain",
    ],
)
async def test_a_call_that_does_not_say_json_is_forwarded(make_edge: EdgeFactory, origin: Origin, content_type: str):
    edge = await make_edge(TYPED)
    body = b'{"fn":"user_profile","args":{"user_id":5}}'
    replies = [await edge.call_raw(body, content_type=content_type) for _ in range(2)]
    await twice_from_the_origin(replies[0], replies[1], origin, "non-canonical")


async def test_a_call_with_a_query_or_without_a_content_type_is_forwarded(edge: RunningEdge, origin: Origin):
    body = b'{"fn":"user_profile","args":{"user_id":5}}'
    query = [("Content-Type", "application/json")]
    replies = [await edge.request("POST", "/api/mizan/call/?user_id=6", query, body) for _ in range(2)]
    replies += [await edge.request("POST", "/api/mizan/call/", (), body) for _ in range(2)]
    assert [reply.cache for reply in replies] == ["fwd=bypass; detail=non-canonical"] * 4
    assert origin.hits == 4


async def test_a_call_of_another_function_is_the_origins_alone(edge: RunningEdge, origin: Origin):
    replies = [await edge.call("user_profiles", user_id=5) for _ in range(2)]
    assert [reply.cache for reply in replies] == ["fwd=method"] * 2
    assert origin.hits == 2


async def test_a_get_with_content_is_neither_served_nor_stored(edge: RunningEdge, origin: Origin):
    poisoned = await edge.request("GET", "/profile/5/", {"Content-Type": "text/plain"}, b"user_id=6")
    assert poisoned.cache == "fwd=bypass; detail=non-canonical"
    assert origin.asked[0].body == b"user_id=6"
    assert (await edge.get("/profile/5/")).cache == "fwd=uri-miss; stored"
    again = await edge.request("GET", "/profile/5/", {"Content-Type": "text/plain"}, b"user_id=6")
    assert not again.hit
    assert origin.hits == 3


async def hits(edge: RunningEdge, *targets: str) -> list[bool]:
    return [(await edge.get(target)).hit for target in targets]


@pytest.mark.parametrize(
    "spellings",
    [
        ["/profile/5/", "/profile/%35/", "/pro%66ile/5/", "/profile/5/?", "/profile/5/?&", "/profile/5/#x"],
        ["/by/%C3%A9%20+", "/by/%c3%a9%20%2b", "/%62y/%C3%A9%20+"],
        [f"{ENDPOINT}?user_id=5&locale=de", f"{ENDPOINT}?locale=de&user_id=5", f"{ENDPOINT}?&locale=%64e&user%5fid=5"],
        [f"{ENDPOINT}?locale=a+b", f"{ENDPOINT}?locale=a%20b"],
        [f"{ENDPOINT}?x=1&y=2&x=3", f"{ENDPOINT}?y=2&x=1&x=3"],
    ],
)
async def test_spellings_that_everybody_reads_alike_share_an_entry(
    make_edge: EdgeFactory, origin: Origin, spellings: list[str]
):
    edge = await make_edge(TYPED)
    assert await hits(edge, *spellings) == [False] + [True] * (len(spellings) - 1)


async def test_other_queries_are_other_entries(make_edge: EdgeFactory):
    edge = await make_edge(TYPED)
    queries = ["", "?x=1", "?x=2", "?x", "?X=1", "?y=1", "?x=1&x=1", "?x=1&x=2", "?x=2&x=1", "?x=1,2", "?x=01", "?=1"]
    targets = [f"/profile/5/{query}" for query in queries]
    assert await hits(edge, *targets) == [False] * len(queries)
    assert await hits(edge, *targets) == [True] * len(queries)
    assert (await edge.purge("user;user_id=5")).json["entries"] == len(queries)


async def test_one_value_in_several_json_spellings_is_one_call(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(TYPED)
    spellings = [
        b'{"fn":"user_profile","args":{"user_id":5,"locale":"de"}}',
        b'{"fn":"user_profile","args":{"user_id":5.0,"locale":"de"}}',
        b'{"fn":"user_profile","args":{"user_id":"5","locale":"de"}}',
        b'{ "args" : {"locale":"\\u0064e" , "user_id":5e0}, "fn":"user_profile" }\n',
    ]
    assert [(await edge.call_raw(body)).hit for body in spellings] == [False, True, True, True]
    with_charset = await edge.call_raw(spellings[0], content_type="Application/JSON; charset=UTF-8")
    assert with_charset.hit
    assert origin.hits == 1


async def test_endpoint_call_and_view_of_one_value_never_mix_and_fall_together(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(TYPED)
    bodies = {}
    for _ in range(2):
        bodies["endpoint"] = (await edge.get(f"{ENDPOINT}?user_id=5")).body
        bodies["view"] = (await edge.get("/profile/5/")).body
        bodies["call"] = (await edge.call("user_profile", user_id=5)).body
    assert len(set(bodies.values())) == 3
    assert origin.hits == 3
    assert (await edge.purge("user;user_id=5")).json["entries"] == 3


async def test_an_absent_parameter_is_another_entry_than_an_empty_one(make_edge: EdgeFactory):
    edge = await make_edge(TYPED)
    assert await hits(edge, ENDPOINT, f"{ENDPOINT}?locale=", f"{ENDPOINT}?locale") == [False, False, True]


async def test_ignored_query_parameters_reach_neither_the_key_nor_the_origin(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(TYPED)
    assert await hits(edge, "/catalog/a/?b=%7e&utm_source=x&a=1&u%74m_id=2", "/catalog/a/?a=1&b=~&utm_source=y")
    assert [asked.target for asked in origin.asked] == ["/catalog/a/?b=%7e&a=1"]
    assert await hits(edge, "/catalog/a/?utm_source=z", "/catalog/a/", "/catalog/a/?Utm_source=z") == [
        False,
        True,
        False,
    ]
    assert [asked.target for asked in origin.asked[1:]] == ["/catalog/a/", "/catalog/a/?Utm_source=z"]
    # Elsewhere nothing is ignored.
    assert await hits(edge, "/profile/5/?utm_source=x", "/profile/5/") == [False, False]
    assert origin.asked[3].target == "/profile/5/?utm_source=x"


async def test_an_ignored_parameter_that_does_not_decode_is_forwarded(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(TYPED)
    target = "/catalog/a/?utm_source=%FF"
    await twice_from_the_origin(await edge.get(target), await edge.get(target), origin, "non-canonical")
    assert origin.asked[0].target == target


async def test_lists_are_keyed_in_order_and_purged_as_one_value(make_edge: EdgeFactory):
    edge = await make_edge(TYPED)
    targets = [f"{ENDPOINT}?{query}" for query in ("tags=a&tags=b", "tags=b&tags=a", "tags=a", "ids=5&ids=-6", "")]
    assert await hits(edge, *targets) == [False] * 5
    assert not (await edge.call("user_profile", tags=["a", "b"])).hit
    assert not (await edge.call("user_profile", tags=[])).hit
    assert await hits(edge, *targets, f"{ENDPOINT}?tags=a&ids=5&tags=b") == [True] * 5 + [False]
    assert (await edge.call("user_profile", tags=["a", "b"])).hit
    # The endpoint, the call, and the endpoint with another list beside it.
    assert (await edge.purge('user;tags="[\\"a\\",\\"b\\"]"')).json["entries"] == 3
    assert await hits(edge, *targets) == [False, True, True, True, True]


@pytest.mark.parametrize("text", ["de", "-7", "0", "1.5", "true", UUID, "a-b", "1e+21", "2024-01-02", "٥x", "%2f..%2f"])
async def test_what_is_purged_by_value_is_found_however_it_was_asked_for(make_edge: EdgeFactory, text: str):
    edge = await make_edge(TYPED)
    quoted = "".join(f"%{byte:02X}" for byte in text.encode())
    target = f"{ENDPOINT}?free={quoted}"
    assert await hits(edge, target, target) == [False, True]
    await edge.call_raw(json.dumps({"fn": "user_profile", "args": {"free": text}}).encode())
    scope = f'user;free=%"{"".join(f"%{byte:02x}" for byte in text.encode())}"'
    assert (await edge.purge(scope)).json["entries"] == 2
