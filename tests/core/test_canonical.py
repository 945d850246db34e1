"""One text for each value, and nothing cached that an application might read as another value."""

import datetime as dt
import enum
import re
import uuid
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mizan_core.canonical import (
    CanonicalError,
    ListOf,
    Scalar,
    as_declared,
    canonical,
    is_canonical,
    number_text,
    value_text,
)

VALUES: dict[Scalar, st.SearchStrategy[object]] = {
    "integer": st.integers(),
    "string": st.text(),
    "boolean": st.booleans(),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "uuid": st.uuids(),
    "date": st.dates(),
    "datetime": st.datetimes() | st.datetimes(timezones=st.just(dt.UTC)),
}
READERS: dict[Scalar, Callable[[str], object]] = {
    "integer": int,
    "string": lambda text: text.encode().decode(),
    "boolean": lambda text: {"true": True, "false": False}[text],
    "number": float,
    "uuid": uuid.UUID,
    "date": dt.date.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
}
spaces = st.sampled_from(["", " ", "\t", "\n", "\xa0", "\ufeff", "\x1f", "\u2003"])


@st.composite
def spellings(draw: st.DrawFn, values: st.SearchStrategy[object]) -> str:
    """A value's text, as it is or as somebody else might spell it."""
    text = value_text(canonical(draw(values)) or "")
    changes: list[Callable[[str], str]] = [
        str,
        str.upper,
        str.lower,
        lambda t: "+" + t,
        lambda t: "-" + t,
        lambda t: "0" + t,
        lambda t: t + ".0",
        lambda t: t + "e0",
        lambda t: t.replace("-", ""),
        lambda t: "{" + t + "}",
        lambda t: "urn:uuid:" + t,
        lambda t: t[:1] + "_" + t[1:],
        lambda t: t.replace("T", " "),
        lambda t: t.replace("Z", "+00:00"),
        lambda t: t.translate({ord("5"): "\u0665", ord("1"): "\uff11"}),
        lambda t: "0x" + t,
        lambda t: t[:-1],
    ]
    for change in draw(st.lists(st.sampled_from(changes), max_size=2)):
        text = change(text)
    return draw(spaces) + text + draw(spaces)


