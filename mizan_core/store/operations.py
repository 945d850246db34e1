"""The store's operations without their I/O: which script with which arguments, and what its reply means.

Both clients (`client`, `aioclient`) run exactly these, so a purge from a shell is the same purge as one from a header.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from mizan_core.purge import By
from mizan_core.scopes import Scope
from mizan_core.store.layout import Entry, Fence, decode_entry, encode_entry, index_names, scope_argument
from mizan_core.store.replies import Ban, Lookup, Purged, PurgeOf, Registered, Renewed, Slice, StoreReply, Switched

VISIT_LIMIT = 100
"""Entries that one purge script may visit; beyond, the scope is banned and swept later."""
SCOPES_AT_ONCE = 100
"""Scopes that one purge script is given, so that none keeps Redis from others for long: each takes it some 20 us."""
LOG_LIMIT = 10_000
"""Scopes that the log of purges keeps."""
INSPECT_LIMIT = 500
"""Entries or purges that one script looks at for somebody who asks what there is: about 2 ms."""
SWEEP_SLICE = 20
COLLECT_SLICE = 1000
"""Keys of the database among which one slice looks for indexes to collect from: about 0.8 ms."""
LEASE_MS = 2000
"""For how long an edge may read entries after it has asked, and what is purged may stay in its memory at most."""
NO_DIGESTS: Mapping[str, str] = MappingProxyType({})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and its SHA-1, under which Redis caches it."""

    text: str
    sha: str


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A script call, and how its reply reads."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | bytes | int]
    parse: Callable[..., T]
    """Of the replies to `commands()`."""
    values: Sequence[str] = ()
    """Keys of strings that are read just before the script runs."""

    def commands(self, *, cached: bool = True) -> list[tuple[str | bytes | int, ...]]:
        """What is sent to Redis in one go. `cached`: whether it knows the script."""
        how = ("EVALSHA", self.script.sha) if cached else ("EVAL", self.script.text)
        call = (*how, len(self.keys), *self.keys, *self.args)
        return [("MGET", *self.values), call] if self.values else [call]


def parts(scopes: Sequence[Scope]) -> list[Sequence[Scope]]:
    """The scopes of one purge as several script calls take them."""
    return [scopes[start : start + SCOPES_AT_ONCE] for start in range(0, len(scopes), SCOPES_AT_ONCE)]


