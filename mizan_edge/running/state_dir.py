"""The state directory: whose edge it is, and the secrets and the id that are made there at its first start."""

import fcntl
import os
import re
import secrets as random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mizan_core.keys import SecretError, secret_bytes
from mizan_edge.running.config import ConfigError, Settings

_ADMIN_FILE = "admin.token"


def prepare_state_dir(path: Path) -> None:
    """Makes the state directory, for its owner alone. Raises ConfigError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        raise ConfigError(f"state_dir: {path} is no directory: choose another --state-dir") from None
    except OSError as error:
        raise ConfigError(f"state_dir: {path} cannot be made ({error.strerror}): choose another --state-dir") from None


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Keeps a second edge out of the state directory: it would share its Redis socket and its journal."""
    try:
        file = open(state_dir / "lock", "w", opener=_private)  # noqa: SIM115 - the block below closes it
    except OSError as error:
        raise ConfigError(
            f"state_dir: {state_dir} cannot be written ({error.strerror}): choose another --state-dir"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"state_dir: {state_dir} is in use by another edge: give this one its own --state-dir"
            ) from None
        yield


def cache_secret(settings: Settings) -> bytes:
    """The cache secret: the setting, else the one kept in the state directory, made at the first start.

    For the edge that holds the directory's lock, like `admin_token`.
    """
    if settings.cache_secret is not None:
        try:
            return secret_bytes(settings.cache_secret.get_secret_value(), name="MIZAN_CACHE_SECRET")
        except SecretError as error:
            raise ConfigError(str(error)) from None
    return _kept(settings.state_dir / "cache.secret").encode()


def admin_token(settings: Settings) -> str:
    """The token of the role `purge`: the setting, else the one kept in the state directory, made at the first start."""
    if settings.admin_token is not None:
        return settings.admin_token.get_secret_value()
    return _kept(settings.state_dir / _ADMIN_FILE)


def kept_admin_token(state_dir: Path) -> tuple[str, Path]:
    """The token that an edge has made there, and its file, for others than that edge. Raises OSError."""
    path = state_dir / _ADMIN_FILE
    return path.read_text(errors="replace").strip(), path


def durable_id(settings: Settings) -> str:
    """The id under which the fleet knows this edge through restarts: one for each state directory."""
    return _kept(settings.state_dir / "edge.id")


def _kept(path: Path) -> str:
    try:
        if not path.exists():
            # Whole or not there: a file that a crash has left empty would keep the next start from working.
            new = path.with_name(f"{path.name}.new")
            new.unlink(missing_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(random.token_urlsafe(32) + "\n")
            new.rename(path)
        value = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"state_dir: {path} cannot be used ({error.strerror}): choose another --state-dir") from None
    if not re.fullmatch(rb"[!-~]{32,}", value):
        raise ConfigError(f"{path} does not hold a secret: remove it, and a new one is made")
    return value.decode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
