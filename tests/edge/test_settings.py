"""Settings: flags over environment over file; whatever is wrong is one line that names it."""

import asyncio
import json
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from mizan_core.errors import MizanError
from mizan_edge.edge import running
from mizan_edge.origin.origin import Address
from mizan_edge.running.config import (
    SECRETS,
    ConfigError,
    Settings,
    has_password,
    load_settings,
    variable,
)
from mizan_edge.running.environment import unknown_variables
from mizan_edge.system.embedded import find_server
from tests.support.edge import MANIFEST, SECRET
from tests.support.proxy import talking
from tests.support.redis_server import running as running_redis

LISTS = ("allowed_hosts", "trusted_proxies", "identity_cookies", "ignored_cookies", "identity_headers", "admin_hosts")
NEEDED = {"origin": "http://127.0.0.1:1", "manifest": "edge.json"}
LONG = "x" * 32


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch):
    for name in os.environ:
        if name.startswith("MIZAN"):
            monkeypatch.delenv(name)


def toml(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text)
    return path


def lines_of(flags: dict[str, Any], config: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(flags, config)
    return str(caught.value).splitlines()


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = toml(tmp_path, 'listen = "1.1.1.1:1"\nadmin = "1.1.1.1:1"\nnamespace = "file"\ncache_secret = "file"\n')
    monkeypatch.setenv("MIZAN_EDGE_LISTEN", "2.2.2.2:2")
    monkeypatch.setenv("MIZAN_EDGE_ADMIN", "2.2.2.2:2")
    monkeypatch.setenv("MIZAN_CACHE_SECRET", "environment")
    settings = load_settings({**NEEDED, "listen": "3.3.3.3:3", "admin": None}, config)
    assert (settings.listen, settings.admin, settings.namespace) == ("3.3.3.3:3", "2.2.2.2:2", "file")
    assert settings.cache_secret
    assert settings.cache_secret.get_secret_value() == "environment"
    assert settings.redis is None
    assert settings.workers == 1


@pytest.mark.parametrize("name", LISTS)
def test_lists_have_commas_in_flags_and_environment_and_are_arrays_in_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = ("::1", "10.0.0.0/8") if name == "trusted_proxies" else ("a", "b")
    text = ", ".join(values)
    config = toml(tmp_path, f"{name} = {json.dumps(values)}\n")
    assert getattr(load_settings(NEEDED, config), name) == values
    assert getattr(load_settings({**NEEDED, name: text}, None), name) == values
    monkeypatch.setenv(f"MIZAN_EDGE_{name.upper()}", text)
    assert getattr(load_settings(NEEDED, None), name) == values
    monkeypatch.setenv(f"MIZAN_EDGE_{name.upper()}", "")
    assert getattr(load_settings(NEEDED, config), name) == ()


def test_secrets_come_from_the_environment_under_their_own_names(monkeypatch: pytest.MonkeyPatch):
    names = ("MIZAN_CACHE_SECRET", "MIZAN_MWT_SECRET", "MIZAN_EDGE_ADMIN_TOKEN", "MIZAN_EDGE_READ_TOKEN")
    assert tuple(map(variable, SECRETS)) == names
    for name in names:
        monkeypatch.setenv(name, name.lower())
    settings = load_settings(NEEDED, None)
    found = [getattr(settings, name).get_secret_value() for name in SECRETS]
    assert found == [name.lower() for name in names]
    assert not any(value in repr(settings) for value in found)


def test_somebody_elses_variable_is_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CACHE_SECRET", LONG)
    monkeypatch.setenv("MWT_SECRET", LONG)
    settings = load_settings(NEEDED, None)
    assert settings.cache_secret is None
    assert settings.mwt_secret is None


@pytest.mark.parametrize(
    ("url", "has"),
    [
        ("redis://:hunter2@127.0.0.1:6379/0", True),
        ("rediss://user:hunter2@[::1]", True),
        ("unix://:hunter2@/run/redis.sock", True),
        ("redis://127.0.0.1?db=1&password=hunter2", True),
        ("redis+cluster://:hunter2@127.0.0.1:7001,127.0.0.1:7002", True),
        ("redis+cluster://127.0.0.1:7001,127.0.0.1:7002", False),
        ("redis://[::1]:6379/0", False),
        ("redis://user@127.0.0.1", False),
        ("redis://[", False),
        ("unix:///run/a:b@c.sock", False),
    ],
)
def test_a_password_in_the_url_of_redis_is_seen(url: str, has: bool):
    assert has_password(url) is has


def test_a_token_has_one_role():
    (line,) = lines_of({**NEEDED, "admin_token": "hunter2", "read_token": "hunter2"})
    assert line.startswith("read_token: the same as the admin token")
    assert "hunter2" not in line


def test_the_password_of_redis_is_in_no_text_of_the_settings():
    assert "hunter2" not in repr(load_settings({**NEEDED, "redis": "redis://:hunter2@127.0.0.1"}, None))


def test_secrets_come_from_the_file(tmp_path: Path):
    config = toml(tmp_path, "".join(f'{name} = "{name}-value"\n' for name in SECRETS))
    settings = load_settings(NEEDED, config)
    assert [getattr(settings, name).get_secret_value() for name in SECRETS] == [f"{name}-value" for name in SECRETS]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("origin", "127.0.0.1:8000", "write it like http://"),
        ("origin", "http://127.0.0.1:8000/path", "without path"),
        ("origin", "http://root:hunter2@127.0.0.1", "without path or user"),
        ("origin", "http://127.0.0.1:99999", "write it like"),
        ("origin", "unix:site.sock", "unix:/run/site.sock"),
        ("origin", "unix:/", "unix:/run/site.sock"),
        ("origin", "unix:/run/site.sock?x", "unix:/run/site.sock"),
        ("origin", "http+unix:///run/site.sock", "unix:/run/site.sock"),
        ("origin", "https+unix://%2Frun%2Fsite.sock", "unix:/run/site.sock"),
        ("origin_ca", "ca.pem", "this origin has no certificate: write its URL with https://"),
        ("tls_key", "site.key", "give both tls_cert and tls_key, or neither"),
        ("listen", "unix:edge.sock", "or unix:/run/edge.sock"),
        ("admin", "unix:", "or unix:/run/edge.sock"),
        ("listen", "8080", "'8080' is not an address: write it like 127.0.0.1:8080 or unix:/run/edge.sock"),
        ("listen", "127.0.0.1:70000", "write it like"),
        ("admin", "localhost", "write it like"),
        ("redis", "127.0.0.1:6379", "write it like redis://"),
        ("redis", "http://:hunter2@127.0.0.1:6379", "write it like redis://"),
        ("redis", "redis+other://127.0.0.1:6379", "write it like redis://"),
        ("redis", "redis://127.0.0.1?socket_timeout=60", "'socket_timeout' is no option"),
        ("redis", "unix:///tmp/s?db=1&foo=hunter2", "'foo' is no option"),
        ("namespace", "a{b}", "use letters"),
        ("workers", "many", "valid integer"),
        ("workers", "-1", "greater than or equal to 0"),
        ("trusted_proxies", "10.0.0.0/8,proxy", "'proxy' is not a network: write it like"),
        ("redis_timeout", "soon", "valid number"),
        ("redis_timeout", "0", "greater than 0"),
        ("origin_timeout", "inf", "finite"),
        ("forward_mizan_headers", "perhaps", "valid boolean"),
        ("log_level", "loud", "'debug'"),
        ("allowed_hosts", "https://site.test", "'https://site.test' is not a host name: write it like"),
        ("allowed_hosts", "site.test,site.test/path", "'site.test/path' is not a host name"),
        ("allowed_hosts", "*.site.test", "is not a host name"),
        ("admin_hosts", "http://edge.lan:8081", "is not a host name"),
        ("allowed_hosts", "site.test:443", "leave it out"),
        ("allowed_hosts", "site.test, [::1]:80", "leave it out"),
        ("admin_hosts", "edge.lan:8081", "name the host alone"),
        ("admin_token", "", "at least one"),
        ("read_token", "two words", "without spaces"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_says_what_to_do(name: str, value: str, says: str):
    (line,) = lines_of({**NEEDED, name: value})
    assert line.startswith(f"{name}: ")
    assert says in line
    assert "hunter2" not in line


def test_a_certificate_without_its_key_is_told():
    assert lines_of({**NEEDED, "tls_cert": "site.pem"}) == [
        "tls_key: a certificate and its key belong together: give both tls_cert and tls_key, or neither"
    ]


@pytest.mark.parametrize("origin", ["unix:/run/site.sock", "unix:///run/site.sock", "http+unix://%2Frun%2Fsite.sock"])
def test_an_origin_may_be_a_unix_socket(origin: str):
    assert load_settings({**NEEDED, "origin": origin}, None).origin == origin
    assert Address.parse(origin).path == "/run/site.sock"


@pytest.mark.parametrize(
    "host", ["site.test", "Site.test:8443", "127.0.0.1", "[::1]", "[::1]:8080", "my_app", "a-b.test."]
)
def test_a_host_is_allowed_by_its_name_with_or_without_a_port(host: str):
    assert load_settings({**NEEDED, "allowed_hosts": host}, None).allowed_hosts == (host,)


@pytest.mark.parametrize("level", ["warning", "WARNING", "Warning"])
def test_a_log_level_is_known_in_any_case(level: str):
    assert load_settings({**NEEDED, "log_level": level}, None).log_level == "warning"


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("value", ["5", "[1]", "true"])
def test_what_is_no_list_of_texts_is_told_so(tmp_path: Path, name: str, value: str):
    assert lines_of(NEEDED, toml(tmp_path, f"{name} = {value}\n")) == [
        f'{name}: not a list of texts: write it like ["one", "two"]'
    ]


def test_every_wrong_setting_has_its_line(tmp_path: Path):
    config = toml(tmp_path, 'workers = "x"\nalowed_hosts = []\nunheard = 1\nallowed_hosts = [1]\ncache_secret = 5\n')
    lines = lines_of({"origin": "http://a"}, config)
    assert sorted(line.partition(":")[0] for line in lines) == [
        "MIZAN_CACHE_SECRET",
        "allowed_hosts",
        "alowed_hosts",
        "manifest",
        "unheard",
        "workers",
    ]
    assert "alowed_hosts: there is no such setting; the nearest is allowed_hosts" in lines
    assert "manifest: missing: give --manifest or set MIZAN_EDGE_MANIFEST" in lines


@pytest.mark.parametrize("content", [b"listen = [", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_one_line(tmp_path: Path, content: bytes):
    config = tmp_path / "edge.toml"
    config.write_bytes(content)
    (line,) = lines_of(NEEDED, config)
    assert line.startswith(f"--config: {config}: ")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    assert lines_of(NEEDED, tmp_path / "none.toml") == [f"--config: there is no file {tmp_path / 'none.toml'}"]


def test_a_variable_that_nobody_reads_is_told_of():
    known = [*map(variable, Settings.model_fields), "MIZAN_EDGE_CONFIG", "MIZAN_EDGE_ADMIN_URL", "mizan_edge_workers"]
    # A Service mizan-edge, and one mizan-edge-admin.
    service = [f"MIZAN_EDGE_{name}" for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT")]
    another = [f"MIZAN_EDGE_ADMIN_{name}" for name in ("SERVICE_HOST", "PORT", "PORT_8081_TCP_ADDR")]
    assert unknown_variables([*known, *service, *another, "HOME", "MIZAN_OTHER"]) == []
    assert unknown_variables(["MIZAN_EDGE_STATEDIR", "mizan_edge_zzz", "MIZAN_EDGE_CACHE_SECRET"]) == [
        "MIZAN_EDGE_CACHE_SECRET: there is no such variable; the nearest is MIZAN_CACHE_SECRET",
        "MIZAN_EDGE_STATEDIR: there is no such variable; the nearest is MIZAN_EDGE_STATE_DIR",
        "MIZAN_EDGE_ZZZ: there is no such variable",
    ]


# From here on: what only shows when the edge starts.


@pytest.fixture
def usable(tmp_path: Path, redis_url: str) -> dict[str, Any]:
    """Settings with which an edge starts."""
    manifest = tmp_path / "edge.json"
    manifest.write_text(json.dumps(MANIFEST))
    return {
        "origin": "http://127.0.0.1:1",
        "manifest": manifest,
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "redis": redis_url,
        "state_dir": tmp_path / "state",
        "cache_secret": SECRET,
        "purge_timeout": 5,
    }


async def failure(settings: dict[str, Any]) -> str:
    """The line with which an edge refuses to start."""
    with pytest.raises(MizanError) as caught:
        async with running(load_settings(settings, None)):
            pass
    text = str(caught.value)
    assert "\n" not in text
    return text


async def test_a_missing_manifest_says_how_to_make_it(usable: dict[str, Any], tmp_path: Path):
    text = await failure(usable | {"manifest": tmp_path / "none.json"})
    assert str(tmp_path / "none.json") in text
    assert "export_edge_manifest" in text


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("{", "line 1 column 2"),
        ('{"contexts": []}', "contexts: "),
        ('{"contexts": {"a": {"ttl": "x"}}}', "contexts.a.ttl"),
        ('{"contexts": {"a": {"views": ["/:b/"]}}}', "contexts.a.views[0]"),
        ('{"contexts": {}, "version": 2}', "version: 2 is newer"),
    ],
)
async def test_a_malformed_manifest_names_the_place(usable: dict[str, Any], content: str, place: str):
    usable["manifest"].write_text(content)
    text = await failure(usable)
    assert text.startswith(str(usable["manifest"]))
    assert place in text


@pytest.mark.parametrize(
    ("name", "shown"), [("cache_secret", "MIZAN_CACHE_SECRET"), ("mwt_secret", "MIZAN_MWT_SECRET")]
)
@pytest.mark.parametrize("secret", ["", "hunter2", "ä" * 15])
async def test_a_short_secret_is_refused_and_not_shown(usable: dict[str, Any], name: str, shown: str, secret: str):
    text = await failure(usable | {name: secret})
    assert text.startswith(f"{shown} has {len(secret.encode())} bytes and needs at least 32")
    assert not secret or secret not in text


async def test_a_secret_of_32_bytes_in_fewer_characters_is_enough(usable: dict[str, Any]):
    async with running(load_settings(usable | {"cache_secret": "ä" * 16}, None)):
        pass


@pytest.mark.parametrize("name", ["listen", "admin"])
async def test_a_taken_port_is_named(usable: dict[str, Any], name: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        text = await failure(usable | {name: address})
    assert text == f"{name}: {address} is taken: choose another address with --{name}"


async def test_an_address_of_another_machine_is_named(usable: dict[str, Any]):
    assert (await failure(usable | {"listen": "192.0.2.1:8080"})).startswith("listen: 192.0.2.1:8080 cannot be used")


async def test_a_state_directory_belongs_to_one_edge(usable: dict[str, Any]):
    async with running(load_settings(usable, None)):
        assert "is in use by another edge" in await failure(usable)
    async with running(load_settings(usable, None)):
        pass


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_a_state_directory_that_cannot_be_used_is_named(
    usable: dict[str, Any], tmp_path: Path, secret: str | None
):
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / "lock").mkdir(parents=True)
    places = [tmp_path / "file", tmp_path / "file" / "below", tmp_path / "odd"]
    if sys.platform == "linux":
        places.append(Path("/proc/self"))  # read-only for root too
    for place in places:
        text = await failure(usable | {"state_dir": place, "cache_secret": secret, "admin_token": secret})
        assert text.startswith("state_dir: ")
        assert "choose another --state-dir" in text


async def test_secrets_that_are_made_are_private_and_kept(usable: dict[str, Any]):
    settings = usable | {"cache_secret": None}
    files = [usable["state_dir"] / name for name in ("admin.token", "cache.secret")]
    async with running(load_settings(settings, None)):
        first = [path.read_text() for path in files]
    async with running(load_settings(settings, None)):
        assert [path.read_text() for path in files] == first
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]
    assert stat.S_IMODE(usable["state_dir"].stat().st_mode) == 0o700
    assert all(len(text.strip()) >= 32 for text in first)
    assert first[0] != first[1]


async def test_a_state_directory_that_is_a_file_is_named(usable: dict[str, Any]):
    path = usable["state_dir"]
    path.touch()
    assert await failure(usable) == f"state_dir: {path} is no directory: choose another --state-dir"


async def test_a_secret_that_is_set_makes_no_file(usable: dict[str, Any]):
    async with running(load_settings(usable | {"admin_token": "t"}, None)):
        assert not [path for path in usable["state_dir"].iterdir() if path.suffix in (".token", ".secret")]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
async def test_a_kept_secret_that_is_none_is_refused(usable: dict[str, Any], content: bytes):
    usable["state_dir"].mkdir()
    (usable["state_dir"] / "cache.secret").write_bytes(content)
    assert "does not hold a secret: remove it" in await failure(usable | {"cache_secret": None})


# A Redis that answers, and is none that can be used.


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[str]:
    """The URL of a server that gives `reply` to every command."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A command is `*<number of arguments>`, and for each argument `$<its length>` and itself, all on lines.
        while head := await reader.readline():
            for _ in range(int(head[1:])):
                size = int((await reader.readline())[1:])
                await reader.readexactly(size + len(b"\r\n"))
            writer.write(reply)
            await writer.drain()

    async with talking(talk) as address:
        yield f"redis://{address}"


def bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "does not answer like Redis"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not answer like Redis"),
        (b"+OK\r\n", "does not answer like Redis"),
        (bulk("redis_version:5.0.14\r\nmaxmemory_policy:noeviction\r\n"), "Redis 5.0.14 is too old: 6.2"),
        (b"-NOAUTH Authentication required.\r\n", "correct the password"),
    ],
)
async def test_a_redis_that_answers_and_cannot_be_used_is_fatal(usable: dict[str, Any], reply: bytes, says: str):
    async with answering(reply) as url:
        assert says in await failure(usable | {"redis": url})


async def test_a_real_redis_with_another_password_or_policy_is_fatal(usable: dict[str, Any]):
    server = find_server()
    assert server is not None
    with running_redis(server) as url:
        async with redis.asyncio.from_url(url) as client:
            await client.config_set("maxmemory-policy", "allkeys-lru")
            assert "set `maxmemory-policy volatile-lru`" in await failure(usable | {"redis": url})
            await client.config_set("requirepass", "right")
        for given in url, url.replace("unix://", "unix://:hunter2@"):
            text = await failure(usable | {"redis": given})
            assert "password" in text
            assert "hunter2" not in text
            assert "right" not in text


async def test_a_redis_url_that_cannot_be_read_is_named_and_not_shown(usable: dict[str, Any]):
    text = await failure(usable | {"redis": "redis://:hunter2@127.0.0.1:port/0"})
    assert "Redis URL" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_has_a_description(name: str):
    assert Settings.model_fields[name].description
