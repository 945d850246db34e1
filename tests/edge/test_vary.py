"""What selects a variant, and what the origin is asked for: RFC 9111 section 4.1, RFC 9110 section 12.5, RFC 4647."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mizan_edge.http.framing import text
from mizan_edge.http.message import Fields, Request, Response
from mizan_edge.rules.compression import CODINGS
from mizan_edge.rules.variants import narrowed, selecting, variant_of, vary_names

ACCEPT, LANGUAGE, ENCODING = "Accept", "Accept-Language", "Accept-Encoding"


def asking(*fields: tuple[str, str]) -> Request:
    return Request("GET", "/", "site.test", fields)


def selected(*fields: tuple[str, str], by: str) -> str | None:
    return variant_of(asking(*fields), (by.lower(),))


@pytest.mark.parametrize(
    ("name", "same"),
    [
        (LANGUAGE, ["de,en", "de ,\t en", " de, en ,", ",de,,en", "DE, eN", "de;q=1, en", "de;q=1.000 , en ; Q=1.0"]),
        (LANGUAGE, ["de, en;q=0.5", "en;q=0.5, de", "en;q=0.500,de"]),
        (LANGUAGE, ["", ",", " , "]),
        (LANGUAGE, ["de;q=0", "de;q=0.0", "de;q=0."]),
        (ENCODING, ["gzip, br;q=0.9", "br;q=0.9,GZIP"]),
        (ACCEPT, ["text/html;level=1, */*;q=0.1", "*/*;q=0.1,TEXT/html; LEVEL=1", "text/html;q=1;level=1, */*;q=0.1"]),
        ("Accept-Charset", ["utf-8, latin1;q=0.2", "latin1;q=0.2, UTF-8"]),
    ],
)
def test_what_the_field_defines_as_the_same_selects_the_same(name: str, same: list[str]):
    assert len({selected((name, value), by=name) for value in same}) == 1


@pytest.mark.parametrize(
    ("name", "different"),
    [
        # Many applications take the order of equal weights for an order of preference.
        (LANGUAGE, ["de, en", "en, de", "de;q=0.5, en;q=0.5", "de, en;q=0.5", "de;q=0.5, en", "de, en;q=0"]),
        (ACCEPT, ["text/html", "text/html;level=1", "text/html;level=2", "text/html;v=A", "text/html;v=a"]),
        # What cannot be read stays as it is.
        (
            LANGUAGE,
            ["de;q=2", "de; q=2", "de;q=0.1234", "de;q=0.1;q=0.2", "de;q =0.5", "de en", "de;q=", "de;", ";q=1"],
        ),
        (ACCEPT, ['text/html;x="a,b"', 'text/html;x="a, b"', 'TEXT/html;x="a,b"']),
        (LANGUAGE, ["de, " * 200, "de," * 200]),
        # Nothing is known of these.
        ("X-Shown", ["a,b", "a, b", "a,,b", "A,b", "b,a", "a;q=1,b", ""]),
        ("Accept-Datetime", ["Thu, 31 May 2007 20:35:00 GMT", "Thu,31 May 2007 20:35:00 GMT"]),
    ],
)
def test_every_other_difference_counts(name: str, different: list[str]):
    values = [selected((name, value), by=name) for value in different]
    assert len({*values, selected(by=name)}) == len(different) + 1


def test_lines_of_a_field_are_one_list_and_names_have_no_case():
    assert selected((LANGUAGE, "de"), ("accept-LANGUAGE", "en"), by=LANGUAGE) == selected(
        (LANGUAGE, "de,en"), by=LANGUAGE
    )
    assert selected(("X-Shown", "a"), ("x-shown", "b"), by="X-Shown") == selected(("X-Shown", "a, b"), by="X-Shown")


def test_other_bytes_of_the_same_text_are_a_difference():
    # Many applications read every field as ISO 8859-1, and so see these as two values.
    latin, utf = (text(value) for value in (b"caf\xe9", b"caf\xc3\xa9"))
    assert latin == utf
    assert selected(("X-Shown", latin), by="X-Shown") != selected(("X-Shown", utf), by="X-Shown")


def test_fields_that_select_are_told_apart_by_their_names():
    one, other = asking(("X-A", "1"), ("X-B", "2")), asking(("X-A", "2"), ("X-B", "1"))
    assert variant_of(one, ("x-a", "x-b")) != variant_of(other, ("x-a", "x-b"))
    assert variant_of(one, ("x-a",)) != variant_of(asking(("X-B", "1")), ("x-b",))
    assert variant_of(one, ()) is None


@pytest.mark.parametrize(
    ("lines", "scope", "names"),
    [
        ([], "public", ()),
        ([""], "public", ()),
        (["Foo, BAR,foo", "baz"], "public", ("bar", "baz", "foo")),
        *[(lines, "public", None) for lines in (["*"], ["Foo, *"], ["*, Foo"], ["", "*"], ["Foo", "*"], ["*, *"])],
        (["Cookie"], "public", None),
        (["Authorization"], "public", None),
        (["Cookie, Foo, Authorization"], "user", ("foo",)),
        (["Cookie, *"], "user", None),
        # A fill does not tell the origin what the client said there.
        (["If-None-Match"], "user", None),
        (["Accept, Range"], "public", None),
    ],
)
def test_a_star_or_who_is_asking_refuses_storage(lines: list[str], scope: str, names: tuple[str, ...] | None):
    assert vary_names(Response(200, tuple(("Vary", line) for line in lines)), scope) == names


def test_what_is_known_to_select_goes_on_selecting():
    assert selecting((), ()) == ()
    assert selecting(("b",), ("c", "a")) == ("a", "b", "c")
    assert selecting(("a", "b"), ("b",)) == ("a", "b")


# What the origin is asked for.


def asked_for(name: str, *lines: str, languages: tuple[str, ...] = ()) -> str | None:
    return narrowed(asking(*((name, line) for line in lines)), languages).get(name.lower())


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("gzip, deflate, br, zstd", "br, zstd, gzip"),
        ("br;q=0.1, GZIP", "br, gzip"),
        ("x-gzip, deflate", "gzip"),
        ("x-gzip;q=0, gzip", "identity"),
        ("deflate", "identity"),
        ("", "identity"),
        ("identity", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip, gzip;q=0", "identity"),
        ("*", "br, zstd, gzip"),
        ("*;q=0.1, br;q=0", "zstd, gzip"),
        ("gzip, *;q=0", "gzip, identity;q=0"),
        ("gzip, identity;q=0", "gzip, identity;q=0"),
        ("gzip, *;q=0, identity;q=0.1", "gzip"),
        ("*, identity;q=0", "br, zstd, gzip, identity;q=0"),
        # Nothing that is known here, or readable: the origin sees what the client wrote.
        ("deflate, identity;q=0", "deflate, identity;q=0"),
        ("*;q=0", "*;q=0"),
        ("gzip;q=high", "gzip;q=high"),
    ],
)
def test_codings_come_down_to_those_that_may_come(said: str, asked: str):
    assert asked_for(ENCODING, said) == asked


def test_a_request_without_the_field_stays_without_it():
    request = asking(("Accept", "*/*"))
    assert narrowed(request, ("de",)) is request


def test_several_lines_become_one():
    assert asked_for(ENCODING, "gzip", "deflate", "br;q=0.2") == "br, gzip"


@pytest.mark.parametrize(
    ("said", "languages", "asked"),
    [
        ("de-AT, de;q=0.8, en;q=0.5", ("de", "en"), "de"),
        ("en;q=0.5, DE-at", ("de", "en"), "de"),
        ("fr, en;q=0.1", ("de", "en"), "en"),
        ("de, en", ("en", "de"), "de"),
        ("zh-Hant-CN-x-private1-private2", ("zh-Hant", "zh"), "zh-Hant"),
        ("zh-Hant-CN-x-private1", ("zh-Hant-CN-x", "zh"), "zh"),
        ("PT-br", ("pt-BR",), "pt-BR"),
        ("*, de;q=0.5", ("de", "en"), "de"),
        ("de-AT, de;q=0, en;q=0.1", ("de", "en"), "en"),
        # The origin's own default.
        ("fr", ("de", "en"), None),
        ("pt", ("pt-BR",), None),
        ("*", ("de",), None),
        ("de;q=0", ("de",), None),
        ("", ("de",), None),
        ("de;q=high", ("de",), "de;q=high"),
        # No list, no selection.
        ("de-AT, de;q=0.8", (), "de-AT, de;q=0.8"),
    ],
)
def test_languages_come_down_to_one_of_the_site(said: str, languages: tuple[str, ...], asked: str | None):
    assert asked_for(LANGUAGE, said, languages=languages) == asked


MEMBERS = st.builds(
    lambda name, weight: name + weight,
    st.sampled_from([*CODINGS, "identity", "deflate", "*", "GZIP"]),
    st.sampled_from(["", ";q=1", ";q=0", ";q=0.5", " ; q=0.001", ";q=0.000"]),
)


def refuses(value: str, coding: str) -> bool:
    """Whether a client refuses a coding, or says nothing in its favour. RFC 9110 section 12.5.3"""
    weights: dict[str, list[float]] = {}
    for member in value.split(","):
        name, _, weight = member.partition(";")
        weights.setdefault(name.strip().lower(), []).append(float(weight.partition("=")[2] or 1))
    unsaid = [1.0] if coding == "identity" else [0.0]
    said = weights.get(coding) or weights.get("*") or unsaid
    return 0 in said


@given(st.lists(MEMBERS, min_size=1, max_size=6).map(", ".join))
@example("*;q=0, gzip")
def test_nobody_gets_a_coding_that_he_refuses(value: str):
    asked = asked_for(ENCODING, value)
    assert asked is not None
    for coding in (*CODINGS, "identity", "deflate"):
        assert refuses(asked, coding) or not refuses(value, coding)
    assert asked_for(ENCODING, asked) == asked


@given(
    st.lists(
        st.sampled_from(["de", "de-AT", "en", "fr", "*", "en-x-a"]).flatmap(
            lambda tag: st.sampled_from(["", ";q=0", ";q=0.3", ";q=0.7"]).map(lambda weight: tag + weight)
        ),
        max_size=5,
    )
)
def test_members_of_different_weights_may_stand_in_any_order(values: list[str]):
    weights = [value.partition(";")[2] for value in values]
    swapped = list(values)
    for at, (one, other) in enumerate(pairwise(weights)):
        if one != other:
            swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
            break
    fields: list[Fields] = [((LANGUAGE, ", ".join(order)),) for order in (values, swapped)]
    assert selected(*fields[0], by=LANGUAGE) == selected(*fields[1], by=LANGUAGE)
    asked = [asked_for(LANGUAGE, ", ".join(order), languages=("de", "en")) for order in (values, swapped)]
    assert asked[0] == asked[1]
