"""The origin, over aiohttp's client: one request out, a response's head and then its body in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import aiohttp
from yarl import URL

from mizan_edge.errors import OriginError
from mizan_edge.http import SAFE_METHODS, Fields, Request, Response

# Far more than any field that is read (64 KiB): what is longer must be seen to be too long.
_MAX_FIELD_BYTES = 1 << 20
_PROBE_S = 1.0
_SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Exchange:
    """A response whose head has come. `close()` it, or read its body to the end."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.response = Response(response.status, _fields(response), response.reason or "")

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises OriginError where it breaks off."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise _translate(error) from error

    def close(self) -> None:
        """Gives the connection up, whatever of the body is still to come."""
        self._response.close()


class Origin:
    """One origin server and the connections to it."""

    def __init__(self, url: str, *, connect_timeout_s: float, read_timeout_s: float) -> None:
        self._base = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=read_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_SKIPPED,
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=1000,
        )
        # aiohttp would repeat a DELETE whose answer was lost, and with it what that answer had to say of purges.
        self._session._retry_connection = False

    async def send(self, request: Request, body: AsyncIterator[bytes] | bytes | None) -> Exchange:
        """Sends a request. Raises OriginError: 502 for no usable answer, 504 for none in time."""
        try:
            try:
                return await self._send(request, body)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # The origin may have closed an idle connection just as it was used again. RFC 9110 section 9.2.2
                if request.method not in SAFE_METHODS or body or isinstance(error, aiohttp.ClientConnectorError):
                    raise
                return await self._send(request, None)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
            raise _translate(error) from error

    async def _send(self, request: Request, body: AsyncIterator[bytes] | bytes | None) -> Exchange:
        return Exchange(
            await self._session.request(
                request.method,
                URL(self._base + request.target, encoded=True),
                headers=[*request.fields],
                data=body,
                allow_redirects=False,
            )
        )

    async def accepts(self) -> bool:
        """Whether the origin accepts a connection at the moment."""
        url = URL(self._base)
        try:
            async with asyncio.timeout(_PROBE_S):
                _, writer = await asyncio.open_connection(url.host, url.port)
        except OSError:  # TimeoutError is one
            return False
        writer.close()
        return True

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()


def _fields(response: aiohttp.ClientResponse) -> Fields:
    return tuple((name.decode("ascii", "replace"), _text(value)) for name, value in response.raw_headers)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _translate(error: Exception) -> OriginError:
    if isinstance(error, TimeoutError):
        return OriginError(504, "The origin did not answer in time.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return OriginError(502, "The origin cannot be reached.", sent=False)
    unread = isinstance(error, aiohttp.ClientResponseError)
    return OriginError(502, "The origin's response could not be read.", unread=unread)
