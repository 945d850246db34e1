"""Properties of what requests are taken for: no reader sees another value, and one key means one request."""

import json
import posixpath
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mizan_core.manifest import Manifest
from mizan_core.patterns import canonical_url
from mizan_edge.http.message import Fields, Request
from mizan_edge.rules import policy
from mizan_edge.rules.calls import match_call
from mizan_edge.rules.identity import ANON, PUBLIC, Partition
from mizan_edge.rules.policy import KeyInputs, Lookup
from mizan_edge.rules.routes import Resource, Router
from mizan_edge.rules.variants import variant_of

MANIFEST = Manifest.model_validate(
    {
        "contexts": {
            "user": {
                "functions": [{"name": "profile"}, {"name": "/free/:free/"}],
                "endpoints": ["/ctx/user/"],
                "params": ["user_id", "name", "free", "tags"],
                "param_types": {"user_id": "integer", "name": "string", "tags": {"list": "string"}},
                "views": ["/profile/:user_id/", "/by/:name", "/free/:free/", "/free/new/", "/:name/of/:user_id/"],
            },
            "page": {
                "functions": [{"name": "page"}],
                "endpoints": ["/ctx/page/"],
                "params": ["slug", "free"],
                "views": ["/page/:slug/"],
                "scope": "public",
                "ignore_query": ["utm_*"],
            },
        }
    }
)
ROUTER = Router(MANIFEST)
KEYS = KeyInputs(b"k" * 32, MANIFEST, many_hosts=True)
HYPOTHESIS = settings(max_examples=600, deadline=None)


# An independent reader: how Django, and servers in front of it, may take a path.


def regex(pattern: str) -> re.Pattern[str]:
    """The pattern as an old `re_path` has it: `$` matches before a final newline too."""
    return re.compile("^" + re.sub(r":(\w+)", r"(?P<\1>[^/]+)", pattern) + "$")


PATTERNS: dict[str, tuple[str, re.Pattern[str]]] = {
    text: (name, regex(text))
    for name, context in MANIFEST.contexts.items()
    for text in (*context.endpoints, *context.views)
}


def readings(path: str) -> list[str]:
    """What servers and applications make of a raw path: decoded, slashes merged, cut at a NUL, dots resolved."""
    decoded = unquote(path, errors="replace")
    merged = re.sub("/+", "/", decoded)
    cut_at_nul = decoded.partition("\0")[0]
    found = [decoded, merged, cut_at_nul]
    for text in (decoded, merged):
        normal = posixpath.normpath(text).replace("//", "/", 1)
        found.append(normal + "/" if text.endswith(("/", "/.", "/..")) and normal != "/" else normal)
    return found


def numbers_and_names(text: str) -> list[object]:
    """What lenient readers make of a value."""
    found: list[object] = [text]
    readers: tuple[Callable[[str], object], ...] = (int, float, uuid.UUID)
    for reader in readers:
        try:
            found.append((getattr(reader, "__name__", ""), reader(text)))
        except ValueError:
            continue
    return found


def seen(path: str) -> list[dict[str, str]]:
    """The parameters that some reader takes from a path, under whichever pattern."""
    return [
        match.groupdict()
        for reading in readings(path)
        for _, pattern in PATTERNS.values()
        if (match := pattern.match(reading))
    ]


