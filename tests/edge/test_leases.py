"""No edge reads the store after an absence in which another one may have purged without being heard."""

import asyncio
from pathlib import Path

import pytest

from tests.support import wire
from tests.support.edge import MANIFEST, SECRET, EdgeFactory
from tests.support.killable import Redis
from tests.support.origin import Names, Origin
from tests.support.served import Serve


@pytest.mark.parametrize("killed", [True, False], ids=["the purger dies", "the purger lives"])
async def test_after_redis_was_away_from_all_nothing_is_served_that_one_of_them_has_purged(
    serve: Serve, origin: Origin, server: Redis, tmp_path: Path, killed: bool
):
    origin.script = Names()
    settings = {"MIZAN_EDGE_REDIS": server.url, "MIZAN_CACHE_SECRET": SECRET}
    purger = await serve(**settings)
    other = await serve("--state-dir", tmp_path / "other", **settings)
    assert (await wire.request(purger.listen, "GET", "/profile/5/")).body == b"old"
    assert (await wire.request(other.listen, "GET", "/profile/5/")).hit
    server.freeze()
    assert (await wire.request(purger.listen, "POST", "/x", body=b"")).status == 200
    if killed:
        purger.process.kill()
        await purger.process.wait()
    server.thaw()
    async with asyncio.timeout(20):
        while True:
            reply = await wire.request(other.listen, "GET", "/profile/5/")
            assert reply.body == b"new"
            if reply.hit:
                break


async def test_edges_with_different_manifests_purge_what_the_other_has_indexed_otherwise(
    make_edge: EdgeFactory, origin: Origin
):
    user = MANIFEST["contexts"]["user"]
    fewer = {"contexts": {"user": {**user, "params": ["user_id"], "param_types": {"user_id": "integer"}}}}
    new, old = await make_edge(), await make_edge(fewer)  # the older one has started last, and stores
    target = "/profile/5/?locale=de"
    assert [(await old.get(target)).hit for _ in range(2)] == [False, True]
    assert (await new.purge('user;user_id=5;locale="de"')).json["entries"] == 1
    assert not (await old.get(target)).hit
