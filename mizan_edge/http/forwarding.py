"""What changes in a message on its way through: RFC 9110 section 7.6, and the fields that are ours alone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Self

from mizan_core.fields import CACHE_CONTROL, CACHE_NAME, PREFIX
from mizan_edge.http.errors import RefusedError
from mizan_edge.http.framing import wired
from mizan_edge.http.message import (
    HOP_BY_HOP,
    FieldLines,
    Fields,
    Request,
    Response,
    connection_options,
    dropped,
    end_to_end,
    is_host,
    lines_of,
    members,
    normal_host,
    normal_name,
    of_lines,
    values,
)
from mizan_edge.http.names import Names, of_names

VIA = f"1.1 {CACHE_NAME}"
"""The `Via` of responses."""
_OURS = PREFIX.lower()
_CACHE_CONTROL = CACHE_CONTROL.lower()
_REPLACED = ("host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
_SCHEMES = ("http", "https")
_ID = "x-request-id"
# A value that can stand in logs as it is.
_TOLD_ID = re.compile(rb"\r\n(?i:x-request-id):[ \t]*([!#-\[\]-~]{1,128})[ \t]*(?=\r\n)")
_OTHER_HTTP = ("h2c", "h2", "h3", "http", "tls")
# What tells an application about the client's own connection, or its host. Not `X-Forwarded-User` and the like: those
# say who is asking, and whoever sends them passes by the cache.
_FORWARDED = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "front-end-https",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forwarded-by",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-protocol",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x-forwarded-ssl",
        "x-host",
        "x-http-host-override",
        "x-original-host",
        "x-real-ip",
        "x-scheme",
        "x-url-scheme",
    }
)


_UNIX = "unix"
# Hosts and chains of proxies of ordinary length are remembered.
_MAX_KNOWN_CHARS = 512


@dataclass(frozen=True, slots=True)
class Trusted:
    """The proxies in front of the edge that may say for whom they ask."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False
    """Whoever can reach the edge's Unix socket."""

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """Addresses, networks, and the word `unix`. Raises ValueError."""
        found = set(words)
        networks = tuple(ip_network(word, strict=False) for word in sorted(found - {_UNIX}))
        return cls(networks, _UNIX in found)

    def includes(self, address: str) -> bool:
        """Whether a peer's address is that of such a proxy."""
        if not address:
            return self.unix
        ip = ip_address(address.partition("%")[0])
        # A socket for both families shows IPv4 like this.
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip.version == network.version and ip in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Peer:
    """The client's end of a connection: its address (empty on a Unix socket) and the scheme it spoke."""

    address: str
    scheme: str
    trusted: bool = False
    """It is a proxy that is believed in what it tells of clients."""


def told_id(head: bytes) -> str | None:
    """The id that a request's `head` tells in X-Request-ID; None where it tells none, several, or no usable one.

    It is for trusted proxies to tell.
    """
    found = _TOLD_ID.findall(head)
    return found[0].decode() if len(found) == 1 else None


def without_echo(response: Response, request: Request) -> Response:
    """The response without the request's own id, which an origin may repeat: what is stored is for other requests."""
    echoed = request.id and response.get(_ID) == request.id
    return response.with_fields(without=[_ID]) if echoed else response


def to_origin(request: Request, peer: Peer) -> Request:
    """The request as it leaves for the origin: no hop-by-hop fields, nothing that only we may say.

    Decide by this one: what the origin does not get must select nothing in the cache.
    """
    lines = lines_of(request.fields)
    return request.with_lines(_leaving(lines, request.host, request.scheme, request.version, peer))


@of_lines
def _leaving(lines: FieldLines, host: str, scheme: str, version: str, peer: Peer) -> FieldLines:
    told = tuple(values(end_to_end(lines), "x-forwarded-for")) if peer.trusted else ()
    work_out = _known_added if len(host) + sum(map(len, told)) <= _MAX_KNOWN_CHARS else _added
    added = work_out(host, scheme, version, peer.address, told, _upgrade(lines))
    return lines.before(_passing(lines.names, connection_options(lines), peer.trusted), added)


@of_names
def _passing(names: Names, options: frozenset[str], trusted: bool) -> tuple[int, ...]:
    """The places of the fields that pass as they are, Host first; `options` are those of Connection."""
    stays = HOP_BY_HOP | options
    others = [
        i
        for i, name in enumerate(names.lower)
        if not normal_name(name).startswith(_OURS)
        and (trusted or normal_name(name) not in _FORWARDED)
        and name not in _REPLACED
        and normal_name(name) != _ID
        and name not in stays
    ]
    return (*names.at.get("host", ()), *others)


