"""Workers are real processes: replaced when they die or are stuck, drained at the end, and gone with their keeper."""

import asyncio
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from mizan_edge.running.supervisor import Launch, Patience, Supervisor, WorkerFailed
from mizan_edge.system import addresses
from mizan_edge.system.addresses import AddressUnusable, listening_sockets
from mizan_edge.system.channel import Channel
from mizan_edge.system.tasks import Tasks
from tests.support.beats import Beats
from tests.support.origin import until
from tests.support.processes import alive, wait_for

ROOT = Path(__file__).parents[2]
# Half a second of silence is too much.
IMPATIENT = Patience(tick_s=0.02, stuck_ticks=25)

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, or needs what only Linux does")


@dataclass
class Staff:
    """A supervisor with its workers, and what it has said."""

    supervisor: Supervisor
    beats: Beats
    port: int
    launched: list[float] = field(default_factory=list)
    died: list[float] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    slow: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """Of the only worker."""
        return self.supervisor.pids.get(0)

    async def ask(self, line: str = "who") -> int:
        """The process id of the worker that answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"{line}\n".encode())
            return int(await asyncio.wait_for(reader.read(), 20))
        finally:
            writer.close()


@asynccontextmanager
async def staffed(
    *, workers: int = 1, hows: Callable[[int], str] = lambda launch: "serve", patience: Patience | None = None
) -> AsyncIterator[Staff]:
    """Supervises `workers`; `hows(n)` is how the n-th that is started, from 0, shall behave."""
    tasks = Tasks()

    def launch(slot: int) -> Launch:
        how = hows(len(staff.launched))
        staff.launched.append(time.monotonic())
        return Launch("tests.support.worker", [str(beats.fd), how], [beats.fd], {"wait": wait})

    async def wait(_: Any) -> None:
        staff.slow.set()
        await staff.go_on.wait()

    def started(slot: int, channel: Channel) -> None:
        staff.seen.append(staff.supervisor.pids[slot])

    sockets = listening_sockets("listen", "127.0.0.1", 0, workers)
    with Beats() as beats:
        supervisor = Supervisor(
            sockets,
            launch,
            tasks=tasks,
            beats=beats.count,
            on_start=started,
            on_death=lambda slot: staff.died.append(time.monotonic()),
            patience=patience or Patience(),
        )
        staff = Staff(supervisor, beats, sockets[0][0].getsockname()[1])
        try:
            yield staff
        finally:
            await supervisor.drain(0)
            await tasks.stop()


async def test_every_worker_serves_the_same_port_in_a_session_of_its_own():
    async with staffed(workers=2) as staff:
        await staff.supervisor.start()
        pids = set(staff.supervisor.pids.values())
        assert len(pids) == 2
        assert {os.getsid(pid) for pid in pids} == pids
        answered: set[int] = set()
        async with asyncio.timeout(20):
            while answered != pids:
                answered.add(await staff.ask())


async def test_a_worker_that_is_killed_is_replaced_and_that_is_said_in_one_line(caplog: pytest.LogCaptureFixture):
    async with staffed() as staff:
        await staff.supervisor.start()
        killed = staff.pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        answered = await staff.ask()
        assert answered == staff.pid != killed
        assert len(staff.died) == 1
        assert not Path(f"/proc/{killed}").exists(), "a zombie"
    said = [record.message for record in caplog.records if record.name != "asyncio"]
    assert said == [
        f"worker 0 (process {killed}) was killed by SIGKILL: the next one starts now",
        f"worker 0 (process {answered}) has not ended after 0 s: killed",
    ]


def test_the_pause_doubles_from_the_second_early_death_on():
    pauses = [Patience().pause_s(deaths) for deaths in (0, 1, 2, 3, 4, 7, 8, 5000)]
    assert pauses == [0, 0, 0.1, 0.2, 0.4, 3.2, 5, 5]


async def test_a_slot_whose_workers_keep_dying_stays_empty_for_longer_and_longer(caplog: pytest.LogCaptureFixture):
    patience = Patience(first_pause_s=0.05)
    async with staffed(hows=lambda launch: "refuse" if 1 <= launch <= 3 else "serve", patience=patience) as staff:
        await staff.supervisor.start()
        assert staff.pid
        os.kill(staff.pid, signal.SIGKILL)
        assert await staff.ask() == staff.pid
        pauses = [start - death for death, start in zip(staff.died, staff.launched[1:], strict=True)]
        least = [0, 0.05, 0.1, 0.2]
        assert all(pause >= expected for pause, expected in zip(pauses, least, strict=True)), pauses
    assert caplog.text.count("has ended with status 3") == 3


async def test_a_worker_that_is_stopped_is_killed_and_replaced(caplog: pytest.LogCaptureFixture):
    async with staffed(patience=IMPATIENT) as staff:
        await staff.supervisor.start()
        stuck = staff.pid
        assert stuck
        os.kill(stuck, signal.SIGSTOP)
        assert await staff.ask() not in (stuck, None)
        assert not alive(stuck)
    assert f"worker 0 (process {stuck}) shows no sign of life: killed" in caplog.text


async def test_a_worker_that_nobody_can_talk_to_is_replaced():
    async with staffed(hows=lambda launch: "serve" if launch else "deaf", patience=IMPATIENT) as staff:
        await staff.supervisor.start()
        first = staff.pid
        await until(lambda: staff.pid not in (first, None))
        assert await staff.ask() == staff.pid


async def test_a_keeper_that_stood_still_itself_kills_nobody():
    async with staffed(patience=IMPATIENT) as staff:
        await staff.supervisor.start()
        pid = staff.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1)  # noqa: ASYNC251 - twice as long as a worker may be silent
        await asyncio.sleep(3 * IMPATIENT.tick_s)
        os.kill(pid, signal.SIGCONT)
        beats = staff.beats.count(0)
        await until(lambda: staff.beats.count(0) > beats + IMPATIENT.stuck_ticks)
        assert staff.seen == [pid]
        assert await staff.ask() == pid


@linux
async def test_a_connection_that_waits_at_a_dead_worker_is_served_by_its_successor():
    async with staffed(hows=lambda launch: "refuse" if launch == 1 else "serve") as staff:
        await staff.supervisor.start()
        dying = staff.pid
        assert dying
        os.kill(dying, signal.SIGSTOP)
        async with asyncio.TaskGroup() as group:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", staff.port)
            writer.write(b"who\n")
            waiting = group.create_task(asyncio.wait_for(reader.read(), 20))
            os.kill(dying, signal.SIGKILL)
        writer.close()
        assert int(waiting.result()) == staff.pid
        assert staff.seen[0] == dying
        assert len(staff.seen) == 3


async def test_workers_are_replaced_one_by_one_by_others_that_serve_their_sockets():
    async with staffed(workers=2) as staff:
        await staff.supervisor.start()
        for slots in ({2, 3}, {0, 1}):
            before = set(staff.supervisor.pids.values())
            assert await staff.supervisor.recycle(20) == 2
            assert staff.supervisor.pids.keys() == slots
            assert not before & set(staff.supervisor.pids.values())
            assert not any(map(alive, before))
        os.kill(staff.supervisor.pids[0], signal.SIGKILL)
        await until(lambda: len(staff.seen) == 7 and len(staff.supervisor.pids) == 2)
        assert await staff.ask() in staff.supervisor.pids.values()


async def test_a_worker_whose_successor_does_not_start_stays():
    async with staffed(hows=lambda launch: "refuse" if launch == 1 else "serve") as staff:
        await staff.supervisor.start()
        with pytest.raises(WorkerFailed, match="has ended with status 3 before it was ready"):
            await staff.supervisor.recycle(20)
        assert await staff.ask() == staff.seen[0] == staff.pid
        assert await staff.supervisor.recycle(20) == 1
        assert await staff.ask() == staff.seen[2]


async def test_a_worker_that_does_not_finish_is_killed_when_its_successor_serves():
    async with staffed() as staff:
        await staff.supervisor.start()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            asking = group.create_task(nothing(staff))
            await staff.slow.wait()
            await staff.supervisor.recycle(0.1)
            assert await asking == b""
        assert await staff.ask() == staff.seen[1]
        assert not alive(staff.seen[0])


async def test_draining_refuses_newcomers_finishes_what_is_open_and_replaces_nobody(caplog: pytest.LogCaptureFixture):
    async with staffed(workers=2) as staff:
        await staff.supervisor.start()
        pids = set(staff.supervisor.pids.values())
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            asking = group.create_task(staff.ask("slow"))
            await staff.slow.wait()
            draining = group.create_task(staff.supervisor.drain(20))
            await until(lambda: refused(staff.port))
            assert not asking.done()
            staff.go_on.set()
            await draining
        assert asking.result() in pids
        assert not staff.supervisor.pids
        assert set(staff.seen) == pids
    assert not caplog.records


def refused(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)  # connections that nobody accepts fill the queue, and the next one would wait
        return sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_a_request_that_does_not_end_keeps_nobody_from_ending():
    async with staffed() as staff:
        await staff.supervisor.start()
        pid = staff.pid
        assert pid
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            asking = group.create_task(nothing(staff))
            await staff.slow.wait()
            await staff.supervisor.drain(0.1)
            assert await asking == b""
        assert not alive(pid)


async def nothing(staff: Staff) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", staff.port)
    writer.write(b"slow\n")
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(("how", "seconds"), [("serve", 30), ("refuse", 30), ("hang", 0.2)])
async def test_draining_also_ends_a_successor_that_is_just_being_started(how: str, seconds: float):
    draining: list[asyncio.Task[None]] = []

    def hows(launch: int) -> str:
        if launch == 0:
            return "serve"
        draining.append(group.create_task(staff.supervisor.drain(seconds)))
        return how

    async with asyncio.timeout(20), asyncio.TaskGroup() as group, staffed(hows=hows) as staff:
        await staff.supervisor.start()
        assert staff.pid
        os.kill(staff.pid, signal.SIGKILL)
        await until(lambda: bool(draining))
        await draining[0]
        assert len(staff.seen) == len(staff.launched) == 2
        assert not any(alive(pid) for pid in staff.seen)


async def test_an_edge_whose_worker_dies_at_the_start_does_not_start_and_leaves_none():
    async with staffed(workers=2, hows=lambda launch: "refuse" if launch else "serve") as staff:
        with pytest.raises(
            WorkerFailed, match=r"^worker 1 \(process \d+\) has ended with status 3 before it was ready"
        ):
            await staff.supervisor.start()
        assert len(staff.seen) == 2
        assert not any(alive(pid) for pid in staff.seen)
        assert len(staff.launched) == 2


async def test_a_worker_that_does_not_become_ready_is_given_up(caplog: pytest.LogCaptureFixture):
    async with staffed(hows=lambda launch: "hang", patience=Patience(tick_s=0.01, starting_ticks=50)) as staff:
        with pytest.raises(WorkerFailed, match="was killed by SIGKILL before it was ready"):
            await staff.supervisor.start()
        assert not any(alive(pid) for pid in staff.seen)
    assert "does not become ready: killed" in caplog.text


@linux
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_twenty_deaths_leave_no_descriptor_and_no_zombie(loop: Callable[[], asyncio.AbstractEventLoop]):
    async def scenario() -> None:
        # Nobody dies young here, so there are no pauses.
        async with staffed(workers=2, patience=Patience(young_s=0)) as staff:
            await staff.supervisor.start()
            await staff.ask()  # the first connection makes uvloop open something that stays
            before = descriptors()
            for deaths in range(1, 11):
                for pid in staff.supervisor.pids.values():
                    os.kill(pid, signal.SIGKILL)
                await until(lambda: len(staff.died) == 2 * deaths and len(staff.supervisor.pids) == 2)  # noqa: B023
                await staff.ask()  # so that one at least is ready, and the other perhaps not
            # The channel of the last one closes a turn after its death is known.
            await until(lambda: len(descriptors()) <= len(before))
            assert len(set(staff.seen)) == 22
            assert not any(Path(f"/proc/{pid}").exists() for pid in staff.seen[:20])

    run(loop, scenario())


def run(loop: Callable[[], asyncio.AbstractEventLoop], scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario)


def descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


@linux
@pytest.mark.parametrize("how", ["serve", "orphan"])
def test_workers_die_with_their_keeper(how: str):
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.support.keeper", how], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with keeper:
        try:
            assert keeper.stdout
            pids = [int(pid) for pid in keeper.stdout.readline().split()]
            assert len(pids) == 2
            if how == "serve":
                # A stopped worker cannot see that its channel has closed: only the kernel can end it.
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
        finally:
            keeper.kill()
    left = [] if wait_for(lambda: not any(map(alive, pids))) else [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@linux
def test_a_worker_that_is_started_by_a_dying_keeper_does_not_live():
    code = "from mizan_edge.system.processes import die_with_parent; die_with_parent(1 << 22); print('lives')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "the keeper of this worker is gone\n"


@linux
def test_port_0_is_one_port_for_all():
    slots = listening_sockets("listen", "127.0.0.1", 0, 3)
    sockets = [sock for slot in slots for sock in slot]
    try:
        assert len(slots) == len({sock.fileno() for sock in sockets}) == 3
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


async def test_where_the_kernel_does_not_spread_connections_the_workers_share_a_socket(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(addresses, "BALANCED", False)
    async with staffed(workers=2) as staff:
        await staff.supervisor.start()
        last = staff.supervisor.pids[1]
        os.kill(staff.supervisor.pids[0], signal.SIGSTOP)
        assert await staff.ask() == last


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT], ids=["alone", "another edge"])
def test_a_port_on_which_somebody_listens_is_refused_in_one_line(host: str, option: int):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as other:
        other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressUnusable) as raised:
            listening_sockets("listen", host, port, 2)
    shown = f"[{host}]" if ":" in host else host
    assert str(raised.value) == f"listen: {shown}:{port} is taken: choose another address with --listen"
    for slot in listening_sockets("listen", host, port, 2):
        for sock in slot:
            sock.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused_in_one_line(host: str):
    with pytest.raises(AddressUnusable, match=rf"^listen: {re.escape(host)}:80 cannot be used \(.+\): choose another"):
        listening_sockets("listen", host, 80, 2)
