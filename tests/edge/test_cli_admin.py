"""Commands that ask a running edge, as processes: what they do there, what they print, and how they end."""

import json
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.edge import MANIFEST, TOKEN, EdgeFactory, RunningEdge
from tests.support.proxy import read_head, talking
from tests.support.served import run, run_here, spawn

PAGES = ["/profile/5/", "/profile/6/", "/catalog/a/"]


async def ask(
    edge: RunningEdge, *arguments: str | Path, stdin: bytes = b"", **environment: str
) -> tuple[int, str, str]:
    """A command that asks an edge."""
    usual = {"MIZAN_EDGE_ADMIN": edge.admin, "MIZAN_EDGE_ADMIN_TOKEN": TOKEN}
    return await run(*arguments, stdin=stdin, **usual | environment)


async def ask_here(edge: RunningEdge, *arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """As `ask`, without a process."""
    usual = {"MIZAN_EDGE_ADMIN": edge.admin, "MIZAN_EDGE_ADMIN_TOKEN": TOKEN}
    return await run_here(*arguments, **usual | environment)


async def hits(edge: RunningEdge) -> list[bool]:
    return [(await edge.get(target)).hit for target in PAGES]


@pytest.fixture
async def filled(edge: RunningEdge) -> RunningEdge:
    """An edge that has stored all PAGES."""
    await hits(edge)
    assert await hits(edge) == [True, True, True]
    return edge


async def test_purge_by_scope_and_by_url(filled: RunningEdge):
    status, out, error = await ask(filled, "purge", "user;user_id=5", "--url", "https://site.test/catalog/a/")
    assert (status, error) == (0, "")
    assert out.startswith("purged 2 entries of 2 scopes, seq ")
    assert "\n  user;user_id=5\n" in out
    assert await hits(filled) == [False, True, False]


@pytest.mark.parametrize("url", ["/catalog/a/?q=1#top", "HTTP://site.test/catalog/a/?q=1#top"])
async def test_purge_by_url_leaves_out_the_fragment(edge: RunningEdge, url: str):
    for hit in False, True:
        assert (await edge.get("/catalog/a/?q=1")).hit is hit
    assert (await ask_here(edge, "purge", "--url", url))[0] == 0
    assert not (await edge.get("/catalog/a/?q=1")).hit


async def test_a_dry_run_purges_nothing(filled: RunningEdge):
    status, out, _ = await ask_here(filled, "purge", "--all", "--dry-run")
    assert (status, out.startswith("would purge 3 entries of everything")) == (0, True)
    assert await hits(filled) == [True, True, True]


async def test_purge_takes_many_from_files_and_standard_input(filled: RunningEdge, tmp_path: Path):
    listed = tmp_path / "changed.txt"
    listed.write_text("# users\nuser;user_id=6\n\n" + "".join(f"/profile/{number}/\n" for number in range(1000, 7000)))
    status, out, error = await ask(
        filled, "purge", "--json", "--from", listed, "--from", "-", stdin=b"http://site.test/catalog/a/\n"
    )
    assert (status, error) == (0, "")
    answer = json.loads(out)
    assert (answer["entries"], len(answer["scopes"]), answer["dry_run"]) == (2, 6002, False)
    assert await hits(filled) == [True, False, False]
    assert answer["seq"] > 1
    # As after a query that has found nothing.
    listed.write_text("")
    assert await ask_here(filled, "purge", "--from", listed) == (0, "purged 0 entries of 0 scopes\n", "")
    listed.write_text("user;user_id=5\n" * 100_000)
    too_many = (1, "", "mizan-edge: too many at once: purge them in several parts\n")
    assert await ask_here(filled, "purge", "--from", listed) == too_many
    listed.write_bytes(b"user\xff\n")
    status, out, error = await ask_here(filled, "purge", "--from", listed)
    assert (status, out, f"{listed}: not UTF-8" in error) == (2, "", True)


async def test_purge_that_cannot_be_meant(filled: RunningEdge):
    unknown = await ask_here(filled, "purge", "usr;user_id=5")
    nothing = await ask_here(filled, "purge")
    both = await ask_here(filled, "purge", "--all", "user")
    assert unknown == (1, "", "mizan-edge: there is no context 'usr'; the nearest is 'user'\n")
    assert [status for status, _, _ in (nothing, both)] == [2, 2]
    assert "name a SCOPE" in nothing[2]
    assert "--all purges everything" in both[2]
    assert await hits(filled) == [True, True, True]


async def test_what_is_no_url_is_told_so(filled: RunningEdge):
    broken = "http://[bad/"
    told = [
        await ask_here(filled, "purge", "--url", broken),
        await ask(filled, "purge", "--from", "-", stdin=f"/profile/5/\n{broken}\n".encode()),
    ]
    for status, out, error in told:
        assert (status, out) == (2, "")
        assert error.endswith("Error: 'http://[bad/' is no URL: Invalid IPv6 URL\n")
    assert await hits(filled) == [True, True, True]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here that is always full")
async def test_output_that_finds_no_room_is_one_line(edge: RunningEdge):
    full = ("sh", "-c", 'exec "$@" > /dev/full', "sh")
    process = await spawn("audit", inside=full, MIZAN_EDGE_ADMIN=edge.admin, MIZAN_EDGE_ADMIN_TOKEN=TOKEN)
    _, error = await process.communicate()
    assert (process.returncode, error) == (1, b"mizan-edge: the output is not whole: No space left on device\n")


async def test_explain_says_what_the_next_request_gets_and_why(filled: RunningEdge):
    status, out, error = await ask(filled, "explain", "/profile/5/", "--host", "site.test")
    assert (status, error) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [
        "GET /profile/5/ of http://site.test",
        "hit: What is stored is fresh. It lies in Redis. (RFC 9111 section 4.2)",
    ]
    rows = {line[2:16].strip(): line[16:] for line in lines[2:]}
    assert re.fullmatch(r"mizan-edge; hit; ttl=\d+", rows["Cache-Status"])
    assert rows["rule"] == "view /profile/:user_id/ of the context user: profile_page"
    assert (rows["partition"], rows["key"]) == ("anon", "user_id=5, *host=site.test")
    assert re.fullmatch(r"200, 18 bytes, age \d+ s, \d+ s left", rows["stored"])
    assert rows["in memory"] == "of 1 of 1 worker"
    assert rows["purged by"] == 'user, user;*url="/profile/5/", user;user_id=5'
    assert rows["mutations"] == "rename_user (user;user_id=5)"
    assert lines[-2] == "stored under this URL:"
    assert lines[-1].startswith("  for anon: 200, 18 bytes")


async def test_explain_tells_of_the_last_purge(edge: RunningEdge):
    await edge.purge("user;user_id=5")
    _, out, _ = await ask_here(edge, "explain", "/profile/5/")
    (line,) = [line for line in out.splitlines() if line.startswith("  last purge")]
    assert re.search(r" user;user_id=5, seq \d+, admin at \S+Z: POST /purge token purge on \S+$", line)


async def test_explain_of_other_requests(filled: RunningEdge):
    call = json.dumps({"fn": "rename_user", "args": {"user_id": 5}})
    _, out, _ = await ask_here(filled, "explain", "/api/mizan/call/", "--body", call)
    assert "\npass: Its method is not answered from a cache." in out
    assert "\n  may change    user;user_id=5\n" in out
    _, out, _ = await ask_here(filled, "explain", "/undeclared", "--json", MIZAN_EDGE_READ_TOKEN="read-token")
    assert json.loads(out)["decision"]["cache_status"] == (await filled.get("/undeclared"))["Cache-Status"]
    status, out, error = await ask_here(filled, "explain", "/a\r\nX: b")
    assert (status, out) == (1, "")
    assert error == "mizan-edge: What is asked about has a line end in it.\n"


async def test_reload_prints_what_is_different_and_a_dry_run_leaves_it_at_that(filled: RunningEdge):
    filled.manifest_path.write_text(json.dumps({**MANIFEST, "contexts": {"user": MANIFEST["contexts"]["user"]}}))
    routes = "routes:\n  - /api/mizan/ctx/catalog/\n  - /catalog/:category/\n"
    said = f"contexts:\n  - catalog\n{routes}a reload purges: catalog\n"
    assert await ask_here(filled, "reload", "--dry-run") == (0, said, "")
    assert await hits(filled) == [True, True, True]
    assert await ask(filled, "reload") == (0, said, "")
    assert await hits(filled) == [True, True, False]
    status, out, _ = await ask_here(filled, "reload", "--json")
    assert (status, json.loads(out)["removed"]) == (0, [])
    filled.manifest_path.write_text('{"contexts": 5}')
    status, out, error = await ask_here(filled, "reload")
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert "the manifest in use stays" in error


# How the edge is found.


async def test_the_state_directory_has_the_token_and_the_file_says_where_all_is(make_edge: EdgeFactory, tmp_path: Path):
    edge = await make_edge(admin_token=None, admin=f"unix:{tmp_path}/admin.sock")
    state = edge.manifest_path.parent / "state-1"
    config = tmp_path / "edge.toml"
    config.write_text(f'origin = "http://127.0.0.1:1"\nadmin = "unix:{tmp_path}/admin.sock"\nstate_dir = "{state}"\n')
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'admin_token = "{(state / "admin.token").read_text().strip()}"\n')
    found = [
        await run_here("purge", "user", "--admin", tmp_path / "admin.sock", "--state-dir", state),
        await run_here("purge", "user", MIZAN_EDGE_CONFIG=str(config)),
        await run_here("purge", "user", "--config", tokens, "--admin", f"unix:{tmp_path}/admin.sock"),
    ]
    assert [(status, error) for status, _, error in found] == [(0, "")] * 3


