"""Which responses are compressed, and who gets which representation. RFC 9110 sections 8.4, 8.8, 12.5.3 and 14.2."""

import gzip
import secrets

import brotli
import pytest
import zstandard

from mizan_edge.http import conditional, partial
from mizan_edge.http.message import Request, Response
from mizan_edge.rules.compression import CompressWhat, applies, choose, compressible, encode, select
from mizan_edge.rules.identity import ANON, PUBLIC, Partition

BODY = b"<p>All that is declared, and nothing else.</p>\n" * 100
ENCODED = {"br": b"as br", "zstd": b"as zstd", "gzip": b"as gzip"}
MODIFIED, DATE = "Mon, 01 Jan 2024 00:00:10 GMT", "Mon, 01 Jan 2024 00:00:20 GMT"
FIELDS = (
    ("Date", DATE),
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Length", str(len(BODY))),
    ("ETag", '"v1"'),
    ("Last-Modified", MODIFIED),
    ("Vary", "Accept-Language"),
    ("Accept-Ranges", "bytes"),
    ("Cache-Control", "max-age=60"),
)
PAGE = Response(200, FIELDS, "OK")


def asked(*fields: tuple[str, str], method: str = "GET") -> Request:
    return Request(method, "/", "site.test", fields)


def accepting(codings: str, *fields: tuple[str, str], method: str = "GET") -> Request:
    return asked(("Accept-Encoding", codings), *fields, method=method)


def answer(request: Request, page: Response = PAGE) -> tuple[Response, bytes]:
    """What goes out for a stored response that has copies."""
    chosen = select(request, page, BODY, ENCODED)
    return partial.select(request, *conditional.select(request, *chosen))


# Section 12.5.3: what the client wants


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip", "gzip"),
        ("deflate", None),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip,,zstd ,", "zstd"),
        ("*", "br"),
        ("br;q=0, *", "zstd"),
        ("*;q=0", None),
        ("gzip, *;q=0", "gzip"),
        # The weight goes before our own order.
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0.5, gzip;q=0.8, zstd", "zstd"),
        ("br;q=0.001", "br"),
        ("br;q=1.000 , gzip", "br"),
        ("gzip ;q=0.5", "gzip"),
        ("gzip;Q=0.5", "gzip"),
        ("*;q=0.5, gzip;q=0.8", "gzip"),
        ("*;q=0.9, gzip;q=0.8", "br"),
        # Refused
        ("gzip;q=0", None),
        ("gzip;q=0.0", None),
        ("gzip;q=0.000, br", "br"),
        # The identity may be wanted more.
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0.5, gzip;q=0.4, br", "br"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        # What cannot be understood is no consent.
        ("gzip;q=2", None),
        ("gzip;q=1.001", None),
        ("gzip;q=.5", None),
        ("gzip;q=0.1234", None),
        ("gzip;q=-1", None),
        ("gzip;q=", None),
        ("gzip;level=9", None),
        ("gzip;q=0.5;q=0.6", None),
        ("gzip;q=banana, br", "br"),
        ("gzip br", None),
        ('"gzip"', None),
        ("gzip, gzip;q=0", None),
        ("gzip;q=0, x-gzip", None),
        ("gzip" + ", deflate" * 100, None),
    ],
)
def test_the_coding_that_the_client_wants_most(field: str | None, coding: str | None):
    assert choose(field, ENCODED) == coding


def test_only_what_is_there_is_chosen():
    assert choose("br, zstd, gzip;q=0.1", {"gzip"}) == "gzip"
    assert choose("br, zstd", {"gzip"}) is None
    assert choose("*", set()) is None


def test_several_lines_are_one_list():
    assert answer(asked(("Accept-Encoding", "gzip;q=0.1"), ("Accept-Encoding", "zstd")))[1] == b"as zstd"


# Which responses


def page(*fields: tuple[str, str], without: tuple[str, ...] = (), status: int = 200) -> Response:
    return Response(status, FIELDS).with_fields(*fields, without=[name.lower() for name, _ in fields] + list(without))


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html",
        "TEXT/CSS; charset=utf-8",
        "application/json",
        "application/javascript ;v=1",
        "image/svg+xml",
        "application/ld+json",
        "application/wasm",
        "font/ttf",
    ],
)
def test_text_is_worth_compressing(media_type: str):
    assert compressible(page(("Content-Type", media_type)), BODY)


