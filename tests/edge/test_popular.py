"""What is asked for most, of more than can be counted one by one."""

from hypothesis import given
from hypothesis import strategies as st

from mizan_edge.serving.popular import TURN_S, Asked, Popular, together
from mizan_edge.system.frequent import Frequent


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=400))
def test_a_count_is_too_low_by_no_more_than_is_said(comes: list[tuple[int, int]]):
    frequent: Frequent[int] = Frequent(20)
    true: dict[int, int] = {}
    for item, times in comes:
        frequent.add(item, times)
        true[item] = true.get(item, 0) + times
    off = sum(true.values()) / 10
    weights = frequent.weights()
    assert len(weights) <= 20
    for item, times in true.items():
        assert times - off <= weights.get(item, 0) <= times


def test_what_is_asked_for_most_comes_first_and_is_forgotten_in_time():
    popular = Popular(0.0)
    popular.asked("/often/", 10.0, hit=True, times=16)
    popular.asked("/often/", 20.0, hit=False)
    popular.asked("/once/", 30.0, hit=False)
    assert popular.most(60.0) == [Asked("/often/", 17.0, 16.0), Asked("/once/", 1.0, 0.0)]
    popular.asked("/new/", TURN_S + 1, hit=False)
    assert {asked.url for asked in popular.most(TURN_S + 1)} == {"/often/", "/once/", "/new/"}
    popular.asked("/new/", 2 * TURN_S + 2, hit=False)
    assert {asked.url for asked in popular.most(2 * TURN_S + 2)} == {"/new/"}
    assert together([[Asked("/a/", 2.0, 1.0)], [Asked("/b/", 3.0, 0.0), Asked("/a/", 2.0, 2.0)]]) == [
        Asked("/a/", 4.0, 3.0),
        Asked("/b/", 3.0, 0.0),
    ]
