"""The checker finds what is stale, and finds nothing of the kind."""

from tests.exact.checker import Workload, check
from tests.exact.faults import schedule
from tests.exact.model import Histories


def test_a_read_older_than_what_was_answered_before_it_began_is_stale():
    histories = Histories(subjects=2, edges=2)
    before = histories.expect([0, 1], edge=1)
    histories.answered(1, 5, edge=0, confirmed=True)
    after = histories.expect([0, 1], edge=1)
    assert before.judge([0, 4]) == "exact", "it began before"
    assert after.judge([0, 4]) == "stale"
    assert after.judge([0, 5]) == after.judge([3, 6]) == "exact"


def test_answers_that_come_in_another_order_establish_the_newest():
    histories = Histories(subjects=1, edges=1)
    for version in (3, 2):
        histories.answered(0, version, edge=0, confirmed=True)
    assert histories.expect([0], edge=0).judge([2]) == "stale"


def test_what_a_cut_edge_has_written_is_excused_at_the_other_until_it_has_settled():
    histories = Histories(subjects=1, edges=2)
    histories.answered(0, 3, edge=0, confirmed=True)
    histories.answered(0, 4, edge=0, confirmed=False)
    assert histories.expect([0], edge=0).judge([3]) == "stale", "at the edge itself there is no excuse"
    assert histories.expect([0], edge=1).judge([3]) == "excused"
    assert histories.expect([0], edge=1).judge([2]) == "stale"
    after_all = histories.expect([0], edge=1).judge([3], reaches_redis=False)
    assert after_all == "stale", "nor at one that cannot have a lease"
    histories.settled(0)
    assert histories.expect([0], edge=1).judge([3]) == "stale"


def test_a_schedule_follows_from_its_seed():
    assert schedule(7, 60) == schedule(7, 60) != schedule(8, 60)


async def test_a_site_that_does_not_always_say_what_to_purge_is_found_out():
    tally = await check(seed=3, seconds=3, lanes=[], workload=Workload(users=range(3)), forgetful=True)
    assert tally["stale"], str(tally)


async def test_under_faults_nothing_is_stale_and_nothing_fails():
    tally = await check(seed=3, seconds=6)
    assert not tally.found, "\n".join(tally.found)
    assert all(tally[name] for name in ("reads", "hits", "writes", "faults")), str(tally)