SEGMENT = st.sampled_from(
    [
        *("5", "05", "%35", "%2B5", "+5", "-5", "5_0", "5.0", "%205", "5%0A", "%EF%BC%95", "٥".encode().hex("%")),
        *(
            ".",
            "..",
            "%2e",
            "%2E%2e",
            ".%2e",
            "...",
            "%252e",
            "",
            "%2f",
            "a%2Fb",
            "%5c",
            "5%2f",
            "%00",
            "5%00",
            "a%00b",
        ),
        *("%", "%4", "%zz", "%u0035", "%FF", "%c0%ae", "%c0%af", "%e0%80%af", "%ed%a0%80", "%f5%80%80%80", "%C3%A9"),
        *("profile", "%70rofile", "Profile", "free", "new", "n%65w", "by", "of", "ctx", "user", "page", "ada", ";x=1"),
        *("5;x", "a:b", "~a", "%7Ea", "a%20b", "a+b", "a%0Ab", "ada%0A", "0x5", "1e3", "nan", "%2535", "A" * 32),
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#"), max_size=6)
PATH = st.builds(
    lambda parts, slash: "/" + "/".join(parts) + slash, st.lists(SEGMENT, max_size=4), st.sampled_from(["", "/"])
)
FORMS = ["/profile/{}/", "/by/{}", "/free/{}/", "/page/{}/", "/{}/of/5/", "/ctx/user/{}"]
DECLARED_PATH = st.builds(str.format, st.sampled_from(FORMS), SEGMENT)


@HYPOTHESIS
@given(PATH | DECLARED_PATH)
@example("/profile/5%0A/")
@example("/by/ada%0A")
@example("/free/../profile/5/")
@example("/free/%2e%2e/")
@example("//by/ada")
def test_no_reader_sees_another_value_in_a_path_that_matches(path: str):
    resource = ROUTER.match(path)
    if not isinstance(resource, Resource):
        return
    found = seen(path)
    assert found, "a path matched that no reader takes for a declared one"
    for params in found:
        # Literal segments win over parameters, here as in a list of routes that has them first.
        if resource.function == "/free/new/" and params == {"free": "new"}:
            continue
        assert params == dict(resource.params)
    for value in resource.params.values():
        assert isinstance(value, str)
        for other in (value.strip(), value.strip().lower()):
            readers = [r for r in numbers_and_names(other) if isinstance(r, tuple)]
            for name, number in readers:
                if name == "int" or name == "UUID":
                    assert resource.params.get("name") == value or str(number) == value


@HYPOTHESIS
@given(PATH | DECLARED_PATH)
def test_what_is_refused_is_never_a_canonical_url(path: str):
    resource = ROUTER.match(path)
    if isinstance(resource, Resource):
        (url,) = [text for name, text in resource.scope.params if name == "*url"]
        again = ROUTER.match(url)
        assert isinstance(again, Resource)
        assert (again.scope, again.params, again.function) == (resource.scope, resource.params, resource.function)


@HYPOTHESIS
@given(st.lists(st.sampled_from(["", ".", "..", "a", "5", "x%2Fy", "nul%00"]), max_size=5), st.data())
def test_dot_segments_slashes_and_nuls_never_match_in_any_spelling(parts: list[str], data: st.DataObject):
    def spelled(text: str) -> str:
        return "".join(
            data.draw(st.sampled_from([char, f"%{ord(char):02x}", f"%{ord(char):02X}"])) if char in "./" else char
            for char in text
        )

    path = "/profile/" + "/".join(spelled(part) for part in parts) + "/5/"
    forbidden = {"", ".", "..", "x%2Fy", "nul%00"} & set(parts)
    if forbidden:
        assert not isinstance(ROUTER.match(path), Resource)


# Queries.

NAME = st.sampled_from(["user_id", "name", "free", "tags", "x", "X", "utm_a", "u%74m_b", "user%5Fid", "", "a[]", "%FF"])
VALUE = st.sampled_from(
    [
        *("5", "05", "%35", "+5", "5.0", "1e3", "a", "A", "%61", "a+b", "a%20b", "a%2Bb", "a;x=1"),
        *("", "%zz", "%C3%A9", "%FF", "a%00"),
    ]
)
QUERY = st.lists(st.tuples(NAME, st.none() | VALUE), max_size=4).map(
    lambda pairs: "&".join(name if value is None else f"{name}={value}" for name, value in pairs)
)
ENDPOINT = st.sampled_from(["/ctx/user/", "/ctx/page/", "/profile/5/", "/page/a/"])


@HYPOTHESIS
@given(ENDPOINT, QUERY)
def test_no_reader_sees_another_value_in_a_query_that_matches(path: str, query: str):
    resource = ROUTER.match(f"{path}?{query}")
    if not isinstance(resource, Resource):
        return
    context = MANIFEST.contexts[resource.context]
    for text in (query, resource.target.partition("?")[2]):
        fields = parse_qs(text, keep_blank_values=True, errors="strict")
        for name, values in fields.items():
            kind = context.types.get(name)
            if name.startswith("utm_") and context.ignore_query:
                continue
            if name in context.types and name != "tags":
                assert values == [resource.params[name]], "the first and the last of several would be two values"
            elif name == "tags" and kind is not None:
                assert values == resource.params[name]
            else:
                assert values == resource.params[name] or values == [resource.params[name]]
            if kind == "integer" or (name in context.types and kind is None):
                for value in values:
                    numbers = [r[1] for r in numbers_and_names(value) if isinstance(r, tuple) and r[0] == "int"]
                    assert all(str(number) == value for number in numbers)
    assert "utm_" not in unquote(resource.target) or not context.ignore_query


# Keys.

FIELD_VALUES = st.sampled_from([None, "", "de", "de, en", "de,en", "de,,en", '"a,b"', '"a, b"', "DE", "de;q=1"])
HOSTS = st.sampled_from(["a.test", "b.test", "a.test:8000"])
PARTITIONS = ["public", "anon", "user:5:p1", "user:5:p2", "user:5", "user:6:p1", "user:a:b:p1"]
TARGETS = st.builds(lambda path, query: f"{path}?{query}" if query else path, DECLARED_PATH | ENDPOINT, QUERY)
JSON_VALUE: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(5, "5", 5.0, 5.5, -0.0, 0, 2**53 + 1, 1e17, 1e21, "1e+21", True, "true", "a", "é", "", None),
        *([], ["a"], ["a", "b"], [5], ["5"], {}),
    ]
)
CALLS = st.builds(
    lambda fn, args: json.dumps({"fn": fn, "args": args}).encode(),
    st.sampled_from(["profile", "page", "/free/:free/"]),
    st.dictionaries(st.sampled_from(["user_id", "name", "free", "tags", "slug", "x", "*host"]), JSON_VALUE, max_size=3),
)

