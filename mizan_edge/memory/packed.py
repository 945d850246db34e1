"""What a worker's memory is made of: stored responses, packed so that each costs little more than its bytes.

A `StoredResponse` is a tree of some forty objects. Packed it is one, with two byte strings and what it shares:

    template   what many responses have in common: the status, most lines of the head, the lifetime
    facts      its times, and the names by which purges find it
    own        the lines that differ for each response, an empty line, and the body
    copies     the same for each copy with a content coding

So a message that goes out is a head of the template, which differs by its age only, and `own` behind it. The order of
lines is another than the origin's: those of one name stay in theirs, and RFC 9110 section 5.3 gives others no meaning.
"""

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from weakref import WeakValueDictionary

from mypy_extensions import mypyc_attr

from mizan_core.fields import PARTITION, SCOPE
from mizan_edge.http.framing import octets, text
from mizan_edge.http.freshness import Lifetime
from mizan_edge.http.message import Fields, Response, lines_of
from mizan_edge.http.names import Names, of_names
from mizan_edge.memory.memory import Kept
from mizan_edge.memory.nursery import moved
from mizan_edge.rules.compression import CODINGS
from mizan_edge.rules.entry import StoredResponse, Written
from mizan_edge.system.histograms import Tally

IDENTITY = 0
"""The number of the representation without a content coding; those of the copies follow, as in `CODINGS`."""

# Fields whose values mostly belong to one response.
_OWN = frozenset(
    {
        "cf-ray",
        "content-location",
        "date",
        "etag",
        "expires",
        "last-modified",
        "server-timing",
        "x-request-id",
        "x-runtime",
    }
)
# By these the origin speaks to the edge about one response. What is in memory was judged by them before.
_UNSEEN = frozenset({PARTITION.lower(), SCOPE.lower()})
_LINES = rb"(?m)^(?i:%b):.*\r\n"
_OWN_LINES = re.compile(_LINES % "|".join(sorted(_OWN | _UNSEEN)).encode())
_OWN_LINES_SEEN = re.compile(_LINES % "|".join(sorted(_OWN)).encode())
# As `compression.select` tags copies.
_STRONG_TAG = re.compile(rb"(?m)^((?i:etag): )(?!W/)")
# The one follows from the body, the other from `initial_age_s`.
_IMPLIED = frozenset({"age", "content-length"})
# A site has a handful for each context. With more, something in each head is another one each time.
_TEMPLATES = 256
_TIMES: Final = struct.Struct("=dII")
times: Final[Callable[[bytes], tuple[float, int, int]]] = _TIMES.unpack_from
"""Of the facts of a packed response: until when it is fresh, by Redis' clock (ms); its age when it was stored (s); how
long its fetch took (ms). No method of it, since each hit asks."""
# Of Python's objects, in bytes: the attributes of a packed response, the header of a byte string, the tuple of copies,
# a template with its tuples.
_ATTRIBUTES_BYTES = 48
_STRING_BYTES = 48
_COPIES_BYTES = 80
_TEMPLATE_BYTES = 384
_FIELD_BYTES = 168


@dataclass(frozen=True, slots=True)
class Head:
    """The lines with which answers go out, but for those of their age, which follow the first, and their own."""

    first: bytes
    """Without its CRLF."""
    rest: bytes
    """Each with its CRLF."""
    ttl_s: int
    """For how long what they answer with is fresh."""
    tally: Tally = field(compare=False)
    """Where such answers are counted."""
    starts: dict[int, bytes] = field(default_factory=dict, compare=False)
    """All of it, by the age that it says: what was made lately."""


@mypyc_attr(native_class=False)  # compiled classes have no weak references
@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Template:
    """What many stored responses have in common."""

    context: str
    status: int
    reason: str
    fields: Fields
    lifetime: Lifetime
    own_tag: bool
    has_copies: bool
    """Or will have, once they are made."""
    is_shared: bool
    heads: dict[int, Head] = field(default_factory=dict)
    """By the representation's number: how they were answered with, as far as is known."""

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        return _TEMPLATE_BYTES + sum(2 * (len(name) + len(value)) + _FIELD_BYTES for name, value in self.fields)


class Templates:
    """The templates of what is in memory, each once.

    # mutable state: `_known`, by all that they say.
    """

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[object, ...], Template] = WeakValueDictionary()

    def of(self, context: str, stored: StoredResponse, *, copies: bool) -> Template:
        """The template of a response; one of its own, where there are too many. `copies`: with those in other codings,
        if it has any or will have."""
        head = stored.response
        lines = lines_of(head.fields)
        fields = tuple(lines.at(_common(lines.names)))
        has_copies = copies and stored.encoded is not None
        # By its bytes: the same text may stand for others. See `framing.Octets`.
        name = context, head.status, octets(head.reason), _lines(fields), stored.lifetime, stored.own_tag, has_copies
        if (template := self._known.get(name)) is None:
            is_shared = len(self._known) < _TEMPLATES
            template = Template(
                context, head.status, head.reason, fields, stored.lifetime, stored.own_tag, has_copies, is_shared
            )
            if is_shared:
                self._known[name] = template
        return template


