"""Scopes against the manifest: widened when the origin says them, refused when a person types them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizan_core.manifest import Context
from mizan_core.purge import Purge
from mizan_core.resolve import depended_on, strict, widen
from mizan_core.scopes import Scope, ScopeError, parse_scopes

CONTEXTS = {
    "user": Context.model_validate(
        {
            "params": ["user_id", "locale", "active", "tags", "name"],
            "param_types": {
                "user_id": "integer",
                "locale": "string",
                "active": "boolean",
                "tags": {"list": "integer"},
            },
        }
    ),
    "catalog": Context(),
}

# What the origin may send -> what is purged. Each but the exact ones is also said.
WIDENED = {
    "user;user_id=5": "user;user_id=5",
    'user;user_id="5"': "user;user_id=5",
    "user;user_id=5;locale=en;*user=7": 'user;*user=7;locale="en";user_id=5',
    "user;active;locale=05": 'user;active;locale="05"',
    'user;tags="[\\"1\\",\\"2\\"]"': 'user;tags="[\\"1\\",\\"2\\"]"',
    'user;*url="/profile/5/"': 'user;*url="/profile/5/"',
    "user;user_id=5;user_id=5": "user;user_id=5",
    "user;user_id=5, user": "user",
    "user;nickname=x": "user",
    "user;user_id=5;nickname=x": "user;user_id=5",
    "user;user_id=5;user_id=6": "user",
    "user;user_id=5;user_id=6;locale=en": 'user;locale="en"',
    "user;user_id=05": "user",
    "user;user_id=five": "user",
    "user;name=05": "user",
    "user;name=5_0;user_id=5": "user;user_id=5",
    "user;active=yes": "user",
    "user;tags=1": "user",
    'user;tags="[1]"': "user",
    'user;tags="[\\"01\\"]"': "user",
    'user;tags="[\\"1\\", \\"2\\"]"': "user",
    'user;tags="[\\"\\\\ud800\\"]"': "user",
    f'user;tags="{"[" * 20_000}"': "user",
    f'user;tags="[{"1" * 5000}]"': "user",
    f"user;user_id={'1' * 5000}": "user",
    "user;user_id=:aGk=:": "user",
    "user;user_id=5;user_id=:aGk=:": "user",
    "users;user_id=5": "users",
    "user;user_id=5, users": "user;user_id=5, users",
}
EXACT = list(WIDENED)[:8]


@pytest.mark.parametrize("field", WIDENED, ids=lambda field: field[:40])
def test_a_field_purges_more_and_never_less_and_says_so(field: str):
    purge = widen(field, CONTEXTS)
    assert ", ".join(map(str, purge.scopes)) == WIDENED[field]
    assert not purge.everything
    assert bool(purge.faults) is (field not in EXACT)


@pytest.mark.parametrize("field", ["5", "*", "*;user_id=5", '"user"', "user, *"])
def test_a_field_that_may_mean_anything_purges_everything(field: str):
    purge = widen(field, CONTEXTS)
    assert purge.everything
    assert purge.faults


@pytest.mark.parametrize("field", WIDENED, ids=lambda field: field[:40])
def test_what_a_person_types_is_meant_or_refused(field: str):
    if field in EXACT:
        assert ", ".join(map(str, strict([field], CONTEXTS))) == WIDENED[field]
        return
    with pytest.raises(ScopeError):
        strict([field], CONTEXTS)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("usr;user_id=5", "the nearest is 'user'"),
        ("user;userid=5", "the nearest is 'user_id'"),
        ("catalogue", "the nearest is 'catalog'"),
    ],
)
def test_a_refusal_names_the_nearest_valid_name(text: str, nearest: str):
    with pytest.raises(ScopeError, match=nearest):
        strict([text], CONTEXTS)


@pytest.mark.parametrize("text", ["", " ", ",", "user,", "user;", "5"])
def test_a_text_that_names_nothing_is_refused(text: str):
    with pytest.raises(ScopeError, match="does not parse"):
        strict([text], CONTEXTS)


@pytest.mark.parametrize("field", WIDENED, ids=lambda field: field[:40])
def test_a_response_whose_scopes_are_in_doubt_is_not_stored(field: str):
    scopes = depended_on(parse_scopes(field), CONTEXTS)
    assert (scopes is not None) is (field in EXACT)


@pytest.mark.parametrize("field", ["user,", "5", "*", 'user;locale="x'])
def test_a_response_whose_scopes_do_not_parse_is_not_stored(field: str):
    assert depended_on(parse_scopes(field), CONTEXTS) is None


PIECES = [
    "user",
    "catalog",
    "*",
    ";user_id",
    ";locale",
    ";tags",
    ";*user",
    "=",
    "5",
    "05",
    '"',
    "[",
    "\\",
    ",",
    ", ",
    "é",
    "en",
]


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_no_field_raises_and_every_context_that_it_names_is_purged(field: str):
    purge = widen(field, CONTEXTS)
    for member in parse_scopes(field).members:
        # Narrowed by nothing that the field does not say.
        said = Scope(member.context, member.params)
        assert purge.everything or any(
            s.context == said.context and set(s.params) <= set(said.params) for s in purge.scopes
        )
    assert purge.faults or strict([field], CONTEXTS) == purge.scopes if field.strip(" \t") else not purge.scopes


def test_a_long_field_of_unknown_names_is_resolved_in_a_moment():
    field = ", ".join(f"usr{n};usr_id={n}" for n in range(3500))
    many = CONTEXTS | {f"context_{n}": Context() for n in range(50)}
    started = time.process_time()
    assert len(widen(field, many).scopes) == 3500
    assert time.process_time() - started < 2.0


class TestPurge:
    LAGGING = CONTEXTS | {"lagging": Context(hold=30)}

    def test_of_scopes_it_holds_as_long_as_their_contexts_say_and_names_none_twice(self):
        purge = Purge.of([Scope("user", (("user_id", "5"),)), Scope("user"), Scope("user")], self.LAGGING)
        assert (purge.scopes, purge.everything, purge.hold_s, str(purge)) == ((Scope("user"),), False, 0, "user")
        assert Purge.of([Scope("lagging"), Scope("user")], self.LAGGING).hold_s == 30

    def test_of_no_scopes_it_is_no_purge_of_everything(self):
        nothing, everything = Purge.of([], self.LAGGING), Purge.of_everything(self.LAGGING)
        assert (nothing.is_empty, nothing.everything, nothing.hold_s) == (True, False, 0)
        assert (everything.is_empty, everything.everything, everything.hold_s) == (False, True, 30)
        assert str(everything) == "everything"
