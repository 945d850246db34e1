"""Each request has an id, a trusted proxy's or one of the edge's: the origin gets it, and what is stored has none."""

import re

import pytest

from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says

VIEW = "/profile/5/"
MADE = re.compile("[0-9a-f]{32}")


def echo(asked: Asked) -> Says:
    """As applications do that answer with the id that they were asked under."""
    return Says("page", headers=[("X-Request-ID", asked.get("x-request-id") or ""), ("Cache-Control", "max-age=60")])


async def test_every_request_leaves_under_one_id_of_its_own(edge: RunningEdge, origin: Origin):
    await edge.get("/other/", {"X-Request-ID": "forged"})
    await edge.get(VIEW, {"X_Request_Id": "forged"})
    await edge.request("POST", "/other/", body=b"x")
    ids = [asked.get("x-request-id") or "" for asked in origin.asked]
    assert all(MADE.fullmatch(id) for id in ids)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("trusted", ["127.0.0.1", ""])
async def test_requests_of_one_form_over_one_connection_have_ids_of_their_own(
    make_edge: EdgeFactory, origin: Origin, trusted: str
):
    edge = await make_edge(trusted_proxies=trusted)
    connections = wire.Connections(edge.address)
    browser = {"User-Agent": "Mozilla/5.0", "Accept": "*/*"}
    for number in range(40):
        told = {"X-Request-ID": f"id-{number}"} if number >= 20 else {}
        assert (await connections.request("GET", f"/other/{number % 3}/", browser | told)).status == 200
    connections.close()
    ids = [asked.get("x-request-id") or "" for asked in origin.asked]
    assert len(set(ids)) == 40
    assert all(map(MADE.fullmatch, ids[:20]))
    if trusted:
        assert ids[20:] == [f"id-{number}" for number in range(20, 40)]
    else:
        assert all(map(MADE.fullmatch, ids[20:]))


@pytest.mark.parametrize(
    ("told", "passed"),
    [
        (["a-1"], True),
        (["x" * 128], True),
        (["x" * 129], False),
        (['a"b'], False),
        (["a b"], False),
        ([""], False),
        (["one", "two"], False),
    ],
)
async def test_the_id_of_a_trusted_proxy_is_passed_on_if_it_is_one(
    make_edge: EdgeFactory, origin: Origin, told: list[str], passed: bool
):
    edge = await make_edge(trusted_proxies="127.0.0.1")
    await edge.get(VIEW, [("X-Request-ID", value) for value in told])
    id = origin.asked[0].get("x-request-id") or ""
    assert (id == told[0]) if passed else MADE.fullmatch(id)


async def test_what_is_stored_has_no_request_in_it(edge: RunningEdge, origin: Origin):
    origin.script = echo
    replies = [await edge.get(VIEW) for _ in range(3)]
    assert [reply.hit for reply in replies] == [False, True, True]
    assert [reply["X-Request-ID"] for reply in replies] == [None] * 3
    # What is not stored passes as it is.
    assert MADE.fullmatch((await edge.get("/other/"))["X-Request-ID"] or "")
    assert len({asked.get("x-request-id") for asked in origin.asked}) == 2


async def test_a_response_that_varies_by_what_no_two_requests_share_is_not_stored(edge: RunningEdge, origin: Origin):
    for name in ("X-Request-ID", "traceparent"):
        origin.headers = [("Vary", name)]
        assert [(await edge.get(VIEW)).hit for _ in range(2)] == [False, False]


@pytest.mark.parametrize("near", [64 << 20, 0], ids=["from memory", "from Redis"])
async def test_clients_are_told_the_id_of_their_own_request_where_that_is_wanted(
    make_edge: EdgeFactory, origin: Origin, near: int
):
    origin.script = lambda asked: Says("page", headers=[("X-Request-ID", "of the origin"), ("ETag", '"1"')])
    edge = await make_edge(tell_request_ids=True, trusted_proxies="127.0.0.1", near=near)
    for number in range(6):
        told = {"X-Request-ID": f"id-{number}"}
        assert (await edge.get(VIEW, told))["X-Request-ID"] == f"id-{number}"
        assert (await edge.get("/other/", told))["X-Request-ID"] == f"id-{number}"
        unchanged = await edge.get(VIEW, {**told, "If-None-Match": '"1"'})
        assert (unchanged.status, unchanged["X-Request-ID"]) == (304, f"id-{number}")
        assert (await edge.request("HEAD", VIEW, told))["X-Request-ID"] == f"id-{number}"
    assert origin.hits == 7
    made = [(await edge.get(VIEW))["X-Request-ID"] or "" for _ in range(3)]
    assert len(set(made)) == 3 and all(map(MADE.fullmatch, made))
