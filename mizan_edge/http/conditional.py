"""Conditional requests answered from a whole response. RFC 9110 section 13."""

import hashlib
import re
from base64 import urlsafe_b64encode

from mizan_edge.http.freshness import timestamp
from mizan_edge.http.message import IN_NOT_MODIFIED, Request, Response, has_body

# In linear time: no match begins within a space.
_ENTITY_TAG = re.compile(r'((?:W/)?"[\x21\x23-\x7e\x80-\xff]*+")\s*+(?:,|$)')


def select(request: Request, response: Response, body: bytes) -> tuple[Response, bytes]:
    """What answers `request` when `response` with `body` is the current one: itself, a 304, or its head alone."""
    if response.status == 200 and _not_modified(request, response):
        kept = tuple(
            (name, value)
            for name, value in response.fields
            # Without those of CORS, a script that has set the condition itself could not read the answer.
            if name.lower() in IN_NOT_MODIFIED or name.lower().startswith("access-control-")
        )
        return Response(304, kept), b""
    length = () if response.status in (204, 304) else (("Content-Length", str(len(body))),)
    whole = response.with_fields(*length, without=["content-length"])
    return whole, body if has_body(request.method, response.status) else b""


def with_validator(response: Response, body: bytes) -> Response:
    """The response with an entity tag; where the origin gave none, one of the body's digest."""
    if response.status != 200 or response.get("etag") is not None:
        return response
    tag = urlsafe_b64encode(hashlib.sha256(body).digest()[:16]).decode().rstrip("=")
    return response.with_fields(("ETag", f'"{tag}"'))


def _not_modified(request: Request, response: Response) -> bool:
    if request.method not in ("GET", "HEAD"):
        return False
    if (wanted := request.get("if-none-match")) is not None:
        tag = response.get("etag")
        return tag is not None and (wanted.strip() == "*" or _weak(tag) in map(_weak, _ENTITY_TAG.findall(wanted)))
    date = timestamp(response.get("date"))
    since = timestamp(request.get("if-modified-since"), date)
    if since is None:
        return False
    if response.get("last-modified") is None:
        # RFC 9111 section 4.3.2, less the second of the date itself: another response may have been made within it.
        return date is not None and date < since
    modified = timestamp(response.get("last-modified"), date)
    return modified is not None and modified <= since


def _weak(tag: str) -> str:
    # RFC 9110 section 8.8.3.2: for If-None-Match the weak comparison counts.
    return tag.strip().removeprefix("W/")
