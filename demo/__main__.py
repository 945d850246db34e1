"""`python -m demo`: starts the shop behind the edge, tells the product's story, and stays up to be tried."""

import argparse
import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from demo.browser import NoAnswer
from demo.guide import Places, guide
from demo.processes import HOST, ServerError, Servers, choose_port
from demo.story import Story, Untrue

TOP = Path(__file__).resolve().parent.parent


def main() -> None:
    options = _options()
    # A closed terminal or `kill` ends the demo in the same order as Ctrl-C; which a shell in a script has it ignore.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        places = _places(options)
        with _alone(places.state), Servers(places.state, _environment(places.state)) as servers:
            _run(servers, places, options)
    except (ServerError, Untrue, NoAnswer) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("demo: stopped before the story was told")


def _run(servers: Servers, places: Places, options: argparse.Namespace) -> None:
    _start(servers, places, options.manifest)
    token = places.token_file.read_text().strip()
    try:
        Story((HOST, places.shop_port), (HOST, places.admin_port), token, _say).tell()
    except (Untrue, NoAnswer) as error:
        servers.check(timeout=0.2)  # a server that died is the better explanation
        raise Untrue(f"the story did not come true: {error} (logs: {places.state})") from error
    _say("The story came true.")
    if not options.once:
        with suppress(KeyboardInterrupt):
            _say(f"\n{guide(places)}\nCtrl-C stops everything.")
            servers.check(timeout=None)
        _say("\nStopping.")


def _start(servers: Servers, places: Places, manifest: Path) -> None:
    _say(f"Starting Django on port {places.origin_port} ...")
    serve = ["demo.origin", "--host", HOST, "--port", str(places.origin_port), "--manifest", str(manifest)]
    servers.start("origin", [sys.executable, "-m", *serve], ready=(places.origin_port, "/"))
    _say(f"Starting the edge and its Redis on port {places.shop_port} ...")
    flags = {
        "--origin": f"http://{HOST}:{places.origin_port}",
        "--manifest": str(manifest),
        "--listen": f"{HOST}:{places.shop_port}",
        "--admin": f"{HOST}:{places.admin_port}",
        "--state-dir": str(places.token_file.parent),
        # The story is of what is cached, and not of a machine on which Redis has to wait for the processor.
        "--redis-timeout": "2",
    }
    edge = [part for flag in flags.items() for part in flag]
    servers.start("edge", [sys.executable, "-m", "mizan_edge", "serve", *edge], ready=(places.admin_port, "/readyz"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the story: 0 when it came true, else 1")
    parser.add_argument("--port", type=_port, default=8080, help="of the shop, through the edge (%(default)s)")
    parser.add_argument("--origin-port", type=_port, default=8000, help="of Django itself (%(default)s)")
    parser.add_argument("--admin-port", type=_port, default=8081, help="of the edge's admin listener (%(default)s)")
    parser.add_argument("--state-dir", type=Path, default=TOP / ".demo", help="database, logs, token (%(default)s)")
    parser.add_argument(
        "--manifest", type=Path, default=TOP / "manifests/demo.json", help="where Django exports to (%(default)s)"
    )
    return parser.parse_args()


def _places(options: argparse.Namespace) -> Places:
    """The demo's directory, made when missing, and ports that are free. Raises ServerError."""
    state = options.state_dir.absolute()
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / ".gitignore").write_text("*\n")
    except OSError as error:
        raise ServerError(f"cannot use {state}: {error.strerror}: choose another --state-dir") from error
    ports: list[int] = []
    for wanted in (options.port, options.origin_port, options.admin_port):
        ports.append(choose_port(wanted, not_in=ports))
        if ports[-1] != wanted and wanted:
            _say(f"Port {wanted} is not free; using {ports[-1]} instead.")
    shop, origin, admin = ports
    return Places(shop, origin, admin, state)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Keeps a second demo off the directory for the length of the block. Raises ServerError when it comes second."""
    with open(state / "lock", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServerError(f"another demo uses {state}: stop that one or choose another --state-dir") from None
        yield


def _environment(state: Path) -> Mapping[str, str]:
    """What the servers share, without the machine's own settings for another edge.

    The secrets last for this run. The one of the cache is the edge's alone, which makes it and keeps it.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIZAN_")}
    return inherited | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TOP), inherited.get("PYTHONPATH")])),
        "DEMO_DATABASE": str(state / "shop.sqlite3"),
        "DEMO_SECRET_KEY": secrets.token_urlsafe(48),
        "MIZAN_MWT_SECRET": secrets.token_urlsafe(48),
    }


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; 0 takes a free one")
    return int(text)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
