"""A client that sends exactly the bytes it is told to, one connection for each request."""

import asyncio
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Reply:
    """A response as it came over the wire."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        lines = [value for field, value in self.fields if field.lower() == name.lower()]
        return ", ".join(lines) if lines else None

    @property
    def cache(self) -> str:
        """This edge's member of Cache-Status, without its name."""
        return (self["Cache-Status"] or "").removeprefix("mizan-edge; ")

    @property
    def hit(self) -> bool:
        return self.cache.startswith("hit")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def send(address: str, data: bytes, *, method: str = "GET") -> Reply:
    """Sends bytes on a new connection and reads one response. The bytes should ask for the connection to be closed."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(data)
        await writer.drain()
        raw = await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
    return parse(raw, method)


def parse(raw: bytes, method: str = "GET") -> Reply:
    """The response in `raw`, read by the standard library."""

    class _Socket:
        def makefile(self, *_args: object) -> BytesIO:
            return BytesIO(raw)

    response = http.client.HTTPResponse(_Socket(), method=method)  # type: ignore[arg-type]
    response.begin()
    return Reply(response.status, response.getheaders(), response.read())


class Connections:
    """Connections to one address that stay open, as a browser has them, for requests without a body.

    # mutable state: those that are `_idle`, the latest last.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(self, method: str, target: str, headers: Headers = ()) -> Reply:
        """One request, on a connection that is open, or on a new one. Raises OSError, HTTPException."""
        while self._idle:
            reader, writer = self._idle.pop()
            try:
                return await self._exchange(reader, writer, method, target, headers)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise ConnectionResetError("the answer broke off") from error
            except ConnectionError:
                pass
            # It had ended before: whoever keeps connections open asks again.
        host, _, port = self._address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            return await self._exchange(reader, writer, method, target, headers)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the answer broke off") from error

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, target: str, headers: Headers
    ) -> Reply:
        stays = False
        try:
            pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
            lines = [f"{method} {target} HTTP/1.1", "Host: site.test", *(f"{name}: {value}" for name, value in pairs)]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            head = await reader.readuntil(b"\r\n\r\n")
            said = head.lower()
            body = b""
            if method == "HEAD" or b" 304 " in head[:16]:
                pass
            elif b"\r\ntransfer-encoding: chunked\r\n" in said:
                while not body.endswith(b"\r\n0\r\n\r\n") and body != b"0\r\n\r\n":
                    size = await reader.readuntil(b"\r\n")
                    body += size + await reader.readexactly(int(size, 16) + 2)
            elif b"\r\ncontent-length: " in said:
                length = said.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
                body = await reader.readexactly(int(length))
            else:
                body = await reader.read()
            stays = b"\r\nconnection: close\r\n" not in said
            return parse(head + body, method)
        finally:
            if stays:
                self._idle.append((reader, writer))
            else:
                writer.close()

    def close(self) -> None:
        """Leaves."""
        for _, writer in self._idle:
            writer.close()


async def request(
    address: str, method: str, target: str, headers: Headers = (), body: bytes | None = None, host: str = "site.test"
) -> Reply:
    """One request. `target` goes out as it is; Host, Connection and Content-Length are added."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in pairs]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return await send(address, head.encode("utf-8", "surrogateescape") + (body or b""), method=method)