@pytest.mark.parametrize(
    "media_type", ["image/png", "video/mp4", "font/woff2", "application/zip", "application/octet-stream", "json", ""]
)
def test_what_is_compressed_already_is_not(media_type: str):
    assert not compressible(page(("Content-Type", media_type)), BODY)
    assert not compressible(page(without=("content-type",)), BODY)


@pytest.mark.parametrize(
    ("size", "worth"), [(0, False), (1023, False), (1024, True), (4 << 20, True), ((4 << 20) + 1, False)]
)
def test_neither_what_fits_into_a_packet_nor_what_takes_long(size: int, worth: bool):
    assert compressible(PAGE, b"a" * size) == worth


@pytest.mark.parametrize("status", [200, 203, 404, 410])
def test_of_any_status(status: int):
    assert compressible(page(status=status), BODY)


@pytest.mark.parametrize("name", ["Cache-Control", "Mizan-Cache-Control", "CDN-Cache-Control"])
@pytest.mark.parametrize(
    "value", ["no-transform", "max-age=60, No-Transform", 'no-cache="a, no-transform', "no-transform=?1"]
)
def test_never_where_the_response_says_no_transform(name: str, value: str):
    """Section 7.7"""
    assert not compressible(page((name, value)), BODY)


@pytest.mark.parametrize(
    "field",
    [
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "identity"),
        ("Content-Range", "bytes 0-99/100"),
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Repr-Digest", "sha-256=:AAAA:"),
        ("Digest", "SHA-256=AAAA"),
        ("Content-MD5", "AAAA"),
        ("Signature", "sig1=:AAAA:"),
    ],
)
def test_nothing_is_compressed_twice_nor_what_is_protected_byte_by_byte(field: tuple[str, str]):
    assert not compressible(page(field), BODY)


@pytest.mark.parametrize(
    ("what", "whose"),
    [("nothing", []), ("shared", [PUBLIC, ANON]), ("all", [PUBLIC, ANON, "user:5:p1"])],
)
def test_what_one_user_reads_is_compressed_only_where_the_site_says_so(what: CompressWhat, whose: list[str]):
    partitions = [Partition(PUBLIC), Partition(ANON), Partition("user:5:p1", "5")]
    assert [partition.name for partition in partitions if applies(what, partition)] == whose


# The copies


def test_each_copy_gives_the_body_back():
    copies = encode(BODY)
    assert {
        "br": brotli.decompress(copies["br"]),
        "zstd": zstandard.ZstdDecompressor().decompress(copies["zstd"]),
        "gzip": gzip.decompress(copies["gzip"]),
    } == {"br": BODY, "zstd": BODY, "gzip": BODY}
    assert all(len(copy) < len(BODY) / 10 for copy in copies.values())


def test_every_edge_makes_the_same_copies_at_any_time():
    """RFC 1952 section 2.3.1: MTIME"""
    assert encode(BODY)["gzip"][4:8] == bytes(4)


def test_only_what_is_usefully_smaller_is_kept():
    noise = secrets.token_bytes(5000)
    assert encode(noise) == {}
    # Hexadecimal digits can be halved, which Huffman codes alone achieve.
    assert encode(noise.hex().encode()).keys() == {"br", "zstd", "gzip"}
    # A little less than a tenth
    assert encode(noise + b"a" * 400) == {}


def test_a_zstd_window_is_not_larger_than_clients_allow():
    """RFC 9659 section 3"""
    largest = encode(secrets.token_bytes(3 << 20) + b"a" * (1 << 20))["zstd"]
    assert zstandard.get_frame_parameters(largest).window_size <= 8 << 20


# What a client gets


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip"])
def test_who_accepts_a_coding_gets_the_copy(coding: str):
    response, body = answer(accepting(coding))
    assert (response.status, body) == (200, ENCODED[coding])
    assert response.get("content-encoding") == coding
    assert response.get("content-length") == str(len(body))
    assert response.get("vary") == "Accept-Language, Accept-Encoding"
    # Section 8.8.1
    assert response.get("etag") == 'W/"v1"'
    assert response.get("accept-ranges") is None
    kept = ("Date", "Content-Type", "Last-Modified", "Cache-Control")
    assert [response.get(name.lower()) for name in kept] == [PAGE.get(name.lower()) for name in kept]