@cache
def script(name: str) -> Script:
    folder = files("mizan_core.store") / "lua"
    text = (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Namespace:
    """The names of one site's keys, and its operations. `sealing` is a key of `seal.sealing_key`."""

    name: str
    sealing: bytes

    @property
    def control(self) -> str:
        return f"{{{self.name}}}:ctl"

    def entry(self, key: str) -> str:
        return f"{{{self.name}}}:e:{key}"

    def read(self, keys: Sequence[str]) -> Operation[Lookup]:
        """Entries by their keys, in order."""
        entries = [self.entry(key) for key in keys]

        def parse(*replies: Any) -> Lookup:
            values, verdict = replies if entries else ([], *replies)
            return self._lookup(keys, values, verdict)

        return Operation(script("read"), [self.control, *entries], [nonce()], parse, entries)

    def store(
        self,
        key: str,
        payload: bytes,
        *,
        fence: Fence,
        scopes: Sequence[Scope],
        shapes: Mapping[str, str],
        retention_ms: int,
        began_ms: int,
        digests: Mapping[str, str] = NO_DIGESTS,
        expected: bytes = b"",
        outlasting: bool = False,
        lead: tuple[str, str] | None = None,
    ) -> Operation[StoreReply]:
        """Stores a payload under `key`, indexed by the scopes it depends on, unless a purge has overtaken `fence`.

        `expected` is the seal of the entry that it was made from, if that must still lie there.
        `outlasting`: it is kept for at least as long as what lies there would have been.
        `lead` is the key and the token of a fill that is over once this is stored: see `fills.end`.
        `began_ms` is when the fill began, by the clock of the look-up that gave the fence: holds are judged by it.
        `shapes` has the shape of each context among the scopes; `digests`, for an edge, what its manifest says of
        them. Raises EntryError where the scopes are too many.
        """
        value = encode_entry(self.sealing, key, Entry.of(fence, index_names(scopes), payload))
        contexts = sorted({scope.context for scope in scopes})
        said = [text for name in contexts for text in (name, shapes.get(name, ""), digests.get(name, ""))]
        lease, token = lead or ("", "")
        return Operation(
            script("store"),
            [self.control, self.entry(key)],
            [nonce(), key, value, retention_ms, began_ms, expected, int(outlasting), token, lease, *said],
            lambda reply: cast(StoreReply, reply.decode()),
        )

    def as_variant(
        self, storing: Operation[StoreReply], resource: str, limit: int
    ) -> Operation[tuple[StoreReply, list[str]]]:
        """The same `store`, of one of the variants of the resource whose own key is `resource`.

        In the same step the oldest variants beyond `limit` are deleted; the reply has their keys.
        """

        def parse(reply: Any) -> tuple[StoreReply, list[str]]:
            if isinstance(reply, bytes):
                return storing.parse(reply), []
            stored, *gone = reply
            return storing.parse(stored), [key.decode() for key in gone]

        keys = [*storing.keys, f"{{{self.name}}}:v:{resource}"]
        return Operation(storing.script, keys, [*storing.args, limit], parse)

    def purge(
        self,
        scopes: Iterable[Scope],
        *,
        everything: bool = False,
        dry_run: bool = False,
        hold_s: int = 0,
        shapes: Mapping[str, str] | None = None,
        visit: int = VISIT_LIMIT,
        purger: str = "",
        lease_ms: int = LEASE_MS,
        by: By | None = None,
    ) -> Operation[Purged]:
        """Purges scopes, or everything, and stores no matching fill that begins within `hold_s` seconds.

        `shapes` are those of the manifest that the scopes were made by: a context that the store knows under another
        one is purged as a whole. Dry: counts what that would purge. Members acknowledge to `purger`, an id that its
        channel is named by, unless it is empty. `lease_ms` is 0 where no other member can exist. `by` has it audited.
        """
        known = shapes or {}
        pairs = [text for scope in scopes for text in (scope_argument(scope), known.get(scope.context, ""))]
        texts = ["", ""] if everything else pairs
        how, told = "dry" if dry_run else "purge", "" if by is None else json.dumps(by.to_json())
        return Operation(
            script("purge"),
            [self.control],
            [nonce(), how, visit, LOG_LIMIT, hold_s * 1000, purger, lease_ms, told, *texts],
            _purged,
        )

    def matching(self, scopes: Sequence[Scope], limit: int, *, everything: bool = False) -> Operation[list[str]]:
        """The keys of up to `limit` entries that a purge of up to SCOPES_AT_ONCE scopes would remove.

        It does not visit more than INSPECT_LIMIT, so there may be others.
        """
        texts = [""] if everything else [scope_argument(scope) for scope in scopes]
        return Operation(
            script("matching"),
            [self.control],
            [nonce(), limit, INSPECT_LIMIT, *texts],
            lambda reply: [key.decode() for key in reply],
        )

    def last_purge(self, names: Sequence[str], passed: int = 0) -> Operation[PurgeOf | int | None]:
        """The last purge that matches what stands in the indexes `names`.

        None: the log has none. A number: the latest so many have been passed, and older ones are yet to be looked at.
        """

        def parse(reply: Sequence[Any]) -> PurgeOf | int | None:
            match reply:
                case [bytes(scope), int(seq)]:
                    return PurgeOf(scope.decode(), seq)
                case [int(more)]:
                    return more
            return None

        return Operation(script("last_purge"), [self.control], [nonce(), passed, INSPECT_LIMIT, *names], parse)

    def bans(self) -> Operation[list[Ban]]:
        """The bans that wait to be swept, oldest first."""
        return Operation(
            script("bans"),
            [self.control],
            [nonce()],
            lambda reply: [Ban(s.decode(), q.decode()) for s, q in zip(reply[::2], reply[1::2], strict=True)],
        )

    def sweep(self, ban: Ban, done: Slice) -> Operation[Slice]:
        """The slice after `done`; the sweep has ended when the cursor is "0" again."""
        return Operation(
            script("sweep"),
            [self.control],
            [nonce(), ban.scope, ban.seq, done.cursor, SWEEP_SLICE, done.index],
            lambda reply: Slice(reply[0].decode(), reply[2].decode(), reply[1]),
        )

    def collect(self, done: Slice) -> Operation[Slice]:
        """The slice after `done` of dropping what has expired from indexes; its cursor is "0" after the last one."""
        return Operation(
            script("collect"),
            [self.control],
            [nonce(), done.cursor, COLLECT_SLICE],
            lambda reply: Slice(reply[0].decode(), deleted=reply[1]),
        )

    def register(self, edge: str, session: str, *, former: str = "", lease_ms: int = LEASE_MS) -> Operation[Registered]:
        """Makes a new session a member, and takes the lease of its edge, by the edge's durable id.

        `former` is the session before it, of which nothing is left in memory.
        """
        return Operation(
            script("register"),
            [self.control],
            [nonce(), edge, session, lease_ms, former],
            lambda reply: Registered(reply[0].decode(), reply[1], reply[2], reply[3] == 1),
        )

    def renew(
        self, edge: str, session: str, incarnation: str, seen: int, *, lease_ms: int = LEASE_MS
    ) -> Operation[Renewed]:
        """Renews the lease of a session that knows every purge of `incarnation` up to `seen`."""

        def parse(reply: Sequence[Any]) -> Renewed:
            what, current, seq, now_ms, *scopes = reply
            return Renewed(what.decode(), current.decode(), seq, now_ms, tuple(scope.decode() for scope in scopes))

        return Operation(script("renew"), [self.control], [nonce(), edge, session, incarnation, seen, lease_ms], parse)

    def sign_off(self, edge: str, session: str) -> Operation[bool]:
        """Gives the lease of an edge up; whether there was one."""
        return Operation(script("sign_off"), [self.control], [edge, session], lambda reply: reply == 1)

    def adopt(self, shapes: Mapping[str, str], digests: Mapping[str, str] | None = None) -> Operation[list[str]]:
        """Takes over the shapes of a manifest, and for an edge what it says of each context; the reply names the
        contexts of which it says something else than before, and which were purged."""
        known = NO_DIGESTS if digests is None else digests
        said = [text for context in sorted(shapes) for text in (context, shapes[context], known.get(context, ""))]
        return Operation(
            script("adopt"),
            [self.control],
            [nonce(), int(digests is not None), *said],
            lambda reply: [name.decode() for name in reply],
        )

    def switch(self, known: Mapping[str, str]) -> Operation[Switched]:
        """Merges what is known of switched contexts, by field, with what the store knows, as `switch.lua` has them."""

        def parse(reply: Sequence[Any]) -> Switched:
            news, fields, earlier = reply
            return Switched(news, _texts(fields), _texts(earlier))

        pairs = [text for field in sorted(known) for text in (field, known[field])]
        return Operation(script("switch"), [self.control], pairs, parse)

    def sizes(self, contexts: Sequence[str]) -> Operation[dict[str, int]]:
        """How many entries each context has, or a few more."""
        return Operation(
            script("sizes"), [self.control], contexts, lambda reply: dict(zip(contexts, reply, strict=True))
        )

    def _lookup(self, keys: Sequence[str], values: Sequence[bytes | None], verdict: Sequence[Any]) -> Lookup:
        incarnation, seq, now_ms, *judged = verdict
        entries: list[Entry | None] = []
        seals: list[bytes] = []
        corrupt: list[bool] = []
        for key, value, seal in zip(keys, values, judged, strict=True):
            # 1. The value is read. 2. Another takes its place. 3. That one is found alive. -- It is a miss here, and
            # who comes to fetch it finds what lies there now.
            alive = isinstance(seal, bytes) and value is not None and value.startswith(seal)
            entry = decode_entry(self.sealing, key, value) if alive and value is not None else None
            entries.append(entry)
            seals.append(seal if alive else b"")
            corrupt.append(seal == 0 or (alive and entry is None))
        return Lookup(Fence(incarnation.decode(), seq), now_ms, tuple(entries), tuple(seals), tuple(corrupt))


def _texts(pairs: Sequence[bytes]) -> dict[str, str]:
    """A hash, whatever another hand has put into it."""
    texts = [text.decode(errors="replace") for text in pairs]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _purged(reply: Sequence[Any]) -> Purged:
    seq, entries, banned, incarnation, wait_ms, scopes, *members = reply
    sessions = tuple((s.decode(), ms) for s, ms in zip(members[::2], members[1::2], strict=True))
    executed = tuple(scopes.decode().split("\n\n"))
    return Purged(seq, entries, banned, incarnation.decode(), wait_ms, sessions, executed)


def nonce() -> str:
    return secrets.token_hex(8)
