"""`mizan-edge warm`: what it asks for, in which order and how fast, and what it says has come of it."""

import json
import sys
from itertools import islice
from pathlib import Path

import pytest

from mizan_edge.cli.seen import Seen, Unreadable, hottest, read
from mizan_edge.cli.warming import result_of, slots
from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.killable import Redis
from tests.support.origin import Asked, Origin, Says
from tests.support.served import run, run_here
from tests.support.terminal import in_terminal

COMMON = '10.0.0.1 - - [10/Oct/2025:13:55:36 -0700] "GET {} HTTP/1.1" 200 2326'
COMBINED = COMMON + ' "https://example.com/" "Mozilla/5.0 (X11; \\"odd\\")"'


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("/profile/5/", Seen("/profile/5/")),
        ("/profile/5/?a=%20b#top", Seen("/profile/5/?a=%20b")),
        ("https://site.test:8443/profile/5/?a=1", Seen("/profile/5/?a=1", "site.test:8443", "https")),
        ("http://site.test", Seen("/", "site.test", "http")),
        ("HTTP://site.test/a/;b?#top", Seen("/a/;b?", "site.test", "http")),
        ("//other.test/a/", Seen("//other.test/a/")),
        ("/caf\N{LATIN SMALL LETTER E WITH ACUTE}/a b/", Seen("/caf%C3%A9/a%20b/")),
        (COMMON.format("/a/?q=1"), Seen("/a/?q=1")),
        (COMBINED.format("/a/"), Seen("/a/")),
        ("site.test:443 " + COMBINED.format("/a/"), Seen("/a/", "site.test")),
        (COMMON.format("/a/").replace("10.0.0.1 - -", "2001:db8::1 - jane doe"), Seen("/a/")),
        (COMMON.format("/a/").replace('" 200', '" 304'), Seen("/a/")),
        (COMMON.format("/a/").replace('" 200', '" 404'), None),
        (COMMON.format("/a/").replace("GET", "POST"), None),
        ('{"method": "GET", "target": "/a/", "host": "site.test", "status": 200}', Seen("/a/", "site.test")),
        ('{"request_method": "GET", "request_uri": "/a/", "status": "200"}', Seen("/a/")),
        ('{"request": "GET /a/?b HTTP/2.0", "status": 206, "http_host": "site.test"}', Seen("/a/?b", "site.test")),
        ('{"status": 200, "request": {"method": "GET", "uri": "/a/", "host": "site.test"}}', Seen("/a/", "site.test")),
        ('{"method": "HEAD", "target": "/a/", "status": 200}', None),
        # What a client has named is no place to ask.
        (COMMON.format("http://other.test/a/?b"), Seen("/a/?b")),
        ("site.test:443 " + COMBINED.format("https://other.test"), Seen("/", "site.test")),
        (COMMON.format("//other.test/a/"), Seen("//other.test/a/")),
        (
            '{"method": "GET", "target": "http://other.test/a/", "host": "site.test", "status": 200}',
            Seen("/a/", "site.test"),
        ),
    ],
)
def test_lines_of_lists_and_of_logs(line: str, seen: Seen | None):
    assert read(line) == seen


@pytest.mark.parametrize(
    "line",
    [
        "profile/5/",
        '{"method": "GET"',
        '{"method": "GET"}',
        "[]",
        'x "GET /a/ HTTP/1.1" 200',
        "http://[a/",
        "http://a:99999/",
        "http://a:b/",
        "http:///a/",
        "http://me@a/",
        pytest.param('{"a":' + "[" * 100_000, id="deep"),
        '{"method": "GET", "uri": 5, "status": 200}',
        '{"method": "GET", "uri": "/a/", "host": 5, "status": 200}',
        '{"method": "GET", "uri": "/a/", "host": ["a"], "status": 200}',
        '{"method": "GET", "uri": "/a/", "host": "a\\r\\nX: y", "status": 200}',
        '{"method": "GET", "uri": "/a/", "status": 1e999}',
        '{"method": "GET", "uri": "/\\ud800", "status": 200}',
    ],
)
def test_lines_of_no_kind_that_is_known(line: str):
    with pytest.raises(Unreadable):
        read(line)


def test_the_most_frequent_come_first_and_else_those_that_came_first():
    lines = ["/b/", "/a/", "# a list", "", *[COMMON.format("/hot/")] * 3, *["/a/"] * 2, "nonsense", "/c/"]
    assert hottest(lines) == ([Seen(target) for target in ("/a/", "/hot/", "/b/", "/c/")], 1)


