"""What mutations under way may change is known after any crash, and in doubt it is everything."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.purge import By, Purge
from mizan_core.scopes import Scope
from mizan_edge.purging.intents import SLOT_BYTES, SLOTS, Intended, Intents, adopt
from mizan_edge.purging.invalidation import Invalidation, Pending, Source
from mizan_edge.purging.journal import Journal
from mizan_edge.system.counters import Counters

BY = By(request="POST /api/mizan/call/", function="rename_user")
ADA = Intended(Purge((Scope.of("user", {"user_id": 5, "name": "Adä\n,"}),), hold_s=3, by=BY), {"user": "3f"})
CATALOG = Intended(Purge((Scope.of("catalog"),)), {})
EVERYTHING = Intended(Purge(everything=True), {})


def left(state_dir: Path) -> list[Intended]:
    """What the next start of an edge finds in its journal."""
    with Journal(state_dir / "journal") as journal:
        adopt(state_dir, journal)
        assert all(item.intent for item in journal.open)
        return [Intended(item.purge, item.shapes) for item in journal.open]


def test_what_is_under_way_is_known_to_the_keeper_and_to_the_next_start(tmp_path: Path):
    forwarding = Intents.create(tmp_path)
    keeping = Intents(os.dup(forwarding.fd))
    forwarding.strike(forwarding.add(CATALOG))
    forwarding.add(ADA)
    assert keeping.open == [ADA] and len(keeping) == 1
    assert left(tmp_path) == [ADA]  # neither was closed
    assert left(tmp_path) == [ADA] and not list(tmp_path.glob("intents-*"))


def test_what_has_ended_is_not_purged_once_more_and_its_file_goes(tmp_path: Path):
    made = Intents.create(tmp_path)
    made.strike(made.add(ADA))
    assert made.open == [] and len(made) == 0
    made.remove()
    assert list(tmp_path.iterdir()) == []


def test_of_what_could_not_be_listed_everything_may_have_changed_until_it_has_ended(tmp_path: Path):
    made = Intents.create(tmp_path)
    numbers = [made.add(ADA) for _ in range(SLOTS)]
    assert made.open == [ADA] * SLOTS
    one_more = made.add(CATALOG)
    assert made.open == [ADA] * SLOTS + [EVERYTHING] and len(made) == SLOTS + 1
    assert EVERYTHING in left(tmp_path)
    made.strike(one_more)
    assert made.open == [ADA] * SLOTS
    made.strike(numbers[7])
    made.add(CATALOG)
    assert made.open.count(ADA) == SLOTS - 1 and made.open.count(CATALOG) == 1


def test_what_is_longer_than_a_slot_may_be_everything(tmp_path: Path):
    made = Intents.create(tmp_path)
    number = made.add(Intended(Purge((Scope.of("user", {"name": "a" * SLOT_BYTES}),)), {}))
    assert made.open == [EVERYTHING]
    made.strike(number)
    assert made.open == []


@given(at=st.integers(0, 4 * SLOT_BYTES - 1), bits=st.integers(1, 255))
def test_what_does_not_verify_may_be_everything(tmp_path_factory: pytest.TempPathFactory, at: int, bits: int):
    folder = tmp_path_factory.mktemp("state")
    made = Intents.create(folder)
    made.add(ADA)
    made.add(CATALOG)
    made.close()
    (path,) = folder.glob("intents-*")
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)
    found = left(folder)
    # A byte of no meaning changes nothing; any other has everything purged, and what can be read beside it.
    assert found in ([ADA, CATALOG], [ADA, CATALOG, EVERYTHING], [ADA, EVERYTHING], [CATALOG, EVERYTHING])
    path.write_bytes(data[: at + 1])
    assert EVERYTHING in left(folder)


def test_on_a_disk_without_room_the_keeper_still_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    made = Intents.create(tmp_path)
    made.add(ADA)
    assert Intents(os.dup(made.fd)).open == [ADA]
    assert list(tmp_path.iterdir()) == []
    (line,) = caplog.messages
    assert line.endswith("No space left on device: a crash before a mutation is answered would lose what it changes")


class Unwritten:
    """A keeper whose Redis is away, and whose disk takes nothing."""

    async def purge(self, purge: Purge, source: Source) -> Pending:
        return Pending(journaled=False)

    async def purge_twice(self, affects: Purge) -> bool:
        return False


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_nobody_has_written_down_is_not_struck(tmp_path: Path, is_known: bool):
    made = Intents.create(tmp_path)
    invalidation = Invalidation(Unwritten(), made, Counters())
    with invalidation.intending(ADA.purge, {}) as intent:
        if is_known:
            await invalidation.obey((("X-Mizan-Invalidate", "user"),), {}, intent=intent)
        else:
            await invalidation.unknown(intent)
    assert left(tmp_path) == [Intended(ADA.purge, {})]
