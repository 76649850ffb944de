from __future__ import annotations

import pytest

from millrace.local.deaths import BACKOFF_MAX_S, DEATHS_MAX, RECORD_DEATHS_MAX, Deaths


def test_a_child_that_died_once_is_started_again_soon() -> None:
    assert Deaths().note(100.0) <= 100.2


def test_the_wait_grows_and_is_bounded() -> None:
    deaths = Deaths(backoff_s=0.5)
    waits = [deaths.note(100.0 + second) - (100.0 + second) for second in range(20)]
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(waits) <= BACKOFF_MAX_S


def test_five_deaths_within_a_minute_are_hopeless() -> None:
    deaths = Deaths()
    for second in range(DEATHS_MAX - 1):
        deaths.note(float(second))
        assert not deaths.too_many(float(second))
    deaths.note(59.0)
    assert deaths.too_many(59.0)


def test_deaths_far_apart_are_forgiven() -> None:
    deaths = Deaths()
    for minute in range(100):
        assert deaths.note(minute * 61.0) - minute * 61.0 <= 0.2
        assert not deaths.too_many(minute * 61.0)


@pytest.mark.requirement("S-19")
def test_deaths_of_records_are_not_hopeless_until_it_can_be_no_record_any_more() -> None:
    deaths = Deaths()
    for second in range(RECORD_DEATHS_MAX - 1):
        assert deaths.note(float(second), of_record=True) - second <= 0.2
        assert not deaths.too_many(float(second))
    deaths.note(200.0, of_record=True)
    assert "of records" in deaths.too_many(200.0)
    assert not deaths.too_many(4_000.0)
