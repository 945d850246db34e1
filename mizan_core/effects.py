"""What each mutation purges, and which contexts no mutation purges, for people to read and for tools."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mizan_core.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Purged:
    """One scope of a mutation: a context, and the parameters whose values the call tells."""

    context: str
    params: tuple[str, ...]
    urls: tuple[str, ...]
    """The patterns of what is purged. Of a pattern whose parameters are all in `params` one URL, otherwise every one
    that carries the values."""

    def __str__(self) -> str:
        return ";".join([self.context, *(f"{name}=…" for name in self.params)])


@dataclass(frozen=True, slots=True)
class Effects:
    """What purges what."""

    mutations: Mapping[str, tuple[Purged, ...]]
    """Sorted by name, as are the scopes of each."""
    unpurged: tuple[str, ...]
    """The contexts that no mutation purges: only their lifetimes end what is cached of them."""

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "mutations": {
                name: [
                    {"context": scope.context, "params": list(scope.params), "urls": list(scope.urls)}
                    for scope in scopes
                ]
                for name, scopes in self.mutations.items()
            },
            "unpurged": list(self.unpurged),
        }


def effects(manifest: Manifest) -> Effects:
    """What the mutations of a manifest purge."""
    mutations = {
        name: tuple(_purged(manifest, affected.context, affected.params) for affected in mutation.affects)
        for name, mutation in sorted(manifest.mutations.items())
    }
    purged = {scope.context for scopes in mutations.values() for scope in scopes}
    return Effects(mutations, tuple(sorted(manifest.contexts.keys() - purged)))


def _purged(manifest: Manifest, context: str, params: list[str]) -> Purged:
    declared = manifest.contexts[context]
    query = "&".join(f"{name}=:{name}" for name in params)
    endpoints = [f"{endpoint}?{query}" if query else endpoint for endpoint in declared.endpoints]
    return Purged(context, tuple(params), (*sorted(endpoints), *sorted(declared.views)))
