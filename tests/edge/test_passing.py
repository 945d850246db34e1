"""What is passed on over a connection that is open already: one request after the other, whatever comes of each."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from tests.support.edge import EdgeFactory
from tests.support.listening import chunk, connection
from tests.support.proxy import read_head, talking

TARGET = "/undeclared/"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[StreamReader, StreamWriter], Coroutine[None, None, None]]


class Scripted:
    """An origin that says, on each connection, one of these after each request; None ends the connection instead.

    # mutable state: the request lines that it has got, and how many connections.
    """

    def __init__(self, *says: bytes | None) -> None:
        self.says = list(says)
        self.lines: list[bytes] = []
        self.connections = 0

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        while True:
            head = await read_head(reader)
            self.lines.append(head.partition(b" HTTP/")[0])
            says = self.says.pop(0)
            if says is None:
                return
            writer.write(says)


@asynccontextmanager
async def asking(make_edge: EdgeFactory, talk: Talk) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A client's connection to an edge in front of an origin that talks so."""
    async with talking(talk) as address, asyncio.timeout(20):
        edge = await make_edge(origin=f"http://{address}")
        async with connection(edge.address) as streams:
            yield streams


def request(method: str = "GET", target: str = TARGET, more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: site.test\r\n{more}\r\n".encode()


async def answer(reader: StreamReader) -> tuple[bytes, bytes]:
    """The head and body of an answer that has a length."""
    head = await read_head(reader)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


async def test_requests_of_a_pipeline_are_answered_in_order_over_one_connection(make_edge: EdgeFactory):
    origin = Scripted(*(OK.replace(b"ok", b"%02d" % number) for number in range(20)))
    async with asking(make_edge, origin.talk) as (reader, writer):
        writer.write(b"".join(request(target=f"/undeclared/{number}") for number in range(20)))
        assert [(await answer(reader))[1] for _ in range(20)] == [b"%02d" % number for number in range(20)]
    assert origin.connections == 1
    assert origin.lines == [b"GET /undeclared/%d" % number for number in range(20)]


@pytest.mark.parametrize(
    ("second", "body"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"o") + chunk(b"k") + chunk(b""), b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, b"x" * 100_000),
    ],
    ids=["interim", "chunked", "none", "large"],
)
async def test_any_answer_leaves_the_connections_as_they_were(make_edge: EdgeFactory, second: bytes, body: bytes):
    origin = Scripted(OK, second, OK)
    async with asking(make_edge, origin.talk) as (reader, writer):
        writer.write(request() * 3)
        assert (await answer(reader))[1] == b"ok"
        head = await read_head(reader)
        if b" 103 " in head:
            assert b"Link: </a>" in head
            head = await read_head(reader)
        if b"chunked" in head:
            assert await reader.readuntil(chunk(b"")) in (
                chunk(b"ok") + chunk(b""),
                chunk(b"o") + chunk(b"k") + chunk(b""),
            )
        else:
            assert await reader.readexactly(len(body)) == body
        assert (await answer(reader))[1] == b"ok"
    assert origin.connections == 1


async def test_an_answer_in_pieces_is_passed_on_piece_by_piece(make_edge: EdgeFactory):
    go_on = asyncio.Event()

    async def talk(asked: StreamReader, says: StreamWriter) -> None:
        await read_head(asked)
        says.write(OK)
        await read_head(asked)
        says.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await says.drain()
        says.write(b"ngth: 4\r\n\r\nab")
        await go_on.wait()
        says.write(b"cd")
        await read_head(asked)

    async with asking(make_edge, talk) as (reader, writer):
        writer.write(request() * 2)
        await answer(reader)
        await read_head(reader)
        assert await reader.readexactly(2) == b"ab"
        go_on.set()
        assert await reader.readexactly(2) == b"cd"


@pytest.mark.parametrize(("method", "status", "asked"), [("GET", b"200", 3), ("POST", b"502", 2)])
async def test_a_connection_that_ends_without_an_answer_is_replaced_for_what_changes_nothing(
    make_edge: EdgeFactory, method: str, status: bytes, asked: int
):
    """RFC 9110 section 9.2.2"""
    origin = Scripted(OK, None, OK)
    async with asking(make_edge, origin.talk) as (reader, writer):
        writer.write(request() + request(method, more="Content-Length: 0\r\n" if method == "POST" else ""))
        await answer(reader)
        head, _ = await answer(reader)
        assert head.split(b" ")[1] == status
    assert len(origin.lines) == asked


async def test_an_answer_that_cannot_be_read_is_a_502(make_edge: EdgeFactory):
    origin = Scripted(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", OK)
    async with asking(make_edge, origin.talk) as (reader, writer):
        writer.write(request() * 3)
        assert [(await answer(reader))[0].split(b" ")[1] for _ in range(3)] == [b"200", b"502", b"200"]


async def test_what_an_answer_invalidates_is_gone_before_the_answer_comes(make_edge: EdgeFactory):
    page = b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 3\r\n\r\n"
    change = b"HTTP/1.1 200 OK\r\nX-Mizan-Invalidate: catalog\r\nContent-Length: 2\r\n\r\nok"
    origin = Scripted(page + b"old", change, page + b"new")
    view = request(target="/catalog/hats/")
    async with asking(make_edge, origin.talk) as (reader, writer):
        writer.write(view + view + request() + view)
        assert [(await answer(reader))[1] for _ in range(4)] == [b"old", b"old", b"ok", b"new"]
    assert len(origin.lines) == 3
