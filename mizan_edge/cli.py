"""The command line."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import uvloop

from mizan_core.errors import MizanError
from mizan_core.manifest import load_manifest
from mizan_edge.edge import running
from mizan_edge.memory import prepared
from mizan_edge.running.config import (
    PREFIX,
    SECRETS,
    Settings,
    has_password,
    keep_from_children,
    load_settings,
    set_up_logging,
    variable,
)
from mizan_edge.system.addresses import unix_path

log = logging.getLogger("mizan_edge")

# Of the modules that are compiled together, or not at all.
_BUILD = "pure Python" if prepared.__file__.endswith(".py") else "compiled"


def main() -> None:
    """The entry point: a failure is a line on stderr and exit status 1."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except MizanError as error:
        for line in str(error).splitlines():
            print(f"mizan-edge: {line}", file=sys.stderr)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mizan-edge", message=f"%(prog)s, version %(version)s ({_BUILD})")
def cli() -> None:
    """An edge cache for Django that is never stale."""


def _settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, field in reversed(Settings.model_fields.items()):
        if name in SECRETS:
            continue
        flag = f"--{name.replace('_', '-')}"
        default = (
            "" if field.is_required() or field.default_factory or not field.default else f" [{_shown(field.default)}]"
        )
        help_text = f"{field.description}{default}"
        if field.annotation is bool:
            flag += f"/--no-{name.replace('_', '-')}"
        command = click.option(flag, name, default=None, help=help_text)(command)
    return command


def _shown(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


@cli.command(
    epilog=f"Each flag is also a key of the file (snake_case) and an environment variable {PREFIX}<FLAG>. Secrets are "
    f"never flags: {', '.join(map(variable, SECRETS))}, or keys of the file."
)
@_settings_options
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    envvar=f"{PREFIX}CONFIG",
    help="a TOML file of settings, named as the flags with underscores",
)
def serve(config: Path | None, **flags: object) -> None:
    """Serve a site.

    For example: mizan-edge serve --origin http://127.0.0.1:8000 --manifest manifests/edge.json
    """
    settings = load_settings(flags, config)
    set_up_logging(settings, "keeper")
    if has_password(str(flags["redis"])):
        log.warning("everybody on this machine can see the password in --redis: set %s instead", variable("redis"))
    keep_from_children()
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    async with running(settings) as edge:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, received.put_nowait, number)
        public = _url(edge.listen, "https" if settings.tls_cert else "http")
        log.info("serving %s on %s, admin on %s (%s)", settings.origin, public, _url(edge.admin, "http"), _BUILD)
        log.info("state, and the admin token where none is set, in %s", settings.state_dir)
        while await received.get() == signal.SIGHUP:
            try:
                await edge.files.reload()
            except MizanError as error:
                log.error("%s", error)
        log.info("stopping: open requests are finished first")


def _url(address: str, scheme: str) -> str:
    return address if unix_path(address) else f"{scheme}://{address}"


@cli.command()
@click.argument("manifest", type=click.Path(path_type=Path))
def check(manifest: Path) -> None:
    """Check a manifest.

    Exit status 1, and the place in the file, for one that cannot be used.
    """
    loaded, warnings = load_manifest(manifest)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    functions = sum(len(context.functions) for context in loaded.contexts.values())
    print(
        f"{manifest}: {len(loaded.contexts)} contexts, {functions} functions, {len(loaded.mutations)} mutations: usable"
    )