def one_hop_less(request: Request) -> Request | None:
    """The request with its Max-Forwards counted down; None where it must not be forwarded. RFC 9110 section 7.6.2."""
    if request.method not in ("OPTIONS", "TRACE"):
        return request
    left = request.get("max-forwards")
    if left is None or not re.fullmatch("[0-9]{1,9}", left):
        return request
    if int(left) == 0:
        return None
    fields = (*dropped(request.fields, ["max-forwards"]), ("Max-Forwards", str(int(left) - 1)))
    return request.with_lines(fields)


def wants_upgrade(request: Request) -> bool:
    """Whether the request as it leaves asks the origin for another protocol. RFC 9110 section 7.8."""
    return request.get("upgrade") is not None


def seen(request: Request, peer: Peer) -> Request:
    """The request with the host and scheme that the client used, as a trusted peer tells them. Raises RefusedError.

    Of several, the first is what the client used, the others are those of proxies.
    """
    if not peer.trusted:
        return request
    host, scheme = (next(iter(members(request.get(f"x-forwarded-{name}"))), None) for name in ("host", "proto"))
    scheme = scheme if scheme in _SCHEMES else request.scheme
    if host is None:
        return replace(request, scheme=scheme)
    if not is_host(host):
        raise RefusedError(400, "The X-Forwarded-Host field is malformed.")
    return replace(request, host=normal_host(host, scheme), scheme=scheme)


def to_client(response: Response, *added: tuple[str, str], forward_mizan_headers: bool) -> Response:
    """The response as the client may see it, with the fields that are `added`."""
    lines = lines_of(response.fields)
    places = _shown_places(lines.names, connection_options(lines), forward_mizan_headers)
    fields = lines.at(places, *_protocols(response), ("Via", VIA), *added)
    return Response(response.status, fields, response.reason)


@of_names
def _shown_places(names: Names, options: frozenset[str], forward_mizan_headers: bool) -> tuple[int, ...]:
    """The places of the fields that a client may see; `options` are those of Connection."""
    stays = HOP_BY_HOP | options
    return tuple(
        [i for i, name in enumerate(names.lower) if name not in stays and (forward_mizan_headers or not _is_ours(name))]
    )


def _protocols(response: Response) -> Fields:
    """The fields that say to which other protocols the connection switches, or has to."""
    if response.status not in (101, 426):
        return ()
    protocols = ", ".join(values(response.fields, "upgrade"))
    # RFC 9110 section 15.5.22: a 426 is nothing without the protocols that it asks for, if they can be had here.
    if response.status == 426 and not _can_pass(protocols):
        return ()
    return ("Connection", "upgrade"), ("Upgrade", protocols)


def shown(fields: Fields, *, forward_mizan_headers: bool) -> Fields:
    """The fields of a response, or of its trailers, without what is between the edge and the origin."""
    return fields if forward_mizan_headers else tuple(field for field in fields if not _is_ours(field[0].lower()))


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS) or name == _CACHE_CONTROL


def _upgrade(fields: FieldLines) -> Fields:
    if "upgrade" not in fields.names.at:
        return ()
    protocols = ", ".join(values(fields, "upgrade"))
    if "upgrade" not in connection_options(fields) or not _can_pass(protocols):
        return ()
    return ("Connection", "upgrade"), ("Upgrade", protocols)


def _can_pass(protocols: str) -> bool:
    # Another HTTP, and what is spoken within it, would pass by all that is decided here about requests.
    return bool(protocols) and not any(protocol.startswith(_OTHER_HTTP) for protocol in members(protocols))


def _added(host: str, scheme: str, version: str, address: str, told: tuple[str, ...], upgrade: Fields) -> FieldLines:
    """What the origin is told beside the client's own fields; `told`: what a trusted proxy says of those before it."""
    chain = [*told, *([address] if address else [])]
    added = [("X-Forwarded-For", ", ".join(chain))] if chain else []
    # As `seen` has read them, since nobody may read them otherwise.
    added.append(("X-Forwarded-Proto", scheme))
    if host:
        added.append(("X-Forwarded-Host", host))
    # RFC 9110 section 7.6.3: the version in which it was received.
    return wired((*added, *upgrade, ("Via", f"{version} {CACHE_NAME}")))


_known_added = lru_cache(maxsize=1024)(_added)
