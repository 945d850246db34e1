"""The public listener: aiohttp's connections in, `Proxy`'s answers out."""

import errno
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from mizan_edge.answer import Answer, refusal
from mizan_edge.body import Body
from mizan_edge.config import ConfigError, split_address
from mizan_edge.errors import OriginError
from mizan_edge.forwarding import Peer, seen
from mizan_edge.http import Fields, Request, combined, dropped, has_body, normal_host, reason_phrase
from mizan_edge.proxy import Proxy
from mizan_edge.site import Rules

log = logging.getLogger(__name__)

MAX_FIELD_BYTES = 64 * 1024
MAX_HEAD_BYTES = 256 * 1024
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)([/?#].*|)", re.IGNORECASE | re.DOTALL)


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
        if _head_bytes(raw) > MAX_HEAD_BYTES:
            # RFC 6585 section 5
            return await _send(raw, refusal(431, f"The head of a request may have {MAX_HEAD_BYTES} bytes."))
        request = _request(raw)
        if request is None:
            return await _send(raw, refusal(400, "The request target or the Host field is not usable."))
        request = seen(request, peer, rules.trusted_proxies)
        if not rules.serves(request.host):
            return await _send(raw, refusal(421, f"This site is not served here: {request.host}"))
        try:
            answer = await proxy.answer(request, _body(raw), peer)
        except Exception:
            log.exception("a request failed: %s %s", request.method, request.target.partition("?")[0])
            answer = refusal(500, "The edge failed to answer. The log has the reason.")
        try:
            return await _send(raw, answer)
        finally:
            answer.close()

    return web.Server(
        handle,
        max_line_size=MAX_FIELD_BYTES,
        max_field_size=MAX_FIELD_BYTES,
        max_headers=256,
        access_log=None,
        auto_decompress=False,
    )


@asynccontextmanager
async def listening(runner: web.BaseRunner, setting: str, address: str) -> AsyncIterator[str]:
    """Listens while the block runs; gives the address that it has in the end, with the port that the system chose for
    port 0. `setting` is named in the ConfigError for an address that cannot be used."""
    host, port = split_address(address)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield f"[{host}]:{bound[1]}" if ":" in host else f"{host}:{bound[1]}"
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise ConfigError(f"{setting}: {address} {why}: choose another address with --{setting}") from None
    finally:
        await runner.cleanup()


def _request(raw: web.BaseRequest) -> Request | None:
    fields: Fields = tuple((name.decode("ascii", "replace"), _text(value)) for name, value in raw.raw_headers)
    hosts = [value.strip() for name, value in fields if name.lower() == "host"]
    if len(hosts) != 1 and (hosts or raw.version >= (1, 1)):
        return None
    target = raw.raw_path
    if absolute := _ABSOLUTE.fullmatch(target):
        # RFC 9112 section 3.2.2: such a target's host stands for the field's.
        hosts, target = [absolute[1]], "/" + absolute[2].removeprefix("/")
        fields = (("Host", absolute[1]), *dropped(fields, ["host"]))
    # Other bytes than ASCII have no place in a target, and are no text that could be sent on.
    if not target.startswith("/") or not target.isascii():
        return None
    host = normal_host(hosts[0], raw.scheme) if hosts else ""
    return Request(raw.method, target.partition("#")[0], host, fields, raw.scheme)


def _head_bytes(raw: web.BaseRequest) -> int:
    return len(raw.raw_path) + sum(len(name) + len(value) for name, value in raw.raw_headers)


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


async def _send(raw: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    head = answer.response
    response = _Relayed(status=head.status, reason=head.reason or reason_phrase(head.status))
    for name, value in head.fields:
        response.headers.add(name, value)
    with_body = has_body(raw.method, head.status)
    if with_body and combined(head.fields, "content-length") is None:
        if isinstance(answer.body, bytes):
            response.headers["Content-Length"] = str(len(answer.body))
        elif raw.version >= (1, 1):
            response.enable_chunked_encoding()
    try:
        await response.prepare(raw)
        if isinstance(answer.body, bytes):
            await response.write(answer.body)
        else:
            async for chunk in answer.body:
                if with_body:
                    await response.write(chunk)
        await response.write_eof()
    except OriginError as error:
        # The head is out: only a connection that breaks off tells the client that the body is not whole.
        log.error("a response broke off: %s", error)
        if raw.transport is not None:
            raw.transport.abort()
    except ConnectionError:
        log.debug("a client left before its response was out: %s", raw.remote)
    return response
