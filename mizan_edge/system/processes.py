"""What makes a process a worker: its place, with the sockets that it inherits, and that it dies with its keeper."""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


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


def interpreter() -> list[str]:
    """The command that runs Python as it runs here."""
    # -m and -c would look for modules in the working directory first, where any `redis.py` may lie about.
    return [sys.executable, *([] if {"", os.getcwd()} & set(sys.path) else ["-P"])]


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
