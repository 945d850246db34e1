"""The public listener: aiohttp's connections in, `Proxy`'s answers out."""

import logging
from collections.abc import AsyncIterator

from aiohttp import web

from mizan_edge.errors import OriginError, problem
from mizan_edge.forwarding import Peer
from mizan_edge.http import Fields, Request, Response, combined, has_body, reason_phrase
from mizan_edge.proxy import Answer, Body, Proxy
from mizan_edge.site import Rules

log = logging.getLogger(__name__)

MAX_FIELD_BYTES = 64 * 1024
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class _Relayed(web.StreamResponse):
    """A response whose fields are the origin's: none of aiohttp's own defaults."""

    async def _prepare_headers(self) -> None:
        named_type = "Content-Type" in self.headers
        named_server = "Server" in self.headers
        await super()._prepare_headers()
        if not named_type:
            self.headers.popall("Content-Type", None)
        if not named_server:
            self.headers.popall("Server", None)


def make_server(proxy: Proxy, rules: Rules) -> web.Server:
    """The aiohttp server of the public listener."""

    async def handle(raw: web.BaseRequest) -> web.StreamResponse:
        peer = Peer(raw.remote or "", raw.scheme)
        request = _request(raw)
        if request is None:
            return await _send(raw, _refusal(400, "The request target or the Host field is not usable."))
        if rules.allowed_hosts and request.host not in rules.allowed_hosts:
            return await _send(raw, _refusal(421, f"This site is not served here: {request.host}"))
        try:
            answer = await proxy.answer(request, _body(raw), peer)
        except Exception:
            log.exception("a request failed: %s %s", request.method, request.target.partition("?")[0])
            answer = _refusal(500, "The edge failed to answer. The log has the reason.")
        return await _send(raw, answer)

    return web.Server(
        handle,
        max_line_size=MAX_FIELD_BYTES,
        max_field_size=MAX_FIELD_BYTES,
        max_headers=256,
        access_log=None,
        auto_decompress=False,
    )


def _request(raw: web.BaseRequest) -> Request | None:
    fields: Fields = tuple((name.decode("ascii", "replace"), _text(value)) for name, value in raw.raw_headers)
    target = raw.raw_path
    if not target.startswith("/"):
        return None
    hosts = [value for name, value in fields if name.lower() == "host"]
    if len(hosts) != 1 and (hosts or raw.version >= (1, 1)):
        return None
    host = hosts[0].strip().lower().removesuffix(_DEFAULT_PORTS.get(raw.scheme, "")) if hosts else ""
    return Request(raw.method, target.partition("#")[0], host, fields)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _body(raw: web.BaseRequest) -> Body:
    if not raw.body_exists:
        return None
    return _chunks(raw)


async def _chunks(raw: web.BaseRequest) -> AsyncIterator[bytes]:
    if raw.headers.get("Expect", "").lower() == "100-continue":
        await raw.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for chunk in raw.content.iter_any():
        yield chunk


def _refusal(status: int, detail: str) -> Answer:
    return Answer(
        Response(status, (("Content-Type", "application/problem+json"), ("Cache-Control", "no-store"))),
        problem(status, detail),
    )


async def _send(raw: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    head = answer.response
    response = _Relayed(status=head.status, reason=head.reason or reason_phrase(head.status))
    for name, value in head.fields:
        response.headers.add(name, value)
    if isinstance(answer.body, bytes):
        if "Content-Length" not in response.headers and has_body(raw.method, head.status):
            response.headers["Content-Length"] = str(len(answer.body))
        await response.prepare(raw)
        if answer.body:
            await response.write(answer.body)
        await response.write_eof()
        return response
    if combined(head.fields, "content-length") is None and has_body(raw.method, head.status) and raw.version >= (1, 1):
        response.enable_chunked_encoding()
    await response.prepare(raw)
    try:
        async for chunk in answer.body:
            if has_body(raw.method, head.status):
                await response.write(chunk)
    except OriginError as error:
        # The head is out: only a connection that breaks off tells the client that the body is not whole.
        log.error("a response broke off: %s", error)
        if raw.transport is not None:
            raw.transport.abort()
        return response
    await response.write_eof()
    return response
