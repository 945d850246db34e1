"""The ways to the caches from a process of the application: the shared store, the edge's admin listener, or the memory
of the process."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from platform import node
from typing import Any, Protocol

from mizan.cache.memory_bundles import MemoryBundles
from mizan.declare.compiled import compiled
from mizan_core.errors import MizanError
from mizan_core.purge import By, Purge
from mizan_core.store import Store, StoreError

# A purge that the store does not confirm is answered one lease later, and a lease is about 2 s.
ADMIN_TIMEOUT_S = 15.0

_BY = By(source="django", host=node())


class NoCacheError(MizanError, RuntimeError):
    """No cache is configured that could be purged; the text says what to set."""


class PurgeError(MizanError, RuntimeError):
    """A purge that was not confirmed: it may or may not have happened."""


class Door(Protocol):
    """A way to purge."""

    def purge(self, purge: Purge) -> None:
        """Raises PurgeError unless it is confirmed."""


@dataclass(frozen=True, slots=True)
class StoreDoor:
    """Purges in the store that the edge uses as well."""

    store: Store

    def purge(self, purge: Purge) -> None:
        shapes = compiled().manifest.shapes()
        try:
            self.store.purge(purge.scopes, everything=purge.everything, hold_s=purge.hold_s, shapes=shapes, by=_BY)
        except StoreError as error:
            raise PurgeError(f"the purge was not confirmed: {error}") from error


@dataclass(frozen=True, slots=True, repr=False)
class AdminDoor:
    """Asks the edge at its admin listener."""

    url: str
    token: str | None

    def purge(self, purge: Purge) -> None:
        scopes = [str(scope) for scope in purge.scopes]
        body: dict[str, Any] = {"all": True} if purge.everything else {"scopes": scopes}
        refused = self._post(body)
        if refused is not None and refused[0] == HTTPStatus.CONFLICT:
            # It asks whether that is meant, since it costs much. An application means it.
            refused = self._post(body | {"confirm": True})
        if refused is not None:
            raise PurgeError(f"the edge answered the purge with {refused[0]}: {refused[1]}")

    def _post(self, body: dict[str, Any]) -> tuple[int, str] | None:
        """With which status the edge refuses a purge, and what it says; None: it is done. Raises PurgeError."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)  # noqa: S310 checked in door()
        try:
            with urllib.request.urlopen(request, timeout=ADMIN_TIMEOUT_S):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(2000).decode(errors="replace")
        except OSError as error:
            raise PurgeError(f"the edge at {self.url} cannot be asked to purge: {error}") from error


@dataclass(frozen=True, slots=True)
class MemoryDoor:
    """Purges in this process, and asks the edge where there is one."""

    here: MemoryBundles
    edge: AdminDoor | None

    def purge(self, purge: Purge) -> None:
        self.here.purge(purge)
        if self.edge is not None:
            self.edge.purge(purge)
