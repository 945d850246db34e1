"""The manifest in use: loaded, swapped, and made known to the store.

    # mutable state: the site in use; the hold "manifest not adopted"; `_failure`, why Redis was not told, so that it is
    # logged once.

Entries that were indexed under another manifest cannot be purged exactly under this one, and those of a context of
which it says anything else may not be what they should be. So the store is told what it says of each context (`adopt`),
which purges where that has changed, and nothing is read before that is confirmed: at start, after a reload, and when
Redis was away meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from mizan_core.manifest import Manifest, ManifestError, parse_manifest, read_manifest_file
from mizan_core.purge import Purge
from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, StoreError
from mizan_edge.purging.hold import Hold
from mizan_edge.purging.purge import Purger
from mizan_edge.rules.manifest_diff import Difference, difference
from mizan_edge.rules.site import InUse, Rules, Site
from mizan_edge.system.tasks import Tasks

log = logging.getLogger(__name__)

_RETRY_S = 0.5
# It goes to the workers in one message.
_MAX_BYTES = 8 << 20


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest of a file, its warnings logged, and its text. Raises ManifestError."""
    data = read_manifest_file(path)
    if len(data) > _MAX_BYTES:
        raise ManifestError(f"{path}: {len(data)} bytes, and {_MAX_BYTES} are the most that is read")
    manifest, warnings = parse_manifest(data, source=str(path))
    for warning in warnings:
        log.warning("%s", warning)
    return manifest, data.decode("utf-8-sig")


class ManifestInUse:
    """Swaps manifests, one at a time."""

    def __init__(
        self,
        path: Path,
        rules: Rules,
        *,
        in_use: InUse,
        store: AsyncStore,
        purger: Purger,
        hold: Hold,
        tasks: Tasks,
        text: str,
        spread: Callable[[str], Awaitable[None]],
    ) -> None:
        """`text` is the manifest in use. `spread` has every worker use another; returns when all do."""
        self.text = text
        self._spread = spread
        self._path = path
        self._rules = rules
        self._in_use = in_use
        self._store = store
        self._purger = purger
        self._hold = hold
        self._tasks = tasks
        self._lock = asyncio.Lock()
        self._failure = ""

    def compare(self) -> Difference:
        """What a reload would find different. Raises ManifestError."""
        manifest, _ = read_manifest(self._path)
        return difference(self._in_use.site.manifest, manifest)

    async def reload(self) -> Difference:
        """Reads the file again and swaps. Raises ManifestError, and then the old manifest stays."""
        async with self._lock:
            return await self._use(*read_manifest(self._path))

    async def follow(self) -> None:
        """As `reload`, where the file has another text than the manifest in use."""
        async with self._lock:
            if read_manifest_file(self._path).decode("utf-8-sig", "replace") != self.text:
                await self._use(*read_manifest(self._path))

    async def _use(self, manifest: Manifest, text: str) -> Difference:
        found = difference(self._in_use.site.manifest, manifest)
        self._hold.set("manifest not adopted")
        self._in_use.site = Site.of(manifest, self._rules, self._in_use.site.switches)
        self.text = text  # before the others hear of it: one that is starting asks for it
        await self._spread(text)
        await self._purger.purge(Purge(tuple(map(Scope, found.purged))), "reload")
        await self._adopt()
        names = found.contexts
        log.info("manifest reloaded: added %s, removed %s, changed %s", names.added, names.removed, names.changed)
        return found

    async def adopt(self) -> None:
        """Makes the manifest known to the store; where Redis cannot be asked now, as soon as it can."""
        self._hold.set("manifest not adopted")
        # Else a late answer for this manifest could undo what a reload has just made known.
        async with self._lock:
            await self._adopt()

    async def _adopt(self) -> None:
        self._hold.set("manifest not adopted")
        if not await self._try_adopt(self._in_use.site.manifest):
            self._tasks.start(self._keep_trying(), "adopt-manifest")

    async def _try_adopt(self, manifest: Manifest) -> bool:
        try:
            # Asked again each time: what was away at the start may come back as what cannot be used.
            await self._store.check()
            changed = await self._store.run(self._store.namespace.adopt(manifest.shapes(), manifest.digests()))
        except StoreError as error:
            if str(error) != self._failure:
                log.warning("nothing is served from the cache until Redis answers: %s", error)
            self._failure = str(error)
            return False
        self._failure = ""
        if changed:
            log.warning(
                "the manifest says something else of %s than before: what was stored is purged", ", ".join(changed)
            )
        if manifest is self._in_use.site.manifest:
            self._hold.lift("manifest not adopted")
        return True

    async def _keep_trying(self) -> None:
        manifest = self._in_use.site.manifest
        while manifest is self._in_use.site.manifest:
            await asyncio.sleep(_RETRY_S)
            async with self._lock:
                if manifest is not self._in_use.site.manifest or await self._try_adopt(manifest):
                    return
