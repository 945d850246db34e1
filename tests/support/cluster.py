"""A Redis Cluster of a test's own: three primaries with a replica each. It moves slots, and kills nodes."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import redis
from redis.crc import key_slot

from mizan_edge.system.embedded import find_server, launch_environment
from tests.support.processes import wait_for

PRIMARIES = 3
SLOTS = 16384
NODE_TIMEOUT_MS = 1000
_STARTS_S = 20.0
_MIGRATE_AT_ONCE = 100
# All of five digits, and so are those of the nodes' bus, 10,000 above; none is given out by the system.
_PORTS = range(12_000, 22_000)


@dataclass(eq=False)
class Node:
    """A redis-server of a cluster. It listens at a port, and on a Unix socket for what stands between it and others.

    # mutable state: its process.
    """

    home: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        return self.home / "s"

    @property
    def alive(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Starts it with what it knows of its cluster; returns when it answers."""
        server = find_server()
        assert server is not None
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.home),
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            # A replica takes over however old its data are: nothing of them is used.
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "save": "",
            "appendonly": "no",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with open(self.home / "log", "ab") as log:
            self._process = subprocess.Popen([server, *options], stdout=log, stderr=log, env=launch_environment())
        assert wait_for(self.answers, seconds=_STARTS_S), (self.home / "log").read_text()

    def kill(self) -> None:
        """SIGKILL; returns when it has died."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False

    def ask(self, *command: str | int) -> Any:
        """The reply to one command."""
        with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5) as client:
            return client.execute_command(*command)

    @staticmethod
    def slot(namespace: str) -> int:
        """That of a site."""
        return int(key_slot(namespace.encode()))

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        return _text(self.ask("CLUSTER", "MYID"))

    @property
    def is_primary(self) -> bool:
        """Whether it takes itself for one."""
        return _text(self.ask("ROLE")[0]) == "master"


class Cluster:
    """Its nodes, and what may be done to them. Every method that waits raises AssertionError where it waits in vain."""

    def __init__(self, home: Path) -> None:
        free = (port for port in Random(f"{home}").sample(_PORTS, len(_PORTS)) if _is_free(port))
        self.nodes = [Node(home / str(port), port) for port in islice(free, 2 * PRIMARIES)]
        for node in self.nodes:
            node.home.mkdir()

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.address for node in self.nodes)}"

    def start(self) -> None:
        """Starts all nodes and makes a cluster of them; returns when all of them know it."""
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for node in others:
            first.ask("CLUSTER", "MEET", "127.0.0.1", node.port)
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        for number, node in enumerate(primaries):
            ours = range(number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES)
            node.ask("CLUSTER", "ADDSLOTS", *ours)
        assert wait_for(lambda: all(self._known(node) == len(self.nodes) for node in self.nodes), seconds=_STARTS_S)
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", primary.id)
        self.settled()

    def settled(self) -> None:
        """Returns when every node finds the cluster whole, and every primary has a replica that follows it."""

        def whole() -> bool:
            try:
                return all("cluster_state:ok" in _text(node.ask("CLUSTER", "INFO")) for node in self.nodes) and all(
                    _follows(node.ask("ROLE")) for node in self.nodes
                )
            except redis.RedisError:
                return False

        assert wait_for(whole, seconds=_STARTS_S), "the cluster does not come together"

    def owner(self, namespace: str) -> Node:
        """The node that serves a site's slot, as most of those that answer say."""
        slot = key_slot(namespace.encode())
        named: list[int] = []
        for node in self.nodes:
            try:
                slots = node.ask("CLUSTER", "SLOTS")
            except redis.RedisError:
                continue
            named += [primary[1] for first, last, primary, *_ in slots if first <= slot <= last]
        port = max(set(named), key=named.count)
        return next(node for node in self.nodes if node.port == port)

    def replica_of(self, primary: Node) -> Node:
        """The replica that follows a primary. Raises StopIteration where there is none."""
        return next(
            node
            for node in self.nodes
            if node is not primary and not node.is_primary and node.ask("ROLE")[2] == primary.port
        )

    def replaced(self, owner: Node, namespace: str) -> None:
        """Returns when another node serves a site's slot than `owner`."""
        assert wait_for(lambda: self.owner(namespace) is not owner, seconds=_STARTS_S), "nobody took over"

    def begin_move(self, namespace: str) -> tuple[Node, Node]:
        """Begins to move a site's slot to another primary; both nodes."""
        source, slot = self.owner(namespace), key_slot(namespace.encode())
        target = next(node for node in self.nodes if node is not source and node.is_primary)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        return source, target

    def move_keys(self, source: Node, target: Node, *keys: str) -> None:
        """Moves these keys, of a slot that is moving."""
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, namespace: str, source: Node, target: Node) -> None:
        """Moves what is left there, and gives the slot to the target."""
        slot, name = key_slot(namespace.encode()), target.id
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, _MIGRATE_AT_ONCE):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *(one for one in self.nodes if one is not target and one is not source)):
            # Replicas hear of it from the others.
            with suppress(redis.RedisError):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    def close(self) -> None:
        for node in self.nodes:
            node.kill()

    def _known(self, node: Node) -> int:
        return _text(node.ask("CLUSTER", "NODES")).count(" connected")


@contextmanager
def cluster(home: Path) -> Iterator[Cluster]:
    """A cluster for the length of the block, in a directory whose path is short enough for sockets."""
    running = Cluster(home)
    try:
        running.start()
        yield running
    finally:
        running.close()


def _follows(role: Any) -> bool:
    kind, *rest = role
    if _text(kind) == "master":
        return len(rest[1]) >= 1
    return _text(rest[2]) == "connected"


def _is_free(port: int) -> bool:
    try:
        for taken in (port, port + 10_000):
            socket.create_server(("127.0.0.1", taken)).close()
    except OSError:
        return False
    return True


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
