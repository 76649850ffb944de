"""Detectors find the fault they are for in a noisy signal, and stay silent on noise alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from millrace.batch import ANOMALY, CLOSED, F64, OPENED, Rows
from millrace.process.detect import DETECTOR_NAMES, Detection, TagColumns

T0_US = 1_767_600_000_000_000
SECOND_US = 1_000_000
Make = Callable[..., TagColumns]
FAULT_AT = 2_000


def anomalies_of(columns: TagColumns, value: F64, period_us: int = SECOND_US) -> Rows:
    """Rows of one tag's signal; `value` (n,), evenly spaced."""
    book = Detection()
    book.configure(columns)
    ts_us = T0_US + np.arange(len(value)) * period_us
    return book.step(np.zeros(len(value), np.int32), ts_us, value)


def opened_by(rows: Rows) -> dict[str, list[int]]:
    """Detector name -> index of the reading at which each of its anomalies starts."""
    out: dict[str, list[int]] = {}
    for row in rows[rows["kind"] == OPENED]:
        out.setdefault(DETECTOR_NAMES[row["detector"]], []).append(
            int((row["start_us"] - T0_US) // SECOND_US)
        )
    return out


def noisy(seed: int, n: int = 3_000) -> F64:
    return np.random.default_rng(seed).normal(60.0, 0.5, n)


def spike(x: F64) -> None:
    x[FAULT_AT] += 12.0


def big_step(x: F64) -> None:
    x[FAULT_AT:] += 10.0


def small_step(x: F64) -> None:
    x[FAULT_AT:] += 1.5


def drift(x: F64) -> None:
    x[FAULT_AT:] += 0.01 * np.arange(len(x) - FAULT_AT)


def stuck(x: F64) -> None:
    x[FAULT_AT:] = x[FAULT_AT]


def swing(x: F64) -> None:
    x[FAULT_AT:] += 3.0 * np.sin(np.arange(len(x) - FAULT_AT) * 2 * np.pi / 16)


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("fault", "detector", "within"),
    [
        (spike, "ewma", 1),
        (spike, "rate_of_change", 1),
        (big_step, "ewma", 1),
        (big_step, "cusum", 20),
        (small_step, "cusum", 30),
        (drift, "cusum", 250),
        (stuck, "flatline", 40),
        (swing, "oscillation", 200),
    ],
)
def test_detector_finds_its_fault(
    columns_of: Make, fault: Callable[[F64], None], detector: str, within: int, seed: int
) -> None:
    value = noisy(seed)
    assert opened_by(anomalies_of(columns_of(1), value)) == {}, "nothing before the fault"
    fault(value)
    starts = opened_by(anomalies_of(columns_of(1), value)).get(detector, [])
    assert starts, f"{detector} found nothing"
    assert FAULT_AT <= starts[0] <= FAULT_AT + within, starts


def test_a_limit_is_passed_and_comes_back(columns_of: Make) -> None:
    value = noisy(5)
    value[FAULT_AT : FAULT_AT + 10] = 81.0
    rows = anomalies_of(columns_of(1, low=40.0, high=80.0), value)
    rows = rows[rows["detector"] == DETECTOR_NAMES.index("limits")]
    assert rows["kind"].tolist() == [OPENED, CLOSED]
    assert rows["score"].tolist() == pytest.approx([1.05, 1.05])
    assert rows["expected"].tolist() == [80.0, 80.0]
    assert (rows["end_us"][1] - T0_US) // SECOND_US == FAULT_AT + 9


def test_a_fast_ramp_is_a_rate_fault_on_a_smooth_signal(columns_of: Make) -> None:
    n = 3_000
    value = 60.0 + 5.0 * np.sin(np.arange(n) / 400) + np.random.default_rng(6).normal(0, 0.01, n)
    value[FAULT_AT:] += 1.0
    assert opened_by(anomalies_of(columns_of(1), value))["rate_of_change"] == [FAULT_AT]


@pytest.mark.requirement("S-17")
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_plain_noise_of_50_000_readings_raises_nothing(columns_of: Make, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 50_000
    gauss = rng.normal(0, 1, n)
    correlated = np.zeros(n)
    for i in range(1, n):
        correlated[i] = 0.9 * correlated[i - 1] + gauss[i]
    signals = {
        "gauss": 60.0 + gauss,
        "uniform": rng.uniform(0, 1, n),
        "coarse": np.round(60.0 + gauss),
        "correlated": 60.0 + correlated,
        "slow wave": 60.0 + gauss + 3 * np.sin(np.arange(n) * 2 * np.pi / 400),
    }
    for name, value in signals.items():
        assert opened_by(anomalies_of(columns_of(1), value)) == {}, name


@pytest.mark.parametrize("seed", [21, 22])
def test_heavy_tails_and_press_strokes_raise_few(columns_of: Make, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 50_000
    signals = {
        "student t5": (60 + rng.standard_t(5, n), 60),
        "strokes": (rng.normal(0, 1, n) + 800.0 * (np.arange(n) % 50 < 10), 20),
        "set points": (np.repeat(rng.integers(0, 10, n // 500), 500).astype(float), 200),
        "flat": (np.full(n, 7.25), 0),
        "random walk": (np.cumsum(rng.normal(0, 1, n)), 60),
    }
    for name, (value, most) in signals.items():
        opened = opened_by(anomalies_of(columns_of(1), value))
        assert sum(map(len, opened.values())) <= most, (name, {k: len(v) for k, v in opened.items()})
    assert np.dtype(ANOMALY).itemsize == 50


def test_an_outlier_does_not_hide_the_next_one(columns_of: Make) -> None:
    value = noisy(7)
    value[FAULT_AT] += 500.0
    value[FAULT_AT + 20] += 12.0
    assert opened_by(anomalies_of(columns_of(1), value))["ewma"] == [FAULT_AT, FAULT_AT + 20]


def test_a_lasting_new_level_becomes_normal_again(columns_of: Make) -> None:
    value = noisy(8, 6_000)
    value[FAULT_AT:] += 10.0
    rows = anomalies_of(columns_of(1), value)
    assert len(rows)
    assert (rows["kind"] == OPENED).sum() == (rows["kind"] == CLOSED).sum(), "nothing is left open"
