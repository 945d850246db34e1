"""Compressed copies of stored responses: which are made, how, and who gets one. RFC 9110 sections 8.4 and 12.5.3.

A stored response is the identity representation, as the origin gave it. Its copies are made beside the requests
(`compressing`), lie in the same entry, and are further representations of the same resource:

- All of them, the identity too, say `Vary: Accept-Encoding`, since a cache behind this one would else give a copy to
  whoever cannot read it.
- A copy's entity tag is that of the identity made weak. What a strong one promises, the same bytes, it cannot keep
  (RFC 9110 section 8.8.1). `If-None-Match` compares weakly, so whoever has either gets a 304; `If-Range` compares
  strongly, so nobody continues a copy with bytes of something else.
- A GET with `Range` gets ranges of the identity, whatever it accepts: the server chooses the representation, ranges are
  of the chosen one (section 14.2), and only the identity has a strong tag by which parts may be put together
  (section 15.3.7.3).

BREACH: compression shows in its length whether a guess, reflected in a page, repeats a secret of the same page. What
is shared, by all or by all who are anonymous, holds no secret that its readers cannot read anyway. A response to a
signed-in user may; and since any application reflects something, such a response is compressed only where the site's
owner says so (`CompressWhat`). Responses with a CSRF token are not stored, so they are never compressed here.
"""

import gzip
from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from typing import Literal

import brotli
import zstandard

from mizan_edge.http.cache_control import TARGETED
from mizan_edge.http.message import Request, Response, members
from mizan_edge.http.weighted import MAX_LIST, codings
from mizan_edge.rules.identity import Partition

CompressWhat = Literal["nothing", "shared", "all"]
"""Whose responses are compressed: nobody's, those of `public` and anonymous partitions, everybody's."""

_ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    # Above these levels, each byte that is saved costs a multiple of the time.
    "br": lambda body: brotli.compress(body, quality=6),
    # RFC 9659: the window must not exceed 8 MiB, which no body here does.
    "zstd": lambda body: zstandard.ZstdCompressor(level=9).compress(body),
    # Without the time, so that every edge makes the same bytes.
    "gzip": lambda body: gzip.compress(body, compresslevel=6, mtime=0),
}
"""The codings in order of preference among those that a client wants equally: the smallest first."""

CODINGS = tuple(_ENCODERS)
"""The content codings that are made here, and asked for; beside them there is `identity`."""

# Below, a response fits into the first packet either way. Above, one would keep a thread busy for too long.
_MIN_BYTES = 1024
_MAX_BYTES = 4 << 20
# What a copy has to save to be worth its place in memory.
_USEFUL_SHARE = 0.9

_TYPES = frozenset(
    {
        "application/ecmascript",
        "application/javascript",
        "application/json",
        "application/jsonl",
        "application/rtf",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "image/x-icon",
    }
)
_SUFFIXES = ("+json", "+xml", "+yaml")
# They speak of the very bytes, or of the fields that a copy changes: RFC 9530, RFC 9421. Whoever sends them wants them
# checked; left out, the copy would pass for unprotected, and left in, for forged.
_OF_THESE_BYTES = ("content-digest", "content-md5", "digest", "repr-digest", "signature", "signature-input")
_CODED_OR_PART = ("content-encoding", "content-range")


def compressible(response: Response, body: bytes) -> bool:
    """Whether copies of a whole stored response may be made, and are likely to be worth it.

    Whatever its status: an error page is as long as another one. RFC 9110 section 7.7 forbids it by `no-transform`.
    """
    if not _MIN_BYTES <= len(body) <= _MAX_BYTES:
        return False
    media_type = (response.get("content-type") or "").partition(";")[0].strip().lower()
    if not (media_type.startswith("text/") or media_type in _TYPES or media_type.endswith(_SUFFIXES)):
        return False
    if any(response.get(name) is not None for name in (*_CODED_OR_PART, *_OF_THESE_BYTES)):
        return False
    return not any(_forbids(response.get(name)) for name in ("cache-control", *TARGETED))


def encode(body: bytes) -> dict[str, bytes]:
    """The copies of a body that are usefully smaller, by their codings.

    For a large body to be run in a thread, so that no request waits for it: the libraries do not hold the interpreter's
    lock meanwhile.
    """
    copies = {coding: encoder(body) for coding, encoder in _ENCODERS.items()}
    return {coding: copy for coding, copy in copies.items() if len(copy) <= len(body) * _USEFUL_SHARE}


def applies(what: CompressWhat, partition: Partition) -> bool:
    """Whether responses of a partition are to be compressed."""
    return what == "all" or (what == "shared" and partition.user is None)


def choose(accept_encoding: str | None, available: Container[str]) -> str | None:
    """The coding among the available ones that a client wants most; None for the identity.

    The field's absence allows every coding (RFC 9110 section 12.5.3); but who does not send it can mostly read none.
    Where the client refuses everything that there is, the identity disregards that (section 12.4.1).
    """
    if accept_encoding is None or len(accept_encoding) > MAX_LIST:
        return None
    return next((coding for coding in _wanted(accept_encoding) if coding in available), None)


def select(
    request: Request, response: Response, body: bytes, encoded: Mapping[str, bytes] | None
) -> tuple[Response, bytes]:
    """The representation that `request` gets of a stored `response` with `body`: that itself or one of its copies.

    `encoded`: its copies by their codings, empty where they are yet to be made; None where there never will be any.
    To be asked before `conditional.select` and `partial.select`, which then say of a 304, a HEAD and a part what they
    would say of the whole.
    """
    if encoded is None:
        return response, body
    varying = _varying(response)
    coding = choose(request.get("accept-encoding"), encoded)
    if coding is None or _wants_identity(request):
        return varying, body
    tag = response.get("etag")
    lines = [("Content-Encoding", coding)]
    if tag is not None:
        lines.append(("ETag", tag if tag.startswith("W/") else f"W/{tag}"))
    # Of its bytes no ranges are to be had.
    return varying.with_fields(*lines, without=("etag", "content-length", "accept-ranges")), encoded[coding]


def _wants_identity(request: Request) -> bool:
    # RFC 9111 section 5.2.1.6; and ranges, see above.
    return _forbids(request.get("cache-control")) or (request.method == "GET" and request.get("range") is not None)


def _varying(response: Response) -> Response:
    vary = response.get("vary")
    if not {"accept-encoding", "*"}.isdisjoint(members(vary)):
        return response
    line = ("Vary", f"{vary}, Accept-Encoding" if vary else "Accept-Encoding")
    return response.with_fields(line, without=["vary"])


def _forbids(directives: str | None) -> bool:
    # Wherever the word stands: no malformed field may hide it.
    return directives is not None and "no-transform" in directives.lower()


@lru_cache(maxsize=1024)
def _wanted(field: str) -> tuple[str, ...]:
    """The codings that an Accept-Encoding field prefers to the identity or wants as much, the most wanted first."""
    weights = codings(field)
    wanted = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in CODINGS}
    least = weights.get("identity", 0.0)
    return tuple(sorted((c for c, q in wanted.items() if q > 0 and q >= least), key=lambda c: -wanted[c]))
