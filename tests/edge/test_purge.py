"""One purge in the keeper: what the journal holds of it while Redis is away, and afterwards."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from mizan_core.manifest import parse_manifest
from mizan_core.purge import By, Purge
from mizan_core.scopes import Scope
from mizan_core.store import LEASE_MS, AsyncStore, Namespace, Purged, audit
from mizan_edge.purging.acknowledged import Acknowledgements
from mizan_edge.purging.board import Board
from mizan_edge.purging.fleet import Fleet
from mizan_edge.purging.hold import Hold
from mizan_edge.purging.journal import Journal
from mizan_edge.purging.purge import Purger
from mizan_edge.rules.site import InUse, Site
from mizan_edge.running.config import load_settings, rules_of
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks
from tests.core.store.site import SEALING
from tests.support.edge import SECRET
from tests.support.killable import Redis
from tests.support.origin import until

BY = By(source="response", request="POST /api/mizan/call/", function="rename_user")
PURGE = Purge((Scope.of("user", {"user_id": 5}),), by=BY)


class SlowJournal(Journal):
    """A journal on a disk that takes a line when it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()

    def add(self, purge: Purge, shapes: Mapping[str, str] | None = None, *, intent: bool = False) -> int:
        assert self.go.wait(10)
        return super().add(purge, shapes, intent=intent)


@asynccontextmanager
async def purging(url: str, namespace: str, journal: Journal, manifest: Path) -> AsyncIterator[Purger]:
    """A keeper's purger, of an edge that is no member of the fleet."""
    store, board, tasks = AsyncStore(url, Namespace(namespace, SEALING), timeout_s=0.5), Board.create(0), Tasks()
    rules = rules_of(load_settings({"origin": "http://127.0.0.1:9", "manifest": manifest}, None), SECRET.encode())
    parsed, _ = parse_manifest(manifest.read_bytes(), source="the test's manifest")

    async def nothing() -> None:
        """Nobody serves here."""

    fleet = Fleet(
        *(store, board, "edge", tasks),
        may_renew=lambda: True,
        may_leave=lambda: True,
        new_incarnation=nothing,
        switched=nothing,
        woken=lambda key: None,
    )
    purger = Purger(
        *(store, InUse(Site.of(parsed, rules, {})), fleet, Acknowledgements(store, tasks)),
        journal=journal,
        hold=Hold(board),
        counters=Counters(),
        tasks=tasks,
        lease_ms=LEASE_MS,
        late_s=1,
    )
    try:
        yield purger
    finally:
        await tasks.stop()
        await store.close()
        board.close()


async def test_what_is_confirmed_before_it_was_written_down_is_not_left_in_the_journal(
    server: Redis, namespace: str, manifest: Path, tmp_path: Path
):
    server.kill()
    with SlowJournal(tmp_path / "journal") as journal:
        async with purging(server.url, namespace, journal, manifest) as purger, asyncio.timeout(10):
            done = asyncio.get_running_loop().create_task(purger.purge(PURGE, "response"))
            await until(lambda: purger.pending)
            server.start()
            await until(lambda: not purger.pending)
            journal.go.set()
            assert isinstance(await done, Purged)
        assert journal.open == []
    assert (tmp_path / "journal").read_bytes() == b""


async def test_what_an_earlier_process_has_left_is_audited_as_what_it_was(
    server: Redis, namespace: str, manifest: Path, tmp_path: Path
):
    with Journal(tmp_path / "journal") as before:
        before.add(PURGE)
        before.add(replace(PURGE, by=replace(BY, source="")), intent=True)
    with Journal(tmp_path / "journal") as journal:
        async with purging(server.url, namespace, journal, manifest) as purger, asyncio.timeout(10):
            purger.resume()
            await until(lambda: not purger.pending)
        store = AsyncStore(server.url, Namespace(namespace, SEALING), timeout_s=5)
        *_late, intent, left = (await store.run(audit.read(store.namespace, 10))).purges
        await store.close()
    assert left.by == BY.to_json()
    assert intent.by["source"] == "unknown outcome"
    assert intent.by["function"] == "rename_user"
