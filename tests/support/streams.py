"""What clients might send to `lanes`: requests whose answers are ready, others between them, and damaged ones."""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.lanes import PROFILE, READY, TOKENS, VIEW, Lanes, asking
from tests.support.listening import chunk
from tests.support.requests import BAD_CHUNKS, BAD_FIELDS, BAD_FRAMINGS

_LINES = [
    *(lines.removesuffix(b"\r\n") for lines in BAD_FIELDS + BAD_FRAMINGS),
    # Those that select nothing, as they may be spelled.
    *(b"user-agent: a", b"USER-AGENT:", b"User-Agent:\ta\t", b"User-Agent: \xe9\xff", b"User_Agent: a", b"User-Agent"),
    *(b"User-Agent : a", b" User-Agent: a", b"User-Agent: a\0", b"User-Agent: a\rb", b"DNT: a\x7f"),
    b"User-Agent: a\n b",
    # Who is asking.
    *(b"Cookie: _ga=2", b"cookie:_ga=2;;", b"Cookie: sessionid=a", b"Cookie: a", b"Cookie: =", b"Cookie: _ga=\x01"),
    *(b"Cookie: mizan_mwt=" + token.encode() for token in TOKENS.values()),
    *(b'COOKIE:mizan_mwt="%b"' % TOKENS["5"].encode(), b"\nCookie:mizan_mwt=" + TOKENS["5"].encode()),
    *(b"Authorization: Bearer " + TOKENS["6"].encode(), b"Authorization: Basic eDp5", b"Remote_User: eva"),
    *(b"Remote-User: eva", b"X_Forwarded_User: eva", b"X-Api-Key: 1"),
    # For which host, and over what.
    *(b"Host: site.test", b"host:site.test", b"Host: other.test", b"Host: a, b", b"Host:", b"X-Forwarded-Host: a b"),
    *(b"X-Forwarded-Host: third.test", b"X_Forwarded_Host: third.test", b"X-Scheme: https"),
    b"X-Forwarded-Proto: https",
    *(b"X-Forwarded-For: 1.1.1.1", b"X-HTTP-Method-Override: DELETE", b"X-Original-URL: /x"),
    # How.
    *(b"Connection: close", b"Connection: Host", b"Connection: cookie, keep-alive", b"Connection: Accept-Language"),
    *(b"Accept-Language: de", b"accept-language:en", b"Accept_Language: de", b"If-None-Match: *", b"If-Match: *"),
    *(b"Range: bytes=0-3", b"rAnGe: bytes=0-", b"If-Range: *", b"If-Modified-Since: Sun, 02 Jan 2000 00:00:00 GMT"),
    *(b"Cache-Control: no-cache", b"cache-control:Only-If-Cached", b"PRAGMA: No-Cache", b"Via: 1.1 a"),
    b"Max-Forwards: 0",
    *(b"Expect: x", b"TE: trailers", b"Upgrade: h2c", b"Connection: upgrade\r\nUpgrade: echo"),
    *(b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X-Requested-With: XMLHttpRequest"),
]
_FRAMING = (b"Content-Length", b"Transfer-Encoding")
_HOST = b"Host: site.test"
_BODIES = [b"", b"abc", *READY[:3], chunk(b"abc") + chunk(b""), chunk(READY[0]) + chunk(b""), *BAD_CHUNKS[:20]]
_OTHERS = [
    *(asking(b"POST", b"/echo", _HOST, b"Content-Length: %d" % len(head)) + head for head in READY[:4]),
    *(asking(b"POST", b"/echo", _HOST, b"Transfer-Encoding: chunked") + chunk(head) + chunk(b"") for head in READY[:2]),
    asking(b"GET", VIEW, _HOST, b"Content-Length: %d" % len(READY[0])) + READY[0],
    asking(b"GET", VIEW, _HOST, b"Transfer-Encoding: chunked") + chunk(b""),
    asking(b"POST", VIEW, _HOST, b"Content-Length: 0"),
    asking(b"GET", b"/x", _HOST),
    asking(b"GET", VIEW, version=b"1.0"),
    asking(b"GET", VIEW, _HOST, b"Connection: keep-alive", version=b"1.0"),
    asking(b"GET", VIEW, _HOST, version=b"2.0"),
    asking(b"get", VIEW, _HOST),
    asking(b"OPTIONS", b"*", _HOST, b"Max-Forwards: 0"),
    asking(b"CONNECT", b"site.test:80", _HOST),
    asking(b"GET", b"https://other.test" + PROFILE, _HOST),
    asking(b"GET", VIEW + b"?utm_a=1#b", _HOST),
    asking(b"GET", b"/catalog/%68ats/", _HOST),
    b"\r\n",
]
_BYTES = [b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b";", b"=", b"_", b"A", b"\xff"]


@st.composite
def _altered(draw: st.DrawFn) -> bytes:
    """One that was ready, with other lines."""
    lines = draw(st.sampled_from(READY)).split(b"\r\n")[:-2]
    for line in draw(st.lists(st.sampled_from(_LINES), max_size=2)):
        lines.insert(draw(st.integers(1, len(lines))), line)
    if draw(st.booleans()):
        at = draw(st.integers(1, len(lines) - 1))
        lines[at : at + 1] = draw(st.sampled_from([[], [lines[at]] * 2, [lines[at].swapcase()]]))
    body = draw(st.sampled_from(_BODIES)) if any(line.startswith(_FRAMING) for line in lines) else b""
    return b"\r\n".join((*lines, b"", body))


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """One that was ready, with other bytes."""
    data = draw(st.sampled_from(READY))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from(_BYTES)) + data[at + draw(st.integers(0, 2)) :]
    return data


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """The bytes of some requests, in pieces: each by itself, as most arrive, or cut anywhere."""
    ready, others = st.sampled_from(READY), st.sampled_from(_OTHERS)
    before = draw(st.lists(ready | ready | others, max_size=3))
    messages = [*before, draw(_altered() | _damaged()), *draw(st.lists(ready, max_size=2))]
    if draw(st.booleans()):
        return messages
    data = b"".join(messages)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


def compared(both: AbstractAsyncContextManager[Lanes], *, examples: int) -> int:
    """Has two edges compared over so many streams; how many answers were ready."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        lanes = runner.run(stack.enter_async_context(both))

        # After so many turns most requests are answered, so that what follows may be ready.
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(streams(), st.sampled_from([2, 40]))
        def check(pieces: list[bytes], turns: int) -> None:
            runner.run(lanes.compare(pieces, turns))

        try:
            check()
        finally:
            runner.run(stack.aclose())
    return lanes.repeated
