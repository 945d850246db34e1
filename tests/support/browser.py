"""A browser that asks on a connection that stays open, at an edge whose decisions are counted."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mizan_edge.rules.selecting import Selecting, Sender
from mizan_edge.running import worker
from mizan_edge.serving.proxy import Proxy
from tests.support import wire
from tests.support.edge import RunningEdge
from tests.support.listening import connection
from tests.support.wire import Headers, Reply

VIEW = "/catalog/hats/"


class Deciding:
    """Counts the requests that were decided about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        deciding = self

        class Counted:
            def __init__(self, *given: Any) -> None:
                self._proxy = Proxy(*given)

            def answer(self, *given: Any) -> Any:
                deciding.count += 1
                return self._proxy.answer(*given)

            def passes(self, *given: Any) -> Any:
                return self._proxy.passes(*given)

            def pass_on(self, *given: Any) -> Any:
                return self._proxy.pass_on(*given)

        # Where it is composed: what is compiled can neither be changed nor be a base class.
        monkeypatch.setattr(worker, "Proxy", Counted)


@dataclass
class Browser:
    """A client whose connection stays open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self, method: str, target: str = VIEW, headers: Headers = ()) -> Reply:
        fields = {"Host": "site.test"} | dict(headers)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.writer.write("\r\n".join((*lines, "", "")).encode())
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        has_none = method == "HEAD" or b" 304 " in head[:16]
        body = b"" if has_none or length is None else await self.reader.readexactly(int(length[1]))
        return wire.parse(head + body, method)

    async def get(self, target: str = VIEW, headers: Headers = ()) -> Reply:
        return await self.request("GET", target, headers)


@asynccontextmanager
async def browsing(edge: RunningEdge) -> AsyncIterator[Browser]:
    async with connection(edge.address) as (reader, writer):
        yield Browser(reader, writer)


async def ready(
    browser: Browser, deciding: Deciding, target: str = VIEW, headers: Headers = (), method: str = "GET"
) -> Reply:
    """Asks until the answer is one that was ready, and gives that."""
    async with asyncio.timeout(10):
        while True:
            before = deciding.count
            reply = await browser.request(method, target, headers)
            if deciding.count == before:
                return reply


def but_for_age(reply: Reply) -> tuple[int, list[tuple[str, str]], bytes]:
    """What a reply says, its fields by name: RFC 9110 section 5.3 gives no other order a meaning."""
    fields = [(name, value) for name, value in reply.fields if name.lower() not in ("age", "cache-status")]
    return reply.status, sorted(fields, key=lambda line: line[0].lower()), reply.body


def selected(selecting: Selecting, block: bytes, sender: Sender | None = None) -> tuple[bytes, ...] | None:
    """The selecting lines in a block."""
    lines = selecting.lines(block, 0, sender or Sender())
    return None if lines is None else lines.lines
