"""The journal keeps what is not confirmed through any crash, and in doubt purges everything."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.purge import Purge
from mizan_core.scopes import Scope
from mizan_edge.purging.journal import Journal, JournalError

ADA = Purge((Scope.of("user", {"user_id": 5, "name": "Adä\n,"}),))
ALL = Purge(everything=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def reopened(path: Path) -> list[Purge]:
    with Journal(path) as journal:
        return [item.purge for item in journal.open]


def test_what_was_added_is_there_after_a_crash_in_its_order(path: Path):
    journal = Journal(path)
    journal.add(ADA)
    journal.add(ALL, intent=True)
    assert reopened(path) == [ADA, ALL]  # `journal` was never closed


def test_what_was_confirmed_is_not_repeated_and_an_idle_journal_is_empty(path: Path):
    with Journal(path) as journal:
        first, second = journal.add(ADA), journal.add(ALL)
        journal.close(first)
        assert reopened(path) == [ALL]
        journal.close(second)
    assert reopened(path) == [] and path.stat().st_size == 0


def test_numbers_are_not_reused_while_a_line_with_them_is_in_the_file(path: Path):
    with Journal(path) as journal:
        journal.add(ALL)
    with Journal(path) as journal:
        number = journal.add(ADA)
        journal.close(number)
    assert reopened(path) == [ALL]


def written() -> bytes:
    """A journal with two open purges."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        with Journal(Path(folder) / "journal") as journal:
            journal.close(journal.add(ADA))
            journal.add(ADA)
            journal.add(Purge((Scope.of("catalog"),)))
        return (Path(folder) / "journal").read_bytes()


@given(st.data())
def test_a_damaged_journal_replays_what_verifies_and_purges_everything(tmp_path_factory, data: st.DataObject):
    intact = written()
    at = data.draw(st.integers(0, len(intact) - 1))
    damaged = data.draw(
        st.one_of(
            st.just(intact[:at] + bytes([intact[at] ^ data.draw(st.integers(1, 255))]) + intact[at + 1 :]),
            st.just(intact[: len(intact) - 1 - at % (len(intact) - 1)]),
        )
    )
    path = tmp_path_factory.mktemp("journal") / "journal"
    path.write_bytes(damaged)
    if damaged.endswith(b"\n") and intact.startswith(damaged):
        return  # cut at the end of a line: the lines behind it were never written
    assert ALL in reopened(path)
    assert ALL in reopened(path), "a second start purges everything as well"


def test_a_journal_that_cannot_be_written_says_so_in_one_line(tmp_path: Path):
    with pytest.raises(JournalError) as error:
        Journal(tmp_path / "missing" / "journal")
    assert "\n" not in str(error.value)


def test_purges_and_intents_of_several_threads_are_all_there_and_none_is_torn(path: Path):
    def settled(journal: Journal, number: int) -> None:
        first, second = (
            journal.add(Purge((Scope.of("catalog", {"page": "x" * 16_000}),))),
            journal.add(ALL, intent=True),
        )
        journal.close(second if number % 10 == 0 else first)

    with Journal(path) as journal, ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(settled, journal, number) for number in range(100)]:
            done.result()
        left = [item.purge for item in journal.open]
        assert left.count(ALL) == 90 and len(left) == 100
        assert reopened(path) == left


def test_a_file_that_takes_the_place_of_another_does_so_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch):
    forced: list[tuple[bool, int]] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: forced.append((stat.S_ISDIR(os.fstat(file).st_mode), path.stat().st_ino))
    )
    with Journal(path) as journal:
        journal.add(ALL, intent=True)
        before = path.stat().st_ino
        while path.stat().st_ino == before:
            journal.close(journal.add(Purge((Scope.of("catalog", {"page": "x" * 16_000}),)), intent=True))
        assert forced == [(False, before), (True, path.stat().st_ino)]
