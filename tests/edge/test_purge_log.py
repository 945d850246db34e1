"""The log of purges that a worker judges its memory by, against a plain list of all purges and against the scripts."""

from dataclasses import dataclass
from importlib.resources import files

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from mizan_core.scopes import URL, USER, Scope
from mizan_core.store.layout import index_names, scope_argument
from mizan_edge.memory.purge_log import PurgeLog, packed

PARAMS = ("a", "b", "c", "d", "e", "f", USER, URL)
TEXTS = ("1", "true", "a;b", "ü\n", "long" * 200)

entries = st.lists(
    st.builds(
        Scope.of, st.sampled_from(["user", "page"]), st.dictionaries(st.sampled_from(PARAMS), st.sampled_from(TEXTS))
    ),
    min_size=1,
    max_size=3,
)
# None is everything, which is rare, or else nothing would ever live.
purged = st.one_of(
    *[
        st.builds(
            Scope.of,
            st.sampled_from(["user", "page", "catalog"]),
            st.dictionaries(st.sampled_from(PARAMS), st.sampled_from(TEXTS), min_size=least, max_size=3),
        )
        for least in (0, 1, 2, 2, 2)
    ],
    st.none(),
)


@dataclass(frozen=True, slots=True)
class Past:
    """Purges in their order, each with its number; None is everything."""

    purges: list[tuple[int, Scope | None]]

    @property
    def last(self) -> int:
        return self.purges[-1][0] if self.purges else 0

    def log(self, capacity: int = 10_000) -> PurgeLog:
        log = PurgeLog(capacity)
        for number, scope in self.purges:
            log.record(number, text(scope))
        return log

    def overtaken(self, entry: list[Scope], since: int) -> bool:
        """What a log that forgets nothing says, from the scopes themselves instead of their texts."""
        params = {scope.context: set[tuple[str, str]]() for scope in entry}
        for scope in entry:
            params[scope.context].update(scope.params)
        return any(
            scope is None or (scope.context in params and set(scope.params) <= params[scope.context])
            for number, scope in self.purges
            if number > since
        )

    def scopes_since(self, since: int) -> int:
        return len({scope for number, scope in self.purges if number > since})


@st.composite
def pasts(draw: st.DrawFn) -> Past:
    """Numbers that rise by one mostly, stand still at times, or skip so many that scopes are looked up."""
    number, purges = 0, []
    for step, scope in draw(st.lists(st.tuples(st.sampled_from([1, 1, 1, 0, 40]), purged), max_size=60)):
        number += step
        purges.append((number, scope))
    return Past(purges)


def text(scope: Scope | None) -> str:
    return "" if scope is None else scope_argument(scope)


def names(context: str, **params: object) -> bytes:
    return of_entry([Scope.of(context, params)])


def of_entry(scopes: list[Scope]) -> bytes:
    return packed(index_names(scopes))


ADA = Scope.of("user", {"user_id": 5})
BOB = Scope.of("user", {"user_id": 6})


@settings(max_examples=200, deadline=None)
@given(pasts(), st.lists(entries, min_size=1, max_size=4), st.data())
def test_it_says_what_a_list_of_all_purges_says(past: Past, held: list[list[Scope]], data: st.DataObject):
    log = past.log()
    assert log.last == past.last
    for entry in held:
        since = data.draw(st.integers(0, past.last + 1))
        assert log.overtaken(of_entry(entry), since) == past.overtaken(entry, since)


@settings(max_examples=300, deadline=None)
@given(pasts(), entries, st.integers(0, 12), st.data())
def test_a_small_log_errs_only_where_it_forgot_and_only_towards_a_purge(
    past: Past, entry: list[Scope], capacity: int, data: st.DataObject
):
    log = past.log(capacity)
    since = data.draw(st.integers(0, past.last))
    said, exact = log.overtaken(of_entry(entry), since), past.overtaken(entry, since)
    assert said or not exact
    if past.scopes_since(since) <= capacity:
        assert said == exact


LUA = """
for i = 3 + ARGV[2], #ARGV, 2 do redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i]) end
local header = { names = {}, set = {} }
for i = 3, 2 + ARGV[2] do
  header.names[i - 2] = ARGV[i]
  header.set[ARGV[i]] = true
end
local said = overtaken(KEYS[2], header, tonumber(ARGV[1]))
redis.call('DEL', KEYS[2])
return said and 1 or 0
"""


