"""Scopes: a context plus parameters that must all match, and their text on the wire.

Grammar. A field is a list of RFC 9651 tokens with parameters, `user;user_id=5, page;slug="my post"`, read more kindly
than the RFC reads it: bare text may hold whatever has no `,`, `;` or quote; identifiers may start with `_` or be in
upper case. What RFC 9651 accepts means here what it means there.

Doubt. A reader of invalidations must not miss one, so nothing is ever skipped: `parse_scopes` widens what it cannot
read to the context, and to everything where not even that can be told. From the first fault on it no longer trusts
quotes, since an unbalanced one would swallow the members behind it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from urllib.parse import quote_from_bytes

from mizan_core.canonical import canonical, value_text
from mizan_core.errors import MizanError

USER = "*user"
"""The reserved parameter that narrows a scope to one signed-in user's partition."""
EVERYTHING = "*"
"""Stands for every context in a field of invalidations."""
URL = "*url"
"""The reserved parameter that narrows a scope to one URL (path and canonical query)."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# RFC 9651 section 3.3.4, and identifiers that start with `_`.
_TOKEN = re.compile(r"[A-Za-z*_][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
# RFC 9651 section 3.1.2, and identifiers in upper case.
_KEY = re.compile(r"[A-Za-z*_][A-Za-z0-9_.*-]*")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_DISPLAY = re.compile(r'%"((?:[ !#$&-~]|%[0-9a-f]{2})*)"')
_BYTES = re.compile(r":[A-Za-z0-9+/]*={0,2}:")
_DATE = re.compile(r"@(-?[0-9]{1,15})")
_BARE_END = re.compile(r"[,;\"\x00-\x1f\x7f]")
_SPACE = " \t"
# What is emitted bare: RFC 9651 section 3.3.1 integers, canonically spelled.
_SHORT_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,14}")
_PRINTABLE = re.compile(r"[ -~]*")


class ScopeError(MizanError, ValueError):
    """A scope that cannot be meant: a name that is no identifier, a text that does not parse."""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """A context and the canonical texts of zero or more parameters, sorted by name, all of which must match."""

    context: str
    params: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, context: str, params: Mapping[str, object] | None = None) -> "Scope":
        """The scope of application values; a parameter that is None is absent. Raises ScopeError, CanonicalError."""
        check_name(context)
        texts = []
        for name, value in (params or {}).items():
            if name not in (USER, URL):
                check_name(name)
            if (text := canonical(value)) is not None:
                texts.append((name, value_text(text)))
        return cls(context, tuple(sorted(texts)))

    def __str__(self) -> str:
        return self.context + "".join(term(name, text) for name, text in self.params)

    @property
    def terms(self) -> tuple[str, ...]:
        """The wire text of each parameter, `;name=value`, in order."""
        return tuple(term(name, text) for name, text in self.params)

    def covers(self, other: "Scope") -> bool:
        """Whether whatever `other` purges, this one purges as well."""
        return self.context == other.context and set(self.params) <= set(other.params)


@dataclass(frozen=True, slots=True)
class Member:
    """One scope as it was spelled: repeated parameters are all kept; `doubtful` ones had an unusable value."""

    context: str
    params: tuple[tuple[str, str], ...] = ()
    doubtful: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a field names: its members, or everything. `faults` tells people what was wrong with it."""

    members: tuple[Member, ...] = ()
    everything: bool = False
    faults: tuple[str, ...] = ()


def check_name(name: str) -> str:
    """`name` itself. Raises ScopeError unless it is an ASCII identifier."""
    if not _IDENTIFIER.fullmatch(name):
        raise ScopeError(f"{name!r} is not an ASCII identifier: contexts and parameters need names like user_id")
    return name


def term(name: str, text: str) -> str:
    """The wire text of one parameter: `;user_id=5`, `;active`, `;slug="my post"`."""
    if text == "true":
        return f";{name}"
    if text == "false":
        return f";{name}=?0"
    if _SHORT_INTEGER.fullmatch(text):
        return f";{name}={text}"
    if _PRINTABLE.fullmatch(text):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f';{name}="{escaped}"'
    return f';{name}=%"{_display(text)}"'


def _display(text: str) -> str:
    # RFC 9651 section 4.1.11: printable ASCII but `%` and `"` as it is, every other byte as lower-case hex.
    safe = bytes(c for c in range(0x20, 0x7F) if c not in b'%"')
    return re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), quote_from_bytes(text.encode(), safe=safe))


def format_scopes(scopes: Iterable[Scope]) -> str:
    """The field value that names these scopes, sorted, each once."""
    return ", ".join(str(scope) for scope in sorted(set(scopes)))


