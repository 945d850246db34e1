"""Edges with different manifests index otherwise: a purge by either is exact for both, now and out of the journal."""

import asyncio
import json
from pathlib import Path

from mizan_core.manifest import parse_manifest
from mizan_core.purge import Purge
from mizan_core.scopes import Scope
from mizan_edge.purging.journal import Journal
from tests.support.edge import MANIFEST, EdgeFactory
from tests.support.killable import Redis
from tests.support.origin import Origin
from tests.support.proxy import linked

FEWER = {
    "contexts": {"user": {**MANIFEST["contexts"]["user"], "params": ["user_id"], "param_types": {"user_id": "integer"}}}
}
GERMAN = "/profile/5/?locale=de"


async def test_what_the_store_has_widened_leaves_the_memory_of_the_edge_that_purges(
    make_edge: EdgeFactory, origin: Origin, server: Redis
):
    async with linked(str(server.socket)) as link:
        new = await make_edge(redis=link.url)
        old = await make_edge(FEWER, redis=server.url)  # has started last, so it stores
        assert [(await old.get(GERMAN)).hit for _ in range(2)] == [False, True]
        assert [(await new.get(GERMAN)).hit for _ in range(2)] == [True, True]
        link.freeze("subscription")  # what the store has made of the purge comes with its answer alone
        assert (await new.purge('user;user_id=5;locale="de"')).status == 200
        assert (await new.get(GERMAN)).body != b"GET /profile/5/?locale=de #1"


async def test_a_purge_from_the_journal_is_made_under_the_manifest_that_it_was_written_by(
    make_edge: EdgeFactory, origin: Origin, tmp_path: Path
):
    other = await make_edge(FEWER)
    assert [(await other.get(GERMAN)).hit for _ in range(2)] == [False, True]
    manifest, _ = parse_manifest(json.dumps(MANIFEST).encode(), source="then")
    state = tmp_path / "left"
    state.mkdir()
    with Journal(state / "journal") as journal:
        scope = Scope("user", (("locale", "de"), ("user_id", "5")))
        journal.add(Purge((scope,)), {"user": manifest.contexts["user"].shape})
    await make_edge(FEWER, state_dir=state)
    async with asyncio.timeout(10):
        while (await other.get(GERMAN)).body == b"GET /profile/5/?locale=de #1":
            pass
