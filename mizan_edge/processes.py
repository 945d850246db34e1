"""What makes a process a worker: its place, listening sockets that outlive it, and that it dies with its keeper."""

import ctypes
import errno
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mizan_core.errors import MizanError

# Elsewhere the option exists too, but gives all connections to the socket that was bound last.
BALANCED = sys.platform == "linux"
_BACKLOG = 1024
# Connecting to a Unix socket is writing to it.
_UNIX_MODE = 0o660


class AddressUnusable(MizanError):
    """An address on which nothing can listen here."""


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among the others: its slot from 0, its keeper's process id, and the descriptors it inherits."""

    slot: int
    keeper: int
    channel_fd: int
    listening_fds: tuple[int, ...]

    def arguments(self) -> list[str]:
        """The place as arguments of a program."""
        return [*map(str, (self.slot, self.keeper, self.channel_fd)), ",".join(map(str, self.listening_fds))]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> tuple[Self, list[str]]:
        """The place that a program's arguments begin with, and the others."""
        slot, keeper, channel, listening, *others = arguments
        return cls(int(slot), int(keeper), int(channel), tuple(map(int, listening.split(",")))), others

    def channel_socket(self) -> socket.socket:
        """The inherited end of the channel; call it once."""
        return socket.socket(fileno=self.channel_fd)

    def listening_sockets(self) -> list[socket.socket]:
        """The inherited listening sockets; call it once."""
        return [socket.socket(fileno=fd) for fd in self.listening_fds]


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel kill this process when the *thread* that started it ends. Only Linux can.

    Elsewhere a worker ends when its channel does. On Linux too, but a stopped or stuck one would not notice.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)
        # It may have died before.
        if os.getppid() != parent_pid:
            sys.exit("the keeper of this worker is gone")


def listening_sockets(host: str, port: int, count: int) -> list[tuple[socket.socket, ...]]:
    """For each of `count` workers its listening sockets, one for each address of `host`. Raises AddressUnusable.

    For port 0 the system chooses one port for all. The kernel spreads connections over the workers; where it cannot,
    they share their sockets.
    """
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, _type, _protocol, _name, address in found))
        if port:
            _refuse_taken(addresses)
        for _ in range(count if BALANCED else 1):
            for family, (name, _port, *scope) in addresses:
                opened.append(_bound(family, (name, port, *scope), shared=BALANCED))
                opened[-1].listen(_BACKLOG)
                port = opened[-1].getsockname()[1]
    except OSError as error:
        for sock in opened:
            sock.close()
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise AddressUnusable(f"listen: {at} {why}: choose another address with --listen") from None
    slots = [tuple(opened[i : i + len(addresses)]) for i in range(0, len(opened), len(addresses))]
    return slots if BALANCED else slots * count


@contextmanager
def unix_socket(path: Path, *, setting: str) -> Iterator[socket.socket]:
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
            sock.listen(_BACKLOG)
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
