"""Stopping, recycling and upgrading while clients ask: none of them is refused, cut, or has to ask again."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from mizan_edge.running.upgrade import Program, UpgradeFailed
from mizan_edge.system.inherited import NOTHING, Inherited, InheritedError
from tests.support import wire
from tests.support.edge import RunningEdge
from tests.support.edges import Start
from tests.support.origin import Origin, until
from tests.support.rolling import crowd, recycle, reloading, site, upgrade
from tests.support.served import ROOT, SERVING, Served

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
    assert seen.answers.keys() >= {"hit", "fwd=uri-miss", "fwd=bypass", "fwd=method"}


async def test_a_keeper_that_serves_itself_has_nothing_to_recycle(edge: RunningEdge):
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
            *("--workers", "1", "--listen", "127.0.0.1:1", "--admin", "127.0.0.1:1"),
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


async def test_a_program_that_cannot_be_loaded_is_not_upgraded_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mizan_edge").mkdir()
    (tmp_path / "mizan_edge" / "__init__.py").write_text("raise ImportError('half installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UpgradeFailed, match="^no upgrade: the installed program cannot be loaded: .*half installed$"):
        await Program.of_this_process().try_out()


async def test_an_interpreter_that_is_gone_is_not_upgraded_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UpgradeFailed, match="^no upgrade: .*python cannot be started: No such file or directory$"):
        await Program.of_this_process().try_out()
