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
