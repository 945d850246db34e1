"""What a response invalidates, and what a mutation may have changed: handed to whoever purges.

That is a `Purger`, in this process or in the keeper's.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from mizan_core.fields import INVALIDATE
from mizan_core.manifest import Context
from mizan_core.purge import By, Purge, longest_hold
from mizan_core.resolve import widen
from mizan_core.scopes import Scope, widest
from mizan_core.store import Purged
from mizan_edge.http.message import Fields, combined
from mizan_edge.purging.intents import Intended, Intents
from mizan_edge.system.counters import Counters

log = logging.getLogger(__name__)

FIELD = INVALIDATE.lower()
MAX_FIELD_BYTES = 64 * 1024
UNKNOWN = By()
_MAX_NOTE = 300

Source = Literal["response", "admin", "reload", "switch", "unknown outcome", "journal"]
"""What asked for a purge of this edge. The audit knows of others: Django, and the store's own scripts."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A purge that Redis has not confirmed within the time that an answer may wait. It is repeated until it has."""

    journaled: bool
    """Whether it is on disk; if not, it is lost when the process that purges dies."""


class Purges(Protocol):
    """Who purges."""

    async def purge(self, purge: Purge, source: Source) -> Purged | Pending:
        """Purges. Returns when nobody can be served any more what was purged, or when the answer may wait no longer."""

    async def purge_twice(self, affects: Purge) -> bool:
        """Nobody knows whether a mutation was carried out: purges now, and once more when it cannot be any more.

        Whether no crash in between could lose the second one.
        """


@dataclass(slots=True)
class Intent:
    """A mutation that is under way."""

    affects: Purge
    stays: bool = False
    """Whether nothing else would tell the next start of it: it is not struck then while this process lives."""


class Invalidation:
    """Obeys responses, and watches over mutations."""

    def __init__(self, purges: Purges, intents: Intents, counters: Counters) -> None:
        self._purges = purges
        self._intents = intents
        self._counters = counters

    async def purge(self, purge: Purge, intent: Intent | None = None) -> None:
        """Purges what a response has changed. Returns when the response may go on.

        `intent`: the mutation that it answers.
        """
        if purge.is_empty:
            return
        done = await self._purges.purge(purge, "response")
        if intent is not None and isinstance(done, Pending) and not done.journaled:
            intent.stays = True

    async def obey(
        self,
        fields: Fields,
        contexts: Mapping[str, Context],
        also: tuple[Scope, ...] = (),
        by: By = UNKNOWN,
        intent: Intent | None = None,
    ) -> None:
        """Purges what a response of the origin says, and `also` what it means. Returns when the response may go on.

        All of it in one: while Redis is away, each purge waits for its own time.
        """
        said = self._read(combined(fields, FIELD), contexts)
        hold_s = max(said.hold_s, longest_hold(also, contexts))
        if said.faults:
            by = replace(by, note=f"widened: {'; '.join(said.faults)}"[:_MAX_NOTE])
        elif not said.scopes and not said.everything:
            by = replace(by, note="no X-Mizan-Invalidate; an unsafe request changes its own URL")
        await self.purge(replace(said, scopes=widest([*said.scopes, *also]), hold_s=hold_s, by=by), intent)

    async def unknown(self, intent: Intent) -> None:
        """Nobody knows whether a mutation was carried out, or will be yet."""
        if not await self._purges.purge_twice(intent.affects):
            intent.stays = True

    def _read(self, value: str | None, contexts: Mapping[str, Context]) -> Purge:
        if value is None:
            return Purge()
        if len(value.encode()) > MAX_FIELD_BYTES:
            fault = f"a field of {len(value)} bytes is longer than {MAX_FIELD_BYTES}"
            purge = Purge((), True, (fault,), longest_hold(None, contexts))
        else:
            purge = widen(value, contexts)
        if purge.faults:
            self._counters.count("invalidation_faults", by=len(purge.faults))
            log.warning("X-Mizan-Invalidate was widened: %s (field: %.200r)", "; ".join(purge.faults), value)
        return purge

    @contextmanager
    def intending(self, affects: Purge, contexts: Mapping[str, Context]) -> Iterator[Intent]:
        """Writes down what a mutation may change while the block forwards it, in case a process dies meanwhile.

        1. The mutation is forwarded.   2. The edge is killed.   3. The origin carries it out, and nobody hears of it.
        4. The edge starts, and serves what it had. -- Hence the intent, which is purged at the next start.
        """
        intent = Intent(affects)
        number = self._intents.add(Intended(affects, shapes_of(affects, contexts)))
        yield intent
        if not intent.stays:
            self._intents.strike(number)


def shapes_of(purge: Purge, contexts: Mapping[str, Context]) -> dict[str, str]:
    """How the contexts of a purge are indexed."""
    return {name: contexts[name].shape for name in {scope.context for scope in purge.scopes} & contexts.keys()}
