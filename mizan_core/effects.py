"""What each mutation purges, and which contexts no mutation purges, for people to read and for tools."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mizan_core.compiling import Compiled
from mizan_core.manifest import Context
from mizan_core.registry import FunctionSpec, Registry


@dataclass(frozen=True, slots=True)
class Purged:
    """One scope of a mutation: a context, and the parameters whose values the call tells."""

    context: str
    params: tuple[str, ...]
    urls: tuple[str, ...]
    """The patterns of what is purged. Of a pattern whose parameters are all in `params` one URL, otherwise every one
    that carries the values."""
    nullable: tuple[str, ...] = ()
    """Those of `params` that may be None, and then do not narrow it."""
    undecided: tuple[str, ...] = ()
    """Arguments that narrow it further if their values, once they are validated, are values of the parameters."""

    def __str__(self) -> str:
        scope = ";".join([self.context, *(f"{name}=…" for name in self.params)])
        notes = [f"without {', '.join(self.nullable)} where that is None"] if self.nullable else []
        if self.undecided:
            notes.append(f"at most: {', '.join(self.undecided)} may narrow it, which shows only in the call")
        return f"{scope} ({'; '.join(notes)})" if notes else scope


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
                    {
                        "context": scope.context,
                        "params": list(scope.params),
                        "urls": list(scope.urls),
                        "nullable": list(scope.nullable),
                        "undecided": list(scope.undecided),
                    }
                    for scope in scopes
                ]
                for name, scopes in self.mutations.items()
            },
            "unpurged": list(self.unpurged),
        }


def effects(registry: Registry, compiled: Compiled) -> Effects:
    """What the mutations of a registry purge, by what it was compiled to."""
    mutations = {
        spec.name: tuple(scope for context in sorted(spec.targets) for scope in _purged(spec, context, compiled))
        for spec in registry
        if spec.is_mutation
    }
    purged = {scope.context for scopes in mutations.values() for scope in scopes}
    return Effects(mutations, tuple(sorted(compiled.manifest.contexts.keys() - purged)))


def _purged(spec: FunctionSpec, context: str, compiled: Compiled) -> Iterator[Purged]:
    covered = compiled.coverage[context]
    told = covered.told(spec)
    may_be_none = {p.name for p in spec.signature.parameters if p.nullable}
    undecided = (spec.signature.names & covered.types.keys()) - told
    subsets = covered.covering(told)
    if covered.covering(told | undecided) == subsets:
        undecided = frozenset()
    for names in subsets:
        params = tuple(sorted(names))
        urls = _urls(compiled.manifest.contexts[context], params)
        yield Purged(context, params, urls, tuple(sorted(names & may_be_none)), tuple(sorted(undecided)))


def _urls(declared: Context, params: tuple[str, ...]) -> tuple[str, ...]:
    query = "&".join(f"{name}=:{name}" for name in params)
    endpoints = [f"{endpoint}?{query}" if query else endpoint for endpoint in declared.endpoints]
    return (*sorted(endpoints), *sorted(declared.views))
