"""Hosts: network namespaces of a test's own, each with one cable to where Redis and the origin are.

A process inside reaches nothing else, and its loopback is its own. Needs root, and `ip`.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import count

# What RFC 2544 keeps for tests of networks: nobody is there.
_NETWORKS = list(IPv4Network("198.18.0.0/15").subnets(new_prefix=30))
_numbers = count()


@dataclass(frozen=True, slots=True)
class Host:
    """Where an edge runs."""

    address: str = "127.0.0.1"
    """Its own."""
    outside: str = "127.0.0.1"
    """Where it reaches others."""
    inside: Sequence[str] = ()
    """What a command begins with that runs there."""


@contextmanager
def host() -> Iterator[Host]:
    """A host for the length of the block. Raises CalledProcessError where none can be made."""
    number = next(_numbers)
    # No two runs on a machine have the same.
    name = f"mz{os.getpid()}-{number}"
    outside, inside = (str(address) for address in _NETWORKS[(os.getpid() * 8 + number) % len(_NETWORKS)].hosts())
    with ExitStack() as stack:
        _ip("netns", "add", name)
        # Its end of the cable goes with it, and with that the other.
        stack.callback(_ip, "netns", "del", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{outside}/30", "dev", name)
        _ip("link", "set", name, "up")
        for command in (
            ("addr", "add", f"{inside}/30", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *command)
        yield Host(inside, outside, ("ip", "netns", "exec", name))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)  # noqa: S607
