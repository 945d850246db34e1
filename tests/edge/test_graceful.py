"""Stopping, recycling and upgrading while clients ask: none of them is refused, cut, or has to ask again."""

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from mizan_edge.system.inherited import NOTHING, Inherited, InheritedError
from tests.support import wire
from tests.support.edges import Start
from tests.support.listening import connection
from tests.support.origin import Asked, Origin, Says, until
from tests.support.processes import alive
from tests.support.proxy import read_head
from tests.support.rolling import crowd, recycle, reloading, site, upgrade
from tests.support.served import ROOT, SERVING, Serve, Served

GET = b"GET /x/ HTTP/1.1\r\nHost: site.test\r\n\r\n"


async def test_nobody_notices_reloads_a_recycling_and_an_upgrade(start_edge: Start, origin: Origin):
    origin.script = site
    edge = await start_edge(workers=1)
    done = False
    async with crowd(edge.address, clients=6, pause_s=0.03) as seen, asyncio.TaskGroup() as group:
        reloads = group.create_task(reloading(edge, lambda: done))
        await recycle(edge)
        await upgrade(edge)
        served = seen.answers.total()
        await until(lambda: seen.answers.total() > served + 40, seconds=20)
        done = True
    assert seen.failures == []
    assert reloads.result() > 5
    assert set(seen.answers) == {"hit", "fwd=uri-miss", "fwd=bypass", "fwd=method"}


async def test_a_request_under_way_is_finished_by_the_worker_that_is_replaced(start_edge: Start, origin: Origin):
    answer = asyncio.Event()

    async def script(asked: Asked) -> Says:
        if asked.target == "/slow/":
            await answer.wait()
        return Says("whole")

    origin.script = script
    edge = await start_edge(workers=1)
    (old,) = edge.workers
    client = await edge.client()
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(client.get("/slow/"))
        await until(lambda: origin.hits == 1)
        recycling = group.create_task(recycle(edge))
        await until(lambda: len(edge.workers) == 2)
        await until(lambda: not listens(old))
        assert (await edge.get("/x/")).body == b"whole"
        assert not recycling.done() and alive(old)
        answer.set()
    assert (slow.result().body, slow.result()["Connection"]) == (b"whole", "close")
    assert not alive(old)


def listens(pid: int) -> bool:
    """Whether a process has a socket that listens for TCP."""
    waiting = {
        line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    fds = Path(f"/proc/{pid}/fd").iterdir()
    names = [os.readlink(fd) for fd in fds if fd.is_symlink()]
    return any(name[8:-1] in waiting for name in names if name.startswith("socket:["))


async def test_a_client_that_is_idle_may_send_one_more_request_and_is_told_that_it_is_the_last(
    start_edge: Start, origin: Origin
):
    edge = await start_edge(workers=1)
    (old,) = edge.workers
    async with connection(edge.address) as (reader, writer):
        writer.write(GET)
        assert b"Connection: close" not in await asyncio.wait_for(read_head(reader), 5)
        edge.served.process.terminate()
        await until(lambda: not listens(old))
        writer.write(GET)
        assert b"Connection: close" in await asyncio.wait_for(reader.read(), 5)
    assert await asyncio.wait_for(edge.served.process.wait(), 20) == 0
    assert origin.hits == 2


async def test_a_keeper_that_serves_itself_has_nothing_to_recycle(start_edge: Start):
    edge = await start_edge(workers=0)
    reply = await edge.admin_request("POST", "/recycle")
    assert reply.status == 409
    assert reply.json["detail"] == "The keeper serves itself (workers = 0): to renew it, restart it."


ACTIVATE = """
import fcntl, os, sys
listening = int(sys.argv[1]), int(sys.argv[2])
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in listening]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="mizan-edge.socket:admin")
os.execv(sys.executable, [sys.executable, "-m", "mizan_edge", *sys.argv[3:]])
"""


async def test_sockets_of_systemd_are_served_and_what_waits_in_them(origin: Origin, manifest: Path, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as admin:
        early = socket.create_connection(public.getsockname())
        early.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ACTIVATE, str(public.fileno()), str(admin.fileno())),
            *("serve", "--origin", origin.url, "--manifest", manifest, "--state-dir", tmp_path / "state"),
            *("--workers", "2", "--listen", "127.0.0.1:1", "--admin", "127.0.0.1:1"),
            pass_fds=[public.fileno(), admin.fileno()],
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            with early:
                early.setblocking(False)
                data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(early, 65536), 20)
            assert data.startswith(b"HTTP/1.1 200 OK")
            served = Served(process)
            match = await served.read_until(SERVING)
            assert match.groups() == tuple(f"127.0.0.1:{sock.getsockname()[1]}" for sock in (public, admin))
            assert (await wire.request(match[2], "GET", "/readyz")).status == 200
            process.terminate()
            assert await served.end() == 0
            # They are systemd's: whoever comes while nobody serves waits.
            socket.create_connection(public.getsockname()).close()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


def test_what_is_meant_for_another_process_is_nothing():
    for told in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "7", "LISTEN_FDS": "x"}):
        assert Inherited.take(told, 7) == NOTHING


def test_what_is_no_listening_socket_is_refused_by_name():
    with pytest.raises(InheritedError, match="LISTEN_FDS: descriptor 3 (is no socket|does not listen)"):
        Inherited.take({"LISTEN_PID": "7", "LISTEN_FDS": "1"}, 7)


async def test_a_program_that_does_not_run_is_not_upgraded_to(serve: Serve, tmp_path: Path):
    (tmp_path / "site").mkdir()
    broken = tmp_path / "site" / "sitecustomize.py"
    served = await serve(PYTHONPATH=f"{tmp_path / 'site'}:{ROOT}")
    broken.write_text("import os\nos._exit(3) if '-c' in os.sys.orig_argv else None\n")
    served.process.send_signal(signal.SIGUSR2)
    await served.read_until(re.compile("no upgrade: the installed program cannot be loaded"))
    assert (await wire.request(served.listen, "GET", "/x/")).status == 200
