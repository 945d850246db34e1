"""Requests of the benchmarks: nobody sends the same one twice, and every URL is asked for."""

import time
from collections import Counter

from bench.loads import LOADS, Facts
from bench.requests import one_of_each, reads, signed_in, uniform, with_mutations, zipf
from mizan_core.mwt import Keyring, verify
from mizan_edge.http.request_parser import RequestParser
from tests.support.requests import LIMITS

SECRET = "0123456789abcdef0123456789abcdef"


def parsed(data: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, target and fields of a request, as the edge reads it."""
    parser = RequestParser("http", LIMITS)
    parser.feed(data)
    head = parser.head()
    assert head is not None
    assert not parser.waiting
    request = head.request
    return request.method, request.target, {name.lower(): value for name, value in request.fields}


def test_each_number_comes_as_often_as_any_other_or_by_its_rank():
    even, ranked = Counter(uniform(1000, 100_000)), Counter(zipf(1000, 100_000))
    assert set(even.values()) == {100}
    assert len(even) == 1000
    # The first of a thousand gets 1 / (1 + 1/2 + ... + 1/1000) of all requests, the tenth a tenth of that.
    assert 0.95 < ranked[0] / (100_000 / 7.485) < 1.05
    assert 0.8 < ranked[9] / (100_000 / 74.85) < 1.2


def test_no_two_heads_are_alike():
    requests = reads("1k", uniform(1000, 20_000))
    cookies = {request.partition(b"\r\nCookie: ")[2] for request in requests}
    referers = {request.partition(b"\r\nReferer: ")[2].partition(b"\r\n")[0] for request in requests}
    assert len(cookies) == len(referers) == 20_000


def test_one_of_each_is_a_request_for_every_url_and_changes_nothing():
    order = uniform(50, 1000)
    chosen = list(one_of_each(with_mutations(reads("1k", order), order, every=10)))
    assert {parsed(request)[:2] for request in chosen} == {("GET", f"/1k/{number}/") for number in range(50)}
    assert len(chosen) == 50


def test_one_in_a_hundred_requests_is_a_mutation():
    order = uniform(1000, 10_000)
    methods = [request.partition(b" ")[0] for request in with_mutations(reads("1k", order), order, every=100)]
    assert Counter(methods) == {b"GET": 9900, b"POST": 100}


def test_tokens_are_valid_and_each_url_is_always_asked_for_by_the_same_user():
    now_s = int(time.time())
    users: dict[str, tuple[str, str]] = {}
    for request in signed_in(uniform(200, 1000), SECRET, now_s=now_s):
        _, target, fields = parsed(request)
        cookies = dict(pair.split("=") for pair in fields["cookie"].split("; "))
        identity = verify(Keyring.parse(SECRET), cookies["mizan_mwt"], now_s=now_s + 3600)
        assert identity is not None
        assert users.setdefault(target, (identity.sub, cookies["sessionid"])) == (identity.sub, cookies["sessionid"])
    assert len({sub for sub, _ in users.values()}) == 100


def test_the_edge_accepts_the_requests_of_every_load():
    facts = Facts(SECRET, int(time.time()), '"a-tag"', heads=200)
    for load in LOADS:
        if load.name.endswith("-200k"):
            continue  # takes seconds, and is made as those of 20,000 are
        for request in load.make(facts)[:200]:
            assert parsed(request)[1].startswith("/"), load.name