@pytest.mark.parametrize("token", ["first\nsecond", "\N{EURO SIGN}5", " "])
async def test_what_cannot_be_sent_as_a_token_is_told_by_its_source_alone(
    edge: RunningEdge, tmp_path: Path, token: str
):
    config, kept = tmp_path / "tokens.toml", tmp_path / "admin.token"
    config.write_text(f"admin_token = {json.dumps(token)}\n")
    kept.write_bytes(b"\xff" + token.encode())
    says = ": not a token: use printable ASCII characters without spaces, at least one\n"
    for source, found in [
        ("MIZAN_EDGE_ADMIN_TOKEN", await ask_here(edge, "purge", "user", MIZAN_EDGE_ADMIN_TOKEN=token)),
        ("admin_token in --config", await run_here("purge", "user", "--config", config, "--admin", edge.admin)),
        (str(kept), await run_here("purge", "user", "--state-dir", tmp_path, "--admin", edge.admin)),
    ]:
        assert found == (1, "", f"mizan-edge: {source}{says}")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("everything = true", "everything: there is no such setting"),
        ("as_json = true", "as_json: there is no such setting"),
        ('adimn = "127.0.0.1:8081"', "adimn: there is no such setting; the nearest is admin"),
    ],
)
async def test_no_key_of_the_file_says_what_a_command_is_to_do(
    filled: RunningEdge, tmp_path: Path, line: str, says: str
):
    config = tmp_path / "edge.toml"
    config.write_text(f"{line}\n")
    status, out, error = await ask_here(filled, "purge", "--config", config)
    assert (status, out) == (2, "")
    assert f"{config}: {says}\n" in error
    assert await hits(filled) == [True, True, True]


