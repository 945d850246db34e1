"""Bodies: none, whole, or still arriving."""

from collections.abc import AsyncIterator, Callable

Body = AsyncIterator[bytes] | bytes | None


async def collect(
    chunks: AsyncIterator[bytes], limit: int, *, late: Callable[[], bool] = lambda: False
) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """All of a body. Where that is longer than `limit` bytes, or `late()` while it still arrives: nothing, and an
    iterator over the whole of it."""
    collected: list[bytes] = []
    size = 0
    async for chunk in chunks:
        collected.append(chunk)
        size += len(chunk)
        if size > limit or late():
            return b"", _chain(collected, chunks)
    return b"".join(collected), None


async def peek(body: Body, limit: int) -> tuple[bytes | None, Body]:
    """The whole of a body of at most `limit` bytes, else None; and a body to send on in either case."""
    if body is None or isinstance(body, bytes):
        return None if body is not None and len(body) > limit else body or b"", body
    whole, rest = await collect(body, limit)
    return (whole, whole) if rest is None else (None, rest)


async def _chain(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk
