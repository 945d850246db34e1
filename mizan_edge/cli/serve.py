"""`mizan-edge serve`: an edge, until a signal ends it."""

import asyncio
import logging
import os
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
    load_settings,
    variable,
)
from mizan_edge.running.environment import keep_from_children, unknown_variables
from mizan_edge.running.logs import set_up_logging
from mizan_edge.running.upgrade import HandedOn, Program, ignore_requests, requests_heard
from mizan_edge.system.addresses import unix_path
from mizan_edge.system.inherited import Inherited

log = logging.getLogger("mizan_edge")

_ENDING = (signal.SIGINT, signal.SIGTERM)


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
    ignore_requests()
    settings = load_settings(flags, config)
    set_up_logging(settings, "keeper")
    if has_password(str(flags["redis"])):
        log.warning("everybody on this machine can see the password in --redis: set %s instead", variable("redis"))
    for line in unknown_variables(os.environ):
        log.warning("%s: it is ignored", line)
    inherited = Inherited.take(os.environ, os.getpid())
    program = Program.of_this_process()
    keep_from_children()
    handed_on = uvloop.run(_serve(settings, inherited, program))
    if handed_on is not None:
        program.become(handed_on)


async def _serve(settings: Settings, inherited: Inherited, program: Program) -> HandedOn | None:
    """Serves until a signal ends it; what the next program gets, where that was to upgrade."""
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    # What is asked for during the start is done after it.
    with requests_heard(received.put_nowait):
        handed_on = await _until_ended(settings, inherited, program, received)
    while not received.empty():
        if received.get_nowait() in _ENDING:
            return None
    return handed_on


async def _until_ended(
    settings: Settings, inherited: Inherited, program: Program, received: asyncio.Queue[signal.Signals]
) -> HandedOn | None:
    # Here, since to load what serves takes a second, and no other command needs it.
    from mizan_edge.edge import running

    loop = asyncio.get_running_loop()
    handed_on: HandedOn | None = None
    async with running(settings, inherited) as edge:
        for number in _ENDING:
            loop.add_signal_handler(number, received.put_nowait, number)
        public = _url(edge.listen, "https" if settings.tls_cert else "http")
        log.info("serving %s on %s, admin on %s (%s)", settings.origin, public, _url(edge.admin, "http"), BUILD)
        log.info("state, and the admin token where none is set, in %s", settings.state_dir)
        while handed_on is None and (number := await received.get()) not in _ENDING:
            try:
                if number == signal.SIGHUP:
                    await edge.files.reload()
                else:
                    await program.try_out()
                    handed_on = edge.hand_on()
            except MizanError as error:
                log.error("%s", error)
            except Exception:
                # Whatever it is: who asks for a reload does not ask for the end.
                log.exception("%s could not be obeyed", number.name)
        log.info("%s: open requests are finished first", "stopping" if handed_on is None else "upgrading")
    return handed_on


def _url(address: str, scheme: str) -> str:
    return address if unix_path(address) else f"{scheme}://{address}"
