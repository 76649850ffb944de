"""The rule that other engines are given is the rule that we ship, anomaly for anomaly."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.peers.tag_state import ANOMALY, ROLLUP, Row, TagState
from millrace.batch import CLOSED, OPENED
from millrace.process.detect import Detection, detector_bits
from millrace.process.detect.book import no_tags
from millrace.process.detect.contract import TagColumns

T0_US = 1_767_600_000_000_000
PERIOD_US = 100_000
PATH = "acme/lyon/press-shop/line-0/press-00/signal-0"


def detection() -> Detection:
    """Our detectors over one float tag as the comparison models it: no range, no deadband."""
    columns = {name: np.zeros(1, getattr(no_tags(), name).dtype) for name in TagColumns.__slots__}
    for name in ("range_low", "range_high", "low_low", "low", "high", "high_high"):
        columns[name][:] = np.nan
    columns["detectors"][:] = detector_bits(["ewma"])
    book = Detection()
    book.configure(TagColumns(**columns))
    return book


def ours(values: list[float]) -> list[tuple[object, ...]]:
    """What our table holds in the end: an anomaly's newest row."""
    ts_us = T0_US + PERIOD_US * np.arange(len(values), dtype=np.int64)
    rows = detection().step(np.zeros(len(values), np.int32), ts_us, np.array(values, np.float64))
    newest = {int(row["start_us"]): row for row in rows}
    fields = ("end_us", "value", "expected", "score", "kind")
    return [(start_us, *(row[field].item() for field in fields)) for start_us, row in newest.items()]


def theirs(values: list[float], state: TagState) -> list[tuple[object, ...]]:
    rows: list[Row] = []
    for number, value in enumerate(values):
        state.step(T0_US + number * PERIOD_US, value, rows)
    state.finish(rows)
    return sorted(row[2:] for row in rows if row[0] == ANOMALY)


@st.composite
def signals(draw: st.DrawFn) -> list[float]:
    """Noise with spikes, steps that stay, pulses again and again, flat stretches, and readings about the limit of 4."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    level, values = rng.uniform(-100, 100), []
    for kind in draw(
        st.lists(st.sampled_from(["noise", "spike", "step", "pulses", "edge", "flat"]), max_size=12)
    ):
        if kind == "step":
            level += rng.choice((-1, 1)) * rng.uniform(3, 30)
        if kind == "pulses":
            values += [level + (20.0 * rng.random() if n % 9 == 0 else rng.gauss(0, 0.5)) for n in range(150)]
        elif kind == "edge":
            values += [level + rng.choice((0.0, 2.6, 3.2, 3.8, 30.0)) + rng.gauss(0, 0.3) for _ in range(30)]
        elif kind == "flat":
            values += [level] * 70
        else:
            values += [level + rng.gauss(0, 0.5) for _ in range(rng.randrange(120))]
        if kind == "spike":
            values.append(level + 30.0)
    return values


@given(values=signals())
@settings(max_examples=60)
def test_the_peers_find_exactly_our_anomalies(values: list[float]) -> None:
    assert theirs(values, TagState(PATH)) == ours(values)


@pytest.mark.parametrize(("calm", "anomalies"), [(2, 1), (3, 2)])
def test_an_anomaly_ends_after_as_many_calm_readings_as_ours(calm: int, anomalies: int) -> None:
    values = [50.0, 51.0] * 50 + [90.0] + [50.5] * calm + [90.0] + [50.0, 51.0] * 5
    found = theirs(values, TagState(PATH))
    assert (found, len(found)) == (ours(values), anomalies)


@pytest.mark.parametrize(("height", "anomalies"), [(4.2, 1), (3.8, 2)])
def test_a_reading_near_the_limit_is_not_calm(height: float, anomalies: int) -> None:
    """The first of three readings between two spikes scores 0.76 or 0.69; those after it less, as the mean follows."""
    values = [50.0, 51.0] * 50 + [90.0] + [50.5 + height] * 3 + [90.0] + [50.0, 51.0] * 5
    found = theirs(values, TagState(PATH))
    assert (found, len(found)) == (ours(values), anomalies)


def a_signal() -> list[float]:
    """A spike that closes, a step that is learned, pulses until they are normal, a spike at the end."""
    rng = random.Random(7)
    values = [50.0 + rng.gauss(0, 0.5) for _ in range(100)] + [80.0]
    values += [50.0 + rng.gauss(0, 0.5) for _ in range(50)] + [70.0 + rng.gauss(0, 0.5) for _ in range(150)]
    values += [70.0 + (25.0 if n % 10 == 0 else rng.gauss(0, 0.5)) for n in range(200)]
    return values + [70.0 + rng.gauss(0, 0.5) for _ in range(5)] + [170.0]


def test_an_anomaly_that_closes_and_one_that_stays_open_are_both_compared() -> None:
    found = theirs(a_signal(), TagState(PATH))
    assert found == ours(a_signal())
    assert [row[-1] for row in found[:1] + found[-1:]] == [CLOSED, OPENED]
    assert len(found) > 5


def test_a_state_that_was_put_away_and_taken_out_again_goes_on_the_same() -> None:
    values, rows, state = a_signal(), [], TagState(PATH)
    for number, value in enumerate(values):
        if number % 37 == 0:
            state = pickle.loads(pickle.dumps(state))
        state.step(T0_US + number * PERIOD_US, value, rows)
    state.finish(rows)
    assert sorted(row[2:] for row in rows if row[0] == ANOMALY) == ours(values)


def test_each_second_has_its_rollup_and_the_last_one_too() -> None:
    rows: list[Row] = []
    state = TagState(PATH)
    for number, value in enumerate([1.0, 5.0, -2.0] * 5):
        state.step(T0_US + number * PERIOD_US, value, rows)
    state.finish(rows)
    assert [row[2:] for row in rows if row[0] == ROLLUP] == [
        (T0_US, 10, -2.0, 5.0, 13.0, 1.0, 1.0),
        (T0_US + 1_000_000, 5, -2.0, 5.0, 7.0, 5.0, -2.0),
    ]
