"""The board, between real processes: what a worker reads is exactly what its keeper wrote, or nothing."""

import inspect
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mizan_edge.purging.board import SLOT_BYTES, SLOTS, Board, BoardError, Clocks, clocks

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
NOW: Clocks = (1_000.0, 2_000.0, 3_000.0)
SCOPE = "user\n;user_id=5"


def scope(number: int) -> str:
    """What the purge with this number is always about here; lengths vary, so that slots have remains of other laps."""
    return f"user\n;user_id={number}" + "x" * (number * 37 % 450)


def forward(at: Clocks, s: float) -> Clocks:
    return at[0] + s, at[1] + s, at[2] + s


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.create(workers=2)
    yield board
    board.close()


@pytest.fixture
def small() -> Iterator[Board]:
    """A board whose ring is lapped after eight purges."""
    board = Board.create(workers=2, slots=8)
    yield board
    board.close()


Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Runs a function of this module in another process, on a board it has by inheritance alone: `spawn(f, board, 1)`.

    The process starts from the function's source, so that it need not load the tests.
    """
    children = []

    def start(function: Callable[..., None], board: Board, *arguments: int) -> "subprocess.Popen[str]":
        call = f"{function.__name__}(Board.attach({board.fd}), *{arguments})"
        imports = (
            "import os, random, signal",
            "from collections.abc import Iterator",
            "from mizan_edge.purging.board import Board, clocks",
        )
        program = "\n".join([*imports, inspect.getsource(scope), inspect.getsource(function), call])
        child = subprocess.Popen(
            [sys.executable, "-c", program], pass_fds=[board.fd], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def said(child: "subprocess.Popen[str]") -> str:
    """What a process has said when it has ended well."""
    output, _ = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0
    return output


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


# The lease.


def test_a_new_board_allows_nothing(board: Board):
    assert not board.valid(clocks())
    assert board.current(clocks()) is None
    assert (board.session, board.number, board.flags) == (0, 0, 0)
    assert board.records(after=0) == []


@pytest.mark.parametrize("clock", [0, 1, 2], ids=["monotonic", "boottime", "realtime"])
def test_a_lease_ends_when_the_first_of_the_three_clocks_says_so(board: Board, clock: int):
    board.grant(NOW, lasts_s=2.0, redis_ms=0)
    assert board.valid(forward(NOW, 1.99))
    late = list(NOW)
    late[clock] += 2.0
    assert not board.valid((late[0], late[1], late[2]))


def test_a_lease_counts_from_before_it_was_asked_for_on_the_clocks_of_this_machine(board: Board):
    asked = clocks()
    board.grant(asked, lasts_s=0.05, redis_ms=0)
    until(lambda: not board.valid(clocks()))
    assert min(now - then for now, then in zip(clocks(), asked, strict=True)) >= 0.05


def test_a_renewal_prolongs_and_a_revocation_ends(board: Board):
    for s in range(3):
        board.grant(forward(NOW, s), lasts_s=2.0, redis_ms=0)
        assert board.valid(forward(NOW, s + 1.9)) and not board.valid(forward(NOW, s + 2.1))
    board.revoke()
    assert not board.valid(NOW)
    board.grant(NOW, lasts_s=2.0, redis_ms=0)
    assert board.valid(NOW)


def test_a_session_begins_without_a_lease_and_under_a_number_of_its_own(board: Board):
    sessions = set()
    for _ in range(20):
        board.grant(NOW, lasts_s=2.0, redis_ms=0)
        sessions.add(board.begin_session())
        assert board.session in sessions and not board.valid(NOW)
    assert len(sessions) == 20
    assert all(0 < session < 2**63 for session in sessions)


def test_current_is_what_a_worker_compares_and_none_where_nothing_may_be_used(board: Board):
    session = board.begin_session()
    board.announce([SCOPE])
    assert board.current(NOW) is None, "no lease"
    board.grant(NOW, lasts_s=2.0, redis_ms=5_000)
    assert board.current(NOW) == (session, 1, 5_000.0)
    board.set_flags(0b100)
    assert board.flags == 0b100 and board.current(NOW) is None
    board.set_flags(0)
    assert board.current(forward(NOW, 1.5)) == (session, 1, 6_500.0)
    assert board.current(forward(NOW, 2.1)) is None


def test_the_clock_of_redis_goes_on_as_fast_as_the_fastest_clock_here(board: Board):
    board.grant(NOW, lasts_s=2.0, redis_ms=1_700_000_000_000)
    # A double holds times of this size to a quarter of a microsecond, and the bound is rounded up.
    assert board.redis_ms(NOW) - 1_700_000_000_000 in (0, 1)
    assert board.redis_ms(forward(NOW, 1.5)) - 1_700_000_001_500 in (0, 1)
    assert board.redis_ms(forward(NOW, 0.0004)) == 1_700_000_000_001, "a part of a millisecond is one"
    assert board.redis_ms((NOW[0], NOW[1] + 60, NOW[2] - 60)) - 1_700_000_060_000 in (0, 1)
    board.revoke()
    assert board.redis_ms(forward(NOW, 1.5)) - 1_700_000_001_500 in (0, 1), "who is at work on a request may still ask"
    board.grant(forward(NOW, 10), lasts_s=2.0, redis_ms=1_700_000_009_000)
    assert board.redis_ms(forward(NOW, 10)) - 1_700_000_009_000 in (0, 1)


def grant_in_turns(board: Board, times: int) -> None:
    """Two leases that have both run out at (60, 60, 60), each on other clocks; and flags of all bits or none."""
    for _ in range(times):
        # Twice each: where records take turns, either place then sees both leases.
        for asked, redis_ms in ((100, 0, 0), 1_000), ((0, 100, 100), 5_000):
            board.grant(asked, lasts_s=50, redis_ms=redis_ms)
            board.grant(asked, lasts_s=50, redis_ms=redis_ms)
            board.set_flags(2**64 - 1 - board.flags)
    board.announce([""])


def test_a_reader_never_sees_two_leases_mixed_or_half_a_word(board: Board, spawn: Spawn):
    at = (60.0, 60.0, 60.0)
    board.grant((100, 0, 0), lasts_s=50, redis_ms=1_000)
    child = spawn(grant_in_turns, board, 75_000)
    deadline, seen = time.monotonic() + DEADLINE_S, set()
    while board.number == 0 and time.monotonic() < deadline:
        seen.add((board.valid(at), board.redis_ms(at) in (61_000, 65_000), board.flags in (0, 2**64 - 1)))
    said(child)
    assert seen == {(False, True, True)}


# The ring.


def test_a_reader_gets_what_it_has_not_had_in_order(board: Board):
    board.announce([SCOPE, "", "catalog"])
    assert board.number == 3
    assert board.records(after=0) == [(1, SCOPE), (2, ""), (3, "catalog")]
    board.announce(["página\n;q=ñ\ud800"])
    assert board.records(after=2) == [(3, "catalog"), (4, "página\n;q=ñ\ud800")]
    assert board.records(after=4) == []


def test_who_has_fallen_behind_the_ring_is_told_so(board: Board):
    for number in range(1, SLOTS + 3):
        board.announce([scope(number)])
    assert board.records(after=1) is None
    assert board.records(after=2) == [(number, scope(number)) for number in range(3, SLOTS + 3)]
    assert board.records(after=SLOTS + 3) is None, "a number that this board has never had"


def test_more_at_once_than_the_ring_holds_leaves_nobody_with_a_part_of_it(small: Board):
    small.announce(map(scope, range(1, 21)))
    assert small.number == 20
    assert small.records(after=0) is None
    assert small.records(after=12) == [(number, scope(number)) for number in range(13, 21)]


def test_what_does_not_fit_into_a_slot_is_announced_as_more(board: Board):
    fits = "user\n;q=".ljust(SLOT_BYTES - 16, "x")
    board.announce([fits, fits + "x", "ü" * 248, "ü" * 249, "c" * 497 + "\n;q=1"])
    assert board.records(after=0) == [(1, fits), (2, "user"), (3, "ü" * 248), (4, ""), (5, "")]


def test_an_announcement_that_fails_half_way_is_none(small: Board):
    def fails() -> Iterator[str]:
        yield "never"
        raise OSError

    small.announce([SCOPE])
    with pytest.raises(OSError):
        small.announce(fails())
    assert small.records(after=0) == [(1, SCOPE)]
    small.announce(["catalog"])
    assert small.records(after=1) == [(2, "catalog")]


def test_any_damage_to_a_slot_is_seen(small: Board):
    small.announce([SCOPE])
    whole = os.pread(small.fd, os.fstat(small.fd).st_size, 0)
    # Record 1 stands in the second of eight slots; behind its text nothing is read.
    start = len(whole) - 7 * SLOT_BYTES
    used = 16 + len(SCOPE)
    assert whole[start + 16 : start + used] == SCOPE.encode()
    for place in range(start, start + used):
        for bit in range(8):
            os.pwrite(small.fd, bytes([whole[place] ^ 1 << bit]), place)
            assert small.records(after=0) is None
        os.pwrite(small.fd, whole[place : place + 1], place)
    assert small.records(after=0) == [(1, SCOPE)]


def test_a_whole_record_in_a_place_that_is_not_its_own_is_none(small: Board):
    small.announce(map(scope, range(1, 10)))
    size = os.fstat(small.fd).st_size
    ring = size - 8 * SLOT_BYTES
    # Record 3 where 4 should be, first as it is, then under 4's number.
    other = os.pread(small.fd, SLOT_BYTES, ring + 3 * SLOT_BYTES)
    os.pwrite(small.fd, other, ring + 4 * SLOT_BYTES)
    assert small.records(after=3) is None
    os.pwrite(small.fd, (4).to_bytes(8, sys.byteorder), ring + 4 * SLOT_BYTES)
    assert small.records(after=3) is None
    assert small.records(after=4) is not None


def announce_all(board: Board, count: int, most_at_once: int) -> None:
    choice = random.Random(count)
    while (number := board.number) < count:
        board.announce(map(scope, range(number + 1, number + 1 + choice.randint(1, most_at_once))))


def read_all(board: Board, count: int, reader: int) -> None:
    """Beats, then follows the writer. Says how many records it has read, how many missed, and which was the last."""
    read = missed = after = 0
    board.beat(reader)
    while after < count:
        last = board.number
        found = board.records(after)
        if found is None:
            missed += last - after
            after = last
            continue
        for number, text in found:
            after += 1
            read += 1
            assert (number, text) == (after, scope(after))
    print(read, missed, after)


@pytest.mark.parametrize(("slots", "at_once", "count"), [(4096, 3, 60_000), (64, 30, 60_000), (4, 3, 60_000)])
def test_readers_beside_a_writer_get_everything_or_know_that_they_have_not(
    spawn: Spawn, slots: int, at_once: int, count: int
):
    board = Board.create(workers=2, slots=slots)
    try:
        readers = [spawn(read_all, board, count, reader) for reader in range(2)]
        until(lambda: board.beats(0) and board.beats(1))
        writer = spawn(announce_all, board, count, at_once)
        for reader in readers:
            read, missed, last = map(int, said(reader).split())
            assert read + missed == last >= count
            assert read > 0 or slots < 4096  # a reader may never be fast enough for fewer
        said(writer)
        assert board.records(board.number - slots) == [
            (number, scope(number)) for number in range(board.number - slots + 1, board.number + 1)
        ]
    finally:
        board.close()


def test_a_writer_that_is_killed_at_any_moment_leaves_a_board_to_go_on_with(spawn: Spawn):
    board = Board.create(workers=1, slots=16)
    choice = random.Random(5)
    try:
        for _ in range(12):
            enough = board.number + choice.randint(1, 5_000)
            writer = spawn(announce_all, board, 10**9, 6)
            while board.number < enough:
                assert writer.poll() is None
            writer.kill()
            writer.wait()
            last = board.number
            # Up to six records were lost to those that had no time to be announced.
            wanted = [(number, scope(number)) for number in range(last - 15, last + 1)]
            assert board.records(last - 10) == wanted[-10:]
            assert board.records(last - 16) in (wanted, None)
            board.announce([scope(last + 1)])
            assert board.records(last - 9) == [*wanted[-9:], (last + 1, scope(last + 1))]
    finally:
        board.close()


def die_half_way(board: Board) -> None:
    def scopes() -> Iterator[str]:
        yield "never"
        yield "never"
        os.kill(os.getpid(), signal.SIGKILL)

    board.announce(scopes())


def test_what_a_writer_had_not_announced_when_it_was_killed_was_never_there(small: Board, spawn: Spawn):
    small.announce(map(scope, range(1, 9)))
    assert spawn(die_half_way, small).wait(DEADLINE_S) == -signal.SIGKILL
    assert small.number == 8
    assert small.records(after=0) is None, "it was written over"
    assert small.records(after=2) == [(number, scope(number)) for number in range(3, 9)]
    small.announce(map(scope, range(9, 12)))
    assert small.records(after=3) == [(number, scope(number)) for number in range(4, 12)]


# Other processes.


def look_and_beat(board: Board) -> None:
    print(board.session, board.records(0), board.valid(clocks()), board.flags)
    board.beat(1)


@pytest.mark.parametrize("memfd", [True, False], ids=["memfd", "file"])
def test_a_process_that_inherits_the_file_sees_the_board_and_beats_on_it(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memfd: bool
):
    if not memfd:
        monkeypatch.delattr(os, "memfd_create")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    board = Board.create(workers=2)
    try:
        assert list(tmp_path.iterdir()) == []
        session = board.begin_session()
        board.grant(clocks(), lasts_s=DEADLINE_S, redis_ms=0)
        board.announce([SCOPE])
        board.set_flags(3)
        assert said(spawn(look_and_beat, board)) == f"{session} {[(1, SCOPE)]} True 3\n"
        said(spawn(look_and_beat, board))
        assert (board.beats(0), board.beats(1)) == (0, 2)
    finally:
        board.close()


def test_a_beat_without_a_slot_touches_nothing(board: Board):
    board.announce([SCOPE])
    before = os.pread(board.fd, os.fstat(board.fd).st_size, 0)
    with pytest.raises(IndexError):
        board.beat(2)
    assert os.pread(board.fd, len(before), 0) == before


def test_a_board_outlives_the_process_that_made_it_and_its_parts_do_not_overlap():
    # One to more workers than fit beside the head into one slot.
    for workers in (1, 47, 48, 49, 200):
        board = Board.create(workers, slots=2)
        other = Board.attach(os.dup(board.fd))
        for worker in range(workers):
            for _ in range(worker + 1):
                board.beat(worker)
        board.announce(["a", "b"])
        board.grant(NOW, lasts_s=2.0, redis_ms=0)
        session = board.begin_session()
        board.grant(NOW, lasts_s=2.0, redis_ms=0)
        board.close()
        assert [other.beats(worker) for worker in range(workers)] == list(range(1, workers + 1))
        assert other.records(after=0) == [(1, "a"), (2, "b")]
        current = other.current(NOW)
        assert current is not None and current[:2] == (session, 2)
        other.close()


def test_what_is_no_board_is_refused_and_stays_open(tmp_path: Path, board: Board):
    whole = os.pread(board.fd, os.fstat(board.fd).st_size, 0)
    texts = [b"", b"x" * 10, b"x" * len(whole), whole[:-1], whole + b"x", b"x" * 8 + whole[8:]]
    for text in texts:
        path = tmp_path / "file"
        path.write_bytes(text)
        with path.open("r+b") as file, pytest.raises(BoardError, match="no board"):
            Board.attach(file.fileno())
    reading, writing = os.pipe()
    with pytest.raises(BoardError, match="no board"):
        Board.attach(reading)
    os.close(reading)
    os.close(writing)
    with pytest.raises(BoardError, match="Bad file descriptor"):
        Board.attach(writing)


def test_clocks_go_forward_and_are_those_of_every_process():
    looks = [clocks() for _ in range(100)]
    # The wall clock may be set back meanwhile, so it is left out.
    for before, after in pairwise(looks):
        assert before[0] <= after[0] and before[1] <= after[1]
    child = subprocess.run(
        [sys.executable, "-c", "from mizan_edge.purging.board import clocks; print(*clocks())"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    theirs, now = [float(text) for text in child.stdout.split()], clocks()
    assert looks[-1][0] <= theirs[0] <= now[0] and looks[-1][1] <= theirs[1] <= now[1]
