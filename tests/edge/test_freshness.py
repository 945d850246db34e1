"""How long a response is fresh (RFC 9111 section 4.2), and which dates are dates (RFC 9110 section 5.6.7)."""

from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from mizan_core.manifest import Context
from mizan_edge.http.cache_control import governing
from mizan_edge.http.freshness import Lifetime, initial_age_s, lifetime, timestamp
from mizan_edge.http.message import Response

T0 = 784111777  # the moment that RFC 9110 writes in three ways
DAY = 86400


def date(seconds: int = T0) -> str:
    return formatdate(seconds, usegmt=True)


def life(*fields: tuple[str, str], status: int = 200, **rules: object) -> Lifetime | None:
    response = Response(status, fields)
    return lifetime(response, Context.model_validate(rules), governing(response.fields))


def ttl_s(*fields: tuple[str, str], status: int = 200, **rules: object) -> int | None:
    """The lifetime that a response has by itself, unless rules of the manifest say more."""
    found = life(*fields, status=status, **{"ttl": 0, **rules})
    return found.ttl_s if found else None


# Dates


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        # RFC 9111 section 4.2: upper and lower case are the same here.
        "SUN, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 NOV 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 gMT",
        "sunday, 06-nov-94 08:49:37 gmt",
    ],
)
def test_a_date_is_in_one_of_three_formats(text: str):
    assert timestamp(text) == T0


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "",
        "-1",
        "784111777",
        "yesterday",
        # RFC 9111 section 4.2: of zones only GMT is one.
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov  1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 0٦ Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_what_is_in_no_format_of_dates_is_none(text: str):
    assert timestamp(text) is None


def test_no_field_is_no_date():
    assert timestamp(None) is None


def test_a_minute_may_have_a_leap_second():
    assert timestamp("Sat, 31 Dec 2016 23:59:60 GMT") == timestamp("Sun, 01 Jan 2017 00:00:00 GMT")


@pytest.mark.parametrize(
    ("seen", "digits", "year"),
    [
        (2026, "26", 2026),
        (2026, "50", 2050),
        # "more than 50 years in the future" is in the past.
        (2026, "76", 2076),
        (2026, "77", 1977),
        (2026, "99", 1999),
        (2060, "09", 2109),
        (1994, "94", 1994),
        (1994, "44", 2044),
        (1994, "45", 1945),
    ],
)
def test_a_year_of_two_digits_is_near_the_message(seen: int, digits: str, year: int):
    seen_s = datetime(seen, 6, 1, tzinfo=UTC).timestamp()
    found = timestamp(f"Sunday, 01-Jun-{digits} 00:00:00 GMT", seen_s)
    assert found == datetime(year, 6, 1, tzinfo=UTC).timestamp()


def test_no_date_of_a_message_makes_another_unreadable_with_an_error():
    end_s = timestamp("Fri, 31 Dec 9999 23:59:60 GMT")
    assert end_s is not None
    assert timestamp("Sunday, 01-Jun-26 00:00:00 GMT", end_s) is None


# What a response says of itself. RFC 9111 section 4.2.1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("Cache-Control", "max-age=60")], 60),
        ([("Cache-Control", "max-age=60, s-maxage=5")], 5),
        ([("Cache-Control", "max-age=0"), ("Expires", date(T0 + 60)), ("Date", date())], 0),
        ([("Cache-Control", "max-age=60"), ("Expires", "0")], 60),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "max-age=5")], 60),
        ([("Cache-Control", "max-age=-60")], 0),
        ([("Expires", date(T0 + 60)), ("Date", date())], 60),
        ([("Expires", date(T0)), ("Date", date())], 0),
        ([("Expires", date(T0 + 300)), ("Date", date(T0 + 400))], 0),
        # Section 5.3: an invalid date, above all "0", is one in the past.
        ([("Expires", "0"), ("Date", date())], 0),
        ([("Expires", date(T0 + 60).replace("GMT", "UTC")), ("Date", date())], 0),
        ([("Expires", date(T0 + 60)), ("Expires", date(T0 + 60)), ("Date", date())], 0),
        ([("Expires", "Thursday, 18-Aug-50 02:01:18 GMT"), ("Date", "Thu, 18 Aug 2050 02:00:18 GMT")], 60),
        ([("Expires", "Thursday, 18-Aug-50 02:01:18 GMT"), ("Date", "Fri, 18 Aug 1950 02:00:18 GMT")], 60),
        # RFC 9213 section 2.1
        ([("CDN-Cache-Control", 'max-age="60"'), ("Cache-Control", "max-age=60")], 0),
    ],
)
def test_a_response_says_how_long_it_is_fresh(fields: list[tuple[str, str]], expected: int):
    assert ttl_s(*fields, ttl=DAY) == expected