def test_no_more_requests_a_second_than_are_wanted_and_none_are_made_up_for():
    times = iter([0.0, 0.0, 0.0, 0.25, 5.0, 5.0])
    assert list(islice(slots(2, lambda: next(times)), 5)) == [0.0, 0.5, 0.75, 0.0, 0.5]


@pytest.mark.parametrize(
    ("status", "said", "result"),
    [
        (200, "mizan-edge; hit; ttl=5", ("hit", None)),
        (200, "origin; hit, mizan-edge; fwd=uri-miss; stored", ("stored", None)),
        (200, "mizan-edge; fwd=uri-miss; collapsed", ("hit", None)),
        (200, "mizan-edge; fwd=bypass; detail=undeclared", ("not stored", "undeclared")),
        (404, "mizan-edge; fwd=uri-miss; fwd-status=404", ("not stored", "status 404, fwd=uri-miss")),
        (502, "mizan-edge; fwd=uri-miss", ("failed", "status 502")),
        (200, "other; hit", ("failed", "no edge has answered")),
        (200, "", ("failed", "no edge has answered")),
    ],
)
def test_what_an_answer_says(status: int, said: str, result: tuple[str, str | None]):
    assert result_of(status, said) == result


async def test_what_was_asked_for_is_there_afterwards(edge: RunningEdge, origin: Origin, tmp_path: Path):
    def script(asked: Asked) -> Says:
        return Says(status=500) if "broken" in asked.target else Says(asked.get("Host") or "")

    origin.script = script
    await edge.get("/profile/1/")
    log = tmp_path / "access.log"
    log.write_text("\n".join(COMMON.format(target) for target in ["/profile/2/", "/catalog/a/", "/catalog/a/", "/x"]))
    listed = b"http://site.test/profile/1/\n/profile/3/\n/profile/05/\n/catalog/broken/\nnonsense\n"
    before = origin.hits
    status, out, error = await run(
        "warm", "--json", "--concurrency", "1", log, "-", "--to", edge.address, "--host", "site.test", stdin=listed
    )
    said = json.loads(out)
    assert said.pop("seconds") > 0
    assert (status, error) == (1, "")
    assert said == {
        "urls": 7,
        "hit": 1,
        "stored": 3,
        "not_stored": 2,
        "failed": 1,
        "reasons": {"undeclared": 1, "non-canonical": 1, "status 500": 1},
        "unreadable": 1,
    }
    targets = ["/catalog/a/", "/profile/2/", "/x", "/profile/3/", "/profile/05/", "/catalog/broken/"]
    assert [asked.target for asked in origin.asked[before:]] == targets
    for target in "/profile/1/", "/profile/2/", "/profile/3/", "/catalog/a/":
        reply = await edge.get(target)
        assert (reply.hit, reply.body) == (True, b"site.test")


async def test_a_person_sees_how_far_it_is_and_what_came_of_it(make_edge: EdgeFactory, origin: Origin, tmp_path: Path):
    edge = await make_edge(listen=f"unix:{tmp_path}/edge.sock")
    listed = tmp_path / "urls.txt"
    listed.write_text("".join(f"/profile/{number}/\n" for number in range(20)) + "/undeclared\n")
    arguments: list[str | Path] = ["warm", listed, "--limit", "21", "--rate", "1000", "--to", f"{tmp_path}/edge.sock"]
    status, out, error = await run_here(*arguments, "--header", "X-Tried: yes", FORCE_COLOR="1", COLUMNS="200")
    assert status == 0
    first, second = out.splitlines()
    assert first.startswith("asked for 21 URLs in ")
    assert first.endswith(" s: 0 hit, 20 stored, 1 not stored, 0 failed")
    assert second == "  1 undeclared"
    assert "21/21" in error and "20 stored" in error
    assert {asked.get("X-Tried") for asked in origin.asked} == {"yes"}
    status, out, error = await run_here(*arguments)
    assert ("20 hit, 0 stored, 1 not stored" in out, error) == (True, "")
    _, out, _ = await run_here(*arguments, MIZAN_EDGE_MANIFEST=str(edge.manifest_path))
    assert "20 hit, 0 stored, 0 not stored" in out


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal that a program can be")
async def test_who_does_not_want_to_wait_is_told_what_came_of_it(edge: RunningEdge, tmp_path: Path):
    listed = tmp_path / "urls.txt"
    listed.write_text("".join(f"/profile/{number}/\n" for number in range(1000)))
    async with in_terminal("warm", listed, "--rate", "5", "--to", edge.address) as terminal:
        await terminal.read_until("2/1000")
        terminal.write("\x03")
        await terminal.read_until(" stored, 0 not stored, 0 failed\r\n")
        assert await terminal.end() == 130


