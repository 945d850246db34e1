"""Forms through the edge: Django behind it on a real socket, the manifest as it is exported."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from mizan.declare.compiled import compiled
from tests.django.requests import BASE
from tests.support.django_server import serving
from tests.support.edge import RunningEdge, edges

CSRF = "csrftoken"


@pytest.fixture
async def edge(redis_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[RunningEdge]:
    with override_settings(ALLOWED_HOSTS=["site.test"]):
        async with serving() as site, edges(site, redis_url, namespace, tmp_path) as start:
            yield await start(compiled().document)


async def csrf(edge: RunningEdge) -> dict[str, str]:
    """What a browser sends once it has asked for a session."""
    reply = await edge.get(f"{BASE}session/")
    (cookie,) = [value for name, value in reply.fields if name.lower() == "set-cookie" and value.startswith(CSRF)]
    return {"Cookie": cookie.partition(";")[0], "X-CSRFToken": reply.json["csrf_token"]}


def labels(answer: Any) -> list[str]:
    (field,) = answer["fields"]
    return [choice["label"] for choice in field["choices"]]


async def test_a_schema_of_a_context_is_served_from_the_cache_until_a_submit_affects_it(edge: RunningEdge):
    headers = await csrf(edge)
    endpoint = f"{BASE}ctx/teams/"
    assert labels((await edge.get(endpoint)).json["team.schema"]) == ["---------"]
    assert (await edge.get(endpoint)).hit
    assert labels((await edge.call("team.schema", headers)).json["result"]) == ["---------"]
    assert (await edge.call("team.schema", headers)).hit

    submitted = await edge.call("group.submit", headers, data={"name": "readers"})
    assert submitted.json == {"result": {"valid": True, "errors": {}, "data": None}, "invalidate": ["teams"]}

    for reply, schema in (
        (found := await edge.get(endpoint), found.json["team.schema"]),
        (found := await edge.call("team.schema", headers), found.json["result"]),
    ):
        assert not reply.hit
        assert labels(schema) == ["---------", "readers"]


async def test_other_schemas_errors_and_verdicts_come_from_the_origin_each_time(edge: RunningEdge):
    headers = await csrf(edge)
    for fn, args, status in (
        ("contact.schema", {}, 200),
        ("contact.validate", {"data": {"email": "nobody"}, "fields": ["email"]}, 200),
        ("contact.submit", {"data": {}}, 200),
        ("contact.submit", {}, 422),
    ):
        for _ in range(2):
            reply = await edge.call(fn, headers, **args)
            assert (reply.status, reply.hit, reply.cache.startswith("fwd=")) == (status, False, True)


async def test_a_submit_without_the_csrf_token_is_refused_and_purges_nothing(edge: RunningEdge):
    await edge.get(f"{BASE}ctx/teams/")
    reply = await edge.call("group.submit", data={"name": "readers"})
    assert (reply.status, reply.json["error"]["code"]) == (403, "csrf")
    assert (await edge.get(f"{BASE}ctx/teams/")).hit
