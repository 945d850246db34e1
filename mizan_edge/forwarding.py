"""What changes in a message on its way through: RFC 9110 section 7.6, and the fields that are ours alone."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from mizan_edge.http import Fields, Request, Response, end_to_end, normal_name, values

VIA = "1.1 mizan-edge"
_OURS = "x-mizan-"
_FORWARDED = frozenset({"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})


@dataclass(frozen=True, slots=True)
class Peer:
    """The client's end of a connection: its address (empty on a Unix socket) and the scheme it spoke."""

    address: str
    scheme: str


def to_origin(request: Request, peer: Peer, trusted: tuple[IPv4Network | IPv6Network, ...]) -> Request:
    """The request as it leaves for the origin: no hop-by-hop fields, nothing that only we may say."""
    is_trusted = _trusted(peer, trusted)
    fields = [
        (name, value)
        for name, value in end_to_end(request.fields)
        if not normal_name(name).startswith(_OURS)
        and (is_trusted or not _is_forwarding(name))
        and name.lower() not in ("host", "expect", "x-forwarded-for")
    ]
    return Request(
        request.method,
        request.target,
        request.host,
        (*_host(request), *fields, *_forwarding(request, peer, is_trusted), ("Via", VIA)),
    )


def to_client(response: Response, *, forward_mizan_headers: bool) -> Response:
    """The response as the client may see it."""
    fields = end_to_end(response.fields)
    if not forward_mizan_headers:
        fields = tuple(field for field in fields if not _is_ours(field[0]))
    return Response(response.status, (*fields, ("Via", VIA)), response.reason)


def _is_ours(name: str) -> bool:
    return name.lower().startswith(_OURS) or name.lower() == "mizan-cache-control"


def _is_forwarding(name: str) -> bool:
    return normal_name(name) in _FORWARDED or name.lower() == "forwarded"


def _host(request: Request) -> Fields:
    return tuple(("Host", value) for value in values(request.fields, "host"))


def _forwarding(request: Request, peer: Peer, is_trusted: bool) -> Fields:
    chain = [peer.address] if peer.address else []
    if is_trusted:
        chain = [*values(request.fields, "x-forwarded-for"), *chain]
    added = [("X-Forwarded-For", ", ".join(chain))] if chain else []
    for name, value in (("X-Forwarded-Proto", peer.scheme), ("X-Forwarded-Host", request.host)):
        if not (is_trusted and values(request.fields, name.lower())):
            added.append((name, value))
    return tuple(added)


def _trusted(peer: Peer, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    if not peer.address:
        return False
    address = ip_address(peer.address.partition("%")[0])
    return any(address.version == network.version and address in network for network in networks)
