"""Ranges of a whole response: which are answered in part, and which get all of it. RFC 9110 section 14."""

import re

import pytest

from mizan_edge.http import conditional, partial
from mizan_edge.http.message import Request, Response

BODY = bytes(range(256)) * 4
MODIFIED, DATE = "Mon, 01 Jan 2024 00:00:10 GMT", "Mon, 01 Jan 2024 00:00:20 GMT"
PAGE = Response(
    200,
    (
        ("Date", DATE),
        ("Content-Type", "image/png"),
        ("Content-Length", str(len(BODY))),
        ("ETag", '"v1"'),
        ("Last-Modified", MODIFIED),
        ("Cache-Control", "max-age=60"),
        ("Vary", "Origin"),
        ("Access-Control-Allow-Origin", "https://site.test"),
        ("Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("Content-Range", "bytes 0-0/1"),  # RFC 9110 section 14.4: it means nothing here
        ("X-Title", "five"),
    ),
    "OK",
)


def asked(*fields: tuple[str, str], method: str = "GET") -> Request:
    return Request(method, "/", "site.test", fields)


def answer(ranges: str, *fields: tuple[str, str], page: Response = PAGE, body: bytes = BODY) -> tuple[Response, bytes]:
    return partial.select(asked(("Range", ranges), *fields), page, body)


def parts_of(response: Response, content: bytes) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart message, taken apart as RFC 2046 section 5.1.1 describes it."""
    match = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{1,70})", response.get("content-type") or "")
    assert match
    first, *middle, last = (b"\r\n" + content).split(b"\r\n--" + match[1].encode())
    assert (first, last) == (b"", b"--\r\n")
    parts = []
    for piece in middle:
        head, _, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        parts.append((dict(line.split(": ", 1) for line in head.decode().split("\r\n")), data))
    return parts


# One range. RFC 9110 sections 14.1.2 and 15.3.7.1


@pytest.mark.parametrize(
    ("ranges", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-499", 0, 499),
        ("bytes=500-", 500, 1023),
        ("bytes=1023-", 1023, 1023),
        ("bytes=-1", 1023, 1023),
        ("bytes=-24", 1000, 1023),
        # What lies beyond the end is left out.
        ("bytes=1000-9999", 1000, 1023),
        ("bytes=0-9999999999999999999", 0, 1023),
        ("bytes=-9999999999999999999", 0, 1023),
        ("bytes=007-008", 7, 8),
        # Section 14.1: names of units are case-insensitive. Section 5.6.1.2: empty members count for nothing.
        ("BYTES=0-1", 0, 1),
        ("bytes= 0-1", 0, 1),
        ("bytes=,0-1 ,\t,", 0, 1),
        # Of several, the only one that exists.
        ("bytes=5000-, 0-1", 0, 1),
        ("bytes=-0,0-1", 0, 1),
    ],
)
def test_one_range_is_answered_by_that_part_alone(ranges: str, first: int, last: int):
    response, content = answer(ranges)
    assert (response.status, content) == (206, BODY[first : last + 1])
    assert response.get("content-range") == f"bytes {first}-{last}/1024"
    assert response.get("content-length") == str(len(content))
    assert response.get("content-type") == "image/png"


@pytest.mark.parametrize("ranges", ["bytes=0-1", "bytes=0-1,5-6"])
def test_a_part_has_the_fields_of_the_whole_but_not_what_they_say_of_its_bytes(ranges: str):
    response, _ = answer(ranges)
    for name in ("date", "cache-control", "etag", "last-modified", "vary", "x-title", "access-control-allow-origin"):
        assert response.get(name) == PAGE.get(name) is not None
    assert response.get("content-md5") is None
    assert response.reason != "OK"


# Several. RFC 9110 sections 14.6 and 15.3.7.2


@pytest.mark.parametrize(
    ("ranges", "spans"),
    [
        ("bytes=0-1,5-6", [(0, 1), (5, 6)]),
        ("bytes=0-1,2-3", [(0, 1), (2, 3)]),
        ("bytes=-2, 0-1", [(1022, 1023), (0, 1)]),
        ("bytes=0-1, 5000-, 900-, -0", [(0, 1), (900, 1023)]),
        ("bytes=2-2,0-0,1-1", [(2, 2), (0, 0), (1, 1)]),
    ],
)
def test_several_ranges_are_answered_in_their_order(ranges: str, spans: list[tuple[int, int]]):
    response, content = answer(ranges)
    assert response.status == 206
    assert response.get("content-range") is None
    assert response.get("content-length") == str(len(content))
    parts = parts_of(response, content)
    assert [data for _, data in parts] == [BODY[first : last + 1] for first, last in spans]
    assert [head["Content-Range"] for head, _ in parts] == [f"bytes {first}-{last}/1024" for first, last in spans]
    assert [head["Content-Type"] for head, _ in parts] == ["image/png"] * len(spans)


def test_parts_of_something_without_a_type_have_none():
    response, content = answer("bytes=0-1,5-6", page=PAGE.with_fields(without=["content-type"]))
    assert [list(head) for head, _ in parts_of(response, content)] == [["Content-Range"]] * 2


def test_a_boundary_follows_from_the_bytes_and_is_not_among_them():
    first, content = answer("bytes=0-1,5-6")
    boundary = (first.get("content-type") or "").partition("boundary=")[2]
    assert answer("bytes=0-1,5-6") == (first, content)
    # Whoever knows the boundary of one answer, and has a page with it, gets another one.
    body = BODY + f"\r\n--{boundary}--\r\n".encode() * 20
    response, content = answer("bytes=0-1,1024-1100", body=body)
    assert [data for _, data in parts_of(response, content)] == [BODY[:2], body[1024:1101]]


# What exists nowhere. RFC 9110 section 15.5.17


@pytest.mark.parametrize("ranges", ["bytes=1024-", "bytes=1024-1025", "bytes=-0", "bytes=5000-6000, 2000-"])
def test_what_does_not_exist_cannot_be_satisfied(ranges: str):
    response, content = answer(ranges)
    assert (response.status, content) == (416, b"")
    assert response.get("content-range") == "bytes */1024"
    assert response.get("content-length") == "0"
    assert response.get("access-control-allow-origin") == "https://site.test"


def test_what_cannot_be_satisfied_is_kept_by_nobody_as_the_page():
    response, _ = answer("bytes=1024-", page=PAGE.with_fields(("Expires", DATE), ("CDN-Cache-Control", "max-age=60")))
    assert response.get("cache-control") == "no-store"
    for name in ("expires", "cdn-cache-control", "etag", "last-modified", "content-type"):
        assert response.get(name) is None


# What is ignored. RFC 9110 section 14.2


@pytest.mark.parametrize(
    "ranges",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1x",
        "bytes=1-0",
        "bytes=0-1,1-0",
        "bytes=0 - 1",
        "bytes =0-1",
        "bytes=+0-1",
        "bytes=--1",
        "bytes=0-1-2",
        "bytes=0-1;5-6",
        "bytes=0-٣",
        "bytes=0-1\n",
        "bytes=0-1, bytes=5-6",
        "bytes=0-" + "9" * 100_000,
        "items=0-1",
        "seconds=1-2",
    ],
)
def test_what_is_malformed_or_of_another_unit_is_ignored(ranges: str):
    assert answer(ranges) == (PAGE, BODY)


@pytest.mark.parametrize(
    "ranges",
    [
        "bytes=0-,0-",
        "bytes=0-10,10-20",
        "bytes=5-6,0-1000",
        "bytes=0-1000,500-501,-600",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(11)),
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 1000, 2)),
        # Ten may be answered; of a short page, the whole is shorter.
        "bytes=" + ",".join(f"{n}-{n}" for n in range(10)),
        "bytes=0-500,501-",
    ],
)
def test_who_asks_for_too_much_gets_the_whole_once(ranges: str):
    assert answer(ranges) == (PAGE, BODY)


def test_ten_ranges_are_answered_and_eleven_are_not():
    body = BODY * 100
    ten = "bytes=" + ",".join(f"{n * 100}-{n * 100}" for n in range(10))
    response, content = answer(ten, body=body)
    assert [data for _, data in parts_of(response, content)] == [body[n * 100 : n * 100 + 1] for n in range(10)]
    assert answer(f"{ten},5000-5000", body=body) == (PAGE, body)


def test_an_answer_in_parts_is_never_longer_than_the_whole():
    for count in range(2, 20):
        for width in (1, 10, 90, 400):
            ranges = ",".join(f"{n * width}-{n * width + width - 1}" for n in range(count))
            assert len(answer(f"bytes={ranges}")[1]) <= len(BODY)


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_only_a_get_has_ranges(method: str):
    assert partial.select(asked(("Range", "bytes=0-1"), method=method), PAGE, BODY) == (PAGE, BODY)


@pytest.mark.parametrize("status", [203, 204, 206, 301, 304, 404, 416, 500])
def test_only_a_200_has_ranges(status: int):
    response = Response(status, PAGE.fields)
    assert answer("bytes=0-1", page=response) == (response, BODY)


@pytest.mark.parametrize("ranges", ["bytes=0-", "bytes=0-1", "bytes=-1", "bytes=5-"])
def test_of_an_empty_page_there_is_only_the_whole(ranges: str):
    assert answer(ranges, body=b"") == (PAGE, b"")


def test_without_a_range_nothing_changes():
    assert partial.select(asked(("If-Range", '"v2"')), PAGE, BODY) == (PAGE, BODY)


# If-Range. RFC 9110 section 13.1.5


@pytest.mark.parametrize(
    ("tag", "if_range", "status"),
    [
        ('"v1"', '"v1"', 206),
        ('"v1"', '"v2"', 200),
        ('"v1"', '"V1"', 200),
        # Only the strong comparison counts.
        ('"v1"', 'W/"v1"', 200),
        ('W/"v1"', 'W/"v1"', 200),
        ('W/"v1"', '"v1"', 200),
        ('"v1"', "v1", 200),
        ('"v1"', '"v1", "v2"', 200),
        ('"v1"', "*", 200),
        ('"v1"', "", 200),
        ('"a"b"', '"a"b"', 200),
    ],
)
def test_a_part_goes_to_whoever_has_another_of_the_same_tag(tag: str, if_range: str, status: int):
    page = PAGE.with_fields(("ETag", tag), without=["etag"])
    for ranges in ("bytes=0-1", "bytes=5000-"):
        response, content = answer(ranges, ("If-Range", if_range), page=page)
        assert response.status == (status if status == 200 or ranges == "bytes=0-1" else 416)
        assert status == 206 or content == BODY


@pytest.mark.parametrize(
    ("modified", "date", "if_range", "status"),
    [
        (MODIFIED, DATE, MODIFIED, 206),
        (MODIFIED, DATE, "Monday, 01-Jan-24 00:00:10 GMT", 206),
        # It has to be that date, not a later one as for If-Modified-Since.
        (MODIFIED, DATE, DATE, 200),
        (MODIFIED, DATE, "Mon, 01 Jan 2024 00:00:09 GMT", 200),
        (MODIFIED, DATE, "yesterday", 200),
        # RFC 9110 section 8.8.2.2: within the second in which it was modified, it may have been so again.
        (MODIFIED, MODIFIED, MODIFIED, 200),
        (MODIFIED, "Mon, 01 Jan 2024 00:00:11 GMT", MODIFIED, 206),
        (MODIFIED, None, MODIFIED, 200),
        (None, DATE, MODIFIED, 200),
    ],
)
def test_a_part_goes_to_whoever_has_another_of_the_same_date_if_that_is_sure(
    modified: str | None, date: str | None, if_range: str, status: int
):
    kept = [(name, value) for name, value in (("Last-Modified", modified), ("Date", date)) if value is not None]
    page = PAGE.with_fields(*kept, without=["last-modified", "date"])
    assert answer("bytes=0-1", ("If-Range", if_range), page=page)[0].status == status


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (("If-None-Match", '"v1"'), 304),
        (("If-None-Match", '"v0"'), 206),
        (("If-Modified-Since", MODIFIED), 304),
    ],
)
def test_conditionals_go_before_ranges(field: tuple[str, str], status: int):
    """RFC 9110 section 13.2.2"""
    request = asked(("Range", "bytes=0-1"), field)
    assert partial.select(request, *conditional.select(request, PAGE, BODY))[0].status == status
