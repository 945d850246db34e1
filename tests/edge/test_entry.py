"""Stored responses and their bytes, with the compressed copies of their bodies."""

from dataclasses import replace

import pytest

from mizan_edge.http.freshness import Lifetime
from mizan_edge.http.message import Response
from mizan_edge.rules.entry import StoredResponse, VaryRecord, Written, decode_payload

BODY = b"{}" * 1000
COPIES = {"br": b"\x00\xff as br", "gzip": b"x"}
HEAD = Response(200, (("Content-Type", "application/json"), ("Age", "7"), ("Set-X", "\xe9"), ("Set-X", "2")), "Fine")
LIFE = Lifetime(60, 1, 2, 3)


def stored(head: Response = HEAD, body: bytes = BODY, known: StoredResponse | None = None) -> StoredResponse:
    return StoredResponse.of(head, body, 1_000, LIFE, known)


@pytest.mark.parametrize(
    "value",
    [
        stored(),
        stored().compressed(COPIES),
        stored().compressed({}),
        stored(body=b""),
        stored(Response(404, ())),
        stored(Response(200, (("Content-Type", "image/png"), ("ETag", 'W/"1"')))),
    ],
)
def test_the_bytes_of_a_response_give_it_back(value: StoredResponse):
    written = decode_payload(value.to_bytes())
    assert isinstance(written, Written) and StoredResponse.of_written(written) == value


def test_no_response_is_taken_for_a_record():
    assert decode_payload(VaryRecord(("accept", "origin")).to_bytes()) == VaryRecord(("accept", "origin"))


def test_a_response_waits_for_copies_until_they_are_made():
    fresh = stored()
    assert fresh.uncompressed and fresh.encoded == {}
    assert not fresh.compressed(COPIES).uncompressed
    assert fresh.compressed(COPIES) == replace(fresh, encoded=COPIES)


def test_none_are_made_again_where_none_was_worth_it():
    tried = stored().compressed({})
    assert tried.encoded is None and not tried.uncompressed


@pytest.mark.parametrize(
    ("head", "body"),
    [(HEAD, b"{}"), (HEAD.with_fields(("Cache-Control", "no-transform")), BODY), (Response(200, ()), BODY)],
)
def test_what_is_not_to_be_compressed_never_waits(head: Response, body: bytes):
    assert stored(head, body).encoded is None


def test_what_the_origin_confirms_keeps_its_copies():
    known = stored().compressed(COPIES)
    head = known.confirmed(Response(304, (("Cache-Control", "max-age=9"),)))
    assert head is not None
    assert stored(head, known=known).encoded == COPIES
    assert stored(head, known=stored().compressed({})).encoded is None


def test_a_304_may_forbid_the_copies():
    known = stored().compressed(COPIES)
    head = known.confirmed(Response(304, (("Cache-Control", "no-transform"),)))
    assert head is not None
    assert stored(head, known=known).encoded is None


def test_the_origin_is_asked_by_the_tag_that_it_gave():
    head = HEAD.with_fields(("ETag", '"v1"'))
    assert stored(head).compressed(COPIES).conditions == (("If-None-Match", '"v1"'),)
