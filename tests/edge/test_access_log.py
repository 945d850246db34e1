"""The access log has one true line for each answer, whichever way it took, and no secret."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mizan_edge.edge import running
from mizan_edge.running.config import load_settings
from mizan_edge.system.log_file import LogFileError
from tests.support import wire
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.edges import Start
from tests.support.origin import Asked, Origin, Says, until

VIEW = "/profile/5/"
COMBINED = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^]]+)\] "(?P<line>[^"]*)" (?P<status>\d{3}|-) (?P<bytes>\d+) '
    r'"(?P<referer>[^"]*)" "(?P<agent>[^"]*)" "(?P<cache>[^"]*)" (?P<context>\S+) '
    r"(?P<age>\S+) (?P<seconds>\d+\.\d{6}) (?P<id>\S+) (?P<whole>whole|cut)\n"
)


class Log:
    """The lines of an access log, as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def texts(self) -> list[str]:
        return self.path.read_text().splitlines(keepends=True) if self.path.exists() else []

    async def lines(self, count: int) -> list[dict[str, Any]]:
        """Waits until there are so many; then there must not be more."""
        await until(lambda: len(self.texts) >= count)
        assert len(self.texts) == count
        return [json.loads(text) for text in self.texts]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "access.log")


@pytest.fixture
async def logged(make_edge: EdgeFactory, log: Log) -> RunningEdge:
    return await make_edge(access_log=str(log.path), access_log_format="json")


