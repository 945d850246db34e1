"""What a purge would remove, and what it would cost to fetch that again. Nothing is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mizan_core.manifest import Manifest
from mizan_core.purge import Purge
from mizan_core.scopes import URL, Scope, parse_scopes
from mizan_core.store import AsyncStore, Entry, Purged
from mizan_core.store.operations import parts
from mizan_edge.rules.entry import Written, decode_payload

SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Refill:
    """What it takes to fetch some entries of a context again."""

    entries: int
    mean_ms: float
    """How long the fetches took of those that were looked at."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a purge would do."""

    seq: int
    """The last purge that there was."""
    entries: int
    exact: bool
    """Whether just so many would go; else at most."""
    sample: tuple[str, ...]
    """URLs of some of them; calls have none."""
    contexts: Mapping[str, Refill]

    @property
    def origin_s(self) -> float:
        """For how long the origin would be busy with fetching all of it again, one after the other."""
        total = sum(refill.entries for refill in self.contexts.values())
        # What depends on several contexts stands in each.
        once = min(1.0, self.entries / total) if total else 0.0
        return once * sum(refill.entries * refill.mean_ms for refill in self.contexts.values()) / 1000

    def forecast(self) -> dict[str, Any]:
        """The cost, as JSON."""
        contexts = {
            name: {"entries": refill.entries, "mean_ms": round(refill.mean_ms, 1)}
            for name, refill in self.contexts.items()
            if refill.entries
        }
        return {"entries": self.entries, "origin_seconds": round(self.origin_s, 3), "contexts": contexts}


async def preview(store: AsyncStore, manifest: Manifest, purge: Purge) -> Preview:
    """What `purge` would do now. Raises StoreError."""
    contexts: dict[str, list[Scope]] = {}
    for scope in map(Scope, sorted(manifest.contexts)) if purge.everything else purge.scopes:
        contexts.setdefault(scope.context, []).append(scope)
    whole = Purged(0, 0, 0)
    refills: dict[str, Refill] = {}
    urls: dict[str, None] = {}
    for context, scopes in contexts.items():
        count = await _count(store, manifest, scopes)
        sample = await _sample(store, scopes) if count.entries else []
        urls.update(dict.fromkeys(url for entry in sample for url in _urls(entry, context)))
        refills[context] = Refill(count.entries, _mean_ms(sample))
        whole = count
    if len(contexts) != 1 or purge.everything:
        whole = await _count(store, manifest, purge.scopes, everything=purge.everything)
    is_exact = not whole.banned and len(purge.scopes) <= len(next(iter(parts(purge.scopes)), ()))
    return Preview(whole.seq, whole.entries, is_exact, tuple(list(urls)[:SAMPLE]), refills)


async def _count(store: AsyncStore, manifest: Manifest, scopes: Sequence[Scope], *, everything: bool = False) -> Purged:
    """How many entries would go, or more where several parts match the same ones."""
    done = Purged(0, 0, 0)
    for part in [()] if everything else parts(scopes):
        operation = store.namespace.purge(part, everything=everything, dry_run=True, shapes=manifest.shapes())
        counted = await store.run(operation)
        done = Purged(counted.seq, done.entries + counted.entries, done.banned + counted.banned)
    return done


async def _sample(store: AsyncStore, scopes: Sequence[Scope]) -> list[Entry]:
    """Some of the entries."""
    keys: list[str] = []
    for part in parts(scopes):
        found = await store.run(store.namespace.matching(part, SAMPLE - len(keys)))
        keys += found
        if len(keys) >= SAMPLE:
            break
    looked_up = await store.run(store.namespace.read(list(dict.fromkeys(keys))))
    return [entry for entry in looked_up.entries if entry is not None]


def _urls(entry: Entry, context: str) -> list[str]:
    """The URL under which an entry of a context lies; none for calls, and for one of which there is only a digest."""
    start = f"{context};{URL}="
    names = [name for name in entry.names if name.startswith(start) and not name.startswith(f"{start}#")]
    return [text for name in names for text in _values(name)]


def _values(name: str) -> list[str]:
    return [text for member in parse_scopes(name).members for param, text in member.params if param == URL]


def _mean_ms(entries: Sequence[Entry]) -> float:
    took = [written.took_ms for entry in entries if isinstance(written := decode_payload(entry.payload), Written)]
    return sum(took) / len(took) if took else 0.0
