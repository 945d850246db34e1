"""What commands have in common: how they find a running edge, and with which token."""

import os
import tomllib
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import click

from mizan_edge.cli.client import AdminClient, AdminError, ListenerAddress, Token
from mizan_edge.running.config import NAMES, PREFIX, Settings, check_token, unknown_key, variable
from mizan_edge.running.state_dir import kept_admin_token

Role = Literal["nobody", "read", "purge"]
# The least that suffices comes first.
_TOKENS: dict[Role, tuple[str, ...]] = {
    "nobody": (),
    "read": ("read_token", "admin_token"),
    "purge": ("admin_token",),
}

as_json = click.option("--json", "as_json", is_flag=True, help="print JSON")


def _read_config(context: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        settings = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}", context, param) from None
    # As `serve` has it. What a command is to do is said by its flags alone: no key of a file purges everything.
    if unknown := settings.keys() - NAMES:
        raise click.BadParameter(f"{path}: {'; '.join(map(unknown_key, sorted(unknown)))}", context, param)
    context.default_map = settings


config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar=f"{PREFIX}CONFIG",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="the edge's TOML file, which may say all of this",
)


def listener_address(context: click.Context, param: click.Parameter, text: str | None) -> ListenerAddress | None:
    """The value of an option that says where a listener is."""
    try:
        return None if text is None else ListenerAddress.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, param) from None


def asking(role: Role) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an AdminClient as its first argument, and the options that say of which edge.

    They are settings of `serve`, from the same places: flags over environment over file.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--admin",
            metavar="ADDRESS",
            callback=listener_address,
            envvar=variable("admin"),
            default=Settings.model_fields["admin"].default,
            show_default=True,
            help="the edge's admin listener: host:port, a URL, or the path of a Unix socket",
        )
        @click.option(
            "--state-dir",
            type=click.Path(path_type=Path),
            envvar=variable("state_dir"),
            default=Settings.model_fields["state_dir"].get_default(call_default_factory=True),
            help="the edge's state directory, where the token lies unless it is set",
        )
        @config_option
        @click.pass_context
        @wraps(command)
        def asking_command(context: click.Context, /, admin: ListenerAddress, state_dir: Path, **options: Any) -> None:
            command(AdminClient(admin, _token(role, context.default_map or {}, state_dir)), **options)

        return asking_command

    return decorate


def _token(role: Role, config: Any, state_dir: Path) -> Token | None:
    if role == "nobody":
        return None
    for name in _TOKENS[role]:
        if value := os.environ.get(variable(name)):
            return _checked(value, variable(name))
        if value := config.get(name):
            return _checked(str(value), f"{name} in --config")
    try:
        value, path = kept_admin_token(state_dir)
    except OSError as error:
        raise AdminError(
            f"no token: set {' or '.join(map(variable, _TOKENS[role]))}, or name the edge's --state-dir "
            f"({error.filename}: {error.strerror})"
        ) from None
    return _checked(value, str(path))


def _checked(value: str, source: str) -> Token:
    """A token that can be sent. Raises AdminError, which names its source and not the token."""
    try:
        check_token(value)
    except ValueError as error:
        raise AdminError(f"{source}: {error}") from None
    return Token(value, source)
