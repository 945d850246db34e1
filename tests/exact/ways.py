"""The way of one edge to a Redis Cluster: a link to each of its nodes, and what is done to one is done to all.

Nodes tell clients where the others are. So that an edge stays on its links, it hears of these instead.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.support.cluster import Cluster
from tests.support.proxy import Kind, Link, Slowness, linked


class Ways:
    """As one link."""

    def __init__(self, links: Sequence[Link], seeds: int) -> None:
        """`seeds`: how many of the nodes its edge is told of."""
        self._links = links
        self.url = f"redis+cluster://{','.join(link.url.removeprefix('redis://') for link in links[:seeds])}"

    def freeze(self, kind: Kind = "any") -> None:
        for link in self._links:
            link.freeze(kind)

    def thaw(self) -> None:
        for link in self._links:
            link.thaw()

    def cut(self, kind: Kind = "any") -> None:
        for link in self._links:
            link.cut(kind)

    def mend(self) -> None:
        for link in self._links:
            link.mend()

    def slow(self, slowness: Slowness, kind: Kind = "any") -> None:
        for link in self._links:
            link.slow(slowness, kind)

    def speed_up(self) -> None:
        for link in self._links:
            link.speed_up()


@asynccontextmanager
async def ways(cluster: Cluster, *, delay_s: float = 0, host: str = "127.0.0.1") -> AsyncIterator[Ways]:
    """The way to a cluster, for the length of the block: links at an address of this host, each slower by `delay_s`."""
    replaced: dict[bytes, bytes] = {}

    def heard(data: bytes) -> bytes:
        if b"127.0.0.1" in data:
            for node, link in replaced.items():
                data = data.replace(node, link)
        return data

    async with AsyncExitStack() as stack:
        links = []
        for node in cluster.nodes:
            link = await stack.enter_async_context(linked(str(node.socket), heard=heard, delay_s=delay_s, host=host))
            port = int(link.url.rpartition(":")[2])
            # In the answer to CLUSTER SLOTS, and in a MOVED.
            there, here, at = node.port, port, host.encode()
            replaced[b"$9\r\n127.0.0.1\r\n:%d\r" % there] = b"$%d\r\n%b\r\n:%d\r" % (len(at), at, here)
            replaced[b" 127.0.0.1:%d\r" % there] = b" %b:%d\r" % (at, here)
            links.append(link)
        yield Ways(links, seeds=2)