def told(line: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(line[name] for name in names)


@pytest.mark.parametrize("near", [64 << 20, 0], ids=["from memory", "from Redis"])
async def test_a_hit_that_is_repeated_is_logged_like_the_one_that_was_decided(
    make_edge: EdgeFactory, origin: Origin, log: Log, near: int
):
    origin.headers = [("ETag", '"1"')]
    edge = await make_edge(access_log=str(log.path), access_log_format="json", near=near)
    replies = [await edge.get(VIEW) for _ in range(5)]
    replies += [await edge.get(VIEW, {"If-None-Match": '"1"'}) for _ in range(4)]
    replies += [await edge.request("HEAD", VIEW) for _ in range(4)]
    lines = await log.lines(13)
    for line, reply in zip(lines, replies, strict=True):
        assert told(line, "status", "bytes", "cache", "context") == (reply.status, len(reply.body), reply.cache, "user")
        assert line["age"] == (None if reply["Age"] is None else int(reply["Age"]))
        assert told(line, "target", "version", "client", "host", "whole") == (
            VIEW,
            "HTTP/1.1",
            "127.0.0.1",
            "site.test",
            True,
        )
        assert 0 < line["seconds"] < 20
    assert [line["method"] for line in lines] == ["GET"] * 9 + ["HEAD"] * 4
    assert len({line["request_id"] for line in lines}) == 13
    assert lines[0]["request_id"] == origin.asked[0].get("x-request-id")


async def test_every_other_answer_has_its_line_too(logged: RunningEdge, origin: Origin, log: Log):
    async def script(asked: Asked) -> Says:
        return Says(
            b"x" * 200_000 if asked.target == "/large/" else "done", status=201 if asked.target == "/x" else 200
        )

    origin.script = script
    await logged.request("POST", "/x", body=b"1")
    await logged.get("/large/")
    await logged.get(VIEW, {"Authorization": "Basic x"})
    await logged.call("user_profile", user_id=5)
    await wire.send(logged.address, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    await wire.send(logged.address, b"GET\r\n\r\n")
    names = ("method", "target", "status", "bytes", "cache", "context", "whole")
    lines = [told(line, *names) for line in await log.lines(6)]
    assert lines[:4] == [
        ("POST", "/x", 201, 4, "fwd=method", None, True),
        ("GET", "/large/", 200, 200_000, "fwd=bypass; detail=undeclared", None, True),
        ("GET", VIEW, 200, 4, "fwd=bypass; detail=credentials", "user", True),
        ("POST", "/api/mizan/call/", 200, 4, "fwd=uri-miss; stored", "user", True),
    ]
    for line in lines[4:]:
        assert line[:3] == (None, None, 400) and line[4:] == (None, None, True)


async def test_what_passes_like_one_before_it_is_logged_as_itself(logged: RunningEdge, origin: Origin, log: Log):
    connections = wire.Connections(logged.address)
    for number in range(30):
        agent = {"User-Agent": "Mozilla/5.0", "Referer": f"http://a.test/{number}"}
        assert (await connections.request("GET", f"/other/{number}/", agent)).status == 200
    connections.close()
    lines = await log.lines(30)
    assert [line["target"] for line in lines] == [f"/other/{number}/" for number in range(30)]
    assert [line["referer"] for line in lines] == [f"http://a.test/{number}" for number in range(30)]
    assert [line["request_id"] for line in lines] == [asked.get("x-request-id") for asked in origin.asked]


async def test_who_leaves_before_the_answer_is_out_has_a_line_that_says_so(
    logged: RunningEdge, origin: Origin, log: Log
):
    size = 16 << 20
    origin.script = lambda _: Says(bytes(size))
    host, _, port = logged.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1)
    writer.write(b"GET /x/ HTTP/1.1\r\nHost: site.test\r\n\r\n")
    await reader.read(1)
    writer.transport.abort()
    (line,) = await log.lines(1)
    assert told(line, "target", "status", "whole") == ("/x/", 200, False)
    assert 0 < line["bytes"] < size


async def test_no_secret_is_logged_unless_query_strings_are_asked_for(make_edge: EdgeFactory, log: Log, tmp_path: Path):
    headers = {
        "Cookie": "sessionid=hunter2",
        "Authorization": "Bearer hunter2",
        "Referer": "https://me:hunter2@site.test/page/?token=hunter2",
        "X-Api-Key": "hunter2",
    }
    other = Log(tmp_path / "with-queries.log")
    edge = await make_edge(access_log=str(log.path))
    asked = await make_edge(access_log=str(other.path), access_log_format="json", access_log_query=True)
    for target in (f"{VIEW}?token=hunter2", "/x/?token=hunter2", f"{VIEW}?locale=hunter2"):
        for _ in range(3):
            await edge.get(target, headers)
            await edge.get(target)
    await asked.get("/x/?token=hunter2", headers)
    await until(lambda: len(log.texts) == 18)
    assert "hunter2" not in log.path.read_text()
    (line,) = await other.lines(1)
    assert told(line, "target", "referer") == ("/x/?token=hunter2", "https://site.test/page/?token=hunter2")


async def test_a_combined_line_is_read_by_what_reads_nginx_logs_and_nothing_breaks_out_of_its_quotes(
    make_edge: EdgeFactory, log: Log
):
    edge = await make_edge(access_log=str(log.path))
    agent = 'curl" 200 0 "\\ \xe9'
    for _ in range(3):
        await edge.get(VIEW, {"User-Agent": agent, "Referer": "http://a.test/"})
    await wire.send(edge.address, b"GET\r\n\r\n")
    await until(lambda: len(log.texts) == 4)
    lines = [COMBINED.fullmatch(text) for text in log.texts]
    assert all(lines)
    first, _, last, refused = (line.groupdict() for line in lines if line)
    assert last["line"] == f"GET {VIEW} HTTP/1.1"
    assert last["agent"].startswith("curl\\x22 200 0 \\x22\\x5C ") and last["agent"].isascii()
    assert (first["cache"], last["cache"]) == ("fwd=uri-miss; stored", "hit; ttl=86400")
    assert (last["context"], last["age"], last["referer"], last["whole"]) == ("user", "0", "http://a.test/", "whole")
    assert (refused["line"], refused["status"], refused["context"]) == ("-", "400", "-")


async def test_the_client_is_whom_trusted_proxies_name(make_edge: EdgeFactory, log: Log):
    edge = await make_edge(access_log=str(log.path), access_log_format="json", trusted_proxies="127.0.0.1,10.0.0.0/8")
    for chain in ("192.0.2.1", "6.6.6.6, 192.0.2.1, 10.1.1.1", "spoofed, 192.0.2.1", "10.9.9.9", "x, 10.2.2.2", ""):
        await edge.get(VIEW, {"X-Forwarded-For": chain})
    clients = [line["client"] for line in await log.lines(6)]
    assert clients == ["192.0.2.1", "192.0.2.1", "192.0.2.1", "10.9.9.9", "10.2.2.2", "127.0.0.1"]


async def test_of_a_sample_of_none_failures_are_logged_all_the_same(make_edge: EdgeFactory, origin: Origin, log: Log):
    edge = await make_edge(access_log=str(log.path), access_log_format="json", access_log_sample=0)
    for _ in range(4):
        await edge.get(VIEW)
    origin.script = lambda _: Says("broken", status=503)
    await edge.get("/x/")
    (line,) = await log.lines(1)
    assert told(line, "status", "target") == (503, "/x/")


async def test_a_file_that_is_rotated_away_is_made_anew(logged: RunningEdge, log: Log, tmp_path: Path):
    await logged.get("/one/")
    await log.lines(1)
    log.path.rename(tmp_path / "access.log.1")
    await logged.get("/two/")
    (line,) = await log.lines(1)
    assert line["target"] == "/two/"
    assert len(Log(tmp_path / "access.log.1").texts) == 1


async def test_all_workers_write_to_one_file_and_leave_no_line_behind_at_the_end(start_edge: Start, log: Log):
    edge = await start_edge("--access-log", log.path, "--access-log-format", "json")
    one, two = await edge.clients()
    for number in range(50):
        await one.get(f"/one/{number}/")
        await two.get(f"/two/{number}/")
    edge.served.process.terminate()
    assert await asyncio.wait_for(edge.served.process.wait(), 20) == 0
    targets = {line["target"] for line in await log.lines(100)}
    assert targets == {f"/{who}/{number}/" for who in ("one", "two") for number in range(50)}


async def test_it_may_go_to_standard_output(make_edge: EdgeFactory, capfd: pytest.CaptureFixture[str]):
    edge = await make_edge(access_log="-")
    said = ""

    def came() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return said.count("\n") == 2

    await edge.get("/x/")
    await edge.get("/y/")
    await until(came)
    assert all(COMBINED.fullmatch(line) for line in said.splitlines(keepends=True))


async def test_a_file_that_cannot_be_written_keeps_the_edge_from_starting(tmp_path: Path, manifest: Path):
    settings = {"origin": "http://127.0.0.1:1", "manifest": manifest, "state_dir": tmp_path / "state"}
    with pytest.raises(LogFileError, match="access_log: .*/no/such/file: No such file or directory: choose"):
        async with running(load_settings({**settings, "access_log": str(tmp_path / "no/such/file")}, None)):
            pass
