"""Where an edge listens: addresses as settings name them, and sockets that outlive whoever serves them."""

import errno
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mizan_core.errors import MizanError

# Elsewhere the option exists too, but gives all connections to the socket that was bound last.
BALANCED = sys.platform == "linux"
BACKLOG = 1024
"""Connections that may wait for somebody to accept them."""
# Connecting to a Unix socket is writing to it.
_UNIX_MODE = 0o660

_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s]+):([0-9]{1,5})")
_UNIX = re.compile(r"unix:(/[^\0]+)")


class AddressUnusable(MizanError):
    """An address on which nothing can listen here."""


def is_address(text: str) -> bool:
    """Whether it is an address: `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/edge.sock`."""
    match = _HOST_AND_PORT.fullmatch(text)
    return unix_path(text) is not None or (match is not None and int(match[2]) <= 65535)


def unix_path(address: str) -> Path | None:
    """The path of an address that names a Unix socket."""
    match = _UNIX.fullmatch(address)
    return Path(match[1]) if match else None


@contextmanager
def listening(setting: str, address: str, count: int) -> Iterator[tuple[list[tuple[socket.socket, ...]], str]]:
    """For each of `count` processes the sockets that listen at an address, and the address with the port that the
    system chose for port 0.

    A Unix socket is gone when the block ends; other sockets are their users' to close. Raises AddressUnusable, which
    names the setting.
    """
    if path := unix_path(address):
        with unix_socket(setting, path) as shared:
            yield [(shared,)] * count, address
        return
    host, _, port = address.rpartition(":")
    sockets = listening_sockets(setting, host.strip("[]"), int(port), count)
    yield sockets, _address(host.strip("[]"), sockets[0][0].getsockname()[1])


def listening_sockets(setting: str, host: str, port: int, count: int) -> list[tuple[socket.socket, ...]]:
    """For each of `count` workers its listening sockets, one for each address of `host`. Raises AddressUnusable, which
    names the setting.

    For port 0 the system chooses one port for all. The kernel spreads connections over the workers; where it cannot,
    they share their sockets.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, _type, _protocol, _name, address in found))
        if port:
            _refuse_taken(addresses)
        for _ in range(count if BALANCED else 1):
            for family, (name, _port, *scope) in addresses:
                opened.append(_bound(family, (name, port, *scope), shared=BALANCED))
                opened[-1].listen(BACKLOG)
                port = opened[-1].getsockname()[1]
    except OSError as error:
        for sock in opened:
            sock.close()
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        at = _address(host, port)
        raise AddressUnusable(f"{setting}: {at} {why}: choose another address with --{setting}") from None
    slots = [tuple(opened[i : i + len(addresses)]) for i in range(0, len(opened), len(addresses))]
    return slots if BALANCED else slots * count


@contextmanager
def unix_socket(setting: str, path: Path) -> Iterator[socket.socket]:
    """A socket that listens at a path while the block runs, for this user and group. All workers share it.

    What an edge that was killed has left there is replaced. Raises AddressUnusable, which names the setting.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            _remove_stale(path)
            mask = os.umask(0o777 & ~_UNIX_MODE)
            try:
                sock.bind(os.fspath(path))
            finally:
                os.umask(mask)
            file = path.stat()
            sock.listen(BACKLOG)
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror or error})"
            raise AddressUnusable(f"{setting}: {path} {why}: choose another path with --{setting}") from None
        try:
            yield sock
        finally:
            # Another edge may have put its own there by now.
            with suppress(OSError):
                if os.path.samestat(path.lstat(), file):
                    path.unlink()


def _remove_stale(path: Path) -> None:
    """Removes a Unix socket at which nobody listens. Raises OSError where anything else is there."""
    try:
        file = path.lstat()
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A listener whose queue is full is one too, and must not keep us waiting.
        probe.setblocking(False)
        code = probe.connect_ex(os.fspath(path))
    if not stat.S_ISSOCK(file.st_mode) or code != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink()


def _refuse_taken(addresses: Sequence[tuple[int, tuple[object, ...]]]) -> None:
    """Raises OSError where somebody listens already: SO_REUSEPORT would silently share the port with another edge."""
    for family, address in addresses:
        _bound(family, address, shared=False).close()


def _bound(family: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of an earlier edge that linger in TIME_WAIT are no reason not to listen.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::] and 0.0.0.0 are two addresses, as they are for asyncio.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
