"""The grammar of scopes against http-sf, and the rule for doubt against a second reading of it."""

import datetime as dt
import re
import time
from decimal import Decimal

import http_sf
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mizan_core.canonical import canonical, number_text, value_text
from mizan_core.scopes import Member, Parsed, Scope, ScopeError, format_scopes, parse_scopes, widest

rfc_keys = st.from_regex(r"\A[a-z*][a-z0-9_.*-]{0,5}\Z")
identifiers = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,5}\Z")
tokens = st.from_regex(r"\A[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]{0,6}\Z").map(http_sf.Token)
decimals = st.integers(-(10**6), 10**6).filter(lambda n: n % 1000).map(lambda n: Decimal(n) / 1000)
moments = st.datetimes(timezones=st.just(dt.UTC)).map(lambda at: at.replace(microsecond=0))
bare_items = st.one_of(
    st.integers(-(10**15) + 1, 10**15 - 1),
    decimals,
    st.booleans(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
    tokens,
    st.text(max_size=5).map(http_sf.DisplayString),
    moments,
    st.binary(max_size=5),
)
members = st.tuples(tokens, st.dictionaries(rfc_keys, bare_items, max_size=3))
scopes = st.builds(
    Scope.of, identifiers, st.dictionaries(identifiers | st.just("*user"), st.text(max_size=8), max_size=3)
)


def as_member(item: object) -> Member | None:
    """What http-sf's list member says in this project's words; None for an inner list or a bare item."""
    if not isinstance(item, tuple) or not isinstance(item[0], http_sf.Token):
        return None
    params = {name: text_of(value) for name, value in item[1].items()}
    return Member(
        str(item[0]),
        tuple((name, text) for name, text in params.items() if text is not None),
        frozenset(name for name, text in params.items() if text is None),
    )


class _Repeated(Exception):
    pass


def _refuse(name: str, where: str) -> None:
    raise _Repeated


def read_by_http_sf(field: str) -> list[Member | None]:
    """Raises StructuredFieldError, and _Repeated for a key that stands twice in one member."""
    items = http_sf.parse(field.encode(), tltype="list", on_duplicate_key=_refuse)
    assert isinstance(items, list)
    return [as_member(item) for item in items]


def text_of(value: object) -> str | None:
    match value:
        case bytes():
            return None
        case http_sf.Token() | http_sf.DisplayString():
            return str(value)
        case Decimal():
            return number_text(float(value))
    return value_text(canonical(value) or "")


@given(st.lists(members, min_size=1, max_size=4), st.sampled_from([",", ", ", " ,\t"]), st.sampled_from([";", "; "]))
def test_what_http_sf_writes_is_read_as_http_sf_reads_it(items, comma: str, semicolon: str):
    field = comma.join(http_sf.ser([item]) for item in items)
    field = re.sub(r'("(?:[^"\\]|\\.)*")|;', lambda m: m[1] or semicolon, field)
    assert list(parse_scopes(field).members) == read_by_http_sf(field)
    assert not parse_scopes(field).faults


PIECES = [
    "user",
    "a",
    "*",
    "_x",
    ";",
    ";",
    ",",
    "=",
    " ",
    "\t",
    '"',
    "\\",
    '%"',
    "%c3%a9",
    "?1",
    "?0",
    "@",
    "-",
    "5",
    "0",
]
PIECES += [".5", ":aGk=:", "(", ")", "true", "false", "A", "é", "\x7f", "\n", ";user_id=5", '="a, b"', ", team"]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_whatever_http_sf_accepts_means_the_same_here(field: str):
    assume(field.strip(" "))
    # Numbers that are not canonically spelled keep their spelling here, for the parameter's type to judge.
    assume(all(number_text(float(n)) == n for n in re.findall(r"=(-?[0-9][0-9]*(?:\.[0-9]+)?)", field)))
    try:
        items = read_by_http_sf(field)
    except (http_sf.StructuredFieldError, _Repeated):
        return
    if None not in items:
        assert list(parse_scopes(field).members) == items
        assert not parse_scopes(field).faults


@given(st.lists(scopes, max_size=4))
def test_what_is_formatted_reads_back_as_itself(given_: list[Scope]):
    field = format_scopes(given_)
    assert parse_scopes(field) == Parsed(tuple(Member(s.context, s.params) for s in sorted(set(given_))))
    assert field.isascii()
    assert field.isprintable()


@given(st.builds(Scope.of, identifiers.filter(lambda t: t[0] != "_"), st.dictionaries(
    st.from_regex(r"\A[a-z][a-z0-9_]{0,5}\Z"),
    st.text(max_size=8) | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    max_size=3,
)))  # fmt: skip
def test_what_is_formatted_with_rfc_keys_is_a_structured_field(scope: Scope):
    assert read_by_http_sf(format_scopes([scope])) == [Member(scope.context, scope.params)]


# The rule for doubt, read a second time: one expression for a member, nothing skipped.

_WS = r"[ \t]*"
_TEXT = r'"(?:[ !#-\[\]-~]|\\["\\])*+"|%"(?:[ !#$&-~]|%[0-9a-f]{2})*+"'
_BARE = r'\?[01](?=[ \t]*(?:[,;]|\Z))|(?!%?"|[ \t?])[^,;"\x00-\x1f\x7f-\U0010ffff]++'
_PARAM = rf"{_WS};{_WS}[A-Za-z*_][A-Za-z0-9_.*-]*+(?:{_WS}=(?>{_WS})(?:{_TEXT}|{_BARE}))?+"
_MEMBER = re.compile(
    rf"{_WS}(?P<context>[A-Za-z*_][A-Za-z0-9!#$%&'*+.^_`|~:/-]*+)(?P<params>(?>{_PARAM})*+){_WS}(?P<end>,|\Z)"
)


def named_by(field: str) -> set[str]:
    """The contexts that a field must purge at the least, as a whole or in part; "everything" for all."""
    named, position = set(), 0
    while position < len(field):
        member = _MEMBER.match(field, position)
        if member is None:
            break
        named.add(member["context"])
        position = member.end()
    for piece in field[position:].split(",") if position < len(field) else []:
        if piece.strip(" \t"):
            start = re.match(r"[A-Za-z_][A-Za-z0-9_]*", piece.strip(" \t"))
            whole = _MEMBER.fullmatch(piece)
            named.add(whole["context"] if whole else start[0] if start else "everything")
    return named


def purged_by(field: str) -> set[str]:
    parsed = parse_scopes(field)
    return {m.context for m in parsed.members} | ({"everything"} if parsed.everything else set())


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
@example("user;a=?2, team")
@example('user;a="\\", team;b="')
@example("user;a=\x7f,team")
@example(",")
def test_no_text_raises_or_purges_less_than_the_rule_for_doubt_says(field: str):
    named, purged = named_by(field), purged_by(field)
    assert named <= purged or "everything" in purged
    assert parse_scopes(field).faults or "everything" not in purged


@given(st.lists(scopes, min_size=1, max_size=4, unique=True), st.data())
def test_damage_never_reaches_back_to_a_member_before_it(given_: list[Scope], data: st.DataObject):
    field = format_scopes(given_)
    position = data.draw(st.integers(0, len(field)))
    insert = data.draw(st.sampled_from(["", *'",;=%\\ \t?()', "é", "\x00", ";a", ', "', '";']))
    drop = data.draw(st.integers(0, 3))
    damaged = field[:position] + insert + field[position + drop :]
    cut = data.draw(st.booleans())
    parsed = parse_scopes(field[:position] if cut else damaged)

    ordered, end = sorted(set(given_)), -2
    for scope in ordered:
        end += 2 + len(str(scope))
        if end < position:  # the comma behind it stands before the damage
            assert parsed.everything or Member(scope.context, scope.params) in parsed.members


@given(st.lists(scopes, min_size=1, max_size=4, unique=True), st.data())
def test_a_dropped_quote_loses_no_member_behind_it(given_: list[Scope], data: st.DataObject):
    # Values without commas and semicolons: others may close the text that the missing quote leaves open.
    given_ = [Scope(s.context, tuple((n, re.sub(r"[,;]", "", v)) for n, v in s.params)) for s in given_]
    field = format_scopes(given_)
    quotes = [m.start() for m in re.finditer(r'(?<!\\)"', field)]
    assume(quotes)
    at = data.draw(st.sampled_from(quotes))
    parsed = parse_scopes(field[:at] + field[at + 1 :])
    assert parsed.everything or {s.context for s in given_} <= {m.context for m in parsed.members}
    assert parsed.faults


BOOLEANS = [("active", "true"), ("gone", "false"), ("x", "true"), ("y", "false")]


@pytest.mark.parametrize(
    ("field", "members", "everything"),
    [
        ("", [], False),
        ("user", [("user",)], False),
        ("user;user_id=5, catalog", [("user", ("user_id", "5")), ("catalog",)], False),
        ("user;name=my post ; b=1", [("user", ("name", "my post"), ("b", "1"))], False),
        ("user;active;gone=?0;x=true;y=false", [("user", *BOOLEANS)], False),
        ("user;user_id=5;user_id=6", [("user", ("user_id", "5"), ("user_id", "6"))], False),
        ("_User;_Id=5", [("_User", ("_Id", "5"))], False),
        ("user,", [("user",)], False),
        ("user,,team", [("user",), ("team",)], False),
        (" , user", [("user",)], False),
        ("user;;a=1, team;b=2", [("user",), ("team", ("b", "2"))], False),
        ('user;a="x, team;b=2', [("user",), ("team", ("b", "2"))], False),
        ('user;a="x\té", team', [("user",), ("team",)], False),
        ("user;a=, team", [("user",), ("team",)], False),
        ("user;a=é, team", [("user",), ("team",)], False),
        ('user;a=%"%C3", team', [("user",), ("team",)], False),
        ('user;a=%"%c3", team', [("user",), ("team",)], False),
        ("5, team", [("team",)], True),
        ('"user", team', [("team",)], True),
        ("(user team)", [], True),
        ("user=5, team", [("user",), ("team",)], False),
        ("\x00user", [], True),
    ],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_read_is_widened(field: str, members: list[tuple[object, ...]], everything: bool):
    parsed = parse_scopes(field)
    assert [(m.context, *m.params) for m in parsed.members] == members
    assert parsed.everything is everything


def test_a_value_of_a_kind_that_no_parameter_has_is_in_doubt():
    (member,) = parse_scopes("user;a=:aGk=:;b=@999999999999999").members
    assert member == Member("user", (), frozenset({"a", "b"}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, ";p=5"),
        (-(10**15) + 1, ";p=-999999999999999"),
        (10**15, ';p="1000000000000000"'),
        (True, ";p"),
        (False, ";p=?0"),
        (1.5, ';p="1.5"'),
        ('say "hi" \\', ';p="say \\"hi\\" \\\\"'),
        ("é%", ';p=%"%c3%a9%25"'),
        (["a", 1], ';p="[\\"a\\",\\"1\\"]"'),
        (None, ""),
    ],
    ids=repr,
)
def test_values_are_emitted_in_their_one_spelling(value: object, text: str):
    assert str(Scope.of("page", {"p": value})) == "page" + text


@pytest.mark.parametrize("name", ["", "5a", "a-b", "ü", "*", "a b", "a;b", "user\n"])
def test_a_name_that_is_no_identifier_is_an_error(name: str):
    with pytest.raises(ScopeError):
        Scope.of(name)
    with pytest.raises(ScopeError):
        Scope.of("user", {name: 5})


@given(
    st.lists(
        st.builds(Scope.of, st.sampled_from("ab"), st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"))),
        max_size=8,
    )
)
def test_the_widest_scopes_cover_all_and_none_covers_another(given_: list[Scope]):
    kept = widest(given_)
    assert set(kept) <= set(given_)
    assert all(any(k.covers(s) for k in kept) for s in given_)
    assert not any(a.covers(b) for a in kept for b in kept if a != b)


def test_thousands_of_scopes_in_one_field_are_read_in_a_moment():
    field = ", ".join(f"user;user_id={n}" for n in range(3000))
    started = time.process_time()
    parsed = parse_scopes(field)
    assert len(widest(Scope(m.context, m.params) for m in parsed.members)) == 3000
    parse_scopes("a," * 30_000)
    # Comparing all with all took seconds.
    assert time.process_time() - started < 1.0
