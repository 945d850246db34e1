"""Drives a fleet: readers and writers against the histories, and a schedule of faults."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from random import Random

from tests.exact import faults
from tests.exact.faults import Planned
from tests.exact.fleet import Edge, Fleet, running
from tests.exact.origin import PAGES, SHOWN, USERS
from tests.support import wire
from tests.support.wire import Reply

SILENCE_S = 10
READERS, WRITERS = 16, 4
_TIMES = 5
_JSON = {"Content-Type": "application/json"}


@dataclass
class Tally:
    """What a run has counted."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    """What was stale or failed, for people."""

    def __str__(self) -> str:
        names = ("reads", "hits", "writes", "faults", "stale", "failed", "excused")
        return ", ".join(f"{self.counts[name]} {name}" for name in names) + f", seed {self.seed}"

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    def note(self, name: str, finding: str = "") -> None:
        self.counts[name] += 1
        if finding:
            self.found.append(f"{name}: {finding}")


@dataclass(frozen=True, slots=True)
class Read:
    """A request, and the users whose versions are in its answer."""

    users: Sequence[int]
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None = None


def draw_read(rng: Random) -> Read:
    """A read of one user, or of several."""
    user = rng.randrange(USERS)
    language = {"Accept-Language": rng.choice(("de", "en"))}
    page = Read([user], "GET", f"/profile/{user}/", language)
    if user in PAGES:
        return page
    localized = f"?locale={language['Accept-Language']}" if rng.random() < 0.3 else ""
    call = json.dumps({"fn": "user_profile", "args": {"user_id": user}}).encode()
    return rng.choice(
        (
            page,
            Read([user], "GET", f"/profile/{user}/{localized}", language),
            Read([user], "GET", f"/api/mizan/ctx/user/?user_id={user}", {}),
            Read([user], "POST", "/api/mizan/call/", _JSON, call),
            Read(SHOWN, "GET", "/catalog/hats/", {}),
        )
    )


class Checker:
    """One run over a fleet."""

    def __init__(self, fleet: Fleet, seed: int, seconds: float, writing_s: float) -> None:
        self.tally = Tally(seed)
        self._fleet = fleet
        self._seed = seed
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._ends = self._began + seconds
        self._written = self._began + writing_s
        self._numbers = count()

    async def run(self, lanes: list[list[Planned]]) -> Tally:
        """Runs until the time is over and every fault is mended."""
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(self._break(lane))
            for number in range(READERS):
                group.create_task(self._read_on(Random(f"{self._seed} reader {number}")))
            for number in range(WRITERS):
                group.create_task(self._write_on(Random(f"{self._seed} writer {number}")))
        return self.tally

    async def _break(self, lane: list[Planned]) -> None:
        for planned in lane:
            await asyncio.sleep(planned.pause_s)
            if self._clock() > self._ends:
                return
            edge = self._fleet.edges[planned.edge]
            try:
                await faults.BY_NAME[planned.name](self._fleet, edge, planned.lasts_s)
                self.tally.note("faults")
            except (TimeoutError, AssertionError, OSError, HTTPException) as error:
                self.tally.note("failed", f"{self._at()} edge {planned.edge} after {planned.name}: {error!r}")

    async def _read_on(self, rng: Random) -> None:
        while self._clock() < self._ends:
            read = draw_read(rng)
            for _ in range(_TIMES):  # a severed read is repeated, elsewhere by chance
                if await self._read(rng, read):
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.02 * rng.random())

    async def _read(self, rng: Random, read: Read) -> bool:
        edge = rng.choice(self._fleet.edges)
        expected, began = self._fleet.histories.expect(read.users, edge=edge.number), self._at()
        reply = await self._ask(edge, read.method, read.target, read.headers, read.body)
        if reply is None:
            return False
        self.tally.note("reads")
        if reply.hit:
            self.tally.note("hits")
        verdict = expected.judge(json.loads(reply.body))
        if verdict == "stale":
            finding = f"{began}-{self._at()} edge {edge.number} {read.target} shows {reply.body!r} ({reply.cache})"
            self.tally.note("stale", f"{finding}, at least {expected.binding}")
        elif verdict == "excused":
            self.tally.note("excused")
        return True

    async def _write_on(self, rng: Random) -> None:
        while self._clock() < self._written:
            edge, user = rng.choice(self._fleet.edges), rng.randrange(USERS)
            version = await (self._purge if rng.random() < 0.1 else self._rename)(rng, edge, user)
            if version is not None:
                self.tally.note("writes")
                self._fleet.histories.answered(user, version, edge=edge.number, cut=edge.cut)
            await asyncio.sleep(0.2 * rng.random())

    async def _rename(self, rng: Random, edge: Edge, user: int) -> int | None:
        """A mutation; the version that its answer has established, None where the outcome is not known."""
        purges = "url" if user in PAGES else rng.choice((*["user"] * 6, "user and more", "context"))
        write = next(self._numbers)
        args = {"user_id": user, "write": write, "purges": purges}
        body = json.dumps({"fn": "rename_user", "args": args}).encode()
        # 502: the origin broke the connection, and what it had committed before that is purged.
        reply = await self._ask(edge, "POST", "/api/mizan/call/", _JSON, body, also=502)
        return None if reply is None else self._fleet.site.committed.get(write)

    async def _purge(self, rng: Random, edge: Edge, user: int) -> int | None:
        """A change that no edge has seen, and a purge by somebody who knows of it."""
        version = self._fleet.site.commit(user)
        scopes = rng.choice(([f"user;user_id={user}"], ["user"]))
        # 503: written down, and not confirmed by Redis within its time.
        reply = await self._ask(edge, "POST", "/purge", {}, json.dumps({"scopes": scopes}).encode(), also=503)
        return None if reply is None else version

    async def _ask(
        self, edge: Edge, method: str, target: str, headers: dict[str, str], body: bytes | None, *, also: int = 200
    ) -> Reply | None:
        """The reply; None when there is none, which is a failure unless something was done to the edge meanwhile."""
        if not edge.alive:
            return None
        disturbed, began = edge.disturbed, self._at()
        try:
            async with asyncio.timeout(SILENCE_S):
                if target == "/purge":
                    reply = await edge.administer(target, json.loads(body or b""))
                else:
                    reply = await wire.request(edge.listen, method, target, headers, body)
            if reply.status in (200, also):
                return reply
            finding = f"{reply.status} {reply.body[:200]!r}"
        except (OSError, TimeoutError, HTTPException) as error:
            finding = repr(error)
        if edge.disturbed == disturbed and not edge.stopped:
            self.tally.note("failed", f"{began}-{self._at()} edge {edge.number} {method} {target}: {finding}")
        return None

    def _at(self) -> str:
        return f"{self._clock() - self._began:.2f}"


async def check(
    seed: int,
    seconds: float,
    *,
    lanes: list[list[Planned]] | None = None,
    writing_s: float | None = None,
    forgetful: bool = False,
) -> Tally:
    """A run of its own fleet. The faults are those of the seed, unless `lanes` says which; writes end with the run, or
    after `writing_s`: whatever is purged later hides what was lost before."""
    async with running(Random(f"{seed} origin"), forgetful=forgetful) as fleet:
        checker = Checker(fleet, seed, seconds, seconds if writing_s is None else writing_s)
        tally = await checker.run(faults.schedule(seed, seconds) if lanes is None else lanes)
        if tally.found:
            tally.found.extend(line.rstrip() for edge in fleet.edges for line in edge.complaints())
        return tally
