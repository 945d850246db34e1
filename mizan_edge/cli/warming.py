"""Asking a public listener for many URLs, at a rate, and what comes of it."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
import http_sf
from yarl import URL

from mizan_core.errors import MizanError
from mizan_core.fields import CACHE_NAME
from mizan_edge.cli.client import ListenerAddress
from mizan_edge.cli.seen import Seen

Result = Literal["hit", "stored", "not stored", "failed"]
"""`hit`: it was there already, or somebody else was fetching it."""

_TIMEOUT_S = 60.0
# So many in a row that are not answered at all, and nobody is there.
_GIVE_UP_AFTER = 10
# The codings that browsers accept, so that what is stored is what they get.
_HEADERS = {"Accept-Encoding": "gzip, deflate, br, zstd", "User-Agent": "mizan-edge-warm"}


class NobodyThere(MizanError):
    """A public listener that does not answer."""


def result_of(status: int, cache_status: str) -> tuple[Result, str | None]:
    """What has become of a request, by its answer; and why, where it is not in the cache now."""
    members: Any = []
    with suppress(http_sf.StructuredFieldError):
        members = http_sf.parse(cache_status.encode("latin-1", "replace"), tltype="list")
    ours = next((params for name, params in members if str(name) == CACHE_NAME), None)
    if ours is None:
        return "failed", "no edge has answered"
    if "hit" in ours or "collapsed" in ours:
        return "hit", None
    if "stored" in ours:
        return "stored", None
    if status >= 500:
        return "failed", f"status {status}"
    return "not stored", str(ours.get("detail") or f"status {status}, fwd={ours.get('fwd')}")


def slots(rate: float, clock: Callable[[], float]) -> Iterator[float]:
    """For each request in turn how many seconds it has to wait, so that there are `rate` a second at most."""
    at = clock()
    while True:
        now = clock()
        at = max(at, now)
        yield at - now
        at += 1 / rate


@dataclass(slots=True)
class Warming:
    """One run.

    # mutable state: the `results` so far, the `reasons` for which some are not in the cache, and how many were
    # `_unanswered` since the last that was.
    """

    to: ListenerAddress
    all_there: bool
    """False: a whole URL is asked for where it says."""
    host: str | None
    """The site's name where a URL does not say it; None: that of `to`."""
    headers: Mapping[str, str]
    rate: float
    """Requests a second."""
    concurrency: int
    """Requests at a time."""
    told: Callable[[], None]
    """Called after each."""
    results: Counter[Result] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    _unanswered: int = 0

    async def run(self, urls: Sequence[Seen]) -> None:
        """Asks for all of them. Raises NobodyThere."""
        left, waits = iter(urls), slots(self.rate, time.monotonic)
        connector = aiohttp.UnixConnector(self.to.socket_path) if self.to.socket_path else aiohttp.TCPConnector()
        async with aiohttp.ClientSession(
            connector=connector,
            headers={**_HEADERS, **self.headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            auto_decompress=False,
        ) as session:

            async def ask_some() -> None:
                for seen in left:
                    await asyncio.sleep(next(waits))
                    result, reason = await self._ask(session, seen)
                    self.results[result] += 1
                    if reason is not None:
                        self.reasons[reason] += 1
                    self.told()

            await asyncio.gather(*(ask_some() for _ in range(self.concurrency)))

    async def _ask(self, session: aiohttp.ClientSession, seen: Seen) -> tuple[Result, str | None]:
        host = seen.host or self.host
        base = f"{seen.scheme}://{seen.host}" if seen.scheme and not self.all_there else self.to.base
        try:
            # Encoded already: what another spelling finds may be another entry.
            url = URL(f"{base}{seen.target}", encoded=True)
            async with session.get(url, headers={"Host": host} if host else None, allow_redirects=False) as response:
                async for _ in response.content.iter_any():
                    pass
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = _why(error)
            self._unanswered += 1
            if self._unanswered >= _GIVE_UP_AFTER:
                raise NobodyThere(f"{base} does not answer ({why}): is --to the edge's public listener?") from None
            return "failed", why
        self._unanswered = 0
        return result_of(response.status, ", ".join(response.headers.getall("Cache-Status", [])))


def _why(error: Exception) -> str:
    """Why there is no answer, without what a library says of itself."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
