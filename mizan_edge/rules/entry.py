"""Stored responses, and the bytes that stand for them in an entry."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from mizan_edge.http.conditional import with_validator
from mizan_edge.http.framing import field_bytes, octets, text
from mizan_edge.http.freshness import Lifetime, initial_age_s
from mizan_edge.http.message import FieldLines, Fields, Response, dropped, end_to_end
from mizan_edge.rules.compression import CODINGS, compressible


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A complete response, when it was made and how long it lives. Times are of Redis' clock, in ms."""

    response: Response
    body: bytes
    stored_ms: int
    initial_age_s: int
    lifetime: Lifetime
    own_tag: bool = False
    """Whether its entity tag was made here: the origin knows nothing of it."""
    took_ms: int = 0
    """How long it took to fetch."""
    encoded: Mapping[str, bytes] | None = None
    """Copies of its body by their content codings, empty where they are yet to be made; None: none are to be."""

    @classmethod
    def of(
        cls,
        response: Response,
        body: bytes,
        now_ms: int,
        lifetime: Lifetime,
        known: "StoredResponse | None" = None,
        *,
        took_ms: int = 0,
    ) -> Self:
        """The response that the origin has just given, with an entity tag.

        `known`: the one whose body this is, since the origin has confirmed it; its copies hold for this one too.
        """
        kept = replace(response, fields=end_to_end(response.fields))
        tagged = with_validator(kept, body)
        encoded = (known.encoded if known else {}) if compressible(tagged, body) else None
        age_s, own_tag = initial_age_s(response), tagged is not kept
        return cls(tagged, body, now_ms, age_s, lifetime, own_tag, took_ms, encoded)

    @property
    def uncompressed(self) -> bool:
        """Whether copies of it are yet to be made."""
        return self.encoded is not None and not self.encoded

    def compressed(self, copies: Mapping[str, bytes]) -> Self:
        """The same with the copies that were made of its body, of which none may have been worth it."""
        return replace(self, encoded=copies or None)

    @property
    def conditions(self) -> Fields:
        """The fields that ask the origin whether it still holds; none where it has no validator of the origin's.
        RFC 9111 section 4.3.1."""
        found = []
        if not self.own_tag and (tag := self.response.get("etag")) is not None:
            found.append(("If-None-Match", tag))
        if (modified := self.response.get("last-modified")) is not None:
            found.append(("If-Modified-Since", modified))
        return tuple(found)

    def confirmed(self, response: Response) -> Response | None:
        """Its head as a 304 updates it; None where that stands for another response. RFC 9111 sections 3.2, 4.3.4."""
        tag = response.get("etag")
        if tag is not None and not self.own_tag and _opaque(tag) != _opaque(self.response.get("etag") or ""):
            return None
        modified = response.get("last-modified")
        if tag is None and modified is not None and modified != self.response.get("last-modified"):
            return None
        fields = tuple(field for field in end_to_end(response.fields) if field[0].lower() != "content-length")
        # The age of what was stored is none of the age of what was confirmed.
        replaced = {name.lower() for name, _ in fields} | {"age"} | ({"etag"} if self.own_tag else set())
        return Response(self.response.status, (*dropped(self.response.fields, replaced), *fields), self.response.reason)

    def age_s(self, now_ms: int) -> int:
        """RFC 9111 section 4.2.3. A clock that was set back makes nothing younger than it arrived."""
        return self.initial_age_s + max(0, now_ms - self.stored_ms) // 1000

    def ttl_s(self, now_ms: int) -> int:
        """Seconds for which it is still fresh; negative once it is stale."""
        return self.lifetime.ttl_s - self.age_s(now_ms)

    def left_ms(self, now_ms: int) -> int:
        """The same to the millisecond."""
        return (self.lifetime.ttl_s - self.initial_age_s) * 1000 - max(0, now_ms - self.stored_ms)

    def to_bytes(self) -> bytes:
        copies, life = self.encoded or {}, self.lifetime
        reason = octets(self.response.reason)
        lines = field_bytes(self.response.fields)
        start = _START.pack(
            _RESPONSE,
            self.response.status,
            len(reason),
            _OWN_TAG * self.own_tag + _ENCODED * (self.encoded is not None),
            self.stored_ms,
            self.initial_age_s,
            self.took_ms,
            life.ttl_s,
            life.swr_s,
            life.sie_s,
            life.keep_s,
            len(lines),
            *(len(copies.get(coding, b"")) for coding in CODINGS),
        )
        return b"".join((start, reason, lines, *(copies.get(coding, b"") for coding in CODINGS), self.body))

    @classmethod
    def of_written(cls, written: "Written") -> Self:
        """The response that was written."""
        fields = FieldLines.of(
            [
                (name.decode(), text(value))
                for name, _, value in [line.partition(b": ") for line in written.lines.split(b"\r\n")[:-1]]
            ]
        )
        response = Response(written.status, fields, text(written.reason))
        encoded = None
        if written.copies is not None:
            encoded = {coding: copy for coding, copy in zip(CODINGS, written.copies, strict=True) if copy}
        return cls(
            response,
            written.body,
            written.stored_ms,
            written.initial_age_s,
            Lifetime(*written.lifetime),
            written.own_tag,
            written.took_ms,
            encoded,
        )


# What lies there, and how a response begins: its status, the length of its reason phrase, flags, when it was stored
# (ms), its age then (s), how long it took (ms), its lifetime (s), the lengths of its field lines and its copies.
_RESPONSE, _RECORD = 1, 2
_START = struct.Struct(f">BHBBQ7I{len(CODINGS)}I")
_OWN_TAG, _ENCODED = 1, 2


class Written(NamedTuple):
    """The bytes of a stored response, taken apart and not understood yet; as `StoredResponse` says."""

    status: int
    reason: bytes
    own_tag: bool
    stored_ms: int
    initial_age_s: int
    took_ms: int
    lifetime: tuple[int, ...]
    lines: bytes
    """Each with its CRLF."""
    copies: tuple[bytes, ...] | None
    """In the order of `CODINGS`; empty where there is none."""
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> "Written":
        numbers = _START.unpack_from(data)
        _, status, of_reason, flags, stored_ms, age_s, took_ms = numbers[:7]
        lifetime, of_lines, of_copies = numbers[7:11], numbers[11], numbers[12:]
        at = _START.size + of_reason
        reason, lines = data[_START.size : at], data[at : at + of_lines]
        at += of_lines
        copies: tuple[bytes, ...] | None = None
        if flags & _ENCODED:
            parts = []
            for length in of_copies:
                parts.append(data[at : at + length])
                at += length
            copies = tuple(parts)
        own_tag = bool(flags & _OWN_TAG)
        return cls(status, reason, own_tag, stored_ms, age_s, took_ms, lifetime, lines, copies, data[at:])


def _opaque(tag: str) -> str:
    # RFC 9110 section 8.8.3.2: the weak comparison.
    return tag.strip().removeprefix("W/")


@dataclass(frozen=True, slots=True)
class VaryRecord:
    """What lies under a resource's own key where its responses vary: the names of the fields that select one."""

    names: tuple[str, ...]

    def to_bytes(self) -> bytes:
        return bytes([_RECORD, *"\n".join(self.names).encode()])


def decode_payload(data: bytes) -> Written | VaryRecord:
    """What `to_bytes` wrote, of a response or a record. It was sealed, so nothing else can stand there."""
    if data[0] == _RECORD:
        return VaryRecord(tuple(data[1:].decode().split("\n")))
    return Written.of(data)