async def test_a_whole_url_is_asked_for_where_it_says_unless_all_are_asked_for_elsewhere(
    edge: RunningEdge, origin: Origin, tmp_path: Path
):
    listed = tmp_path / "urls.txt"
    listed.write_text(f"http://{edge.address}/profile/1/\nhttp://nowhere.invalid/profile/2/\n")
    status, out, _ = await run_here("warm", listed, "--json")
    assert (status, json.loads(out)["stored"], json.loads(out)["failed"]) == (1, 1, 1)
    status, out, _ = await run_here("warm", listed, "--json", MIZAN_EDGE_LISTEN=edge.address)
    assert (status, json.loads(out)["hit"], json.loads(out)["stored"]) == (0, 1, 1)
    config = tmp_path / "edge.toml"
    config.write_text(f'listen = "{edge.address}"\nadmin = "{edge.admin}"\nmanifest = "{edge.manifest_path}"\n')
    status, out, _ = await run_here("warm", listed, "--json", "--config", config)
    assert (status, json.loads(out)["hit"]) == (0, 2)
    assert [asked.get("Host") for asked in origin.asked] == [edge.address, "nowhere.invalid"]


async def test_no_line_of_a_log_chooses_who_is_asked(edge: RunningEdge, origin: Origin, tmp_path: Path):
    log, listed = tmp_path / "access.log", tmp_path / "urls.txt"
    log.write_text(COMMON.format(f"http://{edge.address}/profile/1/") + "\n")
    listed.write_text(f"http://{edge.address}/profile/2/\n")
    _, out, _ = await run_here("warm", log, listed, "--json")
    assert json.loads(out)["urls"] == 2
    assert [asked.target for asked in origin.asked] == ["/profile/2/"]


async def test_one_line_that_cannot_be_asked_for_leaves_the_others(edge: RunningEdge, tmp_path: Path):
    listed = tmp_path / "urls.txt"
    listed.write_text(f"http://{'a' * 64}/\nhttp://a:99999/\nhttp://{edge.address}/profile/1/\n")
    status, out, error = await run_here("warm", listed, "--json")
    said = json.loads(out)
    assert (status, said["stored"], said["failed"], said["unreadable"], error) == (1, 1, 1, 1, "")


async def test_nothing_is_begun_while_nothing_would_be_stored(make_edge: EdgeFactory, server: Redis, tmp_path: Path):
    edge = await make_edge(redis=server.url)
    server.kill()
    listed = tmp_path / "urls.txt"
    listed.write_text("/profile/1/\n")
    purge = await edge.purge("user")
    assert purge.status == 503
    status, out, error = await run_here("warm", listed, "--to", edge.address, "--admin", edge.admin)
    assert (status, out) == (1, "")
    assert error.startswith("mizan-edge: nothing would be stored now: the cache is held: ")


async def test_nobody_there_is_noticed_soon(tmp_path: Path):
    listed, other = tmp_path / "urls.txt", tmp_path / "other.txt"
    listed.write_text("".join(f"/profile/{number}/\n" for number in range(1000)))
    other.write_text("one\ntwo\n")
    status, out, error = await run_here("warm", listed, "--to", "127.0.0.1:1", "--rate", "1000")
    assert (status, error.count("\n")) == (1, 1)
    assert error.startswith("mizan-edge: http://127.0.0.1:1 does not answer (Connection refused): is --to the")
    assert "0 stored" in out
    status, _, error = await run_here("warm", other)
    assert (status, "2 lines, and none is a URL" in error) == (2, True)
    for field in "nonsense", "X: \x01", "X: a\nY: b", "X Y: a", "X: \udcff":
        status, _, error = await run_here("warm", listed, "--header", field)
        assert (status, "write it like 'Name: value'" in error) == (2, True)
    status, _, error = await run_here("warm", listed, "--host", "a\r\nX: y")
    assert (status, "write it like example.com" in error) == (2, True)