class PackedResponse(Kept):
    """A stored response. It does not change while it is kept, and is empty when it is not any more."""

    __slots__ = ("copies", "own", "template")

    def __init__(self, key: str, names: Sequence[str], written: Written, template: Template, *, hidden: bool) -> None:
        """`template` is that of the response; `hidden`: what the origin says to the edge alone is left out."""
        super().__init__(key, names, _times(written))
        own = b"".join((_OWN_LINES_SEEN if hidden else _OWN_LINES).findall(written.lines))
        self.template = template
        self.own = _message(written.status, own, written.body)
        self.copies: tuple[bytes | None, ...] | None = None
        """In the order of `CODINGS`, None for what was not worth it; empty: yet to be made. None: none are to be."""
        if template.has_copies and written.copies is not None:
            self.copies = ()
            if any(written.copies):
                own = _STRONG_TAG.sub(rb"\1W/", own)
                self.copies = tuple([_message(written.status, own, copy) if copy else None for copy in written.copies])

    @property
    def names(self) -> bytes:
        return self.facts[_TIMES.size :]

    @property
    def size(self) -> int:
        size = len(self.own) + len(self.facts) + 2 * _STRING_BYTES + _ATTRIBUTES_BYTES
        if self.copies:
            size += _COPIES_BYTES + sum(len(copy) + _STRING_BYTES for copy in self.copies if copy is not None)
        return size if self.template.is_shared else size + self.template.size

    def was(self, written: Written) -> bool:
        """Whether a response is the very one that this was, of which its own lines and bodies have been forgotten."""
        return self.facts.startswith(_times(written)) and (
            not self.template.has_copies or (self.copies == ()) == (not any(written.copies or ()))
        )

    def let_go(self) -> None:
        super().let_go()
        self.own, self.facts = b"", self.facts[: _TIMES.size]
        # Which there were says yet which one a client would get.
        self.copies = _emptied(tuple([copy is not None for copy in self.copies])) if self.copies is not None else None

    def move(self) -> object:
        left = self.own, self.copies
        self.own = moved(self.own)
        if self.copies:
            self.copies = tuple([copy and moved(copy) for copy in self.copies])
        return left

    def representation(self, number: int) -> bytes | None:
        """The own lines, an empty line and the body of a representation by its number; None where there is none."""
        if number == IDENTITY:
            return self.own
        return self.copies[number - 1] if self.copies else None

    def body(self, number: int) -> bytes:
        """The body of a representation; nothing where there is none."""
        return _parts(self.representation(number) or b"\r\n")[1]

    def unpacked(self) -> StoredResponse:
        """What was packed, but for the order of its lines and the fields that follow from the rest."""
        template, lifetime = self.template, self.template.lifetime
        expires_ms, initial_age_s, took_ms = times(self.facts)
        lines, body = _parts(self.own)
        encoded = None
        if self.copies is not None:
            copies = zip(CODINGS, self.copies, strict=False)
            encoded = {coding: _parts(copy)[1] for coding, copy in copies if copy is not None}
        return StoredResponse(
            Response(template.status, template.fields + lines, template.reason),
            body,
            int(expires_ms) - (lifetime.ttl_s - initial_age_s) * 1000,
            initial_age_s,
            lifetime,
            template.own_tag,
            took_ms,
            encoded,
        )


class PackedRecord(Kept):
    """The names of the fields by which the responses of a resource vary."""

    __slots__ = ("vary",)

    def __init__(self, key: str, names: Sequence[str], vary: tuple[str, ...]) -> None:
        super().__init__(key, names)
        self.vary = vary

    @property
    def size(self) -> int:
        vary = sum(len(name) + _STRING_BYTES for name in self.vary)
        return len(self.facts) + vary + 2 * _STRING_BYTES


@cache
def _emptied(present: tuple[bool, ...]) -> tuple[bytes | None, ...]:
    return tuple(b"" if one else None for one in present)


@of_names
def _common(names: Names) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(names.lower) if name not in _OWN | _UNSEEN | _IMPLIED)


def _times(written: Written) -> bytes:
    """As `times` reads them."""
    expires_ms = written.stored_ms + (written.lifetime[0] - written.initial_age_s) * 1000
    return _TIMES.pack(expires_ms, written.initial_age_s, written.took_ms)


def _lines(fields: Fields) -> bytes:
    return b"".join([b"%b: %b\r\n" % (name.encode(), octets(value)) for name, value in fields])


def _message(status: int, own: bytes, body: bytes) -> bytes:
    # As `conditional.select` says the length.
    length = b"" if status in (204, 304) else b"Content-Length: %d\r\n" % len(body)
    # Joined, which leaves nothing unused behind the bytes.
    return b"".join((own, length, b"\r\n", body))


def _parts(message: bytes) -> tuple[Fields, bytes]:
    """The own lines and the body that a message was made of."""
    if message.startswith(b"\r\n"):
        return (), message[2:]
    lines, _, body = message.partition(b"\r\n\r\n")
    pairs = (line.partition(b": ") for line in lines.split(b"\r\n"))
    return tuple((name.decode(), text(value)) for name, _, value in pairs if name != b"Content-Length"), body
