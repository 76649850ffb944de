"""What the door is told of a worker that is behind."""

from __future__ import annotations

from millrace.api.lag import FORGOTTEN_S, LagMeter


def test_a_shard_that_never_spoke_is_not_said_to_lag() -> None:
    assert LagMeter(2).lags(100.0) == {}


def test_a_batch_of_old_readings_is_a_lag_until_a_fresh_one_comes() -> None:
    meter = LagMeter(1)
    meter.note(0, 10, 3.0, 100.0)
    assert meter.lags(100.1)[0][0] == 3.0
    meter.note(0, 10, 0.05, 100.2)
    assert meter.lags(100.3)[0][0] == 0.05


def test_a_tick_alone_ends_a_lag_and_its_absence_is_one() -> None:
    meter = LagMeter(1)
    meter.note(0, 10, 3.0, 100.0)
    meter.note(0, 0, 0.0, 101.0)
    assert meter.lags(101.5)[0][0] == 0.0
    assert meter.lags(106.0)[0][0] == 3.5


def test_a_shard_that_is_gone_for_long_is_forgotten() -> None:
    meter = LagMeter(1)
    meter.note(0, 10, 3.0, 100.0)
    assert meter.lags(100.0 + FORGOTTEN_S) == {}


def test_the_rate_is_what_came_in_the_last_second() -> None:
    meter = LagMeter(1)
    for place in range(31):
        meter.note(0, 100, 0.0, 100.0 + place / 10)
    assert abs(meter.lags(103.0)[0][1] - 1000) < 150
