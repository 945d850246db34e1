"""What a running edge reads again when it is told to: its manifest, and its certificate where it has one."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mizan_core.errors import MizanError
from mizan_core.manifest import ManifestError
from mizan_edge.running.manifest_in_use import ManifestInUse
from mizan_edge.system.tls import Certificate, Pair, TlsError

log = logging.getLogger(__name__)


class ReloadFailed(MizanError):
    """Files that cannot be used: what was read from them before stays in use."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The certificate in use, and where the next one will be found."""

    certificate: Certificate
    certificate_file: Path
    key_file: Path
    spread: Callable[[Pair], Awaitable[None]]
    """Has every worker use a pair; returns when all do."""

    async def renew(self) -> bool:
        """Whether there was another one, which is in use now. Raises TlsError."""
        pair = Pair.read(self.certificate_file, self.key_file)
        if pair == self.certificate.pair:
            return False
        # Before the workers hear of it: one that is starting asks for the pair in use.
        self.certificate.use(pair)
        await self.spread(pair)
        log.info("certificate renewed")
        return True


@dataclass(frozen=True, slots=True)
class Files:
    """All of them."""

    manifest_in_use: ManifestInUse
    renewal: Renewal | None

    async def compare(self) -> dict[str, Any]:
        """How the manifest on disk differs from the one in use. Raises ReloadFailed where it could not be used."""
        try:
            return (await self.manifest_in_use.compare()).to_json()
        except ManifestError as error:
            raise ReloadFailed(f"it could not be used: {error}") from None

    async def reload(self) -> dict[str, Any]:
        """Reads them again: how the manifests differ, and whether the certificate is another one.

        Raises ReloadFailed when it has done what it can: a manifest with a mistake must not let a certificate expire.
        """
        found: dict[str, Any] = {}
        failures = []
        try:
            found |= (await self.manifest_in_use.reload()).to_json()
        except ManifestError as error:
            failures.append(f"the manifest in use stays: {error}")
        if self.renewal is not None:
            try:
                found["certificate"] = "renewed" if await self.renewal.renew() else "unchanged"
            except TlsError as error:
                failures.append(f"the certificate in use stays: {error}")
        if failures:
            raise ReloadFailed("; ".join(failures))
        return found
