"""The breaker: after three failures in a row nothing is asked for a while, then one probe at a time."""

import pytest

from mizan_edge.serving.breaker import Breaker

NOW = 1000.0


def opened(now: float = NOW) -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        assert breaker.allows(now)
        breaker.failed(now)
    return breaker


def test_a_new_breaker_allows_everything_at_any_time():
    breaker = Breaker()
    assert all(breaker.allows(now) for now in (0.0, NOW, NOW, 1.0))
    assert breaker.open_until < 0


def test_two_failures_leave_it_closed_and_a_third_in_a_row_opens_it():
    breaker = Breaker()
    for _ in range(2):
        breaker.failed(NOW)
        assert breaker.allows(NOW)
    breaker.failed(NOW)
    assert not breaker.allows(NOW)
    assert breaker.open_until == pytest.approx(NOW + 0.1)


def test_a_success_in_between_begins_the_count_anew():
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(NOW)
        breaker.failed(NOW)
        breaker.succeeded()
        assert breaker.allows(NOW)


def test_open_it_allows_nothing_until_the_pause_is_over_and_then_one_probe():
    breaker = opened()
    assert not breaker.allows(NOW + 0.099)
    assert breaker.allows(NOW + 0.101)
    assert [breaker.allows(NOW + 0.101 + n * 0.1) for n in range(10)] == [False] * 10


def test_each_failed_probe_doubles_the_pause_up_to_two_seconds():
    breaker, now, pauses = opened(), NOW, []
    for _ in range(8):
        pauses.append(breaker.open_until - now)
        now = breaker.open_until
        assert breaker.allows(now)
        breaker.failed(now)
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])


def test_the_pause_counts_from_when_the_probe_failed():
    breaker = opened()
    assert breaker.allows(NOW + 0.5)
    breaker.failed(NOW + 0.75)
    assert breaker.open_until == pytest.approx(NOW + 0.95)


def test_a_probe_that_succeeds_closes_it_and_the_next_opening_is_short_again():
    breaker = opened()
    assert breaker.allows(NOW + 1)
    breaker.failed(NOW + 1)
    assert breaker.allows(NOW + 2)
    breaker.succeeded()
    assert [breaker.allows(NOW + 2) for _ in range(3)] == [True] * 3
    for _ in range(3):
        breaker.failed(NOW + 2)
    assert breaker.open_until == pytest.approx(NOW + 2.1)


def test_what_was_asked_before_it_opened_and_fails_afterwards_does_not_prolong_the_pause():
    breaker = opened()
    breaker.failed(NOW + 0.05)
    assert breaker.open_until == pytest.approx(NOW + 0.1)
    assert breaker.allows(NOW + 0.1)
    breaker.failed(NOW + 0.1)
    assert breaker.open_until == pytest.approx(NOW + 0.3)


def test_what_was_asked_before_it_opened_and_succeeds_afterwards_closes_it():
    breaker = opened()
    breaker.succeeded()
    assert breaker.allows(NOW)


def test_a_probe_that_is_never_heard_of_again_is_followed_by_another_after_two_seconds():
    breaker = opened()
    assert breaker.allows(NOW + 1)
    assert not breaker.allows(NOW + 2.9)
    assert breaker.allows(NOW + 3)
    assert not breaker.allows(NOW + 3)