def bounded(field: str, max_bytes: int) -> str:
    """A field that purges all that `field` purges, and probably more, in at most `max_bytes`.

    The contexts that take the most bytes lose their parameters first; what is still too long becomes `*`, everything.
    """
    parsed = parse_scopes(field)
    if parsed.everything:
        return EVERYTHING
    texts: dict[str, set[str]] = {}
    for member in parsed.members:
        narrow = Scope(member.context, tuple(sorted(member.params)))
        texts.setdefault(member.context, set()).add(str(narrow if not member.doubtful else Scope(member.context)))
    for context in sorted(texts, key=lambda name: sum(map(len, texts[name])), reverse=True):
        text = ", ".join(text for name in sorted(texts) for text in sorted(texts[name]))
        if len(text) <= max_bytes:
            return text
        texts[context] = {context}
    text = ", ".join(sorted(texts))
    return text if len(text) <= max_bytes else EVERYTHING


def widest(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """The scopes without those that another of them covers, sorted."""
    unique = set(scopes)
    return tuple(s for s in sorted(unique) if not _covered(s, unique))


def _covered(scope: Scope, others: set[Scope]) -> bool:
    """Whether another of `others` covers `scope`."""
    if 2 ** len(scope.params) > len(others):
        return any(other != scope and other.covers(scope) for other in others)
    # One response may name thousands of scopes, so look each wider one up instead of comparing all with all.
    fewer = (chosen for size in range(len(scope.params)) for chosen in combinations(scope.params, size))
    return any(Scope(scope.context, params) in others for params in fewer)


class _Fault(Exception):
    """What is wrong with a member; caught where the field is parsed."""


def parse_scopes(field: str) -> Parsed:
    """The scopes that a field names. Never raises: what cannot be read is widened and told in `faults`."""
    members: list[Member] = []
    position = 0
    while position < len(field):
        try:
            member, end = _member(field, position)
            if end < len(field) and _skip_space(field, end + 1) == len(field):
                raise _Fault("an empty member")
        except _Fault as fault:
            return _after_fault(members, field[position:], str(fault))
        members.append(member)
        position = end + 1
    return Parsed(tuple(members))


def _after_fault(members: list[Member], rest: str, fault: str) -> Parsed:
    faults = [fault]
    everything = False
    for piece in rest.split(","):
        if not piece.strip(_SPACE):
            continue
        try:
            member, end = _member(piece, 0)
            if end < len(piece):
                raise _Fault("trailing characters")
        except _Fault as problem:
            named = _IDENTIFIER.match(piece.strip(_SPACE))
            faults.append(f"{piece.strip(_SPACE)[:80]!r}: {problem}")
            if named is None:
                everything = True
                continue
            member = Member(named[0])
        members.append(member)
    return Parsed(tuple(members), everything, tuple(faults))


def _member(field: str, position: int) -> tuple[Member, int]:
    """The member at `position`, and where the comma behind it stands (or the end)."""
    position = _skip_space(field, position)
    token = _TOKEN.match(field, position)
    if token is None:
        raise _Fault("an empty member" if field[position : position + 1] in ("", ",") else "not a context name")
    params: list[tuple[str, str]] = []
    doubtful: set[str] = set()
    position = _skip_space(field, token.end())
    while field[position : position + 1] == ";":
        key = _KEY.match(field, _skip_space(field, position + 1))
        if key is None:
            raise _Fault("a parameter without a name")
        position = _skip_space(field, key.end())
        if field[position : position + 1] == "=":
            text, position = _value(field, _skip_space(field, position + 1))
        else:
            text = "true"
        if text is None:
            doubtful.add(key[0])
        else:
            params.append((key[0], text))
        position = _skip_space(field, position)
    if position < len(field) and field[position] != ",":
        raise _Fault(f"unexpected {field[position]!r}")
    return Member(token[0], tuple(params), frozenset(doubtful)), position


def _value(field: str, position: int) -> tuple[str | None, int]:
    """The canonical text of the value at `position` (None: legal, but no parameter's value), and its end."""
    if field.startswith('"', position):
        if string := _STRING.match(field, position):
            return re.sub(r'\\(["\\])', r"\1", string[1]), string.end()
        raise _Fault("a quoted text that does not end or has characters beyond printable ASCII")
    if field.startswith('%"', position):
        if display := _DISPLAY.match(field, position):
            return _from_display(display[1]), display.end()
        raise _Fault("a display string that does not end or has a wrong escape")
    bare_end = _BARE_END.search(field, position)
    end = bare_end.start() if bare_end else len(field)
    text = field[position:end].rstrip(_SPACE)
    if not text or not text.isascii():
        raise _Fault("a parameter without a value" if not text else "bare text beyond ASCII")
    if text[0] == "?":
        if text not in ("?0", "?1"):
            raise _Fault("a boolean that is neither ?1 nor ?0")
        return ("true" if text == "?1" else "false"), end
    if _BYTES.fullmatch(text):
        return None, end
    if date := _DATE.fullmatch(text):
        return _from_date(int(date[1])), end
    return text, end


def _from_display(text: str) -> str:
    data = re.sub(rb"%([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), text.encode())
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _Fault("a display string that is not UTF-8") from None


def _from_date(seconds: int) -> str | None:
    try:
        return value_text(canonical(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)) or "")
    except OverflowError:
        return None


def _skip_space(field: str, position: int) -> int:
    while position < len(field) and field[position] in _SPACE:
        position += 1
    return position