Identity = tuple[Any, ...]


def request(target: str, host: str, fields: Fields, method: str = "GET") -> Request:
    return Request(method, target, host, fields)


def key_of(made: tuple[str, bytes | None, str, str, dict[str, str | None]]) -> tuple[str, Identity] | None:
    """The key of a request, and, worked out independently, all that any reader could tell it apart by."""
    target, body, host, who, fields = made
    shown: Fields = tuple((name, value) for name, value in fields.items() if value is not None)
    asked = request(target, host, shown, "GET" if body is None else "POST")
    resource = ROUTER.match(target) if body is None else match_call(MANIFEST, "/call/", "application/json", body)
    if not isinstance(resource, Resource):
        return None
    lookup = Lookup(resource, Partition(who))
    key = policy.entry_key(KEYS, asked, lookup, variant_of(asked, tuple(sorted(fields))))
    listed = tuple(sorted((name, listwise(name, value)) for name, value in fields.items()))
    return key, (*asked_for(target, body, resource), host, who, listed)


def listwise(name: str, value: str | None) -> str:
    """A field's value to a reader who knows the field: those of a list read their members."""
    if value is None:
        return "absent"
    if name == "accept-language" and '"' not in value:
        members = [member.strip().lower().removesuffix(";q=1") for member in value.split(",")]
        return repr([member for member in members if member])
    return repr(value)


def asked_for(target: str, body: bytes | None, resource: Resource) -> Identity:
    if body is not None:
        call = json.loads(body)
        values = {name: as_json_reader(name, value) for name, value in call["args"].items()}
        return ("call", call["fn"], repr(sorted(values.items())))
    path, _, query = target.partition("?")
    pairs = parse_qs(query, keep_blank_values=True)
    if resource.context == "page":
        pairs = {name: values for name, values in pairs.items() if not name.startswith("utm_")}
    return ("url", unquote(path), repr(sorted(pairs.items())))


