"""The board: what the keeper tells its workers, in memory that all of them map.

    words    magic, workers, slots | session | number | flags | lease | turn
    doubles  two lease records: the deadlines on three clocks, and Redis' clock (ms) at the deadline
    words    the incarnation of the store that has granted the lease
    words    a heartbeat counter for each worker
    slots    the ring: number, length and CRC-32, payload; record n stands in slot n % slots

The keeper alone writes, but for the heartbeats. No lock: whoever is killed or frozen at any instruction leaves a board
that the others can go on with.

- **A word is read and written whole.** Indexing a memoryview that was cast to "Q" or "d" copies eight aligned bytes,
  which is a single load or store on 64-bit machines. (`struct`, with a byte order given, goes byte by byte.)
- **A record is written before the word that makes it known.** A purge: its slot, then `number`. A lease: the one of two
  records that is not in force, then `lease`; so a renewal has no instant without a lease, and the deadlines of two
  leases never mix.
- **A reader looks at that word again when it has copied.** The writer takes a slot's number away before it changes the
  slot, so two equal looks mean that it was not lapped in between. The checksum is for what cannot be ordered from here:
  processors that show stores out of order (x86-64 does not), and damage. What does not verify is no record.
- **Lease first, number last.** 1. The lease has run out; another edge's purge waits for it no longer, and is answered.
  2. A worker reads `number`. 3. The keeper hears of the purge, announces it, and is granted a lease. 4. The worker
  reads the lease, and finds it valid. It would serve what was purged before its request began. `current` reads in the
  order that excludes this; flags, lifted after what they held for was announced, come before the number as well.
"""

import math
import mmap
import os
import secrets
import tempfile
import time
import zlib
from collections.abc import Iterable
from typing import IO, Self

from mizan_core.errors import MizanError

Clocks = tuple[float, float, float]
"""CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME at one moment, in seconds."""

SLOTS = 4096
SLOT_BYTES = 512

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_MAGIC = int.from_bytes(b"mizan\0b1")
_WORD = 8
_MAGIC_AT, _WORKERS, _SLOTS, _SESSION, _NUMBER, _FLAGS, _LEASE, _TURN = range(8)
# Lease records: that of turn t begins at _LEASES + (t & 1) * 4.
_LEASES = 8
_INCARNATION = 16
_BEATS = 17
_SLOT_WORDS = SLOT_BYTES // _WORD
_SLOT_HEAD_WORDS = 2
_PAYLOAD_BYTES = SLOT_BYTES - _SLOT_HEAD_WORDS * _WORD


class BoardError(MizanError):
    """The file descriptor that a worker was given is no board."""


def clocks() -> Clocks:
    """The clocks now."""
    # CLOCK_MONOTONIC stands still while a machine sleeps, CLOCK_BOOTTIME in some frozen guests, and the wall clock may
    # be set: the one that has advanced most is believed.
    return time.monotonic(), time.clock_gettime(_BOOTTIME), time.time()


