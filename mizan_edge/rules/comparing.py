"""What was served from the cache, and what the origin says of the same now. Pure."""

import zlib

from mizan_edge.http.message import Response, values
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.storing import Refusal, Storable

# What a client does something else for. Others say something of one response, or of the cache's business: Date, Age,
# validators, Set-Cookie, lifetimes, the names of servers and requests.
_COMPARED = (
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "link",
    "location",
    "refresh",
    "www-authenticate",
)
# What says something of the origin's health, not of the resource.
_FAILURES = frozenset({408, 429})
# What was answered to somebody, not to all who share what was stored.
_SOMEBODYS: frozenset[Refusal] = frozenset({"set-cookie", "partition", "authorization", "stream"})
# A body beyond is compared as it is.
_MAX_PLAIN_BYTES = 16 << 20


def inconclusive(response: Response, verdict: Storable | Refusal) -> str | None:
    """Why the origin's answer says nothing of what is stored; None where it does."""
    if response.status >= 500 or response.status in _FAILURES:
        return "the origin has failed"
    return "it was answered to somebody" if verdict in _SOMEBODYS else None


def differences(stored: StoredResponse, response: Response, body: bytes) -> list[str]:
    """In what the origin's answer is another one: "status", names of fields, "body". Nothing: it is the same."""
    found = [] if stored.response.status == response.status else ["status"]
    for name in _COMPARED:
        if values(stored.response.fields, name) != values(response.fields, name):
            found.append(name)
    if stored.body != body and _plain(stored.response, stored.body) != _plain(response, body):
        found.append("body")
    return found


def first_difference(one: bytes, other: bytes) -> int:
    """The place of the first byte in which two bodies differ."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))


def _plain(response: Response, body: bytes) -> bytes:
    """A body without the coding that frameworks pad at random, against BREACH."""
    if values(response.fields, "content-encoding") != ["gzip"]:
        return body
    try:
        inflating = zlib.decompressobj(wbits=31)
        plain = inflating.decompress(body, _MAX_PLAIN_BYTES)
    except zlib.error:
        return body
    return plain if inflating.eof else body