def spelled(values: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    return spellings(values) | st.text(
        alphabet="0123456789abcdefABCDEFxXoOinfINaA+-._:eTZ{} \n\u0661\ufeff", max_size=40
    )


@pytest.mark.parametrize("type_", VALUES)
@given(data=st.data())
def test_a_value_has_one_text_which_is_canonical_for_its_type_and_for_itself(type_: Scalar, data: st.DataObject):
    text = canonical(data.draw(VALUES[type_]))
    assert isinstance(text, str)
    assert is_canonical(text, type_)
    assert canonical(text) == text


@pytest.mark.parametrize("type_", VALUES)
@given(data=st.data())
def test_a_text_is_canonical_for_a_type_exactly_when_reading_and_writing_it_changes_nothing(
    type_: Scalar, data: st.DataObject
):
    text = data.draw(spelled(VALUES[type_]))
    try:
        same = canonical(READERS[type_](text)) == text
    except (ValueError, KeyError, OverflowError):
        same = False
    assert is_canonical(text, type_) is same
    assert is_canonical([text, text], ListOf(type_)) is same


def js_number(text: str) -> None:
    """Raises ValueError unless ECMAScript's Number(text) is a number (ECMA-262, StringToNumber)."""
    bare = text.strip("\t\n\v\f\r \xa0\ufeff\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
                      "\u2028\u2029\u202f\u205f\u3000")  # fmt: skip
    decimal = r"[+-]?(Infinity|[0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?)"
    if bare and not re.fullmatch(rf"{decimal}|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+", bare):
        raise ValueError(text)


def reads(reader: Callable[[str], object], text: str) -> bool:
    try:
        reader(text)
    except ValueError:
        return False
    return True


@given(st.one_of(*(spelled(values) for values in VALUES.values())))
@example("12345678901234567890123456789012")  # an integer, and a UUID without its hyphens
@example(" " + "a" * 31)  # uuid.UUID() takes the space for a digit
@example("0x345678901234567890123456789012")
@example("\ufeff5")
@example("")
def test_undeclared_what_any_lenient_reader_takes_for_a_number_or_uuid_must_be_its_canonical_text(text: str):
    if reads(uuid.UUID, text):
        expected = str(uuid.UUID(text)) == text
    elif reads(int, text):
        expected = str(int(text)) == text
    elif reads(float, text):
        expected = reads(number_text, float(text)) and number_text(float(text)) == text  # type: ignore[arg-type]
    elif reads(js_number, text):
        expected = False
    else:
        return
    assert is_canonical(text, None) is expected


# What reads as a value although it is not that value's one text.
OTHERWISE = [
    *("05", "+5", "5.0", "5_0", " 5", "5 ", "-0", "00", "5.", ".5", "5e3", "1E5", "1_0.5"),
    *("0x1f", "0b1", "0o7", "0x1.8p3"),
    *("\u0665", "5\n", "nan", "NaN", "inf", "-Infinity", "infinity", "1e400", "", " ", "\ufeff", "\xa05"),
    *("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
    *("URN:UUID:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "\ud800", "5" * 5000),
]  # fmt: skip


@pytest.mark.parametrize("text", OTHERWISE, ids=lambda text: repr(text[:45]))
def test_a_text_that_may_be_read_as_another_value_is_not_canonical(text: str):
    assert not is_canonical(text, None)


PLAIN = [
    "5",
    "-5",
    "0",
    "1.5",
    "1e+21",
    "1e-7",
    "a",
    "true",
    "user-5",
    "5a",
    "v1.0",
    "a0eebc99",
    "été",
    "None",
    "1,5",
    "e5",
]
PLAIN += ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "12345678901234567890", "2026-01-01", "a b", "{}", "0x", "_5", "5__0"]


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_that_can_be_read_in_one_way_only_is_canonical(text: str):
    assert is_canonical(text, None)


@pytest.mark.parametrize("type_", [*VALUES, None])
def test_a_list_is_canonical_only_where_a_list_is_declared(type_: Scalar | None):
    assert not is_canonical(["5"], type_)
    assert not is_canonical("5", ListOf("integer"))


def test_one_occurrence_of_a_list_is_a_list_of_one():
    assert as_declared(["5"], ListOf("integer")) == ["5"]
    assert as_declared(["5", "6"], ListOf("integer")) == ["5", "6"]
    assert as_declared(["5", "06"], ListOf("integer")) is None


@pytest.mark.parametrize("texts", [["5", "5"], ["5", "6"], ["a\0b"], ["\0"], []], ids=repr)
def test_a_parameter_given_twice_or_with_a_nul_is_not_cached(texts: list[str]):
    assert as_declared(texts, "string") is None
    assert as_declared(texts, None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, "true"),
        (2**70, "1180591620717411303424"),
        (1.0, "1"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (uuid.UUID(int=10), "00000000-0000-0000-0000-00000000000a"),
        (dt.date(1, 2, 3), "0001-02-03"),
        (dt.datetime(2026, 1, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2025-12-31T22:30:00Z"),
        (dt.datetime(2026, 1, 1, 0, 30), "2026-01-01T00:30:00"),
        (dt.time(0, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))), "22:30:00Z"),
        (enum.Enum("Size", {"L": "large"}).L, "large"),  # type: ignore[attr-defined]
        (enum.IntEnum("Level", {"HIGH": 3}).HIGH, "3"),  # type: ignore[attr-defined]
        ((1, "a", True), ["1", "a", "true"]),
        ([], []),
    ],
    ids=repr,
)
def test_values_become_their_canonical_texts(value: object, text: object):
    assert canonical(value) == text


class Nowhere(dt.tzinfo):
    """A time zone that does not say how far it is from UTC."""

    def utcoffset(self, _: dt.datetime | None) -> None:
        return None

    dst = tzname = utcoffset


def test_a_time_of_an_unknown_zone_is_no_time_of_this_machines_zone():
    assert canonical(dt.datetime(2026, 1, 1, 12, tzinfo=Nowhere())) == "2026-01-01T12:00:00"


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {},
        {1},
        [["a"]],
        [None],
        float("nan"),
        float("inf"),
        1j,
        "\ud800",
        10**5000,
        dt.timedelta(1),
        dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_an_error(value: object):
    with pytest.raises(CanonicalError):
        canonical(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_itself(value: float):
    assert float(number_text(value)) == value
