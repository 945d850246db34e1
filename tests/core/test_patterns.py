"""URL patterns: what they accept, and the paths that they give."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.patterns import PatternError, parse_pattern

segments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(segments, segments)
def test_a_path_decodes_back_to_the_values_that_it_was_made_of(one: str, two: str):
    path = parse_pattern("/profile/:user_id/posts/:slug").path({"user_id": one, "slug": two})
    assert path.isascii()
    assert [unquote(part, errors="strict") for part in path.split("/")] == ["", "profile", one, "posts", two]


@pytest.mark.parametrize("text", ["/", "/a", "/a/", "/a/:b", "/:a/:b/", "/a.b-c_d~e/", "/профиль/:name"])
def test_a_pattern_without_values_gives_itself(text: str):
    assert unquote(parse_pattern(text).path({})) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "//", "/a//b", "///", "/a//", "/./", "/../a", "/a/..", "/:", "/:5", "/:a-b", "/:é", "/a:b"),
        *("/a%2fb", "/a%41", "/a b", "/a?b", "/a#b", "/\0", "/a\n", "/\u2028", "/\xad", "/:a/:a", '/"'),
    ],
    ids=repr,
)
def test_a_text_that_no_path_matches_is_refused(text: str):
    with pytest.raises(PatternError, match="pattern"):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/a/:b/", "/a/:c/", True),
        ("/a/:b/", "/a/:b", False),
        ("/a/:b/", "/a/b/", False),
        ("/", "/", True),
        ("/a", "/:a", False),
    ],
)
def test_two_patterns_have_one_shape_when_they_match_the_same_paths(one: str, other: str, same: bool):
    assert (parse_pattern(one).shape == parse_pattern(other).shape) is same


def test_parameters_come_in_the_order_of_the_path():
    assert parse_pattern("/:b/x/:a/").params == ("b", "a")
