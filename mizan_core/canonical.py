"""Canonical parameter values: the same value gives the same text, wherever it came from.

`canonical()` goes from a value that the application holds to its text; `is_canonical()` says of a text that came
over the wire whether the application could read it as nothing but the value that the text spells. What fails the
second question is forwarded and never cached: a purge of the value that the application saw would miss it.
"""

import datetime as dt
import enum
import math
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import rfc8785

from mizan_core.errors import MizanError

Scalar = Literal["integer", "string", "boolean", "number", "uuid", "date", "datetime"]


@dataclass(frozen=True, slots=True)
class ListOf:
    """The type of a list whose members are all of one scalar type."""

    item: Scalar


ParamType = Scalar | ListOf
Canonical = str | list[str]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
# Whatever some reader takes for a number beyond what int() and float() accept: 0x1f, 0b1, 0o7, 0x1.8p3.
_PREFIXED_NUMBER = re.compile(r"[+-]?0[xXbBoO][0-9a-fA-F_.]+(?:[pP][+-]?[0-9]+)?")
# int() refuses longer digit strings (and would be quadratic); no identifier is this long.
_MAX_DIGITS = 4000


class CanonicalError(MizanError, ValueError):
    """A value that has no canonical text."""


def canonical(value: object) -> Canonical | None:
    """The canonical text of a parameter value, a list of texts for a list, None for an absent parameter.

    Raises CanonicalError for what has none: bytes, mappings, nested lists, NaN, text that is not valid Unicode.
    """
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_scalar_text(item) for item in value]
    return _scalar_text(value)


def _scalar_text(value: object) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    match value:
        case str():
            return _unicode(str(value))
        case bool():
            return "true" if value else "false"
        case int():
            return _integer_text(value)
        case float():
            return number_text(value)
        case uuid.UUID():
            return str(value)
        case dt.datetime():
            return _datetime_text(value)
        case dt.time():
            return _time_text(value)
        case dt.date():
            return value.isoformat()
    raise CanonicalError(
        f"a parameter of type {type(value).__name__} has no canonical text: "
        "use text, numbers, booleans, UUIDs, dates, enums or lists of these"
    )


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CanonicalError("text with a lone surrogate has no canonical form") from None
    return text


def number_text(value: float) -> str:
    """A float as ECMAScript writes it: `1.0` -> `1`, `1e21` -> `1e+21`. CanonicalError for NaN and infinities."""
    if not math.isfinite(value):
        raise CanonicalError(f"{value} is not a number that can be a parameter")
    return rfc8785.dumps(value).decode()


def _integer_text(value: int) -> str:
    try:
        return str(int(value))
    except ValueError:  # Python's limit on digits
        raise CanonicalError("an integer of thousands of digits has no canonical text") from None


def _datetime_text(value: dt.datetime) -> str:
    offset = value.utcoffset()
    local = value.replace(tzinfo=None)
    if offset is None:
        return local.isoformat()
    try:
        return (local - offset).isoformat() + "Z"
    except OverflowError:
        raise CanonicalError(f"{value} has no UTC time between the years 1 and 9999") from None


def _time_text(value: dt.time) -> str:
    offset = value.utcoffset()
    if offset is None:
        return value.replace(tzinfo=None).isoformat()
    day = dt.datetime.combine(dt.date(2000, 1, 2), value.replace(tzinfo=None))
    return (day - offset).time().isoformat() + "Z"


def value_text(value: Canonical) -> str:
    """One text for a canonical value; a list becomes the RFC 8785 text of its JSON array."""
    return value if isinstance(value, str) else rfc8785.dumps(cast(list[object], value)).decode()  # type: ignore[arg-type]


def is_canonical(value: Canonical, type_: ParamType | None) -> bool:
    """Whether the application can read `value`, declared as `type_` (None: undeclared), only as what it spells."""
    match value, type_:
        case str(), ListOf():
            return False
        case str(), None:
            return _plain(value)
        case str(), str():
            return _READS_AS[type_](value)
        case list(), ListOf(item):
            return all(_READS_AS[item](text) for text in value)
    return False


def as_declared(texts: Sequence[str], type_: ParamType | None) -> Canonical | None:
    """The canonical value of a parameter's occurrences in a request, or None where it must not be cached.

    One occurrence of a declared list is a list of one; several of anything else could be read as any of them.
    """
    value: Canonical | None
    if isinstance(type_, ListOf):
        value = list(texts)
    else:
        value = texts[0] if len(texts) == 1 else None
    if value is None or any("\0" in text for text in texts) or not is_canonical(value, type_):
        return None
    return value


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False  # JSON can spell a lone surrogate, and no key can hold it
    return True


def _is_integer(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and text != "-0" and len(text) <= _MAX_DIGITS


def _is_number(text: str) -> bool:
    try:
        return number_text(float(text)) == text
    except ValueError:
        return False


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _is_date(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_datetime(text: str) -> bool:
    try:
        return _datetime_text(dt.datetime.fromisoformat(text)) == text
    except ValueError:
        return False


_READS_AS = {
    "integer": _is_integer,
    "string": _is_text,
    "boolean": lambda text: text in ("true", "false"),
    "number": _is_number,
    "uuid": _is_uuid,
    "date": _is_date,
    "datetime": _is_datetime,
}


def _plain(text: str) -> bool:
    """Whether no lenient reader takes `text` for an integer, number or UUID that is properly spelled otherwise."""
    if len(text) > _MAX_DIGITS:
        return False  # not worth telling what a reader makes of it
    # JavaScript strips a byte order mark as well, and takes nothing for 0.
    bare = text.replace("\ufeff", " ").strip()
    if not bare or _PREFIXED_NUMBER.fullmatch(bare):
        return False
    # All digits may be an integer and a UUID without its hyphens at once.
    if _accepts(uuid.UUID, text) or _accepts(uuid.UUID, bare.lower()):
        return _is_uuid(text)
    if _accepts(int, bare):
        return _is_integer(text)
    if _accepts(float, bare):
        return _is_number(text)
    return _is_text(text)


def _accepts(reader: Callable[[str], object], text: str) -> bool:
    try:
        reader(text)
    except ValueError:
        return False
    return True