async def test_what_keeps_a_command_from_its_edge_is_one_line(edge: RunningEdge, tmp_path: Path):
    async def other(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async with talking(other) as elsewhere:
        *failed, (status, out, error) = [
            await ask_here(edge, "purge", "user", "--admin", "127.0.0.1:1"),
            await ask_here(edge, "purge", "user", "--admin", f"{tmp_path}/none.sock"),
            await ask_here(edge, "purge", "user", MIZAN_EDGE_ADMIN_TOKEN="other"),
            await run_here("purge", "user", "--state-dir", tmp_path, MIZAN_EDGE_READ_TOKEN="read-token"),
            await ask_here(edge, "purge", "user", "--admin", elsewhere),
            await ask_here(edge, "purge", "user", "--admin", "nowhere"),
        ]
    says = [
        "127.0.0.1:1 cannot be reached (Connection refused): does the edge run, and is --admin its address?",
        f"{tmp_path}/none.sock cannot be reached (No such file or directory): does the edge run, and is --admin its "
        "address?",
        f"{edge.admin} does not know the token of MIZAN_EDGE_ADMIN_TOKEN",
        "no token: set MIZAN_EDGE_ADMIN_TOKEN, or name the edge's --state-dir "
        f"({tmp_path}/admin.token: No such file or directory)",
        f"{elsewhere} is no admin listener of an edge: its answer is not JSON",
    ]
    assert failed == [(1, "", f"mizan-edge: {line}\n") for line in says]
    assert (status, out) == (2, "")
    assert "write it like 127.0.0.1:8081" in error


# What an edge answers, or somebody in its place.

HOSTILE = "\x1b]0;a\x07\x9b31m\u202e\u2028[red]"
ESCAPED = r"\x1b]0;a\x07\x9b31m\u202e\u2028[red]"


@asynccontextmanager
async def answering(answers: Mapping[str, object], status: int = 200, fields: bytes = b"") -> AsyncIterator[str]:
    """The address of a server with an answer for each path: bytes, or what becomes JSON. All others have that of *."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        target = (await read_head(reader)).split()[1].decode()
        found = answers.get(target.partition("?")[0], answers.get("*"))
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        writer.write(b"HTTP/1.1 %d Done\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body))

    async with talking(answer) as address:
        yield address


@pytest.mark.parametrize("found", [{}, [], None, {"purges": None}, {"purges": [{"scope_count": "x"}]}])
async def test_what_no_edge_answers_is_one_line(found: object, tmp_path: Path):
    listed = tmp_path / "urls.txt"
    listed.write_text("/a/\n")
    async with answering({"*": found}) as address:
        for command in [
            ("audit",),
            ("explain", "/a/"),
            ("purge", "user"),
            ("reload",),
            ("top", "--once"),
            ("warm", listed, "--admin", address),
        ]:
            told = await run_here(*command, MIZAN_EDGE_ADMIN=address, MIZAN_EDGE_ADMIN_TOKEN=TOKEN)
            no_json = "its answer is not JSON" if found is None else "its answer is not understood"
            assert told[:2] == (1, "")
            assert re.fullmatch(rf"mizan-edge: {address} is no admin listener of an edge.*: {no_json}\n", told[2]), (
                command
            )


@pytest.mark.parametrize("metrics", [b"\xff", b"{{{", b"# TYPE mizan_edge_workers gauge\nmizan_edge_workers +Inf\n"])
async def test_metrics_that_no_edge_tells_are_one_line(metrics: bytes):
    async with answering({"/metrics": metrics, "*": {"redis": "up", "origin": "up", "cache": "in use"}}) as address:
        for flag in "--once", "--json":
            status, out, error = await run_here("top", flag, "--admin", address)
            assert (status, out, error.endswith(": its answer is not understood\n")) == (1, "", True)


async def test_a_question_without_what_it_would_cost_and_an_answer_without_end_are_one_line():
    async with answering({"*": {"detail": "Say it again."}}, status=409) as address:
        status, out, error = await run_here("purge", "user", "--admin", address, MIZAN_EDGE_ADMIN_TOKEN=TOKEN)
        assert (status, out, error.endswith(": its answer is not understood\n")) == (1, "", True)
    async with answering({"*": b"[" * 100_000}) as address:
        status, out, error = await run_here("audit", "--admin", address, MIZAN_EDGE_ADMIN_TOKEN=TOKEN)
        assert (status, out, error.endswith(": its answer is not JSON\n")) == (1, "", True)


async def test_nothing_that_a_client_has_chosen_is_a_command_to_the_terminal(edge: RunningEdge):
    usual = {"MIZAN_EDGE_ADMIN": edge.admin, "MIZAN_EDGE_ADMIN_TOKEN": TOKEN, "FORCE_COLOR": "1"}
    sent = quote(HOSTILE, safe="")
    await edge.get(f"/catalog/{sent}/")
    _, out, _ = await run_here("explain", f"/catalog/{sent}/", **usual)
    assert f"category={ESCAPED}" in out
    assert "".join(out.splitlines()).isprintable()
    status, _, error = await run_here("explain", "/catalog/\udcff/", **usual)
    assert (status, error) == (1, "mizan-edge: an argument is not UTF-8: write the bytes of a URL like %FF\n")


async def test_nothing_that_a_server_says_is_a_command_to_the_terminal(tmp_path: Path):
    usual = {"MIZAN_EDGE_ADMIN_TOKEN": TOKEN}
    purge = dict.fromkeys(["token", "function", "source", "note", "entries", "acknowledged_ms"], None)
    purge |= {"at": "now", "seq": 1, "request": HOSTILE, "host": "\ud800", "scopes": [HOSTILE], "scope_count": 1}
    async with answering({"*": {"purges": [purge]}}) as address:
        headings, row = (await run_here("audit", "--admin", address, **usual))[1].splitlines()
        assert row.count(ESCAPED) == 2
        assert row.index(ESCAPED) == headings.index("asked for by")
        assert row.rindex(ESCAPED) == headings.index("scopes")
        for kind in "--json", "--jsonl":
            _, out, _ = await run_here("audit", kind, "--admin", address, **usual)
            found = json.loads(out)
            assert (found if kind == "--jsonl" else found["purges"][0]) == purge
    metrics = (
        "# TYPE mizan_edge_requests_total counter\n"
        f'mizan_edge_requests_total{{context="{HOSTILE}",outcome="hit"}} 5\n'
        "# TYPE mizan_edge_purges_total counter\n"
        f'mizan_edge_purges_total{{source="{HOSTILE}"}} 5\n'
    )
    ready = {"redis": HOSTILE, "origin": "up", "cache": "in use"}
    async with answering({"/readyz": ready, "/metrics": metrics.encode()}) as address:
        _, out, _ = await run_here("top", "--once", "--admin", address)
        assert out.count(ESCAPED) == 3
        assert "".join(out.split("\n")).isprintable()
    async with answering({"*": {"detail": HOSTILE}}, status=422) as address:
        _, _, error = await run_here("reload", "--admin", address, **usual)
        assert error == "mizan-edge: " + ESCAPED.replace("\\u2028", "\nmizan-edge: ") + "\n"
    listed = tmp_path / "urls.txt"
    listed.write_text("/a/\n")
    why = quote(HOSTILE, safe="").lower().encode()
    fields = b'Cache-Status: mizan-edge; fwd=bypass; detail=%%"%b"\r\n' % why
    async with answering({"*": {}}, fields=fields) as address:
        _, out, _ = await run_here("warm", listed, "--to", address)
        assert out.splitlines()[1:] == [f"  1 {ESCAPED}"]
