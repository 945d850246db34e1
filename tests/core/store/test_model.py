"""The store against a model of it: random entries, fills, purges and sweeps, in random order, on a real Redis."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizan_core.scopes import Scope
from mizan_core.store import Fence, Namespace
from tests.core.store.site import RUNNERS, SEALING, Site, key_of, open_site, scope

CONTEXTS = ["user", "users", "team"]
VALUES: dict[str, list[object]] = {"user_id": [5, 55], "locale": ["en", "e\n"], "flag": [True], "user_": ["5", "é;x"]}
NAMES = ["a", "b", "c", "d"]

scopes_of_entries = st.lists(
    st.builds(
        lambda context, params: scope(context, **params),
        st.sampled_from(CONTEXTS),
        st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}),
    ),
    min_size=1,
    max_size=3,
)
purges = st.lists(scopes_of_entries.map(lambda scopes: scopes[0]), max_size=3)
visits = st.sampled_from([0, 1, 3, 500])
names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("begin"), names, scopes_of_entries),
    st.tuples(st.just("finish"), names),
    st.tuples(st.just("fill"), names, scopes_of_entries),
    st.tuples(st.just("purge"), purges, visits),
    st.tuples(st.just("everything")),
    st.tuples(st.just("sweep")),
)


@dataclass
class Fill:
    fence: Fence
    scopes: list[Scope]
    overtaken: bool = False


@dataclass
class Model:
    """What a reader must see: entry -> the scopes it depends on; and the fills that have begun."""

    entries: dict[str, list[Scope]] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)

    def hit(self, purged: list[Scope]) -> set[str]:
        return {name for name, scopes in self.entries.items() if any(depends(scopes, p) for p in purged)}

    def purge(self, purged: list[Scope]) -> None:
        for name in self.hit(purged):
            del self.entries[name]
        for fill in self.fills.values():
            fill.overtaken |= any(depends(fill.scopes, p) for p in purged)


def depends(scopes: list[Scope], purged: Scope) -> bool:
    """Whether all that `purged` says is said of its context by the scopes of an entry."""
    own = [s for s in scopes if s.context == purged.context]
    return bool(own) and set(purged.params) <= {param for s in own for param in s.params}


@pytest.fixture(scope="module", params=RUNNERS)
def connected(any_redis_url: str, request: pytest.FixtureRequest) -> Iterator[Site]:
    with open_site(any_redis_url, "shared", request.param) as site:
        yield site


def alone(site: Site) -> Site:
    """A namespace of its own for each example."""
    return Site(site.runner, Namespace(f"test-{secrets.token_hex(6)}", SEALING), site.raw)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(steps, max_size=14))
def test_readers_see_what_the_model_says_after_every_step(connected: Site, script):
    site, model = alone(connected), Model()
    for step in script:
        match step:
            case "begin", name, scopes:
                model.fills[name] = Fill(site.fence(), scopes)
            case "finish", name:
                if (fill := model.fills.pop(name, None)) is None:
                    continue
                reply = site.store(name, *fill.scopes, fence=fill.fence)
                assert reply == ("overtaken" if fill.overtaken else "stored")
                if not fill.overtaken:
                    model.entries[name] = fill.scopes
            case "fill", name, scopes:
                site.fill(name, *scopes)
                model.entries[name] = scopes
            case "purge", scopes, visit:
                expected = len(model.hit(scopes))
                dry = site.purge(*scopes, visit=visit, dry_run=True)
                done = site.purge(*scopes, visit=visit)
                if not dry.banned:
                    assert dry.entries == expected
                if not done.banned:
                    assert done.entries == expected
                model.purge(scopes)
            case ("everything",):
                site.purge_everything()
                model.purge([scope(context) for context in CONTEXTS])
            case ("sweep",):
                for ban in site.bans():
                    site.sweep(ban)
        assert site.served(*NAMES) == set(model.entries)
    for ban in site.bans():
        site.sweep(ban)
    assert site.served(*NAMES) == set(model.entries)
    assert site.index_members() == {key_of(name) for name in model.entries}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), params=st.dictionaries(st.from_regex(r"\A[a-z_]{1,6}\Z"), st.text(max_size=8), max_size=5))
def test_any_subset_of_an_entrys_parameters_purges_it_and_any_other_scope_does_not(connected: Site, data, params):
    site = alone(connected)
    texts = list(params.items())
    subset = dict(data.draw(st.lists(st.sampled_from(texts), unique=True)) if texts else [])
    other = data.draw(st.dictionaries(st.sampled_from([*params, "other"]), st.text(max_size=8), min_size=1))
    site.fill("a", Scope.of("page", params))
    if not other.items() <= params.items():
        assert site.purge(Scope.of("page", subset | other | {"other": "x"})).entries == 0
        assert site.purge(Scope.of("page", other)).entries == 0
        assert site.served("a") == {"a"}
    assert site.purge(Scope.of("page", subset)).entries == 1
    assert site.served("a") == set()
