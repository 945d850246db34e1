"""Bodies: none, whole, or still arriving."""

from collections.abc import AsyncIterator, Awaitable, Callable

Body = AsyncIterator[bytes] | bytes | None


async def collect(
    chunks: AsyncIterator[bytes], limit: int, *, in_time: Callable[[], Awaitable[bool]] | None = None
) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """All of a body. Where that is longer than `limit` bytes, or what comes next does not come `in_time`: nothing, and
    an iterator over the whole of it."""
    collected: list[bytes] = []
    size = 0
    while size <= limit and (in_time is None or await in_time()):
        chunk = await anext(chunks, None)
        if chunk is None:
            return b"".join(collected), None
        collected.append(chunk)
        size += len(chunk)
    return b"", _chain(collected, chunks)


def held(body: bytes | None, limit: int) -> bytes | None:
    """The whole of a body that is here, if it has at most `limit` bytes."""
    return None if body is not None and len(body) > limit else body or b""


async def peek(body: Body, limit: int) -> tuple[bytes | None, Body]:
    """The whole of a body of at most `limit` bytes, else None; and a body to send on in either case."""
    if body is None or isinstance(body, bytes):
        return held(body, limit), body
    whole, rest = await collect(body, limit)
    return (whole, whole) if rest is None else (None, rest)


async def _chain(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk
