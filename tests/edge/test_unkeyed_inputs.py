"""What a request says beyond its key must not show in a response that others get."""

import pytest

from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says

VIEW = "/profile/5/"
MARK = "evil.test"

# Fields by which a request may name another host, path, method, scheme or client than its own, to some framework or
# server behind the edge.
OVERRIDING = [
    "Forwarded",
    "X-Forwarded-Host",
    "X_Forwarded_Host",
    "X-Forwarded-Server",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-By",
    "X-Forwarded-For",
    "X-Http-Method",
    "X-Http-Method-Override",
    "X-Method-Override",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-Url",
    "X-Forwarded-Method",
    "X-Forwarded-Context",
    "X-Host",
    "X-Original-Host",
    "X-Http-Host-Override",
    "X-Original-Url",
    "X_Original_Url",
    "X-Original-Uri",
    "X-Original-Method",
    "X-Rewrite-Url",
    "X-Request-Uri",
    "X-Script-Name",
    "Script-Name",
    "X-Proxy-Url",
    "Base-Url",
    "Front-End-Https",
    "X-Scheme",
    "X-Url-Scheme",
    "X-Real-Ip",
    "X-Client-Ip",
    "Client-Ip",
    "True-Client-Ip",
    "X-Cluster-Client-Ip",
    "Cf-Connecting-Ip",
    "Fastly-Client-Ip",
]


def echo(asked: Asked) -> Says:
    """An origin that believes everything."""
    return Says("\n".join(f"{name}: {value}" for name, value in asked.headers) + asked.target)


@pytest.mark.parametrize("name", OVERRIDING)
async def test_no_field_that_overrides_the_request_reaches_what_others_get(
    edge: RunningEdge, origin: Origin, name: str
):
    origin.script = echo
    for target in VIEW, "/catalog/shoes/", "/api/mizan/ctx/user/?user_id=5":
        await edge.get(target, {name: MARK})
        assert MARK.encode() not in (await edge.get(target)).body


@pytest.mark.parametrize("name", ["X-Original-Url", "X-Rewrite-Url"])
async def test_not_by_way_of_a_trusted_proxy_either(make_edge: EdgeFactory, origin: Origin, name: str):
    """A proxy sets the fields that it knows, and passes on what it does not."""
    edge = await make_edge(trusted_proxies="127.0.0.1")
    origin.script = echo
    await edge.get(VIEW, {name: MARK})
    assert MARK.encode() not in (await edge.get(VIEW)).body


async def test_what_a_trusted_proxy_says_cannot_be_taken_from_the_origin_by_connection(
    make_edge: EdgeFactory, origin: Origin
):
    """Else a redirect to https would lie under the key of https, if a proxy passes on its client's Connection."""
    edge = await make_edge(trusted_proxies="127.0.0.1")
    origin.script = lambda asked: Says(f"{asked.get('X-Forwarded-Proto')} {asked.get('X-Forwarded-Host')}")
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shown.test"}
    reply = await edge.get(VIEW, {**told, "Connection": "X-Forwarded-Proto, X-Forwarded-Host"})
    assert reply.body == b"https shown.test"
    assert (await edge.get(VIEW, told)).body == b"https shown.test"


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "site.test.evil.test",
        "site.test.",
        "evil.test:site.test",
        "site.test, evil.test",
        "site.test evil.test",
        "site.test/evil",
        "site.test#evil",
        "[site.test]",
        "::1",
        "",
        "site.test:evil",
        "site.test:80@evil.test",
    ],
)
async def test_a_host_that_is_not_allowed_or_none_reaches_no_origin(make_edge: EdgeFactory, origin: Origin, host: str):
    edge = await make_edge(allowed_hosts="site.test")
    reply = await edge.get(VIEW, host=host)
    assert (reply.status, origin.hits) in {(400, 0), (421, 0)}


@pytest.mark.parametrize(
    "host", ["site.test", "SITE.test", "site.test:80", "site.test:8080", "Site.Test:8080", "[::1]", "[::1]:8080"]
)
async def test_an_allowed_host_is_served_in_any_case_and_on_any_port(make_edge: EdgeFactory, origin: Origin, host: str):
    edge = await make_edge(allowed_hosts="site.test, [::1]")
    assert (await edge.get(VIEW, host=host)).status == 200


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize("host", ["site.test:8080", "SITE.TEST:8080", "other.test", "site.test:80", "Site.test"])
async def test_a_host_that_the_origin_sees_is_in_the_key(make_edge: EdgeFactory, origin: Origin, only: bool, host: str):
    """The origin writes links from the Host field, so whoever sends another one must not make them for others."""
    edge = await make_edge(allowed_hosts="site.test" if only else "")
    origin.script = lambda asked: Says(asked.get("Host") or "")
    reply = await edge.get(VIEW, host=host)
    if reply.status == 200:
        assert reply.body.decode() == host.lower().removesuffix(":80")
    assert (await edge.get(VIEW, host="site.test")).body == b"site.test"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://evil.test/profile/5/", "site.test"),
        ("http://site.test/profile/5/", "evil.test"),
        ("HTTP://SITE.test/profile/5/", "evil.test"),
    ],
)
async def test_an_absolute_target_names_the_host(make_edge: EdgeFactory, origin: Origin, target: str, host: str):
    """RFC 9112 section 3.2.2: the Host field is ignored, and not forwarded."""
    edge = await make_edge(allowed_hosts="site.test")
    origin.script = echo
    reply = await edge.get(target, host=host)
    if "evil" in target:
        assert (reply.status, origin.hits) == (421, 0)
    else:
        assert (origin.asked[0].get("Host") or "").lower() == "site.test"
        assert b"evil" not in reply.body
        assert (await edge.get(VIEW)).hit


async def test_two_hosts_are_none(edge: RunningEdge, origin: Origin):
    reply = await wire.request(edge.address, "GET", VIEW, [("Host", "evil.test")], host="site.test")
    assert (reply.status, origin.hits) == (400, 0)
