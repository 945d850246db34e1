"""Listening sockets that another process hands over: systemd's socket activation, or this program before an upgrade.

They come as file descriptors from 3 on. `LISTEN_PID` says for which process, `LISTEN_FDS` how many, and
`LISTEN_FDNAMES` their names, separated by colons: one named `admin` is for the admin listener, any other for the public
one. What waits in their queues is served by whoever has them next, so nobody is refused meanwhile.
"""

import fcntl
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from mizan_core.errors import MizanError

ADMIN = "admin"
PUBLIC = "listen"
_FIRST = 3


class InheritedError(MizanError):
    """What was handed over is nothing to listen on."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """The sockets that were handed over, for each listener; mostly none."""

    public: tuple[socket.socket, ...] = ()
    admin: tuple[socket.socket, ...] = ()

    @classmethod
    def take(cls, environment: Mapping[str, str], pid: int) -> Self:
        """Those that an environment tells process `pid` of; call it once. Raises InheritedError."""
        if environment.get("LISTEN_PID") != str(pid) or not environment.get("LISTEN_FDS", "").isdecimal():
            return cls()
        count = int(environment["LISTEN_FDS"])
        names = environment.get("LISTEN_FDNAMES", "").split(":")
        public: list[socket.socket] = []
        admin: list[socket.socket] = []
        for number in range(count):
            sock = _listening(_FIRST + number)
            name = names[number] if number < len(names) else ""
            (admin if name == ADMIN else public).append(sock)
        return cls(tuple(public), tuple(admin))


NOTHING = Inherited()


def hand_over(public: Sequence[socket.socket], admin: Sequence[socket.socket], pid: int) -> dict[str, str]:
    """Puts sockets where a program that this process becomes will `take` them; what its environment has to say.

    Whatever was open under these numbers is closed, so nothing else may be in use any more.
    """
    sockets = [*public, *admin]
    # None may lie where another one is to be put.
    high = [fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, _FIRST + len(sockets)) for sock in sockets]
    for sock in sockets:
        sock.close()
    for number, fd in enumerate(high):
        os.dup2(fd, _FIRST + number, inheritable=True)
        os.close(fd)
    names = [PUBLIC] * len(public) + [ADMIN] * len(admin)
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(names)}


def _listening(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        listens = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise InheritedError(f"LISTEN_FDS: descriptor {fd} is no socket: {error.strerror}") from None
    if not listens:
        raise InheritedError(
            f"LISTEN_FDS: descriptor {fd} does not listen for streams: use ListenStream= with Accept=no"
        )
    return sock
