"""The command line, as processes: what it says, how it starts, and how it ends."""

import asyncio
import os
import re
import signal
import stat
import sys
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import orjson
import pytest

from mizan_edge.client import connection as client_connection
from mizan_edge.running.config import SECRETS, Settings, variable
from tests.support import wire
from tests.support.edge import MANIFEST, MWT_SECRET, SECRET
from tests.support.origin import Asked, Origin, Says, until
from tests.support.processes import alive, children
from tests.support.served import SERVING, Serve, Served, run, run_here, spawn


def redis_of(pid: int) -> int:
    """The Redis server among the children of an edge."""
    (redis,) = children(pid, b"redis-server")
    return redis


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


async def test_the_help_says_what_each_command_does_in_whole_sentences():
    _, out, _ = await run("--help")
    told = {tuple(line.split(maxsplit=1)) for line in out.splitlines()}
    assert {("check", "Check a manifest."), ("serve", "Serve a site.")} <= told


async def test_a_shell_completes_commands_and_options():
    source = await run_here(_MIZAN_EDGE_COMPLETE="bash_source")
    assert "complete -o nosort -F _mizan_edge_completion mizan-edge" in source[1]
    for words, completed in [
        ("mizan-edge ma", "plain,manifest-diff\n"),
        ("mizan-edge purge --dr", "plain,--dry-run\n"),
    ]:
        at = str(words.count(" "))
        _, out, _ = await run_here(_MIZAN_EDGE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=at)
        assert out == completed


async def test_the_version_says_whether_what_runs_for_each_request_is_compiled():
    _, out, _ = await run("--version")
    how = "compiled" if isinstance(client_connection.__loader__, ExtensionFileLoader) else "pure Python"
    assert out.endswith(f" ({how})\n")


async def test_help_names_every_setting():
    status, out, _ = await run("serve", "--help")
    flags = set(re.findall(r"--[a-z][a-z-]*", out))
    assert status == 0
    assert {f"--{name.replace('_', '-')}" for name in Settings.model_fields if name not in SECRETS} <= flags
    assert not {f"--{name.replace('_', '-')}" for name in SECRETS} & flags
    # Help breaks lines where it likes.
    assert all(variable(name) in re.sub(r"\s+", "", out) for name in SECRETS)


async def test_what_is_wrong_is_a_line_and_an_exit_status_never_a_traceback_or_a_secret(tmp_path: Path, manifest: Path):
    usual: list[str | Path] = ["serve", "--origin", "http://127.0.0.1:1", "--manifest", manifest]
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('cache_secret = "hunter2"\nmwt_secrets = "hunter2"\n')
    found = await asyncio.gather(
        run("serve", "--manifest", manifest),
        run(*usual, "--config", wrong),
        run(*usual, "--state-dir", tmp_path / "s", MIZAN_CACHE_SECRET="hunter2"),
        run(*usual, "--cache-secret", "hunter2" * 6),
    )
    says = ["origin: missing", "mwt_secrets: there is no such", "MIZAN_CACHE_SECRET has 7 bytes", "--cache-secret"]
    for (status, out, error), expected in zip(found, says, strict=True):
        assert status in (1, 2)
        assert expected in error
        assert not out
        assert "Traceback" not in error
        assert "hunter2" not in error


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_what_is_open_and_ends_with_status_0(
    serve: Serve, origin: Origin, number: signal.Signals, tmp_path: Path
):
    go_on = asyncio.Event()

    async def slow(asked: Asked) -> Says:
        await go_on.wait()
        return Says("whole")

    origin.script = slow
    served = await serve()
    redis = redis_of(served.process.pid)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(wire.request(served.listen, "GET", "/profile/5/"))
        await until(lambda: origin.hits == 1)
        served.process.send_signal(number)
        await served.read_until(re.compile("stopping"))
        assert served.process.returncode is None
        go_on.set()
    reply = asking.result()
    assert (reply.status, reply.body) == (200, b"whole")
    assert await served.end() == 0
    assert "Traceback" not in served.log
    assert "ERROR" not in served.log
    await until(lambda: not alive(redis))
    assert stat.S_IMODE((tmp_path / "state" / "admin.token").stat().st_mode) == 0o600


