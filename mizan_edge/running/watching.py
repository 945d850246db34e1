"""Takes up a manifest that somebody has put in the place of the one in use.

The file is looked at once a second. The kernel would not tell of all changes: it may lie on another machine's disk, or
behind a symlink of a directory above it, which is what Kubernetes swaps for a ConfigMap.
"""

import asyncio
import logging
from pathlib import Path

from mizan_core.manifest import ManifestError
from mizan_edge.running.manifest_in_use import ManifestInUse
from mizan_edge.system.threads import in_thread

log = logging.getLogger(__name__)

EVERY_S = 1.0

Look = tuple[int, ...]
"""What tells one file from another, and from itself before it was written to."""


def look(path: Path) -> Look | None:
    """The file at the end of all symlinks; None where there is none, or none to be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def watch(path: Path, manifest_in_use: ManifestInUse) -> None:
    """Follows the file for ever. One that cannot be used is one line in the log, and the manifest in use stays."""
    seen = tried = None
    while True:
        await asyncio.sleep(EVERY_S)
        # In a thread: a disk that hangs must not keep the lease from being renewed.
        found = await in_thread(look, path)
        # One that two looks have found alike is not being written any more.
        if found == seen and found != tried:
            tried = found
            try:
                await manifest_in_use.follow()
            except ManifestError as error:
                log.error("the manifest in use stays: %s", "; ".join(str(error).splitlines()))
        seen = found
