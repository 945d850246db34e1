"""What the origin is asked for is what a variant is selected by. RFC 9110 sections 12.5.3 and 12.5.4, RFC 4647."""

from tests.support.edge import EdgeFactory, RunningEdge
from tests.support.origin import Asked, Origin, Says

VIEW = "/profile/5/"


def by(name: str):
    def script(asked: Asked) -> Says:
        return Says(f"{asked.get(name)}", headers=[("Vary", name)])

    return script


async def bodies(edge: RunningEdge, name: str, *values: str | None) -> list[str]:
    return [(await edge.get(VIEW, [] if value is None else [(name, value)])).body.decode() for value in values]


async def test_the_origin_is_asked_for_the_codings_that_all_who_share_a_variant_take(edge: RunningEdge, origin: Origin):
    origin.script = by("Accept-Encoding")
    said = await bodies(edge, "Accept-Encoding", "gzip, deflate, br", "br;q=0.5, GZIP", "deflate", "", None)
    assert said == ["br, gzip", "br, gzip", "identity", "identity", "None"]
    assert origin.hits == 3


async def test_a_language_of_the_site_is_asked_for_and_shared(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(languages="de,en")
    origin.script = by("Accept-Language")
    wanted = ["de-AT, de;q=0.8, en;q=0.5", "en;q=0.1, DE", "fr, en;q=0.2", "fr", None]
    said = await bodies(edge, "Accept-Language", *wanted)
    assert said == ["de", "de", "en", "None", "None"]
    assert origin.hits == 3


async def test_without_a_list_the_origin_gets_what_the_client_wrote(edge: RunningEdge, origin: Origin):
    origin.script = by("Accept-Language")
    assert await bodies(edge, "Accept-Language", "en;q=0.5, de-AT", "de-at,en;q=0.5") == ["en;q=0.5, de-AT"] * 2
    assert origin.hits == 1


async def test_what_is_not_stored_is_asked_for_in_the_same_way(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(languages="de,en")
    await edge.request("HEAD", VIEW, [("Accept-Language", "de-AT, en;q=0.5")])
    await edge.get(VIEW, [("Accept-Language", "en-GB"), ("Range", "bytes=0-1")])
    assert [asked.get("Accept-Language") for asked in origin.asked] == ["de", "en"]


async def test_what_is_passed_by_goes_as_it_came(make_edge: EdgeFactory, origin: Origin):
    edge = await make_edge(languages="de,en")
    headers = [("Accept-Language", "de-AT"), ("Accept-Encoding", "deflate")]
    await edge.get("/undeclared/", headers)
    assert [origin.asked[0].get(name) for name, _ in headers] == ["de-AT", "deflate"]