def as_json_reader(name: str, value: Any) -> Any:
    """A value as a typed application reads it: the text "5" and the number 5.0 are the integer 5."""
    if isinstance(value, list):
        return [as_json_reader("item", item) for item in value]
    if isinstance(value, bool) or name in ("name", "item"):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


REQUESTS = st.tuples(
    TARGETS,
    st.none() | CALLS,
    HOSTS,
    st.sampled_from(PARTITIONS),
    st.fixed_dictionaries({}, optional={"accept-language": FIELD_VALUES, "x-shown": FIELD_VALUES}),
)


def changed(made: Any) -> Any:
    """A request that differs in about one place."""
    target, body, host, who, fields = made
    return st.one_of(
        TARGETS.map(lambda other: (other, None, host, who, fields)),
        CALLS.map(lambda other: (target, other, host, who, fields)),
        HOSTS.map(lambda other: (target, body, other, who, fields)),
        st.sampled_from(PARTITIONS).map(lambda other: (target, body, host, other, fields)),
        REQUESTS.map(lambda other: (target, body, host, who, other[4])),
        REQUESTS,
    )


@settings(HYPOTHESIS, max_examples=1200)
@given(REQUESTS.flatmap(lambda made: st.tuples(st.just(made), changed(made))))
@example(
    (
        ("/ctx/user/", b'{"fn": "/free/:free/", "args": {"free": 5}}', "a.test", "public", {}),
        ("/free/5/", None, "a.test", "public", {}),
    )
)
def test_two_requests_under_one_key_are_one_to_every_reader(pair: Any):
    one, other = map(key_of, pair)
    if one is None or other is None:
        return
    if one[0] == other[0]:
        assert one[1] == other[1]
    else:
        # The other way round is only about speed, and holds nevertheless.
        assert one[1] != other[1]


def test_the_key_tells_apart_context_function_partition_and_reserved_parameters():
    def key(resource: Resource, who: str = ANON, host: str = "a.test", **fields: str) -> str:
        asked = Request("GET", resource.target, host, tuple(fields.items()))
        return policy.entry_key(KEYS, asked, Lookup(resource, Partition(who)), None)

    def matched(target: str) -> Resource:
        resource = ROUTER.match(target)
        assert isinstance(resource, Resource)
        return resource

    def called(fn: str, **args: object) -> Resource:
        body = json.dumps({"fn": fn, "args": args}).encode()
        resource = match_call(MANIFEST, "/call/", "application/json", body)
        assert isinstance(resource, Resource)
        return resource

    makers: list[Callable[[], str]] = [
        lambda: key(matched("/ctx/user/")),
        lambda: key(matched("/ctx/user/"), PUBLIC),
        lambda: key(matched("/ctx/user/"), "user:anon:p"),
        lambda: key(matched("/ctx/user/"), host="b.test"),
        lambda: key(matched("/ctx/page/")),
        lambda: key(matched("/ctx/user/?free=a")),
        lambda: key(matched("/free/a/")),
        lambda: key(matched("/ctx/user/?tags=a")),
        lambda: key(matched("/ctx/user/?x=a")),
        lambda: key(matched("/ctx/user/?x=a&x=a")),
        lambda: key(called("profile")),
        lambda: key(called("profile", free="a")),
        lambda: key(called("profile", tags=["a"])),
        lambda: key(called("page")),
    ]
    keys = [make() for make in makers]
    assert len(set(keys)) == len(keys)
    assert keys == [make() for make in makers]


@HYPOTHESIS
@given(st.text(max_size=5), st.text(max_size=5))
def test_canonical_urls_of_different_values_differ(one: str, other: str):
    pattern = MANIFEST.contexts["user"].view_patterns[1]
    same = canonical_url(pattern.path({"name": one}), {}) == canonical_url(pattern.path({"name": other}), {})
    assert same == (one == other) or any("\ud800" <= char <= "\udfff" for char in one + other)
