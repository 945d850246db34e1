"""The manifest in use: loaded, swapped, and made known to workers and to the store.

    # mutable state: the site in use; the hold "manifest not adopted"; `_heard`, whether the workers use it, and
    # `_unpurged`, the contexts of the one before that have yet to be purged; `_is_trying`, whether what is left of this
    # is tried again; `_bytes`, the latest reading of the file; `_failure`, why Redis was not told, so that it is logged
    # once.

Entries that were indexed under another manifest cannot be purged exactly under this one, and those of a context of
which it says anything else may not be what they should be. So the store is told what it says of each context (`adopt`),
which purges where that has changed, and nothing is read before that is confirmed: at start, after a reload, and when
Redis was away meanwhile.

A file may lie on a disk that hangs, and a large one takes seconds to be understood. So it is read and compiled in
threads, while the lease is kept and purges go on.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from mizan_core.manifest import Manifest, ManifestError, parse_manifest, unreadable
from mizan_core.purge import Purge
from mizan_core.scopes import Scope
from mizan_core.store import AsyncStore, StoreError
from mizan_edge.purging.hold import Hold
from mizan_edge.purging.purge import Purger
from mizan_edge.rules.manifest_diff import Difference, difference
from mizan_edge.rules.site import InUse, Rules, Site
from mizan_edge.system.tasks import Tasks
from mizan_edge.system.threads import in_thread

log = logging.getLogger(__name__)

_RETRY_S = 0.5
_READ_S = 5.0
# It goes to the workers in one message of at most 16 MiB, in which every byte of it may take two.
_MAX_BYTES = 7 << 20


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest of a file, its warnings logged, and its text. Raises ManifestError."""
    return _understood(_bytes_of(path), path)


def _bytes_of(path: Path) -> bytes:
    try:
        # To open a pipe would otherwise wait for somebody who writes to it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ManifestError(f"{path}: not a regular file: write the manifest to one")
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(data) > _MAX_BYTES:
        raise ManifestError(f"{path}: larger than {_MAX_BYTES} bytes, which are the most that is read")
    return data


def _understood(data: bytes, path: Path) -> tuple[Manifest, str]:
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
        # Of whoever reads the file, since the later reading must be used later; it may wait for a disk.
        self._reading = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._bytes: asyncio.Future[bytes] | None = None
        self._heard = True
        self._unpurged: set[str] = set()
        self._is_trying = False
        self._failure = ""

    async def compare(self) -> Difference:
        """What a reload would find different. Raises ManifestError."""
        async with self._reading:
            _, _, found = await self._compiled(await self._read())
            return found

    async def reload(self) -> Difference:
        """Reads the file again and swaps. Raises ManifestError, and then the old manifest stays."""
        async with self._reading:
            return await self._use(await self._read())

    async def follow(self) -> None:
        """As `reload`, where the file has another text than the manifest in use."""
        async with self._reading:
            data = await self._read()
            if data.decode("utf-8-sig", "replace") != self.text:
                await self._use(data)

    async def _read(self) -> bytes:
        """The bytes of the file, as it is now. Raises ManifestError."""
        try:
            async with asyncio.timeout(_READ_S):
                if self._bytes is not None:
                    await asyncio.wait([self._bytes])  # so that at most one thread hangs
                self._bytes = in_thread(_bytes_of, self._path)
                return await asyncio.shield(self._bytes)
        except TimeoutError:
            raise ManifestError(f"{self._path}: not read within {_READ_S:g} seconds: does its disk answer?") from None

    async def _compiled(self, data: bytes) -> tuple[Site, str, Difference]:
        """What a file says, how contexts are switched apart, its text, and how it differs. Raises ManifestError."""
        old = self._in_use.site

        def compiled() -> tuple[Site, str, Difference]:
            manifest, text = _understood(data, self._path)
            manifest.shapes()
            manifest.digests()  # are known from now on
            return Site.of(manifest, self._rules, old.switches), text, difference(old.manifest, manifest)

        return await in_thread(compiled)

    async def _use(self, data: bytes) -> Difference:
        site, text, found = await self._compiled(data)
        async with self._lock:
            self._in_use.site = site.switched(self._in_use.site.switches)
            self.text = text  # before the others hear of it: one that is starting asks for it
            self._heard = False
            self._unpurged.update(found.purged)
            await self._make_known()
        names = found.contexts
        log.info("manifest reloaded: added %s, removed %s, changed %s", names.added, names.removed, names.changed)
        return found

    async def adopt(self) -> None:
        """Makes the manifest known to the store; where Redis cannot be asked now, as soon as it can."""
        self._hold.set("manifest not adopted")
        # Else a late answer for this manifest could undo what a reload has just made known.
        async with self._lock:
            await self._make_known()

    async def _make_known(self) -> None:
        self._hold.set("manifest not adopted")
        if not await self._try() and not self._is_trying:
            self._is_trying = True
            self._tasks.start(self._keep_trying(), "adopt-manifest")

    async def _try(self) -> bool:
        """Has all that is left to do done for the manifest in use: whether nothing is left. Under the lock."""
        try:
            if not self._heard:
                await self._spread(self.text)
                self._heard = True
            await self._purger.purge(Purge(tuple(map(Scope, sorted(self._unpurged)))), "reload")
            self._unpurged.clear()
            await self._tell_store()
        except StoreError as error:
            if str(error) != self._failure:
                log.warning("nothing is served from the cache until Redis answers: %s", error)
            self._failure = str(error)
            return False
        except Exception:
            # Whatever it is, the hold stays, and so must the attempts to end it.
            log.exception("the manifest in use was not made known to all; it is tried again")
            return False
        self._failure = ""
        self._hold.lift("manifest not adopted")
        return True

    async def _tell_store(self) -> None:
        manifest = self._in_use.site.manifest
        # Asked again each time: what was away at the start may come back as what cannot be used.
        await self._store.check()
        changed = await self._store.run(self._store.namespace.adopt(manifest.shapes(), manifest.digests()))
        if changed:
            log.warning(
                "the manifest says something else of %s than before: what was stored is purged", ", ".join(changed)
            )

    async def _keep_trying(self) -> None:
        while self._is_trying:
            await asyncio.sleep(_RETRY_S)
            async with self._lock:
                self._is_trying = not await self._try()
