"""Where an edge listens: addresses as settings name them, and sockets that outlive whoever serves them."""

import errno
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


@dataclass(slots=True)
class Listening:
    """The sockets that listen at an address.

    # mutable state: whether they were `handed_on`.
    """

    address: str
    """With the port that the system chose for port 0."""
    slots: list[tuple[socket.socket, ...]]
    """The sockets of each process. They are their users' to close."""
    handed_on: bool = False

    def hand_on(self) -> list[socket.socket]:
        """The same sockets, for whoever comes next: they stay open when their users close them, and a path stays."""
        self.handed_on = True
        return [sock.dup() for sock in dict.fromkeys(sock for slot in self.slots for sock in slot)]


@contextmanager
def listening(setting: str, address: str, count: int, inherited: Sequence[socket.socket] = ()) -> Iterator[Listening]:
    """What listens at an address, for `count` processes; or, whatever the address, the sockets that were `inherited`.

    A Unix socket is gone when the block ends, unless it was inherited or handed on. Raises AddressUnusable, which names
    the setting.
    """
    if inherited:
        yield Listening(_address_of(inherited[0]), shared_out(inherited, count))
        return
    if path := unix_path(address):
        with unix_socket(setting, path) as (shared, remove):
            found = Listening(address, [(shared,)] * count)
            try:
                yield found
            finally:
                if not found.handed_on:
                    remove()
        return
    host, _, port = address.rpartition(":")
    sockets = listening_sockets(setting, host.strip("[]"), int(port), count)
    yield Listening(_address(host.strip("[]"), sockets[0][0].getsockname()[1]), sockets)


def shared_out(sockets: Sequence[socket.socket], count: int) -> list[tuple[socket.socket, ...]]:
    """For each of `count` processes some of the sockets, so that each socket is served: its queue is nobody else's."""
    if len(sockets) <= count:
        return [(sockets[slot % len(sockets)],) for slot in range(count)]
    return [tuple(sockets[slot::count]) for slot in range(count)]


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
def unix_socket(setting: str, path: Path) -> Iterator[tuple[socket.socket, Callable[[], None]]]:
    """A socket that listens at a path while the block runs, for this user and group; and what removes the path. All
    workers share it.

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

        def remove() -> None:
            # Another edge may have put its own there by now.
            with suppress(OSError):
                if os.path.samestat(path.lstat(), file):
                    path.unlink()

        yield sock, remove


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


def _address_of(sock: socket.socket) -> str:
    name = sock.getsockname()
    return _address(name[0], name[1]) if isinstance(name, tuple) else f"unix:{name}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
