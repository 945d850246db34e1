"""Drives a fleet: readers and writers against the histories, and a schedule of faults."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from random import Random

import brotli
import zstandard

from mizan_edge.purging.purge import PATIENCE_S
from tests.exact import faults
from tests.exact.faults import Planned
from tests.exact.fleet import EDGES, Edge, Fleet, running
from tests.exact.origin import PAGES, PART_BYTES, SHOWN, SHOWS, USERS, VIEWERS, made_for, shown, signed_in
from tests.support import wire
from tests.support.wire import Reply

SILENCE_S = 10
_TIMES = 5
_POPULAR = 3
# How often all is purged rather than one subject. More often, nothing lives long enough to be used stale.
_WIDE = 0.03
# One read of so many comes on a connection of its own.
_NEW_CONNECTION = 4
_KINDS_OF_HITS = ("hits", "used stale", "compressed", "in part", "not modified")
_JSON = {"Content-Type": "application/json"}
_DECODERS: Mapping[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "br": brotli.decompress,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
}


@dataclass
class Tally:
    """What a run has counted."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    """What was stale or failed, for people."""
    happened: list[str] = field(default_factory=list)
    """The faults, with the seconds of their begin and end."""

    def __str__(self) -> str:
        names = ("reads", *_KINDS_OF_HITS, "writes", "faults", "stale", "failed", "excused", "disturbed")
        kinds = ", ".join(f"{name} {times}" for name, times in sorted(self.by_fault.items()))
        figures = ", ".join(f"{self.counts[name]} {name}" for name in names)
        return f"{figures}, seed {self.seed}" + (f"\nfaults: {kinds}" if kinds else "")

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    def note(self, name: str, finding: str = "") -> None:
        self.counts[name] += 1
        if finding:
            self.found.append(f"{name}: {finding}")


@dataclass(frozen=True, slots=True)
class Workload:
    """Who reads and who writes what, and where."""

    readers: int = 16
    impatient: int = 2
    """Further readers, who ask for one user each, again and again: only such requests find answers that are ready."""
    writers: int = 8
    users: Sequence[int] = USERS
    viewers: Sequence[int] = VIEWERS
    read_at: Sequence[int] = range(EDGES)
    write_at: Sequence[int] = range(EDGES)
    checks: int = 3
    """How often a writer reads at once what it has written."""
    writing_s: float | None = None
    """Writes end after so long; None: with the run. Whatever is purged later hides what was lost before."""


@dataclass(frozen=True, slots=True)
class Read:
    """A request, the subjects whose versions are in its answer, and whom that must have been made for."""

    subjects: Sequence[int]
    made_for: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None = None

    @property
    def representation(self) -> tuple[str, str]:
        """What two reads have in common whose answers differ in their versions alone."""
        return self.target, self.made_for


def draw_read(rng: Random, users: Sequence[int], viewers: Sequence[int]) -> Read:
    """A read of one user, by somebody who has signed in or not; or of several users."""
    # A few are asked for more often: what nobody asks for twice is in no memory when it is purged.
    user = rng.choice(users[:_POPULAR] if rng.random() < 0.7 else users)
    viewer = rng.choice(viewers) if viewers and rng.random() < 0.4 else None
    subjects, who = ([user], {}) if viewer is None else ([user, viewer], signed_in(viewer))
    if coding := rng.choice((None, "br", "br", "br", "gzip", "zstd", "identity")):
        who = who | {"Accept-Encoding": coding}
    # Most ask for the same, or there were few hits.
    language = {"Accept-Language": rng.choice(("de", "de", "de", "en"))} | who
    if rng.random() < 0.2:
        language["X-Theme"] = "dark"
    mine, page_for = made_for(viewer), made_for(viewer, user, language)
    method = "HEAD" if rng.random() < 0.1 else "GET"
    part = {"Range": f"bytes=0-{PART_BYTES - 1}"} if rng.random() < 0.1 else {}
    page = Read(subjects, page_for, method, f"/profile/{user}/", language | part)
    if user in PAGES:
        return page
    localized = f"?locale={language['Accept-Language']}" if rng.random() < 0.3 else ""
    call = json.dumps({"fn": "user_profile", "args": {"user_id": user}}).encode()
    return rng.choice(
        (
            page,
            Read(subjects, page_for, method, f"/profile/{user}/{localized}", language | part),
            Read(subjects, mine, method, f"/api/mizan/ctx/user/?user_id={user}", who | part),
            Read(subjects, mine, "POST", "/api/mizan/call/", _JSON | who, call),
            Read(SHOWN, made_for(None), method, "/catalog/hats/", part),
        )
    )


@dataclass(frozen=True, slots=True)
class Copy:
    """What a reader has kept of an answer: what it says, and the tag by which to ask whether it still holds."""

    text: str
    tag: str


def text_of(reply: Reply, mine: Copy | None) -> str:
    """What an answer says to a reader who has asked with the tag of `mine`. Raises ValueError where its body says
    something else than its head, or where nobody has asked for what it is."""
    if reply.status == 304:
        if mine is None:
            raise ValueError("a 304 that nobody has asked for")
        return mine.text
    text = reply[SHOWS] or ""
    if reply.body:  # none for a HEAD
        body = _DECODERS[reply["Content-Encoding"]](reply.body).decode().rstrip()
        if body != text:
            raise ValueError(f"{body!r} under a head that says {text!r}")
    return text


def _kinds_of_hit(reply: Reply) -> Iterator[str]:
    if reply.hit:
        yield "hits"
        if "ttl=-" in reply.cache:
            yield "used stale"
        if reply["Content-Encoding"]:
            yield "compressed"
        if reply.status == 206:
            yield "in part"
        if reply.status == 304:
            yield "not modified"


def _purging(subject: int) -> Sequence[str]:
    """What the answer to a change of a subject may say to purge it, and not all of its context."""
    if subject in VIEWERS:
        return "viewer", "group"
    return ("url", "unsafe", "group") if subject in PAGES else ("user", "user", "group", "user and more")


class Checker:
    """One run over a fleet."""

    def __init__(self, fleet: Fleet, seed: int, seconds: float, workload: Workload) -> None:
        self.tally = Tally(seed)
        self._fleet = fleet
        self._seed = seed
        self._workload = workload
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._ends = self._began + seconds
        self._written = self._began + (seconds if workload.writing_s is None else workload.writing_s)
        self._numbers = count()
        self._kept: dict[str, wire.Connections] = {}

    async def run(self, lanes: list[list[Planned]]) -> Tally:
        """Runs until the time is over and every fault is mended."""
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(self._break(lane))
            for number in range(self._workload.readers):
                group.create_task(self._read_on(Random(f"{self._seed} reader {number}")))
            for number in range(self._workload.impatient):
                group.create_task(self._read_again(Random(f"{self._seed} impatient {number}"), number))
            for number in range(self._workload.writers):
                group.create_task(self._write_on(Random(f"{self._seed} writer {number}")))
        for kept in self._kept.values():
            kept.close()
        return self.tally

    async def _break(self, lane: list[Planned]) -> None:
        for planned in lane:
            await asyncio.sleep(planned.pause_s)
            if self._clock() > self._ends:
                return
            edge, began = self._fleet.edges[planned.edge], self._at()
            try:
                await faults.BY_NAME[planned.name](self._fleet, edge, planned.lasts_s)
                self.tally.note("faults")
                self.tally.by_fault[planned.name] += 1
                self.tally.happened.append(f"{began}-{self._at()} {planned.name} edge {planned.edge}")
            except (TimeoutError, AssertionError, OSError, HTTPException) as error:
                finding = f"{began}-{self._at()} edge {planned.edge} after {planned.name}: {error!r}"
                self.tally.note("failed", finding)

    async def _read_on(self, rng: Random) -> None:
        copies: dict[tuple[str, str], Copy] = {}
        while self._clock() < self._ends:
            read = draw_read(rng, self._workload.users, self._workload.viewers)
            mine = copies.get(read.representation) if read.body is None and rng.random() < 0.5 else None
            for _ in range(_TIMES):  # a severed read is repeated, elsewhere by chance
                if got := await self._read(rng, read, mine):
                    copies[read.representation] = got
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.02 * rng.random())

    async def _read_again(self, rng: Random, number: int) -> None:
        user, fields = self._workload.users[number % len(self._workload.users)], {"Accept-Language": "de"}
        read = Read([user], made_for(None, user, fields), "GET", f"/profile/{user}/", fields)
        while self._clock() < self._ends:
            if await self._read(rng, read) is None:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.001)

    async def _read(self, rng: Random, read: Read, mine: Copy | None = None) -> Copy | None:
        """What came, None where nothing did. `mine`: asks whether that still holds."""
        edge = self._fleet.edges[rng.choice(self._workload.read_at)]
        expected, began = self._fleet.histories.expect(read.subjects, edge=edge.number), self._at()
        # A hit at an edge that nobody lets reach Redis would need an excuse of another kind: there is none.
        without_lease = edge.without_lease
        headers = read.headers | ({"If-None-Match": mine.tag} if mine else {})
        reply = await self._ask(edge, read.method, read.target, headers, read.body)
        if reply is None:
            return None
        self.tally.note("reads")
        for kind in _kinds_of_hit(reply):
            self.tally.note(kind)
        where = f"{began}-{self._at()} edge {edge.number} {read.method} {read.target} of {read.subjects}"
        try:
            text = text_of(reply, mine)
        except ValueError as error:
            self.tally.note("failed", f"{where}: {error} ({reply.cache})")
            return None
        versions, whom = shown(text)
        if whom != read.made_for:
            self.tally.note("failed", f"{where} for {read.made_for!r} is what was made for {whom!r} ({reply.cache})")
        verdict = expected.judge(versions, reaches_redis=not (without_lease and edge.without_lease))
        if verdict == "stale":
            finding = f"{where} shows {versions} by {reply.status} ({reply.cache})"
            self.tally.note("stale", f"{finding}, at least {expected.binding}, or {expected.wanted}")
        elif verdict == "excused":
            self.tally.note("excused")
        return Copy(text, reply["ETag"] or "")

    async def _write_on(self, rng: Random) -> None:
        subjects = (*self._workload.users, *self._workload.viewers)
        while self._clock() < self._written:
            edge, subject = self._fleet.edges[rng.choice(self._workload.write_at)], rng.choice(subjects)
            began_s = self._clock()
            version = await (self._purge if rng.random() < 0.1 else self._change)(rng, edge, subject)
            if version is not None:
                self.tally.note("writes")
                # An edge answers sooner only what Redis has confirmed.
                confirmed = not edge.cut or self._clock() - began_s < PATIENCE_S
                self._fleet.histories.answered(subject, version, edge=edge.number, confirmed=confirmed)
                await self._check(rng, subject)
            await asyncio.sleep(0.2 * rng.random())

    async def _check(self, rng: Random, subject: int) -> None:
        """Reads at once what was just written: who is late is late by little."""
        users, viewers = self._workload.users, self._workload.viewers
        for _ in range(self._workload.checks):
            await self._read(
                rng, draw_read(rng, users, [subject]) if subject in VIEWERS else draw_read(rng, [subject], viewers)
            )

    async def _change(self, rng: Random, edge: Edge, subject: int) -> int | None:
        """A mutation; the version that its answer has established, None where the outcome is not known."""
        fn = "limit_viewer" if subject in VIEWERS else "rename_user"
        purges = "context" if rng.random() < _WIDE else rng.choice(_purging(subject))
        write = next(self._numbers)
        body = json.dumps({"fn": fn, "args": {"user_id": subject, "write": write, "purges": purges}}).encode()
        target = f"/profile/{subject}/" if purges == "unsafe" else "/api/mizan/call/"
        reply = await self._ask(edge, "POST", target, _JSON, body, write=write)
        return None if reply is None else self._fleet.site.committed.get(write)

    async def _purge(self, rng: Random, edge: Edge, subject: int) -> int | None:
        """A change that no edge has seen, and a purge by somebody who knows of it."""
        version = self._fleet.site.commit(subject)
        scope = f'user;*user="{subject}"' if subject in VIEWERS else f"user;user_id={subject}"
        body = json.dumps({"scopes": ["user" if rng.random() < _WIDE else scope]}).encode()
        return None if await self._ask(edge, "POST", "/purge", {}, body) is None else version

    async def _ask(
        self,
        edge: Edge,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        write: int | None = None,
    ) -> Reply | None:
        """The reply; None when there is none, which is a failure unless something was done to the edge meanwhile."""
        if not edge.alive:
            return None
        disturbed, worker_disturbed, began = edge.disturbed, edge.worker_disturbed, self._at()
        try:
            async with asyncio.timeout(SILENCE_S):
                if target == "/purge":
                    reply = await edge.administer(target, json.loads(body or b""))
                elif body is None and next(self._numbers) % _NEW_CONNECTION:
                    # Only on these are answers ready.
                    kept = self._kept.setdefault(edge.listen, wire.Connections(edge.listen))
                    reply = await kept.request(method, target, headers)
                else:
                    reply = await wire.request(edge.listen, method, target, headers, body)
            # The origin broke the connection, and what it had committed before that is purged.
            broken = reply.status == 502 and write in self._fleet.site.broken
            # Written down, and not confirmed by Redis within its time.
            journaled = reply.status == 503 and target == "/purge" and reply.json.get("journaled") is True
            if reply.status in (200, 206, 304) or broken or journaled:
                return reply
            finding = f"{reply.status} {reply.body[:200]!r}"
        except (OSError, TimeoutError, HTTPException) as error:
            finding = repr(error)
        if edge.disturbed != disturbed or edge.stopped:
            return None
        if edge.worker_disturbed != worker_disturbed or edge.worker_stopped:
            self.tally.note("disturbed")
            return None
        self.tally.note("failed", f"{began}-{self._at()} edge {edge.number} {method} {target}: {finding}")
        return None

    def _at(self) -> str:
        return f"{self._clock() - self._began:.2f}"


async def check(
    seed: int,
    seconds: float,
    *,
    lanes: list[list[Planned]] | None = None,
    workload: Workload | None = None,
    clustered: bool = False,
    apart_s: float | None = None,
    forgetful: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Tally:
    """A run of its own fleet, which is as `running` says. The faults follow from the seed, unless `lanes` has them."""
    async with running(
        Random(f"{seed} origin"),
        clustered=clustered,
        apart_s=apart_s,
        forgetful=forgetful,
        environment=environment,
    ) as fleet:
        checker = Checker(fleet, seed, seconds, workload or Workload())
        tally = await checker.run(faults.schedule(seed, seconds, clustered=clustered) if lanes is None else lanes)
        if tally.found:
            tally.found.extend(tally.happened)
            tally.found.extend(line.rstrip() for edge in fleet.edges for line in edge.complaints())
        return tally
