"""Stored responses, and the bytes that stand for them in an entry."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import orjson

from mizan_edge.compression import compressible
from mizan_edge.conditional import with_validator
from mizan_edge.framing import octets, text
from mizan_edge.freshness import Lifetime, initial_age_s
from mizan_edge.http import Fields, Response, dropped, end_to_end

_LENGTH_BYTES = 4


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
        copies = self.encoded or {}
        head = orjson.dumps(
            {
                "status": self.response.status,
                "reason": _characters(self.response.reason),
                "fields": [(name, _characters(value)) for name, value in self.response.fields],
                "stored_ms": self.stored_ms,
                "initial_age_s": self.initial_age_s,
                "lifetime": [self.lifetime.ttl_s, self.lifetime.swr_s, self.lifetime.sie_s, self.lifetime.keep_s],
                "own_tag": self.own_tag,
                "took_ms": self.took_ms,
                "encoded": None if self.encoded is None else [(coding, len(copy)) for coding, copy in copies.items()],
            }
        )
        return b"".join((len(head).to_bytes(_LENGTH_BYTES), head, *copies.values(), self.body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
        head = orjson.loads(data[_LENGTH_BYTES:end])
        fields = tuple([(name, _text(value)) for name, value in head["fields"]])
        response = Response(head["status"], fields, _text(head["reason"]))
        lifetime = Lifetime(*head["lifetime"])
        encoded: dict[str, bytes] | None = None
        if (lengths := head.get("encoded")) is not None:
            encoded = {}
            for coding, length in lengths:
                encoded[coding] = data[end : end + length]
                end += length
        return cls(
            response,
            data[end:],
            head["stored_ms"],
            head["initial_age_s"],
            lifetime,
            head["own_tag"],
            head.get("took_ms", 0),
            encoded,
        )


def _characters(value: str) -> str:
    """A field's value with a character for each of its bytes: JSON cannot tell `framing.Octets` from other text."""
    return value if value.isascii() else octets(value).decode("latin-1")


def _text(characters: str) -> str:
    return characters if characters.isascii() else text(characters.encode("latin-1"))


def _opaque(tag: str) -> str:
    # RFC 9110 section 8.8.3.2: the weak comparison.
    return tag.strip().removeprefix("W/")


@dataclass(frozen=True, slots=True)
class VaryRecord:
    """What lies under a resource's own key where its responses vary: the names of the fields that select one."""

    names: tuple[str, ...]

    def to_bytes(self) -> bytes:
        # No stored response begins like this: its head would be four gigabytes long.
        return b"\xff\xff\xff\xff" + orjson.dumps(self.names)


Payload = StoredResponse | VaryRecord
"""What lies under a key."""


def decode_payload(data: bytes) -> Payload:
    """What `to_bytes` wrote. The seal has been verified, so nothing else can stand there."""
    if data.startswith(b"\xff\xff\xff\xff"):
        return VaryRecord(tuple(orjson.loads(data[4:])))
    return StoredResponse.from_bytes(data)