def test_it_says_what_the_scripts_say(redis_url: str, namespace: str):
    common = (files("mizan_core.store") / "lua" / "common.lua").read_text()

    with redis.Redis.from_url(redis_url) as client:
        script = client.register_script(common + LUA)

        @settings(max_examples=200, deadline=None)
        @given(pasts(), entries, st.data())
        def agree(past: Past, entry: list[Scope], data: st.DataObject):
            since = data.draw(st.integers(0, past.last))
            indexes = index_names(entry)
            pairs = [part for number, scope in past.purges for part in (text(scope), number)]
            said = script([f"{{{namespace}}}:ctl", f"{{{namespace}}}:log"], [since, len(indexes), *indexes, *pairs])
            assert past.log().overtaken(packed(indexes), since) == bool(said)

        agree()


@pytest.mark.parametrize("others", [0, 1_000])
def test_an_entry_is_overtaken_by_later_purges_of_what_it_depends_on(others: int):
    log = PurgeLog()
    log.record(1, scope_argument(ADA))
    log.record(2, scope_argument(BOB))
    for number in range(3, 3 + others):
        log.record(number, scope_argument(Scope.of("user", {"user_id": number + 1_000})))
    assert log.overtaken(names("user", user_id=5, locale="de"), 0)
    assert not log.overtaken(names("user", user_id=5, locale="de"), 1)
    assert log.overtaken(names("user", user_id=6), 1)
    assert not log.overtaken(names("user", user_id=7), 0)
    log.record(3 + others, "")
    assert log.overtaken(names("user", user_id=7), 0)


def test_a_purge_that_is_repeated_counts_with_its_last_number():
    log = PurgeLog()
    for number in (1, 7):
        log.record(number, scope_argument(ADA))
    assert log.overtaken(names("user", user_id=5), 6) and not log.overtaken(names("user", user_id=5), 7)


def test_an_entry_with_too_many_terms_to_look_up_is_judged_all_the_same():
    log = PurgeLog()
    log.record(1, scope_argument(Scope.of("user", {"p3": 3, "p9": 9})))
    log.record(2, scope_argument(Scope.of("user", {"p3": 3, "p10": 9})))
    for number in range(3, 500):
        log.record(number, scope_argument(Scope.of("user", {"user_id": number})))
    wide = names("user", **{f"p{n}": n for n in range(10)})
    assert log.overtaken(wide, 0) and not log.overtaken(wide, 1)


@settings(max_examples=100, deadline=None)
@given(pasts(), st.integers(1, 10), st.integers(0, 80), entries)
def test_after_forgetting_only_later_entries_can_be_judged(past: Past, capacity: int, number: int, entry: list[Scope]):
    log = past.log(capacity)
    log.forget(number)
    known = max(number, past.last)
    assert log.last == known
    assert all(log.overtaken(of_entry(entry), since) for since in range(known))
    assert not log.overtaken(of_entry(entry), known)
    log.record(known + 1, scope_argument(Scope.of("catalog")))
    assert not log.overtaken(of_entry(entry), known)
    assert all(log.overtaken(of_entry(entry), since) for since in range(known))
    log.record(known + 2, "")
    assert log.overtaken(of_entry(entry), known + 1)


def test_beyond_capacity_the_oldest_scopes_go_and_what_they_might_have_matched_is_overtaken():
    log = PurgeLog(2)
    for number, user_id in enumerate([5, 6, 5, 6], start=1):
        log.record(number, scope_argument(Scope.of("user", {"user_id": user_id})))
    assert not log.overtaken(names("page"), 0)
    log.record(5, "catalog")
    assert log.overtaken(names("page"), 2) and not log.overtaken(names("page"), 3)


def test_purges_that_need_the_same_name_are_told_apart():
    def scope(user_id: int, **more: object) -> str:
        return scope_argument(Scope.of("user", {"user_id": user_id, "locale": "de", "theme": "dark", **more}))

    log, entry = PurgeLog(40), names("user", user_id=5, locale="de", theme="dark")
    for number in range(1, 200):
        log.record(number, scope(1_000 + number % 60))
        log.record(number, scope(5, page=number % 2))
    assert not log.overtaken(entry, 170)
    log.record(200, scope(5))
    log.record(201, scope(6))
    assert log.overtaken(entry, 199) and not log.overtaken(entry, 200)
    assert not log.overtaken(names("user", user_id=5, locale="en", theme="dark"), 170)


def test_numbers_that_fall_are_refused():
    log = PurgeLog()
    log.record(5, "")
    with pytest.raises(ValueError, match="never fall"):
        log.record(4, scope_argument(ADA))
    assert log.last == 5 and not log.overtaken(names("user", user_id=5), 5)