class Board:
    """One board, as mapped by this process.

    # mutable state: all in the mapping, see above; views of it in the attributes; and a copy of the lease record of
    # turn `_turn`.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        """The file to `attach` to: for `pass_fds`. It is closed with the board."""
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        self._doubles = self._bytes.cast("d")
        workers, self._slots = self._words[_WORKERS], self._words[_SLOTS]
        # A slice, so that a slot number out of range is an IndexError and not a write to the ring.
        self._beats = self._words[_BEATS : _BEATS + workers]
        self._ring = _ring_at(workers)
        self._turn = 0
        self._ends = (0.0, 0.0, 0.0)
        self._ends_ms = 0.0

    @classmethod
    def create(cls, workers: int, *, slots: int = SLOTS) -> Self:
        """A new board without a lease or session: `workers` heartbeats, and the last `slots` purges."""
        head = bytearray(_ring_at(workers) * _WORD)
        with memoryview(head).cast("Q") as words:
            words[_MAGIC_AT], words[_WORKERS], words[_SLOTS] = _MAGIC, workers, slots
        with _memory() as file:
            # Written, not truncated to its size: memory that is not to be had must be missed here and not by a purge.
            file.write(head + bytes(slots * SLOT_BYTES))
            file.flush()
            return cls(os.dup(file.fileno()))

    @classmethod
    def attach(cls, fd: int) -> Self:
        """The board that another process has created, whose file this one inherited as `fd`; the board closes it.

        Raises BoardError where `fd` is something else; then it stays open.
        """
        try:
            head = os.pread(fd, _BEATS * _WORD, 0)
            size = os.fstat(fd).st_size
        except OSError as error:
            raise BoardError(f"file descriptor {fd} is no board: {error.strerror}") from error
        if len(head) == _BEATS * _WORD:
            with memoryview(head).cast("Q") as words:
                whole = (_ring_at(words[_WORKERS]) + words[_SLOTS] * _SLOT_WORDS) * _WORD
                if words[_MAGIC_AT] == _MAGIC and size == whole:
                    return cls(fd)
        raise BoardError(f"file descriptor {fd} is no board of this version: workers are started by their keeper")

    def close(self) -> None:
        """Unmaps the board in this process; others keep it. It cannot be used here any more."""
        for view in (self._beats, self._doubles, self._words, self._bytes):
            view.release()
        self._map.close()
        os.close(self.fd)

    # The keeper's side.

    def grant(self, asked: Clocks, lasts_s: float, redis_ms: int) -> None:
        """There is a lease, for `lasts_s` from when it was asked for.

        `asked`: the clocks before the request was sent. `redis_ms`: Redis' clock, as the reply tells it.
        """
        words, doubles = self._words, self._doubles
        turn = words[_TURN] + 1
        at = _lease_at(turn)
        for i, clock in enumerate(asked):
            doubles[at + i] = clock + lasts_s
        doubles[at + 3] = redis_ms + lasts_s * 1000
        words[_TURN] = turn
        words[_LEASE] = turn

    def join(self, incarnation: str) -> None:
        """The leases of this session, none of which is granted yet, will be of this incarnation of the store."""
        self._words[_INCARNATION] = int(incarnation, 16)

    def revoke(self) -> None:
        """There is no lease any more."""
        self._words[_LEASE] = 0

    def begin_session(self) -> int:
        """Revokes the lease and begins a new session, whose number it returns: whatever a worker has in memory is dead.

        The number is random, of 63 bits, and never 0.
        """
        # In this order: nobody may take the old lease for one of the new session.
        self.revoke()
        session = 1 + secrets.randbelow(2**63 - 1)
        self._words[_SESSION] = session
        return session

    def announce(self, scopes: Iterable[str]) -> None:
        """These were purged; when this returns, every look at the board shows it.

        A scope is spelled as `mizan_core.store.layout.scope_argument` does. One that is too long for a slot is
        announced as its context, and a context that is too long as everything.
        """
        words = self._words
        number = words[_NUMBER]
        for scope in scopes:
            number += 1
            payload = _payload(scope)
            at = self._slot_at(number)
            words[at] = 0
            words[at + 1] = len(payload) << 32 | _checksum(number, payload)
            start = (at + _SLOT_HEAD_WORDS) * _WORD
            self._bytes[start : start + len(payload)] = payload
            words[at] = number
        words[_NUMBER] = number

    def set_flags(self, flags: int) -> None:
        """Not 0: the cache must not be used now."""
        self._words[_FLAGS] = flags

    # The workers' side.

    def valid(self, at: Clocks) -> bool:
        """Whether there is a lease at `at`: all of its deadlines lie ahead."""
        words, doubles = self._words, self._doubles
        while turn := words[_LEASE]:
            i = _lease_at(turn)
            ahead = at[0] < doubles[i] and at[1] < doubles[i + 1] and at[2] < doubles[i + 2]
            if words[_LEASE] == turn:
                return ahead
        return False

    @property
    def session(self) -> int:
        """The number of the keeper's session; 0 before the first."""
        return self._words[_SESSION]

    @property
    def number(self) -> int:
        """The number of the last purge that was announced; 0 before the first."""
        return self._words[_NUMBER]

    def incarnation(self) -> int:
        """That of the store which has granted the lease, as a number; 0 before the first lease."""
        return self._words[_INCARNATION]

    @property
    def flags(self) -> int:
        """What `set_flags` has set."""
        return self._words[_FLAGS]

    def current(self, at: Clocks) -> tuple[int, int, float] | None:
        """The session and the number that a worker must have come up to before it uses memory or Redis for a request
        whose bytes it had at `at`; and what `redis_ms` is before it is rounded. None: there is no lease, or a flag is
        set; use neither."""
        words = self._words
        while turn := words[_LEASE]:
            if turn != self._turn:
                # A record does not change while it is in force, so it is read once.
                i, doubles = _lease_at(turn), self._doubles
                self._ends = doubles[i], doubles[i + 1], doubles[i + 2]
                self._ends_ms = doubles[i + 3]
                self._turn = turn if words[_LEASE] == turn else 0
            (monotonic, boottime, realtime), (ends, ends_boottime, ends_realtime) = at, self._ends
            # `max`, which every hit would wait for twice as long.
            past_s = monotonic - ends
            if boottime - ends_boottime > past_s:
                past_s = boottime - ends_boottime
            if realtime - ends_realtime > past_s:
                past_s = realtime - ends_realtime
            flags = words[_FLAGS]
            session, number = words[_SESSION], words[_NUMBER]
            # Else the session may be one that has just begun, and has no lease yet.
            if words[_LEASE] == turn == self._turn:
                return None if past_s >= 0 or flags else (session, number, self._ends_ms + past_s * 1000)
        return None

    def records(self, after: int) -> list[tuple[int, str]] | None:
        """The purges announced after number `after`, with their numbers, in order.

        None: they are not all to be had; drop everything. `number` as it was before the call is then what was applied.
        """
        last = self.number
        if after > last:
            return None
        found = []
        for number in range(after + 1, last + 1):
            payload = self._payload_of(number)
            if payload is None:
                # Where stores may be seen out of order, the slot may only be late.
                payload = self._payload_of(number)
            if payload is None:
                return None
            found.append((number, payload.decode(errors="surrogatepass")))
        return found

    def redis_ms(self, at: Clocks) -> int:
        """The latest that Redis' clock may show at `at`, in ms, going by the last grant and the fastest clock.

        Without a grant so far, when nothing of Redis may be used either, this host's clock.
        """
        words, doubles = self._words, self._doubles
        while True:
            turn = words[_TURN]
            i = _lease_at(turn)
            remaining_s = min(doubles[i] - at[0], doubles[i + 1] - at[1], doubles[i + 2] - at[2])
            then_ms = doubles[i + 3]
            if words[_TURN] == turn:
                return math.ceil(then_ms - remaining_s * 1000)

    def beat(self, slot: int) -> None:
        """The worker in `slot` is alive; only that worker calls this. Raises IndexError."""
        self._beats[slot] += 1

    def beats(self, slot: int) -> int:
        """How often the workers in `slot` have beaten so far. Raises IndexError."""
        return self._beats[slot]

    def _slot_at(self, number: int) -> int:
        return self._ring + number % self._slots * _SLOT_WORDS

    def _payload_of(self, number: int) -> bytes | None:
        words, at = self._words, self._slot_at(number)
        if words[at] != number:
            return None
        length, checksum = divmod(words[at + 1], 1 << 32)
        start = (at + _SLOT_HEAD_WORDS) * _WORD
        payload = bytes(self._bytes[start : start + length])
        if words[at] != number or checksum != _checksum(number, payload):
            return None
        return payload


def _memory() -> IO[bytes]:
    # A file without a name: it goes with the last process that has it.
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("mizan-board"), "wb")
    return tempfile.TemporaryFile()


def _lease_at(turn: int) -> int:
    return _LEASES + (turn & 1) * 4


def _ring_at(workers: int) -> int:
    # In words, and at a whole slot, so that slots share no cache line.
    return -(-(_BEATS + workers) // _SLOT_WORDS) * _SLOT_WORDS


def _checksum(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(number.to_bytes(_WORD)))


def _payload(scope: str) -> bytes:
    # Text that is no Unicode is purged like any other: announcing must not fail.
    payload = scope.encode(errors="surrogatepass")
    if len(payload) > _PAYLOAD_BYTES:
        payload, _, _ = payload.partition(b"\n")
    return payload if len(payload) <= _PAYLOAD_BYTES else b""
