"""Which server holds a site: the one at its URL, or the one that a cluster's nodes, or sentinels, name. Without I/O.

    redis://HOST, rediss://HOST, unix:///PATH   that server
    redis+cluster://NODE,NODE,...               the node that serves the site's slot
    redis+sentinel://SENTINEL,.../NAME/DB       the primary that sentinels know by this name

All keys of a site are in one slot of a cluster, so either way there is one primary at a time, and all that clients have
to know is which. With `rediss` in the place of `redis`, all of them are spoken to over TLS. User and password are those
of the primary, and of all nodes of a cluster; sentinels are asked without.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import redis
from redis.crc import key_slot

from mizan_core.store.replies import StoreError, StoreUnusable

_SENTINEL_PORT = 26379
_URL = re.compile(r"(rediss?)\+(\w+)://([^/?#@]*@)?([^/?#@]+)(?:/([^?#]*))?(\?.*)?")

# What another server is to be asked after, beside a connection that fails: this one is not the primary any more, or not
# in touch with those who would know.
_ELSEWHERE = (
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.MovedError,
    redis.exceptions.ReadOnlyError,
)

ASKED = 3
"""So many of those who know are asked, one after the other, before a search has failed."""
FOLLOWED = 3
"""So many servers are tried that others have named."""

Question = tuple[str, ...]


class Directions(NamedTuple):
    """What somebody who was asked has said."""

    primary: str
    """The URL of the primary."""
    others: tuple[str, ...] = ()
    """URLs of those who know as well, as far as he has named any."""


@dataclass(frozen=True, slots=True)
class Guides:
    """Those who know where the primary is, and what to ask them."""

    kind: Literal["itself", "cluster", "sentinel"]
    """`itself`: the URL is the primary's own, and nobody is asked."""
    seeds: tuple[str, ...]
    """The URLs of those who are known at the start."""
    question: Question
    slot: int
    """That of the site, in a cluster."""
    _before: str
    """What stands before the host in the URL of the primary."""
    _behind: str

    def read(self, reply: Any, asked: str) -> Directions:
        """What the reply to the question says, which came from the server at the URL `asked`. Raises StoreError."""
        if isinstance(reply, redis.RedisError):
            if "cluster support disabled" in str(reply):
                raise StoreUnusable("the server at the Redis URL is no node of a cluster: write redis:// instead")
            raise StoreError(f"Redis: {reply}", answered=True)
        found = self._owner(reply, asked) if self.kind == "cluster" else self._named(reply)
        if found is None:
            raise StoreError(f"Redis: nobody is the primary now, says {_host(asked)}", answered=True)
        return found

    def at(self, host: str, port: int) -> str:
        """The URL of the server at an address."""
        return f"{self._before}{f'[{host}]' if ':' in host else host}:{port}{self._behind}"

    def _owner(self, slots: Sequence[Any], asked: str) -> Directions | None:
        others: dict[str, None] = {}
        owner = None
        for first, last, *nodes in slots:
            # A node that knows no name of its own leaves it out.
            urls = [self.at(_text(host) or _host(asked), port) for host, port, *_ in nodes]
            others.update(dict.fromkeys(urls))
            if first <= self.slot <= last:
                owner = urls[0]
        return Directions(owner, tuple(others)) if owner else None

    def _named(self, reply: Sequence[Any] | None) -> Directions | None:
        if reply is None:
            raise StoreUnusable(
                f"the sentinels know no primary named {self.question[-1]!r}: correct it in the Redis URL"
            )
        host, port = reply
        return Directions(self.at(_text(host), int(port)))


class Search:
    """Where the primary of one site was last, and who is to be asked for it next.

    # mutable state: `primary`; `certain`, whether nothing speaks against it; `_nodes`, those who know, in the order in
    # which they are asked.
    """

    def __init__(self, url: str, namespace: str) -> None:
        """Raises ValueError for a URL that cannot be read."""
        self.guides = guides(url, namespace)
        self.primary = url if self.guides.kind == "itself" else ""
        """Its URL."""
        self.certain = self.guides.kind == "itself"
        self._nodes = list(self.guides.seeds)

    def next(self) -> str:
        """Whom to ask now."""
        node = self._nodes.pop(0)
        self._nodes.append(node)
        return node

    def told(self, reply: Any, asked: str) -> None:
        """The one who was asked has replied. Raises StoreError where that does not help."""
        directions = self.guides.read(reply, asked)
        self.primary, self.certain = directions.primary, True
        # Nodes come and go; the seeds stay.
        self._nodes = list(dict.fromkeys((*directions.others, *self.guides.seeds)))

    def failed(self, primary: str) -> None:
        """This primary, or a connection to it, has failed."""
        if self.guides.kind == "itself" or primary != self.primary:
            return
        self.certain = False
        # It may be frozen, or cut off from those who would know: ask it last.
        self._nodes.sort(key=primary.__eq__)

    def leads_on(self, reply: Any, primary: str) -> bool:
        """Whether the reply of this primary says that another server may be it; then that is asked for, or known."""
        if self.guides.kind == "itself" or not isinstance(reply, _ELSEWHERE):
            return False
        self.failed(primary)
        if isinstance(reply, redis.exceptions.MovedError) and reply.host:
            self.primary, self.certain = self.guides.at(reply.host, reply.port), True
        return True


def guides(url: str, namespace: str) -> Guides:
    """Who is to be asked for the primary of a site. Raises ValueError for a URL that cannot be read."""
    if "+" not in url.partition("://")[0]:
        return Guides("itself", (), (), 0, "", "")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("no user, hosts, path and options")
    scheme, kind, user, hosts, path, options = (part or "" for part in match.groups())
    before = f"{scheme}://{user}"
    name, _, database = path.partition("/")
    if kind == "cluster" and path in ("", "0"):
        seeds = [f"{before}{host}{options}" for host in hosts.split(",")]
        return Guides("cluster", tuple(seeds), ("CLUSTER", "SLOTS"), key_slot(namespace.encode()), before, options)
    if kind == "sentinel" and name:
        named = [host if _has_port(host) else f"{host}:{_SENTINEL_PORT}" for host in hosts.split(",")]
        seeds = [f"{scheme}://{host}{options}" for host in named]
        question = ("SENTINEL", "get-master-addr-by-name", name)
        return Guides("sentinel", tuple(seeds), question, 0, before, f"/{database}{options}")
    raise ValueError(f"neither redis+cluster://NODE,NODE nor redis+sentinel://SENTINEL,SENTINEL/NAME: {kind}")


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
