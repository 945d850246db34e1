"""How one manifest differs from another, and what becomes of what was stored under the first."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from mizan_core.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Change:
    """What both have, and say otherwise: JSON values."""

    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Names:
    """Names that one has more, less, or otherwise; sorted."""

    added: list[str]
    removed: list[str]
    changed: list[str]

    @classmethod
    def of(cls, old: Mapping[str, object], new: Mapping[str, object]) -> "Names":
        """What `new` has that `old` has not, the other way round, and otherwise."""
        both = old.keys() & new.keys()
        return cls(
            sorted(new.keys() - old.keys()),
            sorted(old.keys() - new.keys()),
            sorted(name for name in both if old[name] != new[name]),
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """All of it."""

    contexts: Names
    changes: dict[str, dict[str, Change]]
    """Of each changed context: its keys."""
    routes: Names
    """Patterns of endpoints and of views; one has changed that belongs to another context or is the other kind now."""
    mutations: Names
    site: dict[str, Change]
    """What stands beside the contexts: `release`, `calls`, `version`."""
    unreachable: list[str]
    """Contexts whose views' entries are not found any more, since the release is in their keys. They are not purged:
    until they expire, they are found again under the old release."""

    @property
    def purged(self) -> list[str]:
        """The contexts whose entries a reload purges: whatever has changed about one may have changed what its
        responses should be."""
        return sorted([*self.contexts.removed, *self.contexts.changed])

    def to_json(self) -> dict[str, Any]:
        """As an object: the names of contexts at its top, all else under its own name."""
        return {
            **asdict(self.contexts),
            "changes": {name: _json(keys) for name, keys in self.changes.items()},
            "routes": asdict(self.routes),
            "mutations": asdict(self.mutations),
            "site": _json(self.site),
            "purged": self.purged,
            "unreachable": self.unreachable,
        }


def difference(old: Manifest, new: Manifest) -> Difference:
    """What `new` has that `old` has not, the other way round, and otherwise."""
    contexts = Names.of(old.contexts, new.contexts)
    site = dict(_changes(old, new, but=("contexts", "mutations")))
    viewed = [name for name, context in old.contexts.items() if context.views]
    return Difference(
        contexts,
        {name: dict(_changes(old.contexts[name], new.contexts[name])) for name in contexts.changed},
        Names.of(_routes(old), _routes(new)),
        Names.of(old.mutations, new.mutations),
        site,
        sorted(set(viewed) - {*contexts.removed, *contexts.changed}) if "release" in site else [],
    )


def _changes(old: BaseModel, new: BaseModel, but: tuple[str, ...] = ()) -> Iterator[tuple[str, Change]]:
    one, other = (model.model_dump(mode="json", exclude={*but}) for model in (old, new))
    for name in {**one, **other}:  # unknown keys, which one of them may lack, among them
        if one.get(name) != other.get(name):
            yield name, Change(one.get(name), other.get(name))


def _routes(manifest: Manifest) -> dict[str, tuple[str, str]]:
    return {
        pattern: (name, kind)
        for name, context in manifest.contexts.items()
        for kind, patterns in (("endpoint", context.endpoints), ("view", context.views))
        for pattern in patterns
    }


def _json(changes: dict[str, Change]) -> dict[str, Any]:
    return {name: asdict(change) for name, change in changes.items()}