@linux
async def test_a_redis_of_its_own_that_was_killed_is_started_again_and_reads_are_cached_again(
    serve: Serve, origin: Origin
):
    async def cached() -> bool:
        return (await wire.request(served.listen, "GET", "/profile/5/")).hit

    served = await serve()
    for _ in range(2):  # the second time the new one is known to be watched as well
        redis = redis_of(served.process.pid)
        async with asyncio.timeout(10):
            while not await cached():
                pass
        os.kill(redis, signal.SIGKILL)
        await served.read_until(re.compile("Redis runs again"))
    async with asyncio.timeout(10):
        while not await cached():
            pass
    redis = redis_of(served.process.pid)
    served.process.terminate()
    assert await served.end() == 0
    assert not alive(redis)
    deaths = re.findall(r"ERROR .*embedded Redis.*ended.*until then nothing is served from the cache", served.log)
    assert len(deaths) == 2


@linux
async def test_its_redis_does_not_outlive_a_sigkill(serve: Serve):
    served = await serve()
    redis = redis_of(served.process.pid)
    served.process.kill()
    await served.end()
    await until(lambda: not alive(redis))


async def test_sighup_swaps_the_manifest_and_keeps_the_old_one_for_a_bad_one(
    serve: Serve, redis_url: str, namespace: str, manifest: Path
):
    served = await serve("--redis", redis_url, "--namespace", namespace, MIZAN_CACHE_SECRET=SECRET)
    assert (await wire.request(served.listen, "GET", "/new/")).cache == "fwd=bypass; detail=undeclared"
    more = {"contexts": MANIFEST["contexts"] | {"new": {"views": ["/new/"]}}}
    manifest.write_bytes(orjson.dumps(more))
    served.process.send_signal(signal.SIGHUP)
    await served.read_until(re.compile("manifest reloaded"))
    assert (await wire.request(served.listen, "GET", "/new/")).cache == "fwd=uri-miss; stored"
    manifest.write_text('{"contexts": 5}')
    served.process.send_signal(signal.SIGHUP)
    said = await served.read_until(re.compile("the manifest in use stays: (.*)"))
    assert "contexts" in said[1]
    assert (await wire.request(served.listen, "GET", "/new/")).hit
    served.process.terminate()
    assert await served.end() == 0


async def test_a_reload_that_is_asked_for_during_the_start_is_done_after_it(
    origin: Origin, redis_url: str, namespace: str, manifest: Path, tmp_path: Path
):
    state = tmp_path / "state"
    usual = "--origin", origin.url, "--manifest", manifest, "--state-dir", state, "--redis", redis_url
    process = await spawn(
        "serve", *usual, "--namespace", namespace, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"
    )
    served = Served(process)
    try:
        await until(state.exists)  # long before it serves
        process.send_signal(signal.SIGHUP)
        await served.read_until(SERVING)
        await served.read_until(re.compile("manifest reloaded"))
        process.terminate()
        assert await served.end() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_the_environment_and_the_file_are_enough(serve: Serve, redis_url: str, namespace: str, tmp_path: Path):
    config = tmp_path / "edge.toml"
    config.write_text(f'redis = "{redis_url}"\nnamespace = "other"\nadmin_token = "from-file"\n')
    served = await serve(
        MIZAN_EDGE_CONFIG=str(config),
        MIZAN_EDGE_NAMESPACE=namespace,
        MIZAN_CACHE_SECRET=SECRET,
        MIZAN_MWT_SECRET=MWT_SECRET,
        MIZAN_EDGE_WORKRES="2",
    )
    ignored = "MIZAN_EDGE_WORKRES: there is no such variable; the nearest is MIZAN_EDGE_WORKERS: it is ignored"
    assert served.log.count("WARNING") == served.log.count(ignored) == 1
    assert "MIZAN_MWT_SECRET" not in served.log
    body, headers = b'{"all": true}', {"Authorization": "Bearer from-file", "Content-Type": "application/json"}
    reply = await wire.request(served.admin, "POST", "/purge", headers, body, host="localhost")
    assert reply.status == 200
    assert not list((tmp_path / "state").glob("*.token"))
    assert SECRET not in served.log


async def test_the_log_says_what_a_missing_mwt_secret_means(serve: Serve, redis_url: str, namespace: str):
    served = await serve("--redis", redis_url, "--namespace", namespace)
    assert "without MIZAN_MWT_SECRET" in served.log


async def test_a_redis_that_is_away_at_the_start_is_a_loud_warning_and_the_edge_serves(serve: Serve, origin: Origin):
    served = await serve("--redis", "redis://127.0.0.1:1")
    assert "WARNING" in served.log
    assert "Redis cannot be reached" in served.log
    for _ in range(2):
        reply = await wire.request(served.listen, "GET", "/profile/5/")
        assert (reply.status, reply.cache) == (200, "fwd=bypass; detail=store")
    assert origin.hits == 2
