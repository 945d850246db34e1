"""An answer as it goes to a client: the bytes of its head, where its body ends, and how much of it leaves at once."""

import logging
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, cast

from mizan_edge.client.writing import ONE_WRITE_BYTES, Writing
from mizan_edge.http.errors import OriginError
from mizan_edge.http.framing import chunk, delimited, last_chunk, response_bytes
from mizan_edge.http.message import dated
from mizan_edge.serving.answer import Answer

log = logging.getLogger(__name__)


class Framed(NamedTuple):
    """An answer's head."""

    start: bytes
    ends: Literal["head", "length", "chunked", "close"]
    length: int | None
    """How many bytes of a body that is still arriving the head announces."""


def framed(method: str, version: str, answer: Answer, now_s: float, *, keep_alive: bool) -> Framed:
    """The head of the answer to a request by `method` from a client that speaks `version`.

    `keep_alive`: another request may follow, unless the answer ends with the connection.
    """
    body = answer.body
    size = len(body) if isinstance(body, bytes) else None
    response = dated(answer.response, now_s)
    response, ends = delimited(method, version, response, size, keep_alive=keep_alive)
    length = int(response.get("content-length") or 0) if size is None and ends == "length" else None
    return Framed(response_bytes(response), ends, length)


def leaves_at_once(answer: Answer) -> bool:
    """Whether all of an answer is here, and can be written at once."""
    return isinstance(answer.body, bytes) and len(answer.body) <= ONE_WRITE_BYTES and answer.tunnel is None


def put(writing: Writing, answer: Answer, head: Framed) -> None:
    """Writes an answer that leaves at once. Raises ConnectionError where the client has left."""
    writing.put(head.start if head.ends == "head" else head.start + cast(bytes, answer.body))


async def send(writing: Writing, answer: Answer, head: Framed) -> bool:
    """Writes any other answer as the client takes it; whether it came whole, else the connection has ended. Raises
    ConnectionError where the client has left."""
    if head.ends == "head":
        writing.put(head.start)
    elif isinstance(answer.body, bytes):
        writing.put(head.start)
        await writing.write(answer.body)
    else:
        writing.put(head.start)
        if not await _stream(writing, answer.body, head.length, chunked=head.ends == "chunked"):
            if head.ends == "close":
                # The client would take the end of the connection for that of the body. Elsewhere it knows better: a
                # length is not reached, or the last chunk is missing.
                writing.reset()
            else:
                writing.abort()
            return False
        if head.ends == "chunked":
            writing.put(last_chunk(answer.trailers()))
    await writing.drain()
    return True


async def _stream(writing: Writing, body: AsyncIterator[bytes], length: int | None, *, chunked: bool) -> bool:
    """Writes a body as it comes; whether it came whole."""
    left = length
    try:
        async for data in body:
            if left is not None:
                left -= len(data)
                if left < 0:
                    break
            if data:
                await writing.write(chunk(data) if chunked else data)
    except OriginError as error:
        if writing.is_closing:
            raise ConnectionResetError("the client has left") from error
        log.error("a response broke off: %s", error)
        return False
    if left:
        log.error("a response was not as long as it said: %d bytes", length)
    return not left
