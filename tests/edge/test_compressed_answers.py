"""Compressed answers over real sockets: one body from the origin, a coding for each client."""

import asyncio
import gzip
import json

import brotli
import pytest
import zstandard

from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says
from tests.support.wire import Headers, Reply

VIEW, PUBLIC = "/profile/5/", "/catalog/shoes/"
BODY = json.dumps([{"id": n, "name": f"product {n}"} for n in range(200)]).encode()
READ = {"br": brotli.decompress, "zstd": zstandard.ZstdDecompressor().decompress, "gzip": gzip.decompress}


def accepting(codings: str, *others: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Accept-Encoding", codings), *others]


def products(*fields: tuple[str, str], body: bytes = BODY):
    """An origin with one long answer, which knows when it still holds."""

    def script(asked: Asked) -> Says:
        headers = [("Content-Type", "application/json"), ("ETag", '"v1"'), *fields]
        return Says(status=304, headers=headers) if asked.get("if-none-match") else Says(body, headers=headers)

    return script


async def compressed(edge: RunningEdge, target: str = PUBLIC, headers: Headers = ()) -> Reply:
    """The first answer with br, to whoever else sends `headers`."""
    async with asyncio.timeout(10):
        while not (reply := await edge.get(target, accepting("br", *headers)))["Content-Encoding"]:
            pass
    return reply


async def test_one_fetch_serves_every_coding(edge: RunningEdge, origin: Origin):
    origin.script = products()
    first = await edge.get(PUBLIC, accepting("gzip, deflate, br, zstd"))
    # Nobody waits for the copies.
    assert first.body == BODY and first["Content-Encoding"] is None and first["Vary"] == "Accept-Encoding"
    await compressed(edge)
    for coding, read in READ.items():
        reply = await edge.get(PUBLIC, accepting(coding))
        assert reply.hit and read(reply.body) == BODY
        assert (reply["Content-Encoding"], reply["Vary"]) == (coding, "Accept-Encoding")
        assert (reply["ETag"], reply["Content-Length"]) == ('W/"v1"', str(len(reply.body)))
    plain = await edge.get(PUBLIC)
    assert plain.hit and plain.body == BODY and plain["ETag"] == '"v1"'
    assert origin.hits == 1


async def test_another_edge_finds_the_copies_in_redis(make_edge: EdgeFactory, origin: Origin):
    origin.script = products()
    one, two = await make_edge(), await make_edge()
    await compressed(one)
    reply = await two.get(PUBLIC, accepting("br"))
    assert reply.hit and reply["Content-Encoding"] == "br"
    assert origin.hits == 1


async def test_a_purge_takes_the_copies_along(edge: RunningEdge, origin: Origin):
    origin.script = products()
    await compressed(edge)
    origin.script = products(body=BODY + b"\n")
    await edge.purge("catalog")
    assert (await edge.get(PUBLIC, accepting("br"))).body == BODY + b"\n"
    assert brotli.decompress((await compressed(edge)).body) == BODY + b"\n"


async def test_copies_outlast_a_304_of_the_origin(edge: RunningEdge, origin: Origin):
    origin.script = products(("Cache-Control", "max-age=60"))
    await compressed(edge)
    reply = await edge.get(PUBLIC, accepting("br", ("Cache-Control", "no-cache")))
    assert (origin.hits, origin.asked[-1].get("if-none-match")) == (2, '"v1"')
    assert reply["Content-Encoding"] == "br"


@pytest.mark.parametrize("tag", ['"v1"', 'W/"v1"'])
async def test_validators_and_ranges(edge: RunningEdge, origin: Origin, tag: str):
    origin.script = products()
    await compressed(edge)
    assert (await edge.get(PUBLIC, accepting("br", ("If-None-Match", tag)))).status == 304
    part = await edge.get(PUBLIC, accepting("br", ("Range", "bytes=10-19"), ("If-Range", tag)))
    assert (part.status, part.body) == ((206, BODY[10:20]) if tag == '"v1"' else (200, BODY))
    assert part["Content-Encoding"] is None


@pytest.mark.parametrize(
    ("setting", "anonymous", "signed_in"), [("nothing", False, False), ("shared", True, False), ("all", True, True)]
)
async def test_whose_responses_are_compressed(
    make_edge: EdgeFactory, origin: Origin, tokens, setting: str, anonymous: bool, signed_in: bool
):
    origin.script = products()
    edge = await make_edge(compress=setting)
    for headers, wanted in (((), anonymous), (tokens("5").items(), signed_in)):
        if wanted:
            await compressed(edge, VIEW, headers)
        else:
            await edge.get(VIEW, accepting("br", *headers))
            reply = await edge.get(VIEW, accepting("br", *headers))
            assert reply.hit and reply["Content-Encoding"] is None and reply["Vary"] is None


async def test_no_transform_leaves_everything_as_it_is(edge: RunningEdge, origin: Origin):
    origin.script = products(("Cache-Control", "max-age=60, no-transform"))
    replies = [await edge.get(PUBLIC, accepting("br")) for _ in range(3)]
    assert [reply.hit for reply in replies] == [False, True, True]
    for reply in replies:
        assert (reply.body, reply["Vary"], reply["ETag"]) == (BODY, None, '"v1"')