@pytest.mark.parametrize("request_", [asked(), accepting("identity"), accepting("deflate"), accepting("*;q=0")])
@pytest.mark.parametrize("encoded", [ENCODED, {}], ids=["compressed", "not yet"])
def test_all_others_get_the_identity_and_are_told_what_it_depends_on(request_: Request, encoded: dict[str, bytes]):
    response, body = select(request_, PAGE, BODY, encoded)
    assert body is BODY
    assert response == PAGE.with_fields(("Vary", "Accept-Language, Accept-Encoding"), without=["vary"])


def test_what_is_not_compressed_stays_as_it_is():
    assert select(accepting("br"), PAGE, BODY, None) == (PAGE, BODY)


@pytest.mark.parametrize(
    ("vary", "expected"),
    [(None, "Accept-Encoding"), ("Origin", "Origin, Accept-Encoding"), ("accept-encoding, Origin", None), ("*", None)],
)
def test_vary_names_the_field_once(vary: str | None, expected: str | None):
    stored = page(*((("Vary", vary),) if vary else ()), without=("vary",))
    for request in (asked(), accepting("br")):
        assert answer(request, stored)[0].get("vary") == (expected or vary)


def test_a_weak_tag_stays_and_a_missing_one_is_not_made():
    assert answer(accepting("br"), page(("ETag", 'W/"v2"')))[0].get("etag") == 'W/"v2"'
    assert answer(accepting("br"), page(without=("etag",)))[0].get("etag") is None


def test_a_client_may_want_no_transformation():
    """RFC 9111 section 5.2.1.6"""
    response, body = answer(accepting("br", ("Cache-Control", "no-transform")))
    assert body == BODY and response.get("etag") == '"v1"'


# Section 13: what is validated


@pytest.mark.parametrize("codings", ["identity", "gzip", "br"])
@pytest.mark.parametrize("tags", ['"v1"', 'W/"v1"', '"v0", W/"v1"', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whoever_has_either_representation_gets_a_304(codings: str, tags: str, method: str):
    """Section 13.1.2: the weak comparison"""
    response, body = answer(accepting(codings, ("If-None-Match", tags), method=method))
    whole, _ = answer(accepting(codings))
    assert (response.status, body) == (304, b"")
    # Section 15.4.5: what a 200 would have said.
    for name in ("etag", "vary", "date", "last-modified", "cache-control"):
        assert response.get(name) == whole.get(name)


def test_another_tag_gets_the_whole_copy():
    response, body = answer(accepting("br", ("If-None-Match", '"v0"')))
    assert (response.status, body) == (200, b"as br")


def test_a_date_validates_copies_too():
    assert answer(accepting("br", ("If-Modified-Since", MODIFIED)))[0].status == 304


@pytest.mark.parametrize("fields", [(), (("Range", "bytes=0-9"),)], ids=["whole", "range, which is of GET alone"])
@pytest.mark.parametrize("codings", ["identity", "gzip", "br"])
def test_head_says_what_get_would(codings: str, fields: tuple[tuple[str, str], ...]):
    """Section 9.3.2"""
    head, body = answer(accepting(codings, *fields, method="HEAD"))
    assert body == b""
    assert head == answer(accepting(codings))[0]


# Section 14: parts


@pytest.mark.parametrize("codings", ["identity", "br", "identity;q=0, gzip"])
def test_ranges_are_of_the_identity(codings: str):
    response, body = answer(accepting(codings, ("Range", "bytes=10-19")))
    assert (response.status, body) == (206, BODY[10:20])
    assert response.get("content-range") == f"bytes 10-19/{len(BODY)}"
    assert response.get("content-encoding") is None
    assert response.get("etag") == '"v1"'
    assert response.get("vary") == "Accept-Language, Accept-Encoding"


@pytest.mark.parametrize(("if_range", "status"), [('"v1"', 206), ('W/"v1"', 200), (MODIFIED, 206), ('"v0"', 200)])
def test_a_copy_is_never_continued_with_a_part_of_the_identity(if_range: str, status: int):
    """Section 13.1.5: the strong comparison"""
    response, body = answer(accepting("br", ("Range", "bytes=10-"), ("If-Range", if_range)))
    assert response.status == status
    assert body == (BODY[10:] if status == 206 else BODY)
    assert response.get("content-encoding") is None
