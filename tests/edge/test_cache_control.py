"""Cache directives: read leniently in Cache-Control (RFC 9111 section 5.2), strictly in targeted fields (RFC 9213)."""

import pytest

from mizan_edge.http.cache_control import delta_seconds, governing, parse


@pytest.mark.parametrize(
    ("value", "directives"),
    [
        ("max-age=60", {"max-age": "60"}),
        ("Max-Age=60, PUBLIC", {"max-age": "60", "public": None}),
        # Section 5.2: both forms of an argument are accepted.
        ('max-age="60"', {"max-age": "60"}),
        ("max-age=60,,  public ,", {"max-age": "60", "public": None}),
        # What is quoted is no directive.
        ('extension="max-age=3600, no-store", max-age=1', {"extension": "max-age=3600, no-store", "max-age": "1"}),
        ('max-age=1, extension="max-age=3600"', {"max-age": "1", "extension": "max-age=3600"}),
        (r'ext="a\"b, private"', {"ext": 'a"b, private'}),
        # Section 4.2.1: of repeated ones the first counts.
        ("max-age=1800, max-age=1", {"max-age": "1800"}),
        ('no-cache="a, b", max-age=60', {"no-cache": "a, b", "max-age": "60"}),
        # A missing comma hides nothing that forbids.
        ("max-age=60 no-store", {"max-age": "60 no-store", "no-store": None}),
        ("", {}),
    ],
)
def test_directives_are_read_from_a_field(value: str, directives: dict[str, str | None]):
    assert parse(value) == directives


@pytest.mark.parametrize(
    ("argument", "seconds"),
    [
        ("0", 0),
        ("60", 60),
        ("003600", 3600),
        ("0" * 100_000 + "60", 60),
        ("000", 0),
        # Section 1.2.2: what is too large is as large as can be.
        ("2147483648", 2**31 - 1),
        ("99999999999", 2**31 - 1),
        ("9" * 100_000, 2**31 - 1),
        ("-1", None),
        ("+1", None),
        ("60.0", None),
        ("'60'", None),
        ("60a", None),
        ("60 ", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_delta_seconds_are_digits_and_nothing_else(argument: str | None, seconds: int | None):
    assert delta_seconds(argument) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("max-age=60", 60),
        ("foobar, max-age=60", 60),
        ("max-age=60;ext=1", 60),
        ("max-age=99999999999", 2**31 - 1),
        # RFC 9213 section 2.1: nothing but an integer is a number of seconds.
        ('max-age="60"', None),
        ("max-age=60.0", None),
        ("max-age=abc", None),
        ("max-age=:NjA=:", None),
        ("max-age", None),
        ("max-age=(60)", None),
        ("max-age=-60", None),
    ],
)
def test_a_targeted_max_age_is_an_integer(value: str, seconds: int | None):
    said = governing((("CDN-Cache-Control", value), ("Cache-Control", "max-age=5")))
    assert said.targeted
    assert not said.malformed
    assert delta_seconds(said.directives["max-age"]) == seconds


@pytest.mark.parametrize("value", ["", "max-age=60, &&&", "max-age =60", "max-age= 60", "Max-Age=60", "max-age=60,"])
def test_a_targeted_field_that_is_no_dictionary_is_ignored(value: str):
    """RFC 9213 section 2.2"""
    said = governing((("CDN-Cache-Control", value), ("Cache-Control", "max-age=5")))
    assert (said.targeted, said.malformed, said.directives) == (False, True, {"max-age": "5"})


@pytest.mark.parametrize("field", ["Cache-Control", "CDN-Cache-Control"])
@pytest.mark.parametrize(
    ("value", "forbidden"),
    [
        ("no-store", ["no-store"]),
        # RFC 9111 section 5.2.2.3: where the status is known, and only this is set aside.
        ("no-store, must-understand, max-age=60", []),
        ("must-understand, no-store", []),
        ("no-store, must-understand, private", ["private"]),
        ("no-store, must-understand, no-cache", ["no-cache"]),
        ('no-store, ext="must-understand"', ["no-store"]),
    ],
)
def test_must_understand_sets_no_store_aside(field: str, value: str, forbidden: list[str]):
    directives = governing(((field, value),)).directives
    assert [name for name in ("no-store", "no-cache", "private") if name in directives] == forbidden
