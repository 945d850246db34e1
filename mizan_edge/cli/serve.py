"""`mizan-edge serve`: an edge, until a signal ends it."""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import uvloop

from mizan_core.errors import MizanError
from mizan_edge.cli.build import BUILD
from mizan_edge.running.config import (
    PREFIX,
    SECRETS,
    Settings,
    has_password,
    keep_from_children,
    load_settings,
    variable,
)
from mizan_edge.running.logs import set_up_logging
from mizan_edge.system.addresses import unix_path

log = logging.getLogger("mizan_edge")


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


@click.command(
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
    # Here, since to load what serves takes a second, and no other command needs it.
    from mizan_edge.edge import running

    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    async with running(settings) as edge:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, received.put_nowait, number)
        public = _url(edge.listen, "https" if settings.tls_cert else "http")
        log.info("serving %s on %s, admin on %s (%s)", settings.origin, public, _url(edge.admin, "http"), BUILD)
        log.info("state, and the admin token where none is set, in %s", settings.state_dir)
        while await received.get() == signal.SIGHUP:
            try:
                await edge.files.reload()
            except MizanError as error:
                log.error("%s", error)
        log.info("stopping: open requests are finished first")


def _url(address: str, scheme: str) -> str:
    return address if unix_path(address) else f"{scheme}://{address}"
