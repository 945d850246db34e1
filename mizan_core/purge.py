"""`Purge`, what everybody hands on who purges, the edge as well as Django, and `By`, who has asked for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from mizan_core.manifest import Context
from mizan_core.scopes import Scope, widest


@dataclass(frozen=True, slots=True)
class By:
    """Who asked for a purge, as far as that is known, for the audit. It decides nothing."""

    source: str = ""
    """How it came: `response`, `admin`, `django`, ..."""
    request: str = ""
    """The method and path of the request that it came with."""
    function: str = ""
    """The function that was called."""
    token: str = ""
    """The role of the token that was shown."""
    edge: str = ""
    host: str = ""
    """The name of the host that has done it."""
    note: str = ""

    def to_json(self) -> dict[str, str]:
        """What is known, as a JSON object."""
        return {name: text for name in BY if (text := getattr(self, name))}


BY = tuple(item.name for item in fields(By))
"""What is known of who asked, by name."""


@dataclass(frozen=True, slots=True)
class Purge:
    """What to purge: scopes, none of which covers another, or everything. `faults` says what was widened, and why."""

    scopes: tuple[Scope, ...] = ()
    everything: bool = False
    faults: tuple[str, ...] = ()
    hold_s: int = 0
    """For so long, matching fills that begin are not stored: a replica may lag, or the change may come late."""
    by: By = field(default=By(), compare=False)

    @classmethod
    def of(cls, scopes: Iterable[Scope], contexts: Mapping[str, Context]) -> Self:
        """The purge of these scopes, held as long as their contexts say."""
        purged = widest(scopes)
        return cls(purged, hold_s=longest_hold(purged, contexts))

    @classmethod
    def of_everything(cls, contexts: Mapping[str, Context]) -> Self:
        """The purge of everything, held as long as any context says."""
        return cls(everything=True, hold_s=longest_hold(None, contexts))

    def __str__(self) -> str:
        return "everything" if self.everything else ", ".join(map(str, self.scopes))

    @property
    def is_empty(self) -> bool:
        """Whether it purges nothing."""
        return not (self.everything or self.scopes)

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object, without the faults."""
        record: dict[str, Any] = {}
        if self.everything:
            record["everything"] = True
        else:
            record["scopes"] = [[scope.context, scope.params] for scope in self.scopes]
        if self.hold_s:
            record["hold_s"] = self.hold_s
        if by := self.by.to_json():
            record["by"] = by
        return record

    @classmethod
    def from_json(cls, record: Mapping[Any, Any]) -> Self:
        """What `to_json` gave."""
        scopes = tuple(Scope(name, tuple((n, v) for n, v in params)) for name, params in record.get("scopes", []))
        # Of a later version, which may know more.
        by = By(**{name: text for name, text in record.get("by", {}).items() if name in BY})
        return cls(scopes, everything=record.get("everything", False), hold_s=record.get("hold_s", 0), by=by)


def longest_hold(scopes: Iterable[Scope] | None, contexts: Mapping[str, Context]) -> int:
    """The longest `hold` of the contexts that scopes name, in seconds; of all contexts for None."""
    names = contexts.keys() if scopes is None else {scope.context for scope in scopes} & contexts.keys()
    return max((contexts[name].hold for name in names), default=0)
