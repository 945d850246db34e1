"""How entries, indexes and scopes are spelled in Redis; the Lua files beside this one read the same spelling."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, Self

from mizan_core.errors import MizanError
from mizan_core.scopes import Scope, term
from mizan_core.seal import seal, unseal

_HEADER_LENGTH_BYTES = 2
_MAX_HEADER_BYTES = 60_000
_MAX_TERM_BYTES = 512


class EntryError(MizanError, ValueError):
    """An entry that depends on more scopes than an index can hold."""


# Named tuples, since they are made for every entry that is read: twice as fast as frozen dataclasses.


class Fence(NamedTuple):
    """The token that lets a fill find out whether a purge has overtaken it: read before the origin is asked."""

    incarnation: str
    seq: int


class Entry(NamedTuple):
    """What lies under a key. Of most that are read, nobody wants more than the payload."""

    header: bytes
    """The fence of its fill and the names of its indexes."""
    payload: bytes

    @classmethod
    def of(cls, fence: Fence, names: Iterable[str], payload: bytes) -> Self:
        """The entry of a fill with this fence that stands in the indexes with these names."""
        return cls("\n".join([f"{fence.incarnation} {fence.seq}", *names]).encode(), payload)

    @property
    def fence(self) -> Fence:
        """The fence of its fill."""
        incarnation, seq = self.header.partition(b"\n")[0].decode().split(" ")
        return Fence(incarnation, int(seq))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its indexes."""
        return tuple(self.header.decode().split("\n")[1:])


def stored_term(name: str, text: str) -> str:
    """A parameter's text in the store: that of the wire, or its digest where that is long."""
    wire = term(name, text)
    if len(wire.encode()) <= _MAX_TERM_BYTES:
        return wire
    # No wire text has a bare # behind the equals sign, so a digest is never taken for a value.
    return f";{name}=#{hashlib.sha256(wire.encode()).hexdigest()}"


def _terms(scope: Scope) -> list[str]:
    return sorted(stored_term(name, text) for name, text in scope.params)


def index_names(scopes: Iterable[Scope]) -> tuple[str, ...]:
    """The indexes in which an entry stands that depends on these scopes: each context and each of its parameters."""
    return _index_names(tuple(scopes))


# For each entry that is fetched and stored, several ask.
@lru_cache(maxsize=64)
def _index_names(scopes: tuple[Scope, ...]) -> tuple[str, ...]:
    names = set()
    for scope in scopes:
        names.add(scope.context)
        names.update(scope.context + text for text in _terms(scope))
    return tuple(sorted(names))


def scope_argument(scope: Scope) -> str:
    """A scope as the scripts take it: the context and the sorted terms, a line each."""
    return "\n".join([scope.context, *_terms(scope)])


def encode_entry(sealing: bytes, key: str, entry: Entry) -> bytes:
    """The sealed bytes of an entry. Raises EntryError where its index names are too many."""
    header = entry.header
    if len(header) > _MAX_HEADER_BYTES:
        raise EntryError(f"an entry stands in {len(entry.names)} indexes, which is more than one can be purged by")
    return seal(sealing, key, len(header).to_bytes(_HEADER_LENGTH_BYTES) + header + entry.payload)


def decode_entry(sealing: bytes, key: str, value: bytes) -> Entry | None:
    """The entry that `encode_entry` made for this very key; None for anything else."""
    data = unseal(sealing, key, value)
    if data is None or len(data) < _HEADER_LENGTH_BYTES:
        return None
    end = _HEADER_LENGTH_BYTES + int.from_bytes(data[:_HEADER_LENGTH_BYTES])
    return Entry(data[_HEADER_LENGTH_BYTES:end], data[end:])
