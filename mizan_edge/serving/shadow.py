"""The shadow of a hit: the origin is asked the same beside it, and what it says is compared with what was served.

Nothing of the origin's answer is served or stored; what it invalidates is obeyed, like everything that the origin says.
A difference is one that nobody has announced:

1. A hit is served. 2. What it shows changes, and the purge is on its way. 3. The origin is asked. -- The purge comes
within moments; only what is stored yet after these, and was not purged since before the hit, was wrong to be served.

    # mutable state: how many hits `_are_compared` now; until when the origin is left alone (`_quiet_until_s`).
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from mizan_edge.http.body import collect
from mizan_edge.http.errors import OriginError
from mizan_edge.http.message import Response
from mizan_edge.memory.memory import Mark, Memory
from mizan_edge.memory.packed import PackedResponse
from mizan_edge.memory.sampling import Sampling
from mizan_edge.rules import policy, storing
from mizan_edge.rules.comparing import differences, first_difference, inconclusive
from mizan_edge.rules.entry import StoredResponse
from mizan_edge.rules.site import InUse, Rules
from mizan_edge.serving.cache import Reading
from mizan_edge.serving.reads import Reads
from mizan_edge.serving.upstream import Upstream
from mizan_edge.system.counters import Counters
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Hits that a process compares at one time; others that were drawn meanwhile are skipped."""
SETTLE_S = 2.0
"""For how long a difference may yet turn out to have been announced."""
QUIET_S = 5.0
"""For how long an origin that has failed is not asked for this."""
_BODY_S = 5.0
_MAX_URL = 2000

Verdict = Literal["equal", "different", "inconclusive"]
Told = Callable[[Mapping[str, object]], None]
"""Gets each difference, as JSON."""


class Shadow:
    """Compares a sample of one process's hits with the origin."""

    def __init__(
        self,
        in_use: InUse,
        rules: Rules,
        sampling: Sampling,
        *,
        memory: Memory,
        reads: Reads,
        upstream: Upstream,
        counters: Counters,
        tasks: Tasks,
        told: Told,
    ) -> None:
        self._in_use = in_use
        self._rules = rules
        self._sampling = sampling
        self._memory = memory
        self._reads = reads
        self._upstream = upstream
        self._counters = counters
        self._tasks = tasks
        self._told = told
        self._are_compared = 0
        self._quiet_until_s = 0.0

    def sample(self, reading: Reading, kept: PackedResponse, stored: StoredResponse, mark: Mark, now_ms: int) -> None:
        """A request is answered with what is stored, as of `mark` and `now_ms` (Redis' clock)."""
        share = reading.site.share(reading.context)
        # What is served stale is not said to be the same.
        if not share or stored.ttl_s(now_ms) <= 0 or not self._sampling.takes(reading.context, share):
            return
        is_quiet = time.monotonic() < self._quiet_until_s or self._reads.are_refused
        if is_quiet or self._are_compared >= AT_ONCE or not isinstance(reading.body, bytes | None):
            self._counters.count("shadow", reading.context, "skipped")
            return
        self._are_compared += 1
        self._tasks.start(self._compare(reading, kept, stored, mark, now_ms), "shadow")

    async def _compare(
        self, reading: Reading, kept: PackedResponse, stored: StoredResponse, mark: Mark, now_ms: int
    ) -> None:
        try:
            verdict = await self._verdict(reading, kept, stored, mark, now_ms)
            self._counters.count("shadow", reading.context, verdict)
        finally:
            self._are_compared -= 1

    async def _verdict(
        self, reading: Reading, kept: PackedResponse, stored: StoredResponse, mark: Mark, now_ms: int
    ) -> Verdict:
        background = policy.in_background(reading.request, reading.lookup)
        if background is None:
            return "inconclusive"
        request, lookup = background
        contexts = reading.site.manifest.contexts
        asked = policy.fill_request(request, lookup, contexts[reading.context], None)
        try:
            exchange = await self._upstream.send(asked, reading.body, None)
            until_s = time.monotonic() + _BODY_S

            async def in_time() -> bool:
                return await exchange.has_more(until_s - time.monotonic())

            try:
                body, rest = await collect(exchange.body(), self._rules.max_entry_bytes, in_time=in_time)
            finally:
                exchange.close()
        except OriginError as error:
            self._leave_alone(str(error))
            return "inconclusive"
        response = exchange.response
        verdict = storing.storable(request, lookup, response, contexts)
        if (why := inconclusive(response, verdict)) is not None:
            if response.status >= 400:
                self._leave_alone(why)
            return "inconclusive"
        if rest is not None or self._is_overtaken(reading, kept, mark):
            return "inconclusive"
        found = differences(stored, response, body)
        if not found:
            return "equal"
        await asyncio.sleep(SETTLE_S)
        if self._is_overtaken(reading, kept, mark):
            return "inconclusive"
        self._tell(reading, stored, response, body, found, stored.age_s(now_ms))
        return "different"

    def _is_overtaken(self, reading: Reading, kept: PackedResponse, mark: Mark) -> bool:
        """Whether it may have been purged since the hit, or be read otherwise now."""
        return self._in_use.site is not reading.site or self._memory.has_overtaken(kept, mark)

    def _leave_alone(self, why: str) -> None:
        log.info("no hits are compared for %g s: %s", QUIET_S, why)
        self._quiet_until_s = time.monotonic() + QUIET_S

    def _tell(
        self, reading: Reading, stored: StoredResponse, response: Response, body: bytes, found: list[str], age_s: int
    ) -> None:
        url, function = reading.client.target[:_MAX_URL], reading.lookup.resource.function
        what = ", ".join(found)
        # The log has no query: it may hold what nobody else is to read.
        log.warning(
            "context %s: %s %.200s was served at the age of %d s, and the origin says another %s; nobody has purged it",
            *(reading.context, reading.client.method, url.partition("?")[0], age_s, what),
        )
        self._told(
            {
                "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "context": reading.context,
                "method": reading.client.method,
                "url": url,
                "function": function if reading.lookup.resource.kind == "call" else None,
                "partition": reading.lookup.partition.name.partition(":")[0],
                "age_s": age_s,
                "differs": found,
                "first_difference": first_difference(stored.body, body) if "body" in found else None,
                "served": _told(stored.response, stored.body),
                "origin": _told(response, body),
            }
        )


def _told(response: Response, body: bytes) -> dict[str, object]:
    """What is said of a response, whose body is nobody's business."""
    return {"status": response.status, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
