"""Whatever lies where the manifest should: the edge goes on, and what a reload has begun is done in the end."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mizan_core.manifest import Manifest, parse_manifest
from mizan_edge.running import manifest_in_use
from mizan_edge.running.workers import Workers
from tests.support import wire
from tests.support.edge import MANIFEST, EdgeFactory, RunningEdge
from tests.support.origin import until

NEW: dict[str, Any] = {"contexts": {**MANIFEST["contexts"], "new": {"views": ["/new/"]}}}
TTL_60: dict[str, Any] = {"contexts": {**MANIFEST["contexts"], "user": {**MANIFEST["contexts"]["user"], "ttl": 60}}}


async def refused(edge: RunningEdge) -> str:
    """Why a reload is refused, and that the manifest in use has stayed."""
    async with asyncio.timeout(10):
        reply = await edge.admin_request("POST", "/reload")
    assert reply.status == 422
    assert [(await edge.get("/catalog/a/")).hit for _ in range(2)][1]
    detail: str = reply.json["detail"]
    return detail


async def test_a_pipe_is_no_manifest_and_keeps_nobody_waiting(edge: RunningEdge):
    edge.manifest_path.unlink()
    os.mkfifo(edge.manifest_path)
    threading.Thread(target=lambda: edge.manifest_path.open("wb").close(), daemon=True).start()
    assert "not a regular file" in await refused(edge)


async def test_of_a_file_without_end_no_more_is_read_than_may_be_used(edge: RunningEdge):
    os.truncate(edge.manifest_path, 1 << 40)
    assert "larger than 7340032 bytes" in await refused(edge)


async def test_the_largest_file_reaches_the_workers_whatever_is_in_it(make_edge: EdgeFactory):
    edge = await make_edge(workers=1)
    text = json.dumps(NEW)
    edge.manifest_path.write_text(text + "\t" * (manifest_in_use._MAX_BYTES - len(text)))
    assert (await edge.admin_request("POST", "/reload")).status == 200
    assert [(await edge.get("/new/")).hit for _ in range(2)] == [False, True]


async def test_a_disk_that_hangs_stops_nothing_but_the_reload(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch):
    answers, reads, real = threading.Event(), [], manifest_in_use._bytes_of

    def hanging(path: Path) -> bytes:
        reads.append(path)
        answers.wait()
        return real(path)

    monkeypatch.setattr(manifest_in_use, "_bytes_of", hanging)
    monkeypatch.setattr(manifest_in_use, "_READ_S", 0.05)
    try:
        for _ in range(3):
            assert "does its disk answer?" in await refused(edge)
        assert len(reads) == 1
    finally:
        answers.set()
    monkeypatch.setattr(manifest_in_use, "_READ_S", 5)
    edge.manifest_path.write_text(json.dumps(NEW))
    assert (await edge.admin_request("POST", "/reload")).json["added"] == ["new"]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_while_a_large_manifest_is_understood_everybody_is_answered(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch, dry_run: bool
):
    goes_on = threading.Event()

    def slow(data: bytes, *, source: str) -> tuple[Manifest, list[str]]:
        goes_on.wait(10)
        return parse_manifest(data, source=source)

    monkeypatch.setattr(manifest_in_use, "parse_manifest", slow)
    edge.manifest_path.write_text(json.dumps(NEW))
    async with asyncio.TaskGroup() as group:
        reload = group.create_task(edge.admin_request("POST", "/reload", {"dry_run": dry_run}))
        try:
            async with asyncio.timeout(5):
                assert (await wire.request(edge.admin, "GET", "/healthz")).status == 200
                assert [(await edge.get("/catalog/a/")).hit for _ in range(2)] == [False, True]
        finally:
            goes_on.set()
    assert reload.result().json["added"] == ["new"]


async def test_what_fails_half_way_is_done_in_the_end(
    edge: RunningEdge, make_edge: EdgeFactory, monkeypatch: pytest.MonkeyPatch
):
    failures = [RuntimeError("once"), RuntimeError("twice")]

    async def failing(self: Workers, manifest: str) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(Workers, "swap", failing)
    monkeypatch.setattr(manifest_in_use, "_RETRY_S", 0.01)
    swapping = await make_edge()
    await swapping.get("/profile/5/")
    assert [(await each.get("/profile/5/")).hit for each in (edge, swapping)] == [True, True]
    swapping.manifest_path.write_text(json.dumps(TTL_60))
    reply = await swapping.admin_request("POST", "/reload")
    assert (reply.status, reply.json["purged"]) == (200, ["user"])
    await until(lambda: not failures)
    async with asyncio.timeout(10):
        while "detail=store" in (reply := await swapping.get("/profile/5/")).cache:
            pass
    assert reply.cache == "fwd=uri-miss; stored"
    assert (await swapping.get("/profile/5/")).cache == "hit; ttl=60"
