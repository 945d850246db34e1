"""How contexts are switched: acted by in every process of this edge, kept in its state directory, shared by the fleet.

    contexts.json   in the state directory: what this edge knows, on the disk before any of its workers acts by it
    Redis           what all edges know; each merges its own with it when it comes, comes back or is told to look

To switch a context off is not to be lost, whatever breaks: an edge that knows of it keeps it through restarts and
through a Redis that has lost its data, to which it tells it again. To switch one on waits for a purge of it:

1. A context is off, here and elsewhere. 2. What it shows changes; nobody says so, or Redis is away. 3. It is switched
on. 4. What was stored before 1 is served. -- It is purged when it is switched off, and once more, confirmed by Redis,
before any edge has it on. A fill that began before that purge is refused, as any fill is that a purge has overtaken.
The on is of those offs alone that were known before its purge: one that is heard of meanwhile stays. An edge that is
told of an on purges before it acts by it, too, rather than rely on what another one says that it has done.

1. An edge begins to act by a switch. 2. It hears of the same one again, finds nothing new, and acknowledges. 3. One of
its workers, which has not got it yet, serves. -- Whoever comes second waits for the first (`_lock`).

1. An edge begins to act by a switch, and is cancelled with the session in which it heard of it. 2. In the next one it
hears of it again. -- Not all of its workers may have got it (`_acted_by`).

1. An edge asks what all know. 2. It asks again, hears of an off, and acts by it. 3. What it was first told arrives. --
It is told one thing at a time (`_merging`).

    # mutable state: the switches of the site in use, which `_use` alone changes; `_acted_by`, those that all workers
    have; the file, and whether that `_is_kept` up.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mizan_core.errors import MizanError
from mizan_core.purge import Purge, longest_hold
from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, StoreError
from mizan_core.store.members import SWITCHED
from mizan_edge.purging.invalidation import Pending
from mizan_edge.purging.purge import Purger
from mizan_edge.rules import switches
from mizan_edge.rules.site import InUse
from mizan_edge.rules.switches import Switch, Switches
from mizan_edge.running.config import ConfigError
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

_RETRY_S = 0.5


class NotConfirmed(MizanError):
    """What was asked for does not hold in the whole fleet yet. `kept`: whether it survives this process."""

    def __init__(self, text: str, *, kept: bool) -> None:
        super().__init__(text)
        self.kept = kept


def read_switches(path: Path, edge: str) -> dict[str, Switch]:
    """What `edge`, by its durable id, has kept; nothing where it has kept nothing. Raises ConfigError."""
    try:
        # What an earlier version has kept says of no off whose it is, so none can be known to have been seen.
        return switches.of_json(path.read_bytes(), f"earlier-{edge}")
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ConfigError(f"{path} cannot be read: mend it, or remove it to have every context on") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): it says which contexts are off") from None


class Switchboard:
    """Switches contexts."""

    def __init__(
        self,
        path: Path,
        edge: str,
        *,
        in_use: InUse,
        store: AsyncStore,
        purger: Purger,
        tasks: Tasks,
        spread: Callable[[str], Awaitable[None]],
    ) -> None:
        """`path`, `edge`: see `read_switches`. `spread` has every worker act by a table; returns when all do."""
        self._path = path
        self._edge = edge
        self._in_use = in_use
        self._store = store
        self._purger = purger
        self._tasks = tasks
        self._spread = spread
        self._lock = asyncio.Lock()
        self._merging = asyncio.Lock()
        self._acted_by = in_use.site.switches
        self._is_kept = True

    async def switch(self, context: str, **said: Any) -> None:
        """Changes what is `said` of a context, `enabled` and `shadow`; returns when all edges act by it.

        Raises NotConfirmed: then this one does, but that what could not be purged stays off.
        """
        known = self._switch(context)
        switch = self._said(known, **said)
        changed = switch.enabled != known.enabled
        scope = Scope(context)
        hold_s = longest_hold((scope,), self._in_use.site.manifest.contexts)
        if switch.enabled and changed:
            purged = await self._purger.purge(Purge((scope,), hold_s=hold_s), "switch")
            if isinstance(purged, Pending):
                raise NotConfirmed(
                    f"{context!r} stays off: Redis has not confirmed that it is purged. Try again.", kept=True
                )
        await self._use({context: switch})
        log.warning("context %s is switched: %s", context, self._switch(context).told())
        told = True
        try:
            await self._merge()
        except StoreError as error:
            log.warning("the other edges are told of %s as soon as Redis answers: %s", context, error)
            self._tasks.start(self._tell_later(), "tell-switches")
            told = False
        gone = (Scope(SWITCHED), scope) if changed else (Scope(SWITCHED),)
        purged = await self._purger.purge(Purge(gone, hold_s=hold_s if changed else 0), "switch")
        if isinstance(purged, Pending) or not told:
            raise NotConfirmed(
                "It holds on this edge; the others are told as soon as Redis answers.", kept=self._is_kept
            )
        if not self._is_kept:
            raise NotConfirmed("It holds, but is not in the state directory: the log says why.", kept=False)

    async def come_up(self) -> None:
        """Returns when this edge acts by what all edges know. Raises StoreError."""
        if await self._merge():
            # They may have looked before: it was said while Redis was away, or Redis has lost it.
            self._tasks.start(self._announce(), "announce-switches")

    async def _announce(self) -> None:
        await self._purger.purge(Purge((Scope(SWITCHED),)), "switch")

    def _switch(self, context: str) -> Switch:
        return self._in_use.site.switches.get(context, Switch())

    def _said(self, switch: Switch, **said: Any) -> Switch:
        """A switch, as it is when this is said of it."""
        if "shadow" in said:
            switch = switch.compared(said["shadow"])
        if "enabled" in said:
            switch = switch.on() if said["enabled"] else switch.off(self._edge, int(time.time() * 1000))
        return switch

    async def _merge(self) -> bool:
        """Whether this edge knew what Redis did not. Raises StoreError."""
        async with self._merging:
            known = switches.to_fields(self._in_use.site.switches)
            said = await self._store.run(self._store.namespace.switch(known))
            told = switches.of_fields(said.fields.items(), said.earlier)
            together = switches.merged(self._in_use.site.switches, told)
            on_again = self._in_use.site.off - switches.off(together)
            # An off waits for no purge.
            await self._use({name: switch for name, switch in told.items() if name not in on_again})
            if on_again:
                scopes = tuple(map(Scope, sorted(on_again)))
                hold_s = longest_hold(scopes, self._in_use.site.manifest.contexts)
                await self._purger.purge_here(Purge(scopes, hold_s=hold_s), "switch")
                await self._use(told)
            return said.news > 0

    async def _use(self, told: Switches) -> None:
        """Has this edge act by what it was told, too."""
        async with self._lock:
            known = switches.merged(self._in_use.site.switches, told)
            if known == self._acted_by and self._is_kept:
                return
            text = switches.to_json(known)
            self._keep(text)
            # Before the workers hear of it: one that is starting asks for what is in use.
            self._in_use.site = self._in_use.site.switched(known)
            await self._spread(text)
            self._acted_by = known

    def _keep(self, text: str) -> None:
        self._is_kept = False
        try:
            _write(self._path, text)
            self._is_kept = True
        except OSError as error:
            log.error("%s cannot be written (%s): a restart may forget how contexts are switched", self._path, error)

    async def _tell_later(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_S)
            try:
                await self.come_up()
            except StoreError:
                continue
            return


def _write(path: Path, text: str) -> None:
    """Replaces a file; it is on the disk when this returns."""
    new = path.with_name(f"{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