# What it does not say. RFC 9111 section 4.2.2

MODIFIED = (("Last-Modified", date(T0 - DAY)), ("Date", date()))


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_a_guess_is_for_statuses_that_are_heuristically_cacheable(status: int):
    """RFC 9110 section 15.1"""
    assert ttl_s(*MODIFIED, status=status, ttl="heuristic") == DAY // 10


@pytest.mark.parametrize("status", [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599])
def test_a_guess_is_for_other_statuses_where_they_are_public(status: int):
    """RFC 9111 section 5.2.2.9"""
    assert ttl_s(*MODIFIED, status=status, ttl="heuristic") is None
    assert ttl_s(*MODIFIED, ("Cache-Control", "public"), status=status, ttl="heuristic") == DAY // 10


@pytest.mark.parametrize("status", [300, 405, 414, 501])
def test_a_lifetime_of_the_manifest_is_for_fewer_statuses_than_a_guess(status: int):
    for fields in (), (("Cache-Control", "public"),):
        assert ttl_s(*fields, status=status, ttl=60) is None


@pytest.mark.parametrize(
    "fields",
    [
        [("Date", date())],
        [("Last-Modified", date(T0 - DAY))],
        [("Last-Modified", date(T0 + DAY)), ("Date", date())],
        [("Last-Modified", date(T0 - 9)), ("Date", date())],
        [("Last-Modified", date(T0 - DAY).replace("GMT", "UTC")), ("Date", date())],
    ],
)
def test_without_a_date_of_modification_there_is_no_guess(fields: list[tuple[str, str]]):
    assert ttl_s(*fields, ttl="heuristic") is None


def test_there_is_no_guess_beside_what_a_response_says():
    assert ttl_s(*MODIFIED, ("Expires", "0"), ttl="heuristic") == 0
    assert ttl_s(*MODIFIED, ("Cache-Control", "max-age=5"), ttl="heuristic") == 5


# Which statuses are understood. RFC 9111 section 5.2.2.3


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, 60), (204, 60), (302, 60), (404, 60), (501, 60), (206, None), (304, None), (299, None), (599, None)],
)
def test_who_must_understand_a_status_stores_those_that_it_does(status: int, expected: int | None):
    said = ("Cache-Control", "max-age=60, no-store, must-understand")
    assert ttl_s(said, status=status) == expected
    assert ttl_s(("Cache-Control", "max-age=60"), status=status) == 60


# Beyond that. RFC 9111 section 4.2.4, RFC 5861


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("max-age=60", Lifetime(60, 7, 9)),
        ("max-age=60, stale-while-revalidate=1, stale-if-error=2", Lifetime(60, 1, 2)),
        ("max-age=60, stale-if-error=0", Lifetime(60, 7, 0)),
        ("max-age=60, stale-if-error=x", Lifetime(60, 7, 9)),
        ("max-age=60, must-revalidate, stale-if-error=2", Lifetime(60)),
        ("max-age=60, proxy-revalidate", Lifetime(60)),
        ("s-maxage=60", Lifetime(60)),
    ],
)
def test_a_response_may_forbid_that_it_is_used_when_stale(said: str, expected: Lifetime):
    assert life(("Cache-Control", said), ttl=0, swr=7, sie=9) == expected


# Ages. RFC 9111 section 5.1


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([], 0),
        (["40"], 40),
        (["0040"], 40),
        (["0" * 20 + "7200"], 7200),
        (["2147483649"], 2**31 - 1),
        # The first counts, and what is no number of seconds counts for nothing.
        (["7200, 0"], 7200),
        (["0, 7200"], 0),
        (["7200", "0"], 7200),
        (["0", "7200"], 0),
        (["abc"], 0),
        (["-7200"], 0),
        (["7200.0"], 0),
        (["7200;foo=bar"], 0),
    ],
)
def test_a_response_arrives_with_the_age_that_it_says(ages: list[str], expected: int):
    assert initial_age_s(Response(200, tuple(("Age", age) for age in ages))) == expected
