"""Stored responses, and the bytes that stand for them in an entry."""

from dataclasses import dataclass, replace
from typing import Self

import orjson

from mizan_edge.conditional import with_validator
from mizan_edge.freshness import Lifetime, initial_age_s
from mizan_edge.http import Fields, Response, dropped, end_to_end

_LENGTH_BYTES = 4
# Of Python's objects: two texts and a pair for each field; a few records and the bytes object.
_FIELD_OVERHEAD_BYTES = 160
_OVERHEAD_BYTES = 400


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

    @classmethod
    def of(cls, response: Response, body: bytes, now_ms: int, lifetime: Lifetime) -> Self:
        """The response that the origin has just given, with an entity tag."""
        kept = replace(response, fields=end_to_end(response.fields))
        tagged = with_validator(kept, body)
        return cls(tagged, body, now_ms, initial_age_s(response), lifetime, own_tag=tagged is not kept)

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

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        fields = sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in self.response.fields)
        return len(self.body) + fields + _OVERHEAD_BYTES

    def to_bytes(self) -> bytes:
        head = orjson.dumps(
            {
                "status": self.response.status,
                "reason": self.response.reason,
                "fields": self.response.fields,
                "stored_ms": self.stored_ms,
                "initial_age_s": self.initial_age_s,
                "lifetime": [self.lifetime.ttl_s, self.lifetime.swr_s, self.lifetime.sie_s, self.lifetime.keep_s],
                "own_tag": self.own_tag,
            }
        )
        return len(head).to_bytes(_LENGTH_BYTES) + head + self.body

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
        head = orjson.loads(data[_LENGTH_BYTES:end])
        response = Response(head["status"], tuple((n, v) for n, v in head["fields"]), head["reason"])
        lifetime = Lifetime(*head["lifetime"])
        return cls(response, data[end:], head["stored_ms"], head["initial_age_s"], lifetime, head["own_tag"])


def _opaque(tag: str) -> str:
    # RFC 9110 section 8.8.3.2: the weak comparison.
    return tag.strip().removeprefix("W/")


@dataclass(frozen=True, slots=True)
class VaryRecord:
    """What lies under a resource's own key where its responses vary: the names of the fields that select one."""

    names: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        return sum(map(len, self.names)) + _OVERHEAD_BYTES

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
