"""Parts of a whole response. RFC 9110 section 14."""

import hashlib
import re
from itertools import pairwise

from mizan_edge.http.freshness import timestamp
from mizan_edge.http.message import Request, Response

# A reader of a document asks for a handful. RFC 9110 section 14.2: more may be an attack, and may be ignored.
_MAX_RANGES = 10
_SPECIFIER = re.compile(r"bytes=([-0-9, \t]*)", re.IGNORECASE)
# No body is as long as 19 digits can say; what says more is ignored like anything that is not understood.
_RANGE = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
# They say something of all bytes of a message's content, which those of a part are not; or, with a 200, nothing at all.
_OF_WHOLE_CONTENT = ("content-length", "content-md5", "content-digest", "content-range")
_WITH_UNSATISFIABLE = ("date", "vary")


def select(request: Request, response: Response, body: bytes) -> tuple[Response, bytes]:
    """What answers `request` when all that it would get without its Range is `response` with `body`.

    That itself, where there is no Range or none that must be heeded; a 206 with a part, or with several as
    multipart/byteranges; a 416 where no byte that is asked for exists. To be asked after `conditional.select`: a 304
    goes before (RFC 9110 section 13.2.2).
    """
    wanted = request.get("range")
    # An empty body has no part, and clients that put `bytes=0-` on everything want it all the same.
    if wanted is None or request.method != "GET" or response.status != 200 or not body:
        return response, body
    spans = _spans(wanted, len(body))
    if spans is None or not _unchanged(request.get("if-range"), response):
        return response, body
    match spans:
        case []:
            return _unsatisfiable(response, len(body)), b""
        case [span]:
            return _one(response, body, span)
        case _:
            several = _several(response, body, spans)
            # Many small ranges cost more than they save. RFC 9110 section 14.2
            return several if len(several[1]) < len(body) else (response, body)


def _spans(specifier: str, size: int) -> list[range] | None:
    """The ranges that are asked for, as far as they exist, in their order; None where they are to be ignored."""
    match = _SPECIFIER.fullmatch(specifier)
    specs = [text for part in match[1].split(",") if (text := part.strip(" \t"))] if match else []
    if not 0 < len(specs) <= _MAX_RANGES:
        return None
    found = [_span(spec, size) for spec in specs]
    if None in found:
        return None
    spans = [span for span in found if span]
    # RFC 9110 section 14.2: who asks for the same bytes twice may be ignored.
    if any(one.stop > other.start for one, other in pairwise(sorted(spans, key=lambda span: span.start))):
        return None
    return spans


def _span(spec: str, size: int) -> range | None:
    """One range, empty where nothing of it exists; None where it is malformed. RFC 9110 section 14.1.2."""
    match = _RANGE.fullmatch(spec)
    if match is None or spec == "-":
        return None
    first, last = match[1], match[2]
    if not first:
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _unchanged(if_range: str | None, response: Response) -> bool:
    """Whether the client's other parts are of this response, as far as it asks. RFC 9110 section 13.1.5."""
    if if_range is None:
        return True
    if _STRONG_TAG.fullmatch(if_range):
        return if_range == response.get("etag")
    date, modified = timestamp(response.get("date")), timestamp(response.get("last-modified"))
    if date is None or modified is None or date - modified < 1:
        # RFC 9110 section 8.8.2.2: it may have changed again within that second.
        return False
    return timestamp(if_range, date) == modified


def _one(response: Response, body: bytes, span: range) -> tuple[Response, bytes]:
    part = body[span.start : span.stop]
    lines = (_content_range(span, len(body)), ("Content-Length", str(len(part))))
    return _partial(response.with_fields(*lines, without=_OF_WHOLE_CONTENT)), part


def _several(response: Response, body: bytes, spans: list[range]) -> tuple[Response, bytes]:
    """RFC 9110 section 14.6"""
    own_type = response.get("content-type")
    type_line = f"Content-Type: {own_type}\r\n" if own_type else ""
    parts = [(": ".join(_content_range(span, len(body))), body[span.start : span.stop]) for span in spans]
    # Nothing can contain a digest of itself.
    digest = hashlib.sha256()
    for _, part in parts:
        digest.update(part)
    boundary = digest.hexdigest()[:40]
    content = b"".join(f"--{boundary}\r\n{type_line}{line}\r\n\r\n".encode() + part + b"\r\n" for line, part in parts)
    content += f"--{boundary}--\r\n".encode()
    lines = (("Content-Type", f"multipart/byteranges; boundary={boundary}"), ("Content-Length", str(len(content))))
    return _partial(response.with_fields(*lines, without=("content-type", *_OF_WHOLE_CONTENT))), content


def _partial(response: Response) -> Response:
    return Response(206, response.fields)


def _unsatisfiable(response: Response, size: int) -> Response:
    """RFC 9110 section 15.5.17. Without the directives of the whole: a cache might keep it as the answer to anybody."""
    kept = tuple(
        (name, value)
        for name, value in response.fields
        if name.lower() in _WITH_UNSATISFIABLE or name.lower().startswith("access-control-")
    )
    own = (("Content-Range", f"bytes */{size}"), ("Content-Length", "0"), ("Cache-Control", "no-store"))
    return Response(416, (*kept, *own))


def _content_range(span: range, size: int) -> tuple[str, str]:
    return "Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}"
